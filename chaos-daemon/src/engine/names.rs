//! Host names of peers to addresses: all of both families, or an error.
//!
//! A pure resolver and not the C library's, which cannot be linked statically. It reads /etc/hosts and /etc/resolv.conf.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::NetError,
};

use super::tables::Addresses;
use crate::config::{ConfigError, Experiment, Problem, value::Host};

/// Looks names up; made only when there is one to look up.
struct Names {
    families: [TokioResolver; 2],
}

impl Names {
    /// Reads the system's configuration.
    fn from_system() -> Result<Self, NetError> {
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
    async fn addresses(&self, name: &str) -> Result<BTreeSet<IpAddr>, NetError> {
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

/// All addresses of all host names in `experiment`. A name without any is a mistake in the file.
pub async fn of(experiment: &Experiment) -> Result<Addresses, Box<ConfigError>> {
    let mut found = Addresses::new();
    let mut resolver = None;
    let sides = experiment.faults.iter().map(|f| &f.side);
    for peer in sides.flat_map(|s| s.peers.iter().chain(&s.exclude)) {
        let Host::Name(name) = &peer.get_ref().host else { continue };
        if found.contains_key(name) {
            continue;
        }
        let wrong = |message: String| {
            let problem = Problem::at(peer.span(), message, "not resolved").help(
                "a name needs at least one A or AAAA record, and servers that answer; or write its address",
            );
            experiment.mistake(problem)
        };
        let resolver = match &mut resolver {
            Some(resolver) => resolver,
            none => {
                none.insert(Names::from_system().map_err(|e| wrong(format!("cannot look up {name}: {e}")))?)
            }
        };
        let addresses =
            resolver.addresses(name).await.map_err(|e| wrong(format!("cannot look up {name}: {e}")))?;
        if addresses.is_empty() {
            return Err(wrong(format!("the name {name} has no addresses")));
        }
        let addresses = addresses.into_iter().map(|a: IpAddr| a.to_canonical()).collect();
        found.insert(name.clone(), addresses);
    }
    Ok(found)
}
