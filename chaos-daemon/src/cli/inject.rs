//! `kchaos inject KIND ...`: one fault from flags.
//!
//! The flags are written out as an experiment file and take its way: whatever a file refuses, a flag refuses with the
//! same words, and `--print` shows the file to keep. Each kind of fault brings its own flags
//! ([`crate::fault::Kind::fields`]).

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, builder::UnknownArgumentValueParser};

use super::{
    Exit, Failure, Format,
    foreground::{self, Origin},
    output,
};
use crate::{
    config,
    fault::{Field, KINDS, Kind, Takes},
};

const ORIGIN: &str = "these flags, as a file";

/// Errors speak of the file's fields.
const FLAGS: &str =
    "every field is a flag: unit is --unit NAME, host is --host, command stands after --, duration is --for";

/// The fields that every fault has.
static COMMON: [Field; 5] = [
    Field {
        name: "peer",
        value: "PEER",
        help: "Far end: db.internal:5432, 10.0.0.0/8:80,443, [2001:db8::1]:443, :6379",
        takes: Takes::Several,
    },
    Field { name: "exclude", value: "PEER", help: "Far end that is left alone", takes: Takes::Several },
    Field { name: "protocol", value: "tcp|udp|icmp", help: "Only this protocol", takes: Takes::One },
    Field {
        name: "probability",
        value: "SHARE",
        help: "How many are hit: 10% or 0.1 (all of them)",
        takes: Takes::One,
    },
    Field { name: "limit", value: "NUMBER", help: "How many are hit at most, all in all", takes: Takes::One },
];

/// How many of [`COMMON`] are about packets and calls, and stand first.
const ABOUT_PACKETS: usize = 3;

/// Those of them that a kind has.
fn common(kind: &dyn Kind) -> impl Iterator<Item = &'static Field> {
    COMMON.iter().skip(if kind.acts() { ABOUT_PACKETS } else { 0 })
}

/// `inject` with a subcommand for each kind.
pub fn command() -> Command {
    Command::new("inject")
        .about("Inject one fault from flags")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(KINDS.iter().map(|kind| kind_command(*kind)))
}

fn kind_command(kind: &'static dyn Kind) -> Command {
    let command = Command::new(kind.name())
        .arg(text("for", "DURATION", "The time box: 30s, 5m").required(true).alias("duration"))
        .arg(port())
        .args(target_flags())
        .args(kind.fields().iter().chain(common(kind)).map(field_flag))
        .arg(text("seed", "NUMBER", "Repeat the draws of an earlier run"))
        .arg(switch("shadow", "Count what would be hit, hit nothing"))
        .arg(switch("allow_protected", "Hit protected processes and far ends too"))
        .arg(switch("print", "Print the experiment as a file, and apply nothing"));
    // The flattened arguments bring a description of their own, so ours comes after.
    <foreground::Args as clap::Args>::augment_args(command).about(kind.about()).long_about(None)
}

/// What people type first, and what may mean either end.
fn port() -> Arg {
    const MEANT: &str =
        "for a port of the far end write --peer :PORT, for one of the target itself --local-port PORT";
    Arg::new("port").long("port").hide(true).value_parser(UnknownArgumentValueParser::suggest(MEANT))
}

fn target_flags() -> [Arg; 11] {
    let words = Arg::new("command").value_name("COMMAND").help("Start this command and hit it (after --)");
    [
        text("cgroup", "PATH", "Hit this cgroup and all below it; * and ? name several"),
        text("unit", "NAME", "Hit this systemd unit; * and ? name several"),
        text("container", "NAME", "Hit this container, by name or id; * and ? name several"),
        text("pod", "NAMESPACE/NAME", "Hit the containers of this pod; * and ? name several"),
        text("netns", "NAME", "Hit everything in this network namespace (of ip netns, or a path)"),
        text("runtime", "SOCKET", "Ask this container runtime only"),
        text("pid", "PID", "Hit this process, if it has a cgroup of its own"),
        switch("host", "Hit every process of the host"),
        text("pick", "HOW_MANY", "Hit some of those named: one, 3 or 50%"),
        switch("no_follow", "Leave alone what is started or restarted later"),
        words.num_args(1..).last(true),
    ]
    .map(|arg| arg.help_heading("Target"))
}

fn field_flag(field: &Field) -> Arg {
    let flag = match field.takes {
        Takes::One => text(field.name, field.value, field.help),
        Takes::Several => text(field.name, field.value, field.help).action(ArgAction::Append),
        Takes::Nothing => switch(field.name, field.help),
    };
    flag.help_heading("What is hit")
}

/// A flag with a value, which is read where the file is read.
fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name.replace('_', "-")).value_name(value).help(help).allow_hyphen_values(true)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name.replace('_', "-")).action(ArgAction::SetTrue).help(help)
}

/// The chosen output format, for errors.
pub fn format(matches: &ArgMatches) -> Format {
    matches.subcommand().and_then(|(_, m)| m.get_one::<Format>("output").copied()).unwrap_or_default()
}

/// Runs it.
pub fn main(matches: &ArgMatches) -> Result<Exit, Failure> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::Input("name a kind of fault".to_owned()));
    };
    let Some(kind) = KINDS.iter().find(|k| k.name() == name) else {
        return Err(Failure::Input(format!("unknown kind of fault {name}")));
    };
    let text = as_file(*kind, matches);
    let experiment = config::parse(ORIGIN, &text, &format!("inject-{name}")).map_err(|e| e.note(FLAGS))?;
    if matches.get_flag("print") {
        output::text(&text)?;
        return Ok(Exit::Done);
    }
    let args = foreground::Args::from_arg_matches(matches).map_err(|e| Failure::Input(e.to_string()))?;
    foreground::run(experiment, &args, Origin { through: "inject", path: None })
}

/// The flags as the text of an experiment file.
fn as_file(kind: &dyn Kind, matches: &ArgMatches) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let one = |name: &str| matches.get_one::<String>(name).map(|text| quoted(text));
    let many = |name: &str| {
        let items: Vec<String> = matches.get_many::<String>(name)?.map(|text| quoted(text)).collect();
        Some(format!("[{}]", items.join(", ")))
    };
    let mut lines = vec![format!("duration = {}", one("for").unwrap_or_default())];
    lines.extend(one("seed").map(|seed| format!("seed = {seed}")));
    lines.extend(matches.get_flag("shadow").then(|| "mode = \"shadow\"".to_owned()));
    lines.extend(matches.get_flag("allow_protected").then(|| "allow_protected = true".to_owned()));
    lines.push("\n[target]".to_owned());
    for name in ["cgroup", "unit", "container", "pod", "netns", "runtime", "pick"] {
        lines.extend(one(name).map(|value| format!("{name} = {value}")));
    }
    // A text that is no number must reach the file as one, to be refused there.
    let number = |text: &String| text.parse::<i64>().map_or_else(|_| quoted(text), |pid| pid.to_string());
    lines.extend(matches.get_one::<String>("pid").map(|pid| format!("pid = {}", number(pid))));
    lines.extend(matches.get_flag("no_follow").then(|| "follow = false".to_owned()));
    lines.extend(matches.get_flag("host").then(|| "host = true".to_owned()));
    lines.extend(many("command").map(|words| format!("command = {words}")));
    lines.push(format!("\n[[fault]]\nkind = {}", quoted(kind.name())));
    for field in kind.fields().iter().chain(common(kind)) {
        let value = match field.takes {
            Takes::One => one(field.name),
            Takes::Several => many(field.name),
            Takes::Nothing => matches.get_flag(field.name).then(|| "true".to_owned()),
        };
        lines.extend(value.map(|value| format!("{} = {value}", field.name)));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(flags: &str) -> String {
        let matches = command().try_get_matches_from(flags.split(' ')).unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        let kind = KINDS.iter().find(|k| k.name() == name).unwrap();
        as_file(*kind, matches)
    }

    #[test]
    fn flags_become_a_file_that_is_accepted() {
        let text = file(
            "inject drop --for 30s --cgroup /a.slice --peer :5432 --peer [::1]:80 --local-port 80,443 \
             --direction both --probability 10% --seed 7 --protocol tcp --new-only",
        );
        let experiment = config::parse(ORIGIN, &text, "x").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        assert_eq!(Some(7), experiment.seed);
        assert_eq!(2, experiment.faults[0].side.peers.len());
        assert!(experiment.faults[0].side.packets.new_only);
        for flags in [
            "inject drop --for 1s --host --probability 3% --burst-length 5",
            "inject drop --for 1s --host --p 1% --r 25% --h 0% --k 100%",
            "inject drop --for 1s --host --every 10",
            "inject drop --for 1s --host --first 2 --protocol tcp",
            "inject delay --for 1s --host --delay 50ms --jitter 5ms --distribution pareto --correlation 25%",
            "inject rate --for 1s --host --rate 10Mbit --burst 64KiB --per flow --direction ingress",
            "inject reorder --for 1s --host --probability 5% --delay 1ms",
            "inject duplicate --for 1s --host --probability 5%",
            "inject corrupt --for 1s --host --checksum valid --bits 3",
        ] {
            let text = file(flags);
            config::parse(ORIGIN, &text, "x").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        }
        for flags in [
            "inject kill --for 9s --cgroup /a --signal TERM --which all --every 1s --limit 3",
            "inject pause --for 9s --cgroup /a",
            "inject cpu --for 9s --cgroup /a --quota 20%",
            "inject memory --for 9s --cgroup /a --to 50% --oom",
            "inject io --for 9s --cgroup /a --read 1MiB --iops 100 --device /dev/sda --device /dev/sdb",
        ] {
            let text = file(flags);
            config::parse(ORIGIN, &text, "x").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        }
        let text = file("inject connect --for 1s --errno EIO -- curl --max-time 1 http://localhost");
        assert!(config::parse(ORIGIN, &text, "x").is_ok(), "{text}");
    }

    #[test]
    fn a_bad_flag_is_refused_like_a_bad_file() {
        for (flags, message) in [
            ("inject drop --for 0s --host", "zero"),
            ("inject drop --for 10s", "no selector"),
            ("inject drop --for 10s --host --cgroup /x", "two selectors"),
            ("inject drop --for 10s --host --probability -1%", "outside"),
            ("inject drop --for 10s --host --seed many", "not a seed"),
            ("inject drop --for 10s --host --every 0", "out of range"),
            ("inject drop --for 10s --host --burst-length 4", "means nothing"),
            ("inject delay --for 10s --host", "no `delay`"),
            ("inject rate --for 10s --host --rate 10M", "might be bits or bytes"),
            ("inject connect --for 10s --host", "neither `errno`"),
            ("inject connect --for 10s --host --errno ENOPE", "unknown errno"),
        ] {
            let error = config::parse(ORIGIN, &file(flags), "x").unwrap_err();
            assert!(error.message().contains(message), "{flags}: {}", error.message());
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::super::command().debug_assert();
    }
}
