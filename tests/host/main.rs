//! Tests on a real kernel, as root: real programs on real hooks, real servers, in network namespaces and cgroups made
//! for the test. The kernel is this machine's, or that of a guest of `cargo xtask vm`; see `kchaos_tests::suite`.

mod arrivals;
mod broken;
mod clsact;
mod command;
mod connect;
mod containers;
mod corrupt;
mod counters;
mod deadline;
mod delay;
mod demo;
mod differential;
mod distributions;
mod drop;
mod ending;
mod features;
mod follow;
mod halt;
mod leftovers;
mod metrics;
mod moves;
mod names;
mod netns;
mod packets;
mod passing;
mod patterns;
mod pods;
mod preview;
mod protected;
mod redis;
mod replace;
mod scope;
mod seed;
mod shaping;
mod side_by_side;
mod verifier;
mod waiting;

use std::process::ExitCode;

use kchaos_tests::suite;

fn main() -> ExitCode {
    let all = [
        features::TESTS,
        follow::TESTS,
        verifier::TESTS,
        waiting::TESTS,
        packets::TESTS,
        passing::TESTS,
        drop::TESTS,
        connect::TESTS,
        arrivals::TESTS,
        containers::TESTS,
        clsact::TESTS,
        command::TESTS,
        corrupt::TESTS,
        counters::TESTS,
        deadline::TESTS,
        delay::TESTS,
        demo::TESTS,
        differential::TESTS,
        ending::TESTS,
        distributions::TESTS,
        halt::TESTS,
        leftovers::TESTS,
        names::TESTS,
        netns::TESTS,
        metrics::TESTS,
        moves::TESTS,
        patterns::TESTS,
        pods::TESTS,
        preview::TESTS,
        protected::TESTS,
        redis::TESTS,
        replace::TESTS,
        scope::TESTS,
        seed::TESTS,
        shaping::TESTS,
        side_by_side::TESTS,
    ];
    suite::main(&all, broken::TESTS, broken::BY_NAME)
}
