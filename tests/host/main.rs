//! Tests on a real kernel, as root: real programs on real hooks, real servers, in network namespaces and cgroups made for
//! the test. The kernel is this machine's, or that of a guest of `cargo xtask vm`; see `kchaos_tests::suite`.

mod broken;
mod clsact;
mod command;
mod connect;
mod counters;
mod deadline;
mod demo;
mod drop;
mod features;
mod halt;
mod leftovers;
mod metrics;
mod packets;
mod protected;
mod redis;
mod scope;
mod seed;
mod verifier;

use std::process::ExitCode;

use kchaos_tests::suite;

fn main() -> ExitCode {
    let all = [
        features::TESTS,
        verifier::TESTS,
        packets::TESTS,
        drop::TESTS,
        connect::TESTS,
        clsact::TESTS,
        command::TESTS,
        counters::TESTS,
        deadline::TESTS,
        demo::TESTS,
        halt::TESTS,
        leftovers::TESTS,
        metrics::TESTS,
        protected::TESTS,
        redis::TESTS,
        scope::TESTS,
        seed::TESTS,
    ];
    suite::main(&all, broken::TESTS, broken::BY_NAME)
}
