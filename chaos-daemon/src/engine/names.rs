//! Host names of peers to addresses: all of both families, or an error.
//!
//! A pure resolver and not the C library's, which cannot be linked statically. It reads /etc/hosts and /etc/resolv.conf.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::NetError,
};

/// Looks names up; made only when there is one to look up.
pub struct Names {
    families: [TokioResolver; 2],
}

impl Names {
    /// Reads the system's configuration.
    pub fn from_system() -> Result<Self, NetError> {
        let family = |strategy| {
            let mut builder = TokioResolver::builder_tokio()?;
            let options = builder.options_mut();
            options.ip_strategy = strategy;
            options.use_hosts_file = ResolveHosts::Always;
            builder.build()
        };
        Ok(Self { families: [family(LookupIpStrategy::Ipv4Only)?, family(LookupIpStrategy::Ipv6Only)?] })
    }

    /// All addresses of `name`. A family without records is fine, both without is an empty set; a server that does not
    /// answer is an error, because half of the addresses is half of the fault.
    pub async fn addresses(&self, name: &str) -> Result<BTreeSet<IpAddr>, NetError> {
        let mut found = BTreeSet::new();
        for family in &self.families {
            match family.lookup_ip(name).await {
                Ok(addresses) => found.extend(addresses.iter()),
                Err(e) if e.is_no_records_found() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }
}
