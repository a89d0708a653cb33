//! The real programs on frames of our own, in a network namespace of its own: what they send goes to its lo and nowhere
//! else.

use std::{collections::BTreeMap, io::ErrorKind, net::IpAddr};

use aya::programs::ProgramError;
use chaos_common::{
    counters::{Counters, Skip},
    scope::FLAG_NAMESPACES,
    uses::Uses,
};
use chaos_daemon::{
    bpf::{BpfError, Feature, Object},
    config,
    engine::{Half, Size, Tables, boot_ns},
    guard::protected::Protected,
};
use kchaos_tests::programs::ROOT;

use super::{
    frames::{FAR_PORT, FAR4, FAR6, NEAR_PORT, NEAR4, NEAR6},
    reader::{self, ETHERNET, Ports, Seen},
};

/// A program, and which end of a packet is the far one to it.
pub struct Way {
    pub program: &'static str,
    pub direction: &'static str,
    /// Its answer to what it has nothing to do with.
    pub goes_on: i32,
    /// Its answer to what is lost.
    pub lost: i32,
}

pub const WAYS: [Way; 3] = [
    // No opinion, and a redirect to a device that does not exist.
    Way { program: "kchaos_egress", direction: "egress", goes_on: -1, lost: 7 },
    Way { program: "kchaos_arrival", direction: "ingress", goes_on: -1, lost: 2 },
    Way { program: "kchaos_ingress", direction: "ingress", goes_on: 1, lost: 0 },
];

/// What a rule can ask of a frame, seen from one side.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct View {
    /// The far end has the address that rules name.
    pub is_named: bool,
    /// It has the port that they name.
    pub far_port: bool,
    pub near_port: bool,
    pub protocol: u8,
    /// The ports are in another piece.
    pub is_later: bool,
    pub resets: bool,
}

impl Way {
    pub fn is_out(&self) -> bool {
        self.direction == "egress"
    }

    pub fn view(&self, seen: &Seen) -> View {
        let (address, named): (IpAddr, [IpAddr; 2]) = if self.is_out() {
            (seen.destination, [FAR4.into(), FAR6.into()])
        } else {
            (seen.source, [NEAR4.into(), NEAR6.into()])
        };
        let (source, destination) = match seen.ports {
            Ports::Here(source, destination) => (source == NEAR_PORT, destination == FAR_PORT),
            _ => (false, false),
        };
        let (far_port, near_port) = if self.is_out() { (destination, source) } else { (source, destination) };
        View {
            is_named: named.contains(&address),
            far_port,
            near_port,
            protocol: seen.protocol,
            is_later: seen.ports == Ports::Elsewhere,
            resets: seen.resets,
        }
    }
}

/// A rule for each direction. In `text`, HOST4, HOST6, FAR and NEAR stand for what each side names.
pub fn both_ways(text: &str) -> String {
    let one = |direction: &str, v4: [u8; 4], v6: [u8; 16], far: u16, near: u16| {
        let (v4, v6) = (IpAddr::from(v4).to_string(), IpAddr::from(v6).to_string());
        let text = text.replace("HOST4", &v4).replace("HOST6", &v6);
        let text = text.replace("FAR", &far.to_string()).replace("NEAR", &near.to_string());
        format!("[[fault]]\ndirection = \"{direction}\"\n{text}\n")
    };
    one("egress", FAR4, FAR6, FAR_PORT, NEAR_PORT) + &one("ingress", NEAR4, NEAR6, NEAR_PORT, FAR_PORT)
}

/// What became of a frame.
pub struct Run {
    pub answer: i32,
    /// The frame afterwards.
    pub packet: Vec<u8>,
}

/// What one rule has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub matched: u64,
    pub injected: u64,
    pub skipped: u64,
    /// Of those skipped, how many because it could not be done.
    pub failed: u64,
    pub unattributed: u64,
}

impl Count {
    fn between(before: &Counters, after: &Counters) -> Self {
        let skipped = |counters: &Counters| counters.skipped.iter().sum::<u64>();
        let failed = Skip::Failed as usize;
        Self {
            matched: after.matched - before.matched,
            injected: after.injected - before.injected,
            skipped: skipped(after) - skipped(before),
            failed: after.skipped[failed] - before.skipped[failed],
            unattributed: after.unattributed - before.unattributed,
        }
    }
}

pub struct Bench {
    /// Number of the device at which all this happens.
    pub device: u32,
    object: Object,
    tables: Tables,
    counters: Vec<Counters>,
}

impl Bench {
    pub fn new(device: u32) -> Self {
        let needs =
            [Feature::TcEgress.any_way(), Feature::TcIngress.any_way(), Feature::CgroupIngress.in_full()];
        let tables = compile("inject", &both_ways("kind = \"drop\""), Half::FIRST);
        let mut object = Object::load(&needs, Size::LIMIT, Uses::ALL).unwrap();
        object.fill(&tables).unwrap();
        object.aim(ROOT, 0).unwrap();
        object.arm(&tables, boot_ns(), u64::MAX).unwrap();
        Self { device, object, tables, counters: vec![] }
    }

    /// Other rules, in the place of these.
    pub fn change(&mut self, mode: &str, faults: &str) {
        let half = self.object.other_half(&self.tables);
        self.tables = compile(mode, faults, half);
        self.object.replace(&self.tables, boot_ns()).unwrap();
        self.counters = self.object.counters(self.tables.rules.len()).unwrap();
    }

    /// `None`: the kernel says that there is no such packet.
    pub fn run(&mut self, way: &Way, frame: &[u8]) -> Option<Run> {
        let verdict = match self.object.test_run_at(self.device, way.program, frame, 1) {
            Ok(verdict) => verdict,
            Err(error) => {
                assert!(
                    is_invalid(&error) && reader::is_short(frame),
                    "{}: {error}: {frame:02x?}",
                    way.program
                );
                return None;
            }
        };
        let mut packet = verdict.packet;
        if way.program == "kchaos_ingress" {
            // The kernel runs these programs without a link-layer header and hands zeros back for it.
            packet.splice(..ETHERNET, frame[..ETHERNET].iter().copied());
        }
        Some(Run { answer: verdict.answer, packet })
    }

    /// What each rule has counted since the last time.
    pub fn counted(&mut self) -> Vec<Count> {
        let now = self.object.counters(self.tables.rules.len()).unwrap();
        let counted = self.counters.iter().zip(&now).map(|(old, new)| Count::between(old, new)).collect();
        self.counters = now;
        counted
    }
}

fn is_invalid(error: &BpfError) -> bool {
    matches!(error, BpfError::TestRun { error: ProgramError::SyscallError(call), .. }
        if call.io_error.kind() == ErrorKind::InvalidInput)
}

/// For a namespace as a whole, so that what arrives is the target's although no socket waits for it.
fn compile(mode: &str, faults: &str, half: Half) -> Tables {
    let text =
        format!("duration = \"30m\"\nseed = 1\nmode = \"{mode}\"\n[target]\nnetns = \"malformed\"\n{faults}");
    let experiment =
        config::parse("malformed", &text, "malformed").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let mut tables = Tables::compile(&experiment, &BTreeMap::new(), &Protected::default(), 1, half).unwrap();
    tables.scope.flags |= FLAG_NAMESPACES;
    (tables.scope.tag, tables.scope.arrival_tag) = (1, 2);
    tables
}
