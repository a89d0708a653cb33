//! Tests on a real kernel, as root: real programs on real hooks, real servers, in network namespaces and cgroups made
//! for the test. The kernel is this machine's, or that of a guest of `cargo xtask vm`; see `kchaos_tests::suite`.

mod arrivals;
mod broken;
mod calls;
mod calls_narrowed;
mod calls_served;
mod checksums;
mod clsact;
mod command;
mod connect;
mod containers;
mod corrupt;
mod counters;
mod daemon;
mod daemon_broken;
mod daemon_clock;
mod daemon_ends;
mod daemon_halt;
mod daemon_kills;
mod daemon_soak;
mod deadline;
mod delay;
mod demo;
mod differential;
mod distributions;
mod drop;
mod ending;
mod evidence;
mod examples;
mod features;
mod follow;
mod halt;
mod idle;
mod leftovers;
mod malformed;
mod metrics;
mod moves;
mod names;
mod netns;
mod observed;
mod packets;
mod partition;
mod passing;
mod patterns;
mod pods;
mod preview;
mod protected;
mod real;
mod record_page;
mod redirect;
mod redis;
mod reject;
mod replace;
mod reset;
mod resources;
mod resources_ends;
mod resources_limits;
mod rights;
mod scenarios;
mod scope;
mod seed;
mod shaping;
mod side_by_side;
mod steady;
mod stop;
mod stop_prometheus;
mod translated;
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
        partition::TESTS,
        passing::TESTS,
        drop::TESTS,
        calls::TESTS,
        calls_narrowed::TESTS,
        calls_served::TESTS,
        connect::TESTS,
        arrivals::TESTS,
        checksums::TESTS,
        containers::TESTS,
        clsact::TESTS,
        command::TESTS,
        corrupt::TESTS,
        counters::TESTS,
        daemon::TESTS,
        daemon_broken::TESTS,
        daemon_clock::TESTS,
        daemon_ends::TESTS,
        daemon_halt::TESTS,
        daemon_kills::TESTS,
        daemon_soak::TESTS,
        deadline::TESTS,
        delay::TESTS,
        demo::TESTS,
        differential::TESTS,
        ending::TESTS,
        evidence::TESTS,
        examples::TESTS,
        distributions::TESTS,
        halt::TESTS,
        idle::TESTS,
        leftovers::TESTS,
        names::TESTS,
        malformed::TESTS,
        netns::TESTS,
        observed::TESTS,
        metrics::TESTS,
        moves::TESTS,
        patterns::TESTS,
        pods::TESTS,
        preview::TESTS,
        protected::TESTS,
        real::TESTS,
        record_page::TESTS,
        redirect::TESTS,
        redis::TESTS,
        reject::TESTS,
        replace::TESTS,
        reset::TESTS,
        resources::TESTS,
        resources_ends::TESTS,
        resources_limits::TESTS,
        rights::TESTS,
        scenarios::cache::TESTS,
        scenarios::database::TESTS,
        scenarios::disk::TESTS,
        scenarios::downstream::TESTS,
        scenarios::failover::TESTS,
        scenarios::instance::TESTS,
        scenarios::loss::TESTS,
        scenarios::memory::TESTS,
        scenarios::names::TESTS,
        scenarios::queue::TESTS,
        scenarios::zone::TESTS,
        scope::TESTS,
        seed::TESTS,
        shaping::TESTS,
        side_by_side::TESTS,
        steady::TESTS,
        stop::TESTS,
        stop_prometheus::TESTS,
        translated::TESTS,
    ];
    suite::main(&all, broken::TESTS, broken::BY_NAME)
}
