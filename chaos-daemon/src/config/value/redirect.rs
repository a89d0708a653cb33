//! Where a call goes instead: `10.0.0.9:5433`, `[2001:db8::9]:5433`, `10.0.0.9` (the port that it names), `:5433` (the
//! address that it names).

use std::{fmt, net::IpAddr, str::FromStr};

use super::{Host, Invalid, Peer, Ports, deserialize_from_text};

/// Another far end for a call. At least one of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Its address; `None` is the one that the call names. Never an IPv4-mapped one, and always that of one host.
    pub address: Option<IpAddr>,
    /// Its port, 1 to 65535; `None` is the one that the call names.
    pub port: Option<u16>,
}

deserialize_from_text!(Redirect, "an address and port such as \"10.0.0.9:5433\", \"10.0.0.9\" or \":5433\"");

const HELP: &str = "write \"10.0.0.9:5433\" or \"[2001:db8::9]:5433\", \"10.0.0.9\" for the same port, \":5433\" for the same address";

impl FromStr for Redirect {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let trimmed = text.trim();
        let wrong = |message: String| Err(Invalid::new(message, HELP));
        if trimmed.is_empty() {
            return wrong("the redirect is empty".to_owned());
        }
        if trimmed.starts_with("unix:") || trimmed.starts_with('/') {
            return wrong("a call cannot be sent on to a unix socket".to_owned());
        }
        if trimmed.contains("://") {
            return wrong("a redirect is no URL".to_owned());
        }
        if trimmed.chars().all(|c| c.is_ascii_digit()) {
            return Err(Invalid::new(
                format!("\"{trimmed}\" is not an address"),
                format!("a port alone is written \":{trimmed}\""),
            ));
        }
        let Peer { host, ports } = trimmed.parse()?;
        let address = match host {
            Host::Any => None,
            Host::Net(net) if net.prefix_len() == net.max_prefix_len() => Some(net.addr()),
            Host::Net(net) => return wrong(format!("{net} is a network, and a call goes to one address")),
            Host::Name(name) => {
                return wrong(format!("\"{name}\" is not an address: names are not looked up here"));
            }
        };
        let port = ports.as_ref().map(one_port).transpose()?;
        if address.is_none() && port.is_none() {
            return wrong(format!("\"{trimmed}\" names neither an address nor a port"));
        }
        if let Some(why) = address.and_then(not_one_host) {
            return wrong(format!("a call cannot be sent on to {trimmed}: {why}"));
        }
        Ok(Self { address, port })
    }
}

fn one_port(ports: &Ports) -> Result<u16, Invalid> {
    match ports.0[..] {
        [range] if range.first == range.last => Ok(range.first),
        _ => Err(Invalid::new(format!("{ports} is more than one port, and a call goes to one"), HELP)),
    }
}

/// Why no call can be sent on to an address.
fn not_one_host(address: IpAddr) -> Option<&'static str> {
    let (broadcast, link_local) = match address {
        IpAddr::V4(v4) => (v4.is_broadcast(), false),
        IpAddr::V6(v6) => (false, v6.is_unicast_link_local()),
    };
    if address.is_unspecified() {
        Some("it is no host's address")
    } else if address.is_multicast() || broadcast {
        Some("it is not the address of one host")
    } else if link_local {
        // The program cannot write the scope id.
        Some("a link-local address takes an interface, which a redirect cannot give")
    } else {
        None
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (Some(address @ IpAddr::V6(_)), Some(_)) => write!(f, "[{address}]"),
            (Some(address), _) => write!(f, "{address}"),
            (None, _) => Ok(()),
        }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, address, port) in [
            ("10.0.0.9:5433", Some("10.0.0.9"), Some(5433)),
            ("10.0.0.9", Some("10.0.0.9"), None),
            (":5433", None, Some(5433)),
            ("*:5433", None, Some(5433)),
            ("[::1]:5433", Some("::1"), Some(5433)),
            ("::1", Some("::1"), None),
            ("[2001:db8::9]", Some("2001:db8::9"), None),
            ("[::ffff:10.0.0.9]:1", Some("10.0.0.9"), Some(1)),
        ] {
            let wanted = Redirect { address: address.map(|a| a.parse().unwrap()), port };
            assert_eq!(Ok(wanted), text.parse(), "{text}");
        }
    }

    #[test]
    fn refuses_what_no_call_can_be_sent_to() {
        for (text, message) in [
            ("", "is empty"),
            ("*", "neither an address nor a port"),
            ("5433", "is not an address"),
            ("db.internal:5432", "names are not looked up"),
            ("localhost", "names are not looked up"),
            ("10.0.0.0/8:5433", "is a network"),
            ("10.0.0.9:5432-5433", "more than one port"),
            ("10.0.0.9:80,443", "more than one port"),
            ("10.0.0.9:0", "out of range"),
            ("10.0.0.9:65536", "out of range"),
            ("10.0.0.300:80", "neither an address"),
            ("::1:5433", "may be an address"),
            ("0.0.0.0:80", "no host's address"),
            ("[::]:80", "no host's address"),
            ("224.0.0.1:80", "not the address of one host"),
            ("255.255.255.255:80", "not the address of one host"),
            ("[ff02::1]:80", "not the address of one host"),
            ("[fe80::1]:80", "takes an interface"),
            ("http://10.0.0.9", "no URL"),
            ("unix:/run/x.sock", "unix socket"),
        ] {
            let error = text.parse::<Redirect>().expect_err(text);
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(address in any::<Option<IpAddr>>(), port in 1u16..) {
            let redirect = Redirect { address, port: Some(port) };
            // Some addresses are refused, and mapped ones are IPv4.
            if let Ok(read) = redirect.to_string().parse::<Redirect>() {
                prop_assert_eq!(read.port, Some(port));
                prop_assert_eq!(read.address, address.map(|a| a.to_canonical()));
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            } else {
                prop_assert!(address.is_some_and(|a| not_one_host(a.to_canonical()).is_some()));
            }
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,40}") {
            let _either = text.parse::<Redirect>();
        }
    }
}
