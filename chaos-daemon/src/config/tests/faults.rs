//! The fields of each kind: what is out of range, says nothing, or contradicts another is refused.

use super::{GOOD, refused};
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
