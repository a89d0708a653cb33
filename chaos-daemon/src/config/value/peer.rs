//! A far end: an address, a network or a host name, with or without ports.
//!
//! `10.0.0.7`, `10.0.0.0/8:5432-5433`, `db.internal:5432`, `:5432` (any host), `2001:db8::/32`, `[2001:db8::1]:443`,
//! `[2001:db8::/32]:80,443`.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::{Invalid, Ports, deserialize_from_text};

/// Which hosts a peer names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Every host, of both address families.
    Any,
    /// A network, or one address as a network of one.
    Net(IpNet),
    /// A host name, to be resolved when the experiment starts.
    Name(String),
}

/// A far end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its host.
    pub host: Host,
    /// Its ports; `None` is any port, and what has no ports.
    pub ports: Option<Ports>,
}

deserialize_from_text!(Peer, "a peer such as \"db.internal:5432\", \"10.0.0.0/8\" or \":6379\"");

const HELP: &str = "write a host, network or port: \"db.internal:5432\", \"10.0.0.0/8:5432-5433\", \"[2001:db8::1]:443\", \":6379\"";

impl FromStr for Peer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(Invalid::new("the peer is empty", HELP));
        }
        if trimmed.starts_with("unix:") {
            return Err(Invalid::new(
                "a unix socket can only be connected to",
                "only kind = \"call\" with call = \"connect\" can name one, in `peer`",
            ));
        }
        if trimmed.starts_with('/') {
            return Err(Invalid::new("a peer is no path", "a unix socket is written \"unix:/run/app.sock\""));
        }
        if trimmed.contains("://") {
            return Err(Invalid::new("a peer is no URL", "write host and port: \"example.com:443\""));
        }
        // An address or network of either family, without ports: before anything splits at a colon.
        if let Some(net) = network(trimmed)? {
            return Ok(Self { host: Host::Net(net), ports: None });
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            return bracketed(trimmed, rest);
        }
        match trimmed.split_once(':') {
            Some((_, ports)) if ports.contains(':') => Err(Invalid::new(
                format!("\"{text}\" is not an address"),
                "an IPv6 address with a port stands in brackets: \"[2001:db8::1]:443\"",
            )),
            Some((host, ports)) => Ok(Self { host: self::host(host)?, ports: Some(ports.parse()?) }),
            None => Ok(Self { host: host(trimmed)?, ports: None }),
        }
    }
}

/// `[address or network]`, `[address]/length`, each with or without `:ports`.
fn bracketed(whole: &str, rest: &str) -> Result<Peer, Invalid> {
    let wrong = || Invalid::new(format!("\"{whole}\" is not an address"), HELP);
    let (inside, after) = rest.split_once(']').ok_or_else(wrong)?;
    let (length, ports) = match after.split_once(':') {
        Some((length, ports)) => (length, Some(ports.parse()?)),
        None => (after, None),
    };
    if !(length.is_empty() || length.starts_with('/')) {
        return Err(wrong());
    }
    let net = network(&format!("{inside}{length}"))?.ok_or_else(wrong)?;
    Ok(Peer { host: Host::Net(net), ports })
}

fn host(text: &str) -> Result<Host, Invalid> {
    if text.is_empty() || text == "*" {
        return Ok(Host::Any);
    }
    if let Some(net) = network(text)? {
        return Ok(Host::Net(net));
    }
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let looks_like_an_address = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if looks_like_an_address || text.len() > 253 || !text.trim_end_matches('.').split('.').all(label_ok) {
        return Err(Invalid::new(
            format!("\"{text}\" is neither an address, a network nor a host name"),
            HELP,
        ));
    }
    Ok(Host::Name(text.to_owned()))
}

/// `Ok(None)`: not an address at all. `Err`: almost one.
fn network(text: &str) -> Result<Option<IpNet>, Invalid> {
    if let Ok(address) = text.parse::<IpAddr>() {
        if let Some((front, port)) = looks_like_a_port(text) {
            return Err(Invalid::new(
                format!("{text} may be an address, or {front} with port {port}"),
                format!("write \"[{front}]:{port}\" for the port, or \"{text}/128\" for the address"),
            ));
        }
        return Ok(Some(IpNet::from(unmapped(address))));
    }
    let Some((address, length)) = text.split_once('/') else { return Ok(None) };
    let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
    if length.contains(':') {
        return Ok(None);
    }
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let net =
        length.parse::<u8>().ok().and_then(|length| IpNet::new(address, length).ok()).ok_or_else(|| {
            Invalid::new(
                format!("\"{text}\" has no valid prefix length"),
                format!("it goes from /0 to /{longest}"),
            )
        })?;
    if net.addr() != net.network() {
        return Err(Invalid::new(
            format!("{text} names one address and a network at once"),
            format!("write {} for the network, or {address} for the address", net.trunc()),
        ));
    }
    Ok(Some(net))
}

/// `::1:6379` is a valid address, and nobody who writes it means that: the last group has the form of a port, and what stands
/// before it is an address of its own.
fn looks_like_a_port(text: &str) -> Option<(&str, &str)> {
    let (front, port) = text.rsplit_once(':')?;
    let decimal = (2..=5).contains(&port.len()) && port.chars().all(|c| c.is_ascii_digit());
    let whole = !front.ends_with(':') && front.parse::<IpAddr>().is_ok();
    (decimal && whole).then_some((front, port))
}

/// IPv4-mapped IPv6 addresses are IPv4 on the wire.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        match (&self.host, &self.ports) {
            (Host::Any, None) => f.write_str("*"),
            (Host::Any, Some(_)) => Ok(()),
            (Host::Name(name), _) => f.write_str(name),
            (Host::Net(net @ IpNet::V6(_)), Some(_)) if single(net) => write!(f, "[{}]", net.addr()),
            (Host::Net(net @ IpNet::V6(_)), Some(_)) => write!(f, "[{net}]"),
            (Host::Net(net), _) if single(net) => write!(f, "{}", net.addr()),
            (Host::Net(net), _) => write!(f, "{net}"),
        }?;
        self.ports.as_ref().map_or(Ok(()), |ports| write!(f, ":{ports}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_and_writes_it_back() {
        for text in [
            "10.0.0.7",
            "10.0.0.7:5432",
            "10.0.0.0/8",
            "10.0.0.0/8:5432-5433",
            "db.internal",
            "db.internal:5432",
            "db_1:80,443,8000-8099",
            ":5432",
            "*",
            "::1",
            "2001:db8::/32",
            "[2001:db8::1]:443",
            "[2001:db8::/32]:443",
            "0.0.0.0/0",
        ] {
            let peer: Peer = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(text, peer.to_string());
            assert_eq!(peer, peer.to_string().parse().unwrap());
        }
        assert_eq!("[2001:db8::]/32:1".parse::<Peer>(), "[2001:db8::/32]:1".parse());
        assert_eq!("::ffff:10.0.0.7".parse::<Peer>(), "10.0.0.7".parse());
    }

    #[test]
    fn refuses_what_is_almost_right() {
        for text in [
            "",
            " ",
            "::1:6379",
            "2001:db8::1:443",
            "http://x.com",
            "10.0.0.300",
            "10.0.0.7/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "db:0",
            "db:http",
            "db:1:2",
            "2001:db8::1:zz",
            "[::1",
            "[::1]443",
            "a..b",
            "-:",
            "host name",
            "1.2.3",
            "2001:db8::1/32",
        ] {
            assert!(text.parse::<Peer>().is_err(), "{text}: {:?}", text.parse::<Peer>());
        }
    }
}
