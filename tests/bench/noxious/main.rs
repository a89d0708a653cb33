//! `kchaos-noxious LISTEN UPSTREAM MILLISECONDS`: noxious with one proxy and one `latency` toxic on what clients send.
//!
//! Its server is not in the registry, only the library that does all the work: this starts a proxy of it as the server
//! does, without the API by which toxics are changed.

use std::{env, error::Error};

use noxious::{
    proxy::{ProxyConfig, ProxyRunner, Runner as _, Toxics},
    signal::{Close, Stop},
    socket::TcpListener,
    toxic::{StreamDirection, Toxic, ToxicKind},
};

const USAGE: &str = "kchaos-noxious LISTEN UPSTREAM MILLISECONDS";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [listen, upstream, latency] = &words[..] else { return Err(USAGE.into()) };
    let config = ProxyConfig {
        name: "bench".to_owned(),
        listen: listen.clone(),
        upstream: upstream.clone(),
        enabled: true,
        rand_seed: None,
    };
    let toxic = Toxic {
        kind: ToxicKind::Latency { latency: latency.parse()?, jitter: 0 },
        name: "latency".to_owned(),
        toxicity: 1.0,
        direction: StreamDirection::Upstream,
    };
    let toxics = Toxics { upstream: vec![toxic], downstream: Vec::new() };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let (listener, proxy) = ProxyRunner::initialize_proxy::<TcpListener>(config, toxics).await?;
        // Both ends of what nobody uses are held until the process is killed.
        let (_changes, receiver) = bmrng::channel(1);
        let ((stop, _stopper), (_close, closer)) = (Stop::new(), Close::new());
        ProxyRunner::run_proxy(listener, proxy, receiver, stop, closer).await?;
        Ok(())
    })
}
