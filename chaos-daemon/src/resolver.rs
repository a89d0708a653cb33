//! Host names to addresses, without the C library, which cannot be linked statically: a pure resolver that reads
//! /etc/hosts and /etc/resolv.conf.
//!
//! What must stay true: one is made for each look, so that neither an old answer nor an old configuration is taken for
//! the present.

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::NetError,
};

/// One for these families.
pub fn resolver(families: LookupIpStrategy) -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.ip_strategy = families;
    options.use_hosts_file = ResolveHosts::Always;
    builder.build()
}
