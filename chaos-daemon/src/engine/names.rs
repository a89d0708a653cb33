//! Host names of peers to addresses: all of both families, or an error.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy, net::NetError};

use super::tables::Addresses;
use crate::{
    config::{ConfigError, Experiment, Problem, value::Host},
    resolver::resolver,
};

/// Looks names up; made only when there is one to look up.
struct Names {
    families: [TokioResolver; 2],
}

impl Names {
    /// Reads the system's configuration.
    fn from_system() -> Result<Self, NetError> {
        Ok(Self { families: [resolver(LookupIpStrategy::Ipv4Only)?, resolver(LookupIpStrategy::Ipv6Only)?] })
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

/// The names that `experiment` leaves alone. They only ever get more addresses: a connection to one that the name has
/// lost must not be hit all of a sudden.
pub fn excluded(experiment: &Experiment) -> BTreeSet<String> {
    let peers = experiment.faults.iter().flat_map(|fault| &fault.side.exclude);
    let name = |peer: &toml::Spanned<crate::config::value::Peer>| match &peer.get_ref().host {
        Host::Name(name) => Some(name.clone()),
        Host::Any | Host::Net(_) => None,
    };
    peers.filter_map(name).collect()
}

/// Looks every name in `known` up once more, and replaces its addresses by those found; those of names in `growing`
/// stay, too. A name that has none any more, or cannot be looked up, keeps its last ones: answers with these, and why.
pub async fn again(known: &mut Addresses, growing: &BTreeSet<String>) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    let resolver = match Names::from_system() {
        Ok(resolver) => resolver,
        Err(error) => return known.keys().map(|name| (name.clone(), error.to_string())).collect(),
    };
    for (name, addresses) in known.iter_mut() {
        match resolver.addresses(name).await {
            Ok(found) if found.is_empty() => {
                kept.push((name.clone(), "it has no addresses any more".to_owned()));
            }
            Ok(found) => {
                if !growing.contains(name) {
                    addresses.clear();
                }
                addresses.extend(found.into_iter().map(|a| a.to_canonical()));
            }
            Err(error) => kept.push((name.clone(), error.to_string())),
        }
    }
    kept
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
