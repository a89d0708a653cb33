//! Host names of what is measured, by the same resolver as those of far ends.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::error::chain;
use crate::resolver::resolver;

/// The addresses of a name, of both families.
pub async fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = |error: &dyn std::error::Error| format!("cannot look up {name}: {}", chain(error));
    let resolver = resolver(LookupIpStrategy::Ipv4AndIpv6).map_err(|e| wrong(&e))?;
    let found: Vec<IpAddr> = resolver.lookup_ip(name).await.map_err(|e| wrong(&e))?.iter().collect();
    if found.is_empty() {
        return Err(format!("the name {name} has no addresses"));
    }
    Ok(found)
}

/// The same for HTTP.
pub struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is that of the URL.
            let found =
                addresses(name.as_str()).await?.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}
