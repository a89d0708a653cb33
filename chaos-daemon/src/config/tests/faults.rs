//! The fields of each kind: what is out of range, says nothing, or contradicts another is refused.

use super::{GOOD, refused, refused_alone};
use crate::config::parse;

/// The first fault of the good file, as another kind.
fn with(fields: &str) -> String {
    format!("kind = {fields}")
}

const DROP: &str = "kind = \"drop\"";

#[test]
fn refuses_delays_that_are_out_of_range_or_say_nothing() {
    let delay = |fields: &str| with(&format!("\"delay\"\n{fields}"));
    let refused = |fields: &str, message, underlined, help| {
        refused(DROP, &delay(fields), message, underlined, help);
    };
    refused("", "has no `delay`", "[[fault]]", "delay = \"100ms\"");
    refused("delay = \"99us\"", "the delay of 99us is too short", "\"99us\"", "between 100us and 10m");
    refused("delay = \"11m\"", "the delay of 11m is too long", "\"11m\"", "kind = \"drop\"");
    refused("delay = \"0s\"", "delays nothing", "\"0s\"", "between 100us");
    refused("delay = 50", "no unit", "50", "\"50ms\"");
    refused("delay = \"1ms\"\njitter = \"2ms\"", "larger than the delay", "\"2ms\"", "which is 1ms");
    let wrong = "unknown distribution \"gauss\"";
    refused("delay = \"1ms\"\njitter = \"1ms\"\ndistribution = \"gauss\"", wrong, "\"gauss\"", "\"normal\"");
    for (fields, message, value) in [
        ("distribution = \"normal\"", "`distribution` means nothing without `jitter`", "\"normal\""),
        ("correlation = \"25%\"", "`correlation` means nothing without `jitter`", "\"25%\""),
    ] {
        refused(&format!("delay = \"1ms\"\n{fields}"), message, value, "jitter = ");
    }
    let all = "delay = \"1ms\"\njitter = \"1ms\"\ncorrelation = \"100%\"";
    refused(all, "the delay of the first", "\"100%\"", "less than 100%");
    refused("delay = \"1ms\"\nburst = \"1MiB\"", "unknown field `burst`", "burst", "jitter");
}

#[test]
fn refuses_rates_of_nothing_and_of_two_meanings() {
    let refused = |fields: &str, message, underlined, help| {
        refused(DROP, &with(&format!("\"rate\"\n{fields}")), message, underlined, help);
    };
    refused("", "has no `rate`", "[[fault]]", "rate = \"10Mbit\"");
    refused("rate = 0", "the rate 0 is outside 8kbit to 100Gbit", "0", "kind = \"drop\"");
    refused("rate = \"0Mbit\"", "is outside", "\"0Mbit\"", "kind = \"drop\"");
    refused("rate = \"1Tbit\"", "might be bits or bytes, or is no rate", "\"1Tbit\"", "\"1Mbit\"");
    refused("rate = \"10Mbps\"", "might be bits or bytes", "\"10Mbps\"", "\"10MB/s\"");
    refused("rate = 10", "no unit", "10", "\"10Mbit\"");
    refused("rate = \"1Mbit\"\nburst = 64", "no unit", "64", "\"64KiB\"");
    refused("rate = \"1Mbit\"\nburst = \"1kB\"", "burst of 1kB is out of range", "\"1kB\"", "1514B");
    refused("rate = \"1Mbit\"\nburst = \"2GiB\"", "burst of 2GiB is out of range", "\"2GiB\"", "1GiB");
    refused("rate = \"1Mbit\"\nper = \"host\"", "not per \"host\"", "\"host\"", "\"flow\"");
}

#[test]
fn refuses_what_reorders_or_corrupts_nothing() {
    refused(DROP, "kind = \"reorder\"\ndelay = \"1us\"", "too short", "\"1us\"", "100us");
    let text = GOOD.replace(DROP, "kind = \"reorder\"").replacen("\"10%\"", "\"100%\"", 1);
    let error = parse("x.toml", &text, "x").unwrap_err();
    assert!(error.message().contains("none overtakes"), "{}", error.message());
    assert!(error.suggestion().unwrap().contains("kind = \"delay\""));
    let text = GOOD.replace(DROP, "kind = \"reorder\"").replace("probability = \"10%\"\n", "");
    let error = parse("x.toml", &text, "x").unwrap_err();
    assert!(error.message().contains("no `probability`"), "{}", error.message());
    let corrupt = |fields: &str| with(&format!("\"corrupt\"\n{fields}"));
    refused(DROP, &corrupt("checksum = \"bad\""), "unknown checksum", "\"bad\"", "\"broken\"");
    refused(DROP, &corrupt("checksum = \"valid\"\nbits = 9"), "9 bits are more", "9", "1 to 8");
    refused(DROP, &corrupt("checksum = \"valid\"\nbits = 0"), "0 is out of range", "0", "from 1 to");
    refused(DROP, &corrupt("bits = 2"), "`bits` means nothing", "2", "checksum = \"valid\"");
}

#[test]
fn refuses_connects_that_have_nowhere_to_go_or_two_ends() {
    let refused = |fields: &str, message, underlined, help| {
        refused_alone(&with(&format!("\"connect\"\n{fields}")), message, underlined, help);
    };
    let neither = "neither `errno` nor `redirect`";
    refused("", neither, "[[fault]]", "redirect = ");
    refused("redirects = \":80\"", "unknown field `redirects`", "redirects", "`redirect`");
    refused("errnoo = \"EIO\"", "unknown field `errnoo`", "errnoo", "`errno`");
    refused("errno = \"EIO\"\nredirect = \":80\"", "both fail and go elsewhere", "\":80\"", "two faults");
    refused("redirect = []", "empty list", "[]", "");
    refused("redirect = \"db:80\"", "not looked up", "\"db:80\"", "10.0.0.9:5433");
    refused("redirect = 5433", "is not an address", "5433", "\":5433\"");
    let two = "cannot go to 10.0.0.1 and to 10.0.0.2:80";
    refused("redirect = [\"10.0.0.1\", \"10.0.0.2:80\"]", two, "\"10.0.0.2:80\"", "one for IPv6");
    let port = "cannot go to fd00::1 and to :80";
    refused("redirect = [\"fd00::1\", \":80\"]", port, "\":80\"", "port alone");
    let family = "a call to fd00::/8 is IPv6, and cannot go to 10.0.0.1:80";
    let peers = "redirect = \"10.0.0.1:80\"\npeer = [\"10.0.0.7\", \"db\", \":80\", \"fd00::/8\"]";
    refused(peers, family, "\"fd00::/8\"", "one address of each family");
    let mapped = "redirect = \"[::1]:80\"\npeer = \"[::ffff:10.0.0.7]:80\"";
    refused(mapped, "10.0.0.7:80 is IPv4, and cannot go to [::1]:80", "\"[::ffff", "IPv6 peers only");
    refused("redirect = \":80\"\nprotocol = \"icmp\"", "not over icmp", "[[fault]]", "tcp");
    refused_alone("kind = \"redirect\"", "unknown kind", "\"redirect\"", "did you mean \"connect\"");
}

#[test]
fn takes_redirects_that_fit_their_peers() {
    for fields in [
        "redirect = \":80\"\npeer = [\"10.0.0.7\", \"fd00::/8\"]",
        "redirect = [\"10.0.0.1\", \"fd00::1\"]\npeer = [\"10.0.0.7\", \"fd00::/8\", \"db\"]",
        "redirect = \"10.0.0.1\"\npeer = [\"0.0.0.0/0\", \"db:80\", \":80\"]\nexclude = \"fd00::/8\"",
    ] {
        let text =
            format!("duration = \"60s\"\n[target]\nhost = true\n[[fault]]\nkind = \"connect\"\n{fields}\n");
        parse("x.toml", &text, "x").unwrap_or_else(|e| panic!("{fields}: {}", e.message()));
    }
}

#[test]
fn refuses_calls_that_cannot_be() {
    let refused = |fields: &str, message: &str, help: &str| {
        let text = GOOD.replace(DROP, &format!("kind = \"call\"\n{fields}"));
        let text = text.lines().filter(|line| !line.starts_with("peer") && !line.starts_with("local_port"));
        let text = text.filter(|line| !line.starts_with("direction") && !line.starts_with("protocol"));
        let text = text.filter(|line| !line.starts_with("exclude")).collect::<Vec<_>>().join("\n");
        let error = parse("x.toml", &format!("{text}\n"), "x").expect_err(fields);
        assert!(error.message().contains(message), "{fields}: {}", error.message());
        assert!(error.suggestion().unwrap_or("").contains(help), "{fields}: {:?}", error.suggestion());
    };
    let read = "call = \"read\"\nerrno = \"EIO\"";
    refused("errno = \"EIO\"", "no `call`", "call = \"read\"");
    refused("call = \"read\"", "no `errno`", "errno = \"EIO\"");
    refused("call = \"openat\"\nerrno = \"EIO\"", "unknown call \"openat\"", "did you mean \"open\"");
    refused("call = \"raed\"\nerrno = \"EIO\"", "unknown call", "did you mean \"read\"");
    refused("call = \"read\"\nerrno = 512", "unknown errno", "errno(3)");
    refused("call = \"read\"\nerrno = 0", "unknown errno", "errno(3)");
    refused(&format!("{read}\npath = \"var/lib\""), "no absolute path", "whole path");
    refused(&format!("{read}\nfile = \"disk\""), "unknown kind of file", "regular, pipe");
    refused(&format!("{read}\nuid = \"postgres\""), "not the number of a user", "id -u");
    refused(&format!("{read}\ncomm = \"/usr/bin/x\""), "not the name of a program", "/proc/PID/comm");
    refused("call = \"rmdir\"\nerrno = \"EIO\"", "rmdir cannot be made to fail", "calls are: read");
    refused("call = \"fallocate\"\nerrno = \"EIO\"", "unknown call", "did you mean \"write\"");
    // Lines that begin with a blank are kept.
    let connect = "call = \"connect\"\nerrno = \"EIO\"\n peer =";
    refused(&format!("{connect} \"unix:///run/a\""), "is a URL", "\"unix:/run/a\"");
    refused(&format!("{connect} \"unix:/run/a/\""), "is a directory", "unix:/run/app.sock");
    refused(&format!("{connect} \"/run/a\""), "a peer is no path", "unix:/run/app.sock");
    refused("call = \"open\"\nerrno = \"ESTALE\"", "tries again by itself", "such as EIO");
    refused("call = \"open\"\nerrno = \"ECHILD\"", "tries again by itself", "such as EIO");
    refused(&format!("{read}\nlimit = 0"), "out of range", "from 1");
    refused("call = \"fork\"\nerrno = \"EAGAIN\"\npath = \"/tmp\"", "`path` means nothing", "goes with read");
    refused("call = \"mkdir\"\nerrno = \"EIO\"\nfile = \"dir\"", "`file` means nothing", "goes with read");
    refused("call = \"connect\"\nerrno = \"EIO\"\nuid = 0", "`uid` means nothing", "leave it out");
}

#[test]
fn refuses_patterns_that_contradict_each_other() {
    let refused = |fields: &str, message, underlined, help| {
        refused(DROP, &with(&format!("\"drop\"\n{fields}")), message, underlined, help);
    };
    refused("every = 0", "0 is out of range", "0", "from 1 to");
    refused("every = 10", "`probability` contradicts `every`", "\"10%\"", "one pattern");
    refused("first = 3", "`probability` contradicts `first`", "\"10%\"", "one pattern");
    refused("p = \"1%\"", "`probability` contradicts `p`", "\"10%\"", "one pattern");
    refused("every = 10\nfirst = 3", "`every` and `first` are two patterns", "3", "one pattern");
    refused("burst_length = 4\np = \"1%\"", "`burst_length` and `p` are two", "\"1%\"", "one pattern");
    refused("p = \"1%\"\nburst_length = 4", "`p` and `burst_length` are two", "4", "one pattern");
    refused("correlation = \"100%\"", "fares like the first", "\"100%\"", "less than 100%");
    refused("burst_length = 0.5", "out of range", "0.5", "1 to 1000000");
    refused("burst_length = \"long\"", "not a number of packets", "\"long\"", "2.5");
}

/// Patterns without the probability of the good file.
#[test]
fn refuses_patterns_that_cannot_be() {
    let good = GOOD.replace("probability = \"10%\"\n", "");
    let refused = |fields: &str, message: &str, help: &str| {
        let text = good.replace(DROP, &format!("{DROP}\n{fields}"));
        let error = parse("x.toml", &text, "x").expect_err(fields);
        assert!(error.message().contains(message), "{fields}: {}", error.message());
        assert!(error.suggestion().unwrap_or("").contains(help), "{fields}: {:?}", error.suggestion());
        assert!(error.place().0 >= 12, "{fields}: {:?}", error.place());
    };
    refused("correlation = \"25%\"", "means nothing where every packet is lost", "probability = ");
    refused("burst_length = 4", "means nothing where every packet is lost", "probability = ");
    refused(
        "probability = \"60%\"\nburst_length = 1",
        "too short to lose 60%",
        "at most 50.0%; for this share they have 1.5",
    );
    refused("probability = \"100%\"\nburst_length = 9", "there are no bursts", "below 100%");
    refused("p = \"0%\"", "no packet meets the bad state", "probability");
    refused("p = \"1%\"\nr = \"0%\"", "the bad state never ends", "1/r");
    refused("p = \"100%\"", "the bad state never ends", "1/r");
    refused("r = \"25%\"", "has no `p`", "p = \"1%\"");
    let icmp = good.replace("protocol = \"tcp\"", "protocol = \"icmp\"").replace(":5432-5433", "");
    let icmp = icmp
        .replace("\"[2001:db8::1]:443\", \":6379\"", "\"::1\"")
        .replace("local_port = [6379, \"8000-8099\"]\n", "");
    assert!(parse("x", &icmp, "x").is_ok(), "{icmp}");
    let error = parse("x", &icmp.replace(DROP, &format!("{DROP}\nfirst = 3")), "x").unwrap_err();
    assert!(error.message().contains("no connections"), "{}", error.message());
}

#[test]
fn refuses_a_delay_line_that_is_no_use() {
    let text = GOOD.replace("[target]", "[delay_line]\npackets = 1000\n[target]");
    let error = parse("x", &text, "x").unwrap_err();
    assert!(error.message().contains("where no packet waits"), "{}", error.message());
    let delayed = text.replace(DROP, "kind = \"delay\"\ndelay = \"50ms\"");
    let room = parse("x", &delayed, "x").unwrap().line_room;
    assert_eq!((1000, 256 << 20), (room.packets, room.bytes));
    for (line, message) in [
        ("packets = 1000001", "1000001 packets are too many"),
        ("packets = 0", "out of range"),
        ("bytes = \"1KiB\"", "1KiB are no room"),
        ("bytes = \"8GiB\"", "8GiB are no room"),
        ("bytes = 1000", "no unit"),
        ("limit = 1", "unknown field `limit` in [delay_line]"),
    ] {
        let error = parse("x", &delayed.replace("packets = 1000", line), "x").unwrap_err();
        assert!(error.message().contains(message), "{line}: {}", error.message());
    }
}

#[test]
fn refuses_resets_that_never_come() {
    let refused = |fields: &str, message, underlined, help| {
        refused_alone(&format!("kind = \"reset\"\n{fields}"), message, underlined, help);
    };
    refused("after = \"2m\"", "when the experiment is over", "\"2m\"", "`duration` longer");
    refused("after = \"0s\"", "more than nothing", "\"0s\"", "leave `after` out");
    refused("after = \"0B\"", "more than nothing", "\"0B\"", "leave `after` out");
    refused("after = \"2GiB\"", "2GiB are too many", "\"2GiB\"", "at most 1GiB");
    refused("after = 5", "neither a size nor a duration", "5", "64KiB");
    refused("protocol = \"udp\"", "reset is for tcp alone", "\"udp\"", "kind = \"reject\"");
    refused("protocol = \"icmp\"", "reset is for tcp alone", "\"icmp\"", "protocol = \"tcp\"");
    refused("idle = true\nafter = \"1MiB\"", "never carries so much", "true", "duration");
    refused("idle = true\nnew_only = true", "`new_only` leaves nothing", "true", "leave out one");
    refused("flows = 0.5\nprobability = 0.5", "say the same here", "0.5", "leave one of them out");
}

#[test]
fn refuses_partitions_from_nobody_and_unknown_answers() {
    let refused = |fields: &str, message, underlined, help| {
        refused_alone(&format!("kind = {fields}"), message, underlined, help);
    };
    refused("\"partition\"", "needs peers to separate from", "[[fault]]", "peer = ");
    refused("\"partition\"\npeers = \":80\"", "unknown field `peers`", "peers", "`peer`");
    let both = "\"partition\"\npeer = \":80\"\ndirection = \"egress\"";
    refused(both, "is always both ways", "\"egress\"", "kind = \"drop\"");
    refused("\"reject\"\nwith = \"host-prohibited\"", "not rejected with", "\"host-prohibited\"", "\"port\"");
    refused("\"partition\"\npeer = []", "needs peers to separate from", "[[fault]]", "peer = ");
    refused(
        "\"partition\"\npeer = \":80\"\nbehaviour = \"slow\"",
        "unknown behaviour \"slow\"",
        "\"slow\"",
        "\"drop\"",
    );
    refused("\"reject\"\nwith = \"rst\"", "not rejected with \"rst\"", "\"rst\"", "\"port\"");
}

#[test]
fn refuses_what_processes_cannot_be_asked() {
    let file = |target: &str, fault: &str| {
        format!("duration = \"60s\"\n[target]\n{target}\n[[fault]]\nkind = {fault}\n")
    };
    let cgroup = "cgroup = \"/shop\"";
    for good in [
        "\"kill\"",
        "\"kill\"\nsignal = \"TERM\"\nwhich = \"all\"\nevery = \"5s\"\nlimit = 3\nprobability = \"50%\"",
        "\"pause\"\nfor = \"3s\"\nstart_after = \"1s\"",
        "\"pause\"\npulse = { on = \"3s\", off = \"7s\" }",
        "\"cpu\"\nquota = \"150%\"",
        "\"memory\"\nto = \"50%\"\noom = true",
        "\"io\"\niops = 100\ndevice = [\"/dev/sda\", \"/dev/sdb\"]",
    ] {
        if let Err(error) = parse("x", &file(cgroup, good), "x") {
            panic!("{good}: {}", error.message());
        }
    }
    for (fault, message) in [
        ("\"pause\"\npeer = \":80\"", "`peer` means nothing for kind \"pause\""),
        ("\"kill\"\nprotocol = \"tcp\"", "`protocol` means nothing"),
        ("\"kill\"\nsignal = \"SIGSTOP\"", "stops a process for good"),
        ("\"kill\"\nevery = \"1ms\"", "too often"),
        ("\"kill\"\nwhich = \"some\"", "does not say which"),
        ("\"pause\"\nfor = \"0s\"", "of no length"),
        ("\"pause\"\nfor = \"1s\"\npulse = { on = \"1s\", off = \"1s\" }", "both say how long"),
        ("\"cpu\"", "has no `quota`"),
        ("\"cpu\"\nquota = \"0%\"", "cannot be given"),
        ("\"cpu\"\nquota = 20", "has no %"),
        ("\"memory\"", "has no `to`"),
        ("\"memory\"\nto = \"0%\"", "in no memory"),
        ("\"io\"", "without a limit"),
        ("\"io\"\nread = \"0B\"", "2 bytes or more"),
        ("\"io\"\nread = \"1B\"", "2 bytes or more"),
        ("\"io\"\niops = 1", "`iops` is out of range: 1"),
        ("\"io\"\niops = 4294967295", "`iops` is out of range"),
    ] {
        let error = parse("x", &file(cgroup, fault), "x").unwrap_err();
        assert!(error.message().contains(message), "{fault}: {}", error.message());
    }
    for (target, message) in [("host = true", "the whole host"), ("netns = \"x\"", "a network namespace")] {
        let error = parse("x", &file(target, "\"pause\""), "x").unwrap_err();
        assert!(error.message().contains(message), "{}", error.message());
    }
}
