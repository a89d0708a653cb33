//! Malformed packets: frames that are cut off, lie about their lengths, or are nonsense, through every program for packets
//! and every action. Never a match by mistake, never a damaged packet when nothing was done to it, and every match is
//! accounted for.
//!
//! What a rule must match is said by a reader that knows the RFCs and none of our code.

mod actions;
mod answers;
mod bench;
mod frames;
mod lies;
mod reader;

use std::collections::VecDeque;

use actions::{AFTER, Action, ENDING, Hit, OTHERS, is_for};
use answers::Tap;
use bench::{Bench, Count, Run, View, WAYS, Way, both_ways};
use kchaos_tests::{NetNs, slow, suite::note};
use lies::{Frame, corpus};
use nix::net::if_::if_nametoindex;
use reader::{ICMP, Seen, TCP, UDP};

kchaos_tests::tests! {
    needs(TcEgress, TcIngress, CgroupIngress): a_tenth_of_all;
    needs(once, TcEgress, TcIngress, CgroupIngress): rules_match_what_can_be_read,
        what_no_rule_matches_stays_as_it_is, in_shadow_mode_nothing_is_damaged, every_match_is_accounted_for;
}

/// Every so many frames go through all actions one after the other.
const EVERY: usize = 2;

fn a_tenth_of_all() {
    let step = 10 * usize::try_from(slow()).unwrap();
    inside(step, |bench, frames| {
        matching(bench, frames);
        matching_none(bench, frames);
        in_shadow_mode(bench, frames);
        hitting(bench, frames);
    });
}

fn rules_match_what_can_be_read() {
    inside(1, matching);
}

fn what_no_rule_matches_stays_as_it_is() {
    inside(1, matching_none);
}

fn in_shadow_mode_nothing_is_damaged() {
    inside(EVERY, in_shadow_mode);
}

fn every_match_is_accounted_for() {
    inside(EVERY, hitting);
}

/// With the programs, in a namespace of its own, and every so many of the frames, all whole ones among them.
fn inside(step: usize, work: impl FnOnce(&mut Bench, &[Frame]) + Send) {
    let chosen = corpus().into_iter().enumerate().filter(|(n, frame)| n % step == 0 || frame.is_whole);
    let frames: Vec<Frame> = chosen.map(|(_, frame)| frame).collect();
    note(&format!("{} frames", frames.len()));
    // Not on lo, where an answer needs a sender whose socket is there. And where the kernel has nothing to say itself.
    let ns = NetNs::new();
    ns.ip("link add near type veth peer name far");
    ns.enter(|| {
        for device in ["near", "far"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1").unwrap();
        }
    });
    ns.ip("link set near up");
    ns.ip("link set far up");
    ns.enter(|| work(&mut Bench::new(if_nametoindex("near").unwrap()), &frames));
}

/// What rules ask for, in a file and in plain words.
type Asked = (&'static str, fn(View) -> bool);

const ASKED: [Asked; 10] = [
    ("", |_| true),
    ("peer = [\"HOST4\", \"HOST6\"]", |view| view.is_named),
    ("peer = [\"HOST4:FAR\", \"[HOST6]:FAR\"]", |view| view.is_named && view.far_port),
    ("peer = \":FAR\"", |view| view.far_port),
    ("local_port = NEAR", |view| view.near_port),
    ("protocol = \"tcp\"", |view| view.protocol == TCP),
    ("protocol = \"udp\"", |view| view.protocol == UDP),
    ("protocol = \"icmp\"", |view| view.protocol == ICMP),
    // Of a later piece it is not known, so it is left alone.
    ("exclude = [\"HOST4:FAR\", \"[HOST6]:FAR\"]", |view| {
        !(view.is_named && (view.far_port || view.is_later))
    }),
    (NOBODY, |_| false),
];

/// An end that no frame has.
const NOBODY: &str = "peer = [\"203.0.113.9\", \"2001:db8:dead::9\"]";

/// The rules begin when the frames have been: so none is hit, and every rule is asked.
fn matching(bench: &mut Bench, frames: &[Frame]) {
    let later = |(asked, _): &Asked| both_ways(&format!("kind = \"drop\"\nstart_after = \"20m\"\n{asked}"));
    bench.change("inject", &ASKED.iter().map(later).collect::<String>());
    let texts: Vec<&str> = ASKED.iter().map(|(asked, _)| *asked).collect();
    let (runs, matches) = compare(bench, frames, &texts, |way, seen, number| {
        seen.is_some_and(|seen| ASKED[number].1(way.view(&seen)))
    });
    note(&format!("matching: {runs} runs, {matches:?} matches"));
    // The first rule matches whatever is readable. What the kernel itself refuses is part of what is cut off.
    assert!(runs > frames.len() as u64 * 2, "the kernel took only {runs} of {} frames", frames.len());
    assert!((runs / 4..runs * 7 / 8).contains(&matches[0]), "too few or too many of {runs}");
}

/// Frames between two looks at the counters, which cost more than a run.
const BATCH: usize = 20;

/// Runs each frame through each program, which must leave it alone and count it for the rules that `fits` names: how many
/// runs there were, and how many matches of each rule.
fn compare(
    bench: &mut Bench,
    frames: &[Frame],
    rules: &[&str],
    fits: impl Fn(&Way, Option<Seen>, usize) -> bool,
) -> (u64, Vec<u64>) {
    let (mut runs, mut matches) = (0, vec![0; rules.len()]);
    for way in &WAYS {
        for batch in frames.chunks(BATCH) {
            let mut expected = vec![0; rules.len()];
            for frame in batch {
                let Some(run) = bench.run(way, &frame.bytes) else { continue };
                assert_untouched(way, frame, &run);
                let seen = reader::read(&frame.bytes);
                (0..rules.len()).for_each(|rule| expected[rule] += u64::from(fits(way, seen, rule)));
                runs += 1;
            }
            let counted = bench.counted();
            for (number, rule) in rules.iter().enumerate() {
                let own = &counted[number * 2..][..2];
                if is_counted(way, expected[number], own) {
                    matches[number] += expected[number];
                } else {
                    find(bench, way, batch, number, |seen| fits(way, seen, number));
                    panic!("{}: {rule:?} of the whole batch: {own:?}", way.program);
                }
            }
        }
    }
    (runs, matches)
}

/// One after the other, to know which of them it was.
fn find(bench: &mut Bench, way: &Way, batch: &[Frame], number: usize, fits: impl Fn(Option<Seen>) -> bool) {
    for frame in batch {
        if bench.run(way, &frame.bytes).is_some() {
            let (seen, counted) = (reader::read(&frame.bytes), bench.counted());
            let own = &counted[number * 2..][..2];
            let Frame { what, bytes, .. } = frame;
            let is_right = is_counted(way, fits(seen).into(), own);
            assert!(is_right, "{}, rule {number}: {what}: {bytes:02x?}: {seen:?} {own:?}", way.program);
        }
    }
}

/// Of a rule and its twin for the other direction, only the one for this direction has counted, and so often; every match
/// is accounted for, and nobody was in doubt.
fn is_counted(way: &Way, expected: u64, twins: &[Count]) -> bool {
    let (own, other) = if way.is_out() { (twins[0], twins[1]) } else { (twins[1], twins[0]) };
    own.matched == expected
        && own.injected + own.skipped == expected
        && own.unattributed == 0
        && other == Count::default()
}

fn assert_untouched(way: &Way, frame: &Frame, run: &Run) {
    let Frame { what, bytes, .. } = frame;
    assert_eq!(way.goes_on, run.answer, "{}: {what}: {bytes:02x?}", way.program);
    assert_eq!(*bytes, run.packet, "{}: {what}: is damaged", way.program);
}

fn matching_none(bench: &mut Bench, frames: &[Frame]) {
    let texts: Vec<&str> = ENDING.iter().chain(&OTHERS).map(|action| action.text).chain([AFTER]).collect();
    bench.change("inject", &rules(&texts, NOBODY));
    let tap = Tap::new(bench.device);
    let (runs, _) = compare(bench, frames, &texts, |_, _, _| false);
    note(&format!("matching none: {runs} runs"));
    assert_eq!(0, tap.take().len(), "something was sent");
}

fn rules(texts: &[&str], peer: &str) -> String {
    texts.iter().map(|text| both_ways(&format!("{text}\n{peer}"))).collect()
}

const NAMED: &str = "peer = [\"HOST4\", \"HOST6\"]";

/// All that leave a packet on its way at once, with each that ends the matter.
fn in_shadow_mode(bench: &mut Bench, frames: &[Frame]) {
    for ending in ENDING.iter().map(|action| action.text).chain([AFTER]) {
        let texts: Vec<&str> = OTHERS.iter().map(|action| action.text).chain([ending]).collect();
        bench.change("shadow", &rules(&texts, NAMED));
        let (runs, matches) =
            compare(bench, frames, &texts, |way, seen, number| is_for(way, seen, texts[number]));
        note(&format!("{ending:?} in shadow mode: {runs} runs, {matches:?} matches"));
    }
}

fn hitting(bench: &mut Bench, frames: &[Frame]) {
    let tap = Tap::new(bench.device);
    for action in ENDING.iter().chain(&OTHERS) {
        bench.change("inject", &rules(&[action.text], NAMED));
        tap.take();
        let (mut runs, mut matches, mut hits, mut sent) = (0, 0, 0, 0);
        let mut unanswered = Unanswered::default();
        for way in &WAYS {
            for frame in frames {
                let Some(run) = bench.run(way, &frame.bytes) else { continue };
                let mut answers = tap.take();
                sent += answers.len();
                answers.retain(|answer| !unanswered.waits_for(answer, action));
                let own = assert_allowed(way, action, frame, &run, &bench.counted(), &answers);
                (runs, matches, hits) = (runs + 1, matches + own.matched, hits + own.injected);
                if answers.is_empty() && own.injected > 0 {
                    unanswered.push(way, frame, run, own);
                }
            }
        }
        note(&format!("{:?}: {runs} runs, {matches} matches, {hits} hits, {sent} sent", action.text));
        assert!(matches > frames.len() as u64 / 20, "too few matches to say anything");
    }
}

/// The last hits that nothing was sent for yet: on a busy machine what is sent comes by only when later frames have been
/// run.
#[derive(Default)]
struct Unanswered<'a>(VecDeque<(&'a Way, &'a Frame, Run, Count)>);

impl<'a> Unanswered<'a> {
    const AT_MOST: usize = 8;

    fn push(&mut self, way: &'a Way, frame: &'a Frame, run: Run, own: Count) {
        self.0.push_back((way, frame, run, own));
        if self.0.len() > Self::AT_MOST {
            self.0.pop_front();
        }
    }

    /// Whether this is what one of them may send; only once.
    fn waits_for(&mut self, answer: &[u8], action: &Action) -> bool {
        let fits = |(way, frame, run, own): &(&Way, &Frame, Run, Count)| {
            let seen = reader::read(&frame.bytes);
            seen.is_some_and(|seen| {
                let hit = Hit { way, frame: &frame.bytes, seen, run, own: *own };
                (action.complaint)(&hit, answer).is_none()
            })
        };
        self.0.iter().position(fits).is_some_and(|at| self.0.remove(at).is_some())
    }
}

/// Asserts that what was done to one frame is what `action` may do: what its rule has counted.
fn assert_allowed(
    way: &Way,
    action: &Action,
    frame: &Frame,
    run: &Run,
    counted: &[Count],
    sent: &[Vec<u8>],
) -> Count {
    let seen = reader::read(&frame.bytes);
    let expected = is_for(way, seen, action.text);
    let own = counted[usize::from(!way.is_out())];
    let what = || {
        let Frame { what, bytes, .. } = frame;
        let Run { answer, packet } = run;
        format!("{}, {:?}: {what}: {bytes:02x?} -> {answer} {packet:02x?} {own:?}", way.program, action.text)
    };
    assert!(is_counted(way, expected.into(), counted), "{}: {seen:?} {counted:?}", what());
    let Some(seen) = seen.filter(|_| expected) else {
        assert_untouched(way, frame, run);
        assert!(sent.is_empty(), "{}: {sent:02x?}", what());
        return own;
    };
    let hit = Hit { way, frame: &frame.bytes, seen, run, own };
    assert!((action.allows)(&hit), "{}", what());
    for answer in sent {
        assert_eq!(None, (action.complaint)(&hit, answer), "{}: sent {answer:02x?}", what());
    }
    own
}
