//! `corrupt`: bits are flipped where that was asked for and nowhere else, and what cannot be flipped goes on as it is.

use std::time::Duration;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share, scaled,
    traffic::{Server, Sink, calls},
    wait_for,
};

use crate::shaping::{ADDRESSES, Wire};

kchaos_tests::tests! {
    needs(spread, TcEgress): flipped_bits_arrive, tcp_delivers_flipped_bits, fragments_are_put_together;
    needs(once, TcEgress): broken_checksums_do_not, tcp_repairs_what_is_broken, what_has_no_data_stays;
}

/// As many bits of each packet that is hit as were asked for, and the receiver's stack takes it.
fn flipped_bits_arrive() {
    let (wire, count) = (Wire::new(), scaled(1000));
    for address in ADDRESSES {
        for bits in [1, 3] {
            let asked = bits.to_string();
            let words = ["--checksum", "valid", "--bits", &asked, "--probability", "40%"];
            let (ended, numbers) = wire.numbered("corrupt", address, &words, count, "20");
            assert_eq!(count, numbers.len() as u64, "{ended:?}");
            let wrong: Vec<u32> = (0..count)
                .zip(&numbers)
                .map(|(sent, got)| (sent ^ got).count_ones())
                .filter(|n| *n > 0)
                .collect();
            // The same bit may be drawn twice, and is what it was; of 3 one is left then.
            assert!(wrong.iter().all(|flipped| *flipped <= bits && (bits - flipped) % 2 == 0), "{wrong:?}");
            assert_eq!(ended.count(0, "injected"), wrong.len() as u64, "{ended:?}");
            // Of 64 bits, 3 are different ones in 19 of 20 packets.
            let all = wrong.iter().filter(|flipped| **flipped == bits).count();
            assert!(all * 4 > wrong.len() * 3, "{all} of {} with {bits} bits: {wrong:?}", wrong.len());
            assert_share("hit", 0.4, ended.count(0, "injected"), count);
        }
    }
}

fn broken_checksums_do_not() {
    let (wire, count) = (Wire::new(), scaled(1000));
    for address in ADDRESSES {
        let words = ["--checksum", "broken", "--probability", "40%"];
        let (ended, numbers) = wire.numbered("corrupt", address, &words, count, "20");
        assert_eq!(count - ended.count(0, "injected"), numbers.len() as u64, "{ended:?}");
        assert_share("hit", 0.4, ended.count(0, "injected"), count);
    }
}

/// What a connection to ourselves makes of 10 MB: how often packets were hit, and how many bits came wrong.
fn over_tcp(at: &str, words: &[&str]) -> (u64, u64) {
    const BLOCKS: u64 = 160;
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("both"));
    let kchaos = Kchaos::inject(&ns, "corrupt", &cgroup, &[&["--protocol", "tcp"], words].concat());
    let bulk = calls(&ns, &cgroup, &["tcp-bulk", at, &BLOCKS.to_string()]);
    let ended = kchaos.stop();
    assert_eq!(BLOCKS, bulk.ok, "{bulk:?} {ended:?}");
    ended.assert_books(0);
    (ended.count(0, "injected"), bulk.wrong)
}

fn tcp_repairs_what_is_broken() {
    for at in ["127.0.0.1:7340", "[::1]:7340"] {
        let (hit, wrong) = over_tcp(at, &["--checksum", "broken", "--probability", "5%"]);
        assert!(hit > 0, "none was hit");
        assert_eq!(0, wrong, "{at}");
    }
}

/// TCP keeps its data where headers never are. What it has to send again is as it was.
fn tcp_delivers_flipped_bits() {
    for at in ["127.0.0.1:7341", "[::1]:7341"] {
        let (hit, wrong) = over_tcp(at, &["--checksum", "valid", "--probability", "20%"]);
        assert!(hit > 0, "none was hit");
        assert_eq!(hit, wrong, "{at}");
    }
}

/// Connections on which nothing is said, and a protocol that has no data in this sense.
fn what_has_no_data_stays() {
    let (ns, client, server) = (NetNs::new(), Cgroup::new("client"), Cgroup::new("server"));
    let _server = Server::start(&ns, &server, "7342");
    for at in ["127.0.0.1:7342", "[::1]:7342"] {
        let kchaos = Kchaos::inject(&ns, "corrupt", &client, &["--checksum", "valid"]);
        assert_eq!(5, calls(&ns, &client, &["connect", at, "5"]).ok, "{at}");
        assert_eq!(5, calls(&ns, &client, &["ping", at, "5"]).ok, "{at}");
        let ended = kchaos.stop();
        // SYN, ACK and FIN of each connection.
        assert!(ended.count(0, "matched") >= 5 * 3 + 5, "{ended:?}");
        assert_eq!((0, ended.count(0, "matched")), (ended.count(0, "injected"), ended.skipped(0, "failed")));
    }
}

/// Datagrams of 5,000 bytes go out in four pieces. Only the first has a checksum to be mended; what is put together fits it.
fn fragments_are_put_together() {
    let Wire { near, far, cgroup } = Wire::new();
    for address in ADDRESSES {
        let sink = Sink::new(&far, address.parse().unwrap());
        let kchaos = Kchaos::inject(&near, "corrupt", &cgroup, &["--checksum", "valid", "--bits", "1"]);
        assert_eq!(20, calls(&near, &cgroup, &["udp-send-big", &sink.address.to_string(), "20"]).ok);
        wait_for("all are put together", Duration::from_secs(5), || sink.count() == 20);
        let ended = kchaos.stop();
        assert_eq!((80, 20), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert_eq!(60, ended.skipped(0, "failed"), "{ended:?}");
    }
}
