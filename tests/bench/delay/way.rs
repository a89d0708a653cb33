//! What stands in the way of the packets: nothing, netem, or kchaos as a user calls it, by an experiment's file.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kchaos_tests::{Kchaos, NetNs, ends_with_us, kchaos::Ended, kchaos::run as kchaos, wait_for};

use super::flow::{FAR, Pair, Receiver};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Nothing.
    None,
    /// The kernel's own emulator, for all that the target's device sends.
    Netem,
    /// Ours.
    Kchaos,
}

/// What is asked of whoever stands in the way, in the words of kchaos; netem's are made of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The mean, in milliseconds.
    pub delay: u64,
    /// Around it, in milliseconds.
    pub jitter: u64,
    /// By which distribution.
    pub distribution: Option<&'static str>,
}

impl Asked {
    /// The same delay for all.
    pub fn fixed(delay: u64) -> Self {
        Self { delay, jitter: 0, distribution: None }
    }

    /// As the fields of a fault.
    pub fn fields(&self) -> String {
        let mut fields = format!("kind = \"delay\"\ndelay = \"{}ms\"\ndirection = \"egress\"\n", self.delay);
        if let Some(distribution) = self.distribution {
            fields += &format!("jitter = \"{}ms\"\ndistribution = \"{distribution}\"\n", self.jitter);
        }
        fields
    }

    /// As netem's words. Without a limit of its own it would lose what is more than 1,000 packets.
    fn words(&self) -> String {
        let mut words = format!("limit 1000000 delay {}ms", self.delay);
        if let Some(distribution) = self.distribution {
            words += &format!(" {}ms", self.jitter);
            if distribution != "uniform" {
                words += &format!(" distribution {distribution}");
            }
        }
        words
    }
}

/// Stands in the way until it is removed or dropped.
pub enum Standing<'a> {
    /// Nothing.
    None,
    /// A qdisc of the near device.
    Netem(&'a NetNs),
    /// An experiment.
    Kchaos(Kchaos),
}

impl<'a> Standing<'a> {
    /// Delays packets to a receiver.
    pub fn put(way: Way, pair: &'a Pair, receiver: &Receiver, asked: &Asked) -> Self {
        let fields = format!("{}protocol = \"udp\"\n{}\n", asked.fields(), receiver.peers());
        Self::put_with(way, pair, &fields, asked)
    }

    /// The same where the fault's fields name what it hits.
    pub fn put_with(way: Way, pair: &'a Pair, fields: &str, asked: &Asked) -> Self {
        match way {
            Way::None => Self::None,
            Way::Netem => {
                pair.near.output(&format!("tc qdisc replace dev near root netem {}", asked.words()));
                Self::Netem(&pair.near)
            }
            Way::Kchaos => Self::Kchaos(inject(pair, fields)),
        }
    }

    /// Takes it away; of an experiment, its report.
    pub fn remove(self) -> Option<Ended> {
        match self {
            Self::Kchaos(kchaos) => Some(kchaos.stop()),
            Self::Netem(ns) => {
                ns.output("tc qdisc del dev near root");
                None
            }
            Self::None => None,
        }
    }
}

/// Starts an experiment with one fault on the target and waits until it injects.
pub fn inject(pair: &Pair, fields: &str) -> Kchaos {
    let file = experiment(pair, fields);
    Kchaos::start(&pair.near, &["run", file.path().to_str().unwrap()])
}

fn experiment(pair: &Pair, fields: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = pair.cgroup.name();
    let text = format!("duration = \"30m\"\nseed = 42\n[target]\ncgroup = \"{name}\"\n[[fault]]\n{fields}\n");
    fs::write(file.path(), text).unwrap();
    file
}

/// Whether this kchaos takes a fault, or why not.
pub fn refuses(pair: &Pair, fields: &str) -> Option<String> {
    let file = experiment(pair, fields);
    let preview = kchaos(&["preview", file.path().to_str().unwrap()]);
    (preview.code != Some(0)).then_some(preview.stderr)
}

/// noxious between the target and a receiver: a proxy in the target's namespace that delays what it is sent.
pub struct Noxious(Child);

/// The port at which it listens.
const PORT: u16 = 7000;

/// Where the target finds it.
pub const PROXY: &str = "127.0.0.1:7000";

impl Noxious {
    /// Starts it in front of a port of the far namespace, if it is there: `KCHAOS_NOXIOUS`.
    pub fn start(pair: &Pair, port: u16, delay: u64) -> Option<Self> {
        let mut command = Command::new(std::env::var_os("KCHAOS_NOXIOUS")?);
        command.args([PROXY, &format!("{}:{port}", FAR[0]), &delay.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        ends_with_us(&mut command);
        pair.near.place(&mut command);
        let started = Self(command.spawn().unwrap());
        let listening = format!(":{PORT:04X} 00000000:0000 0A");
        wait_for("noxious listens", Duration::from_secs(5), || {
            pair.near.output("cat /proc/self/net/tcp").contains(&listening)
        });
        Some(started)
    }
}

impl Drop for Noxious {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
