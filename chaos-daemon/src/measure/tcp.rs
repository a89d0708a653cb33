//! `tcp = { connect, within }`: whether a connection can be made. It is closed at once.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{
    MeasureError, Measured, absent,
    error::chain,
    http::{WITHIN, limit},
    names,
};
use crate::config::{Problem, Section, value::Span};

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// A name or an address.
    pub host: String,
    /// The port, at least 1.
    pub port: u16,
    /// How long it may take, the name's lookup included.
    pub within: Duration,
}

impl Tcp {
    /// Reads the source.
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let Some(mut table) = section.table("tcp")? else { return Err(absent(section)) };
        let connect = table.need::<String>("connect", "\"db.internal:5432\"")?;
        let Some((host, port)) = parts(connect.get_ref()) else {
            let message = format!("\"{}\" is not a host and its port", connect.get_ref());
            return Err(Problem::at(connect.span(), message, "cannot be connected to")
                .help("write \"db.internal:5432\", \"10.0.0.7:5432\" or \"[2001:db8::7]:5432\""));
        };
        let within = limit(&mut table, "within")?.unwrap_or(WITHIN);
        table.finish()?;
        Ok(Self { host, port, within })
    }

    fn end(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        format!("{} accepts connections within {}", self.end(), Span(self.within))
    }

    pub(super) async fn measure(&self) -> Result<Measured, MeasureError> {
        let unwell = |what: String| Measured::Unwell(format!("{} {what}", self.end()));
        Ok(match tokio::time::timeout(self.within, self.connect()).await {
            Ok(Ok(())) => Measured::Well,
            Ok(Err(why)) => unwell(format!("has accepted no connection: {why}")),
            Err(_) => unwell(format!("has accepted no connection within {}", Span(self.within))),
        })
    }

    /// To the first address that accepts one.
    async fn connect(&self) -> Result<(), String> {
        let addresses = match self.host.parse() {
            Ok(address) => vec![address],
            Err(_) => names::addresses(&self.host).await?,
        };
        let mut last = String::new();
        for address in addresses {
            match TcpStream::connect((address, self.port)).await {
                Ok(_closed) => return Ok(()),
                Err(error) => last = chain(&error),
            }
        }
        Err(last)
    }
}

/// `host:port` in two, an IPv6 address without its brackets.
fn parts(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = !host.is_empty() && (text.trim().starts_with('[') || host.chars().all(is_name));
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    fits.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn takes_hosts_and_ports_apart() {
        for (text, host, port) in
            [("db:5432", "db", 5432), ("10.0.0.7:1", "10.0.0.7", 1), ("[::1]:65535", "::1", 65535)]
        {
            assert_eq!(Some((host.to_owned(), port)), parts(text));
        }
        for text in
            ["", "db", "db:", ":80", "db:0", "db:65536", "::1:80", "[::1]", "[x]:80", "a b:80", "http://a:80"]
        {
            assert_eq!(None, parts(text), "{text}");
        }
    }
}
