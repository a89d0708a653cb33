//! Delays with jitter: they spread as was asked for, and follow each other as was asked for. Whether they do so to the
//! last digit is for the measurements (`kchaos-bench`); here are enough of them to tell one distribution from another.

use std::thread;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, scaled, slow,
    spread::{Shape, Spread},
    statistics::{Fit, kolmogorov_smirnov},
    traffic::{Server, calls_on_one_cpu},
};

kchaos_tests::tests! {
    needs(once, DelayLine, TcEgress): they_spread_as_asked, they_follow_each_other_as_asked;
}

/// What the machine adds must be small against the jitter.
fn longer() -> u32 {
    slow().min(4)
}

/// How long each of `count` echoes took, one after the other, for each of `clients` at the same time, in ms. In each
/// connection there is only one packet at a time, which waits for no other. They go out on one CPU: with a seed, what is
/// drawn is the same each time.
fn echoes(words: &[&str], clients: u64, count: u64) -> Vec<f64> {
    let (ns, client, server) = (NetNs::new(), Cgroup::new("client"), Cgroup::new("server"));
    let _server = Server::start(&ns, &server, "7350");
    let kchaos = Kchaos::inject(&ns, "delay", &client, &[&["--seed", "3"], words].concat());
    let one = || calls_on_one_cpu(&ns, &client, &["udp-echo", "[::1]:7350", &count.to_string()]).each;
    let took: Vec<u64> = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let (ended, all) = (kchaos.stop(), clients * count);
    assert_eq!((all, all), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    took.into_iter().map(|nanos| nanos as f64 / 1e6).collect()
}

/// How well 400 delays of this shape fit it, and their mean, in ms.
fn fit(shape: Shape, longer: u32) -> (Fit, f64) {
    let (delay, jitter) = (60 * longer, 20 * longer);
    let (delay_ms, jitter_ms) = (format!("{delay}ms"), format!("{jitter}ms"));
    let words = ["--delay", &delay_ms, "--jitter", &jitter_ms, "--distribution", shape.name()];
    let took = echoes(&words, scaled(40), 10);
    let spread = Spread { shape, delay: delay.into(), jitter: jitter.into() };
    let mean = took.iter().sum::<f64>() / took.len() as f64;
    (kolmogorov_smirnov(&took, |took| spread.share_below(took)), mean)
}

/// What the machine adds to a delay does not grow with it, an error in how delays spread does: what does not fit is
/// tried again with longer ones.
fn they_spread_as_asked() {
    for shape in Shape::ALL {
        let mut seen = Vec::new();
        let fits = [1, 2, 4].into_iter().any(|times| {
            let (fit, mean) = fit(shape, times * longer());
            seen.push(format!("{times} times as long: {fit:?}, a mean of {mean} ms"));
            fit.p > 1e-5
        });
        assert!(fits, "{shape:?}: {seen:#?}");
    }
}

/// Seven in ten delays are the one before.
fn they_follow_each_other_as_asked() {
    let (delay, jitter) = (format!("{}ms", 10 * longer()), format!("{}ms", 8 * longer()));
    let took = echoes(&["--delay", &delay, "--jitter", &jitter, "--correlation", "70%"], 1, 200);
    let mean = took.iter().sum::<f64>() / took.len() as f64;
    let off = |took: &f64| took - mean;
    let variance: f64 = took.iter().map(|took| off(took).powi(2)).sum();
    let neighbours: f64 = took.windows(2).map(|pair| off(&pair[0]) * off(&pair[1])).sum();
    let correlation = neighbours / variance;
    // Of 20,000 such samples none is below 0.4, and of those without a correlation none above 0.3.
    assert!((0.4..0.95).contains(&correlation), "{correlation}, not 0.7: {took:?}");
}
