//! Every action, and what may have become of a frame that its rule has matched.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are of one lifetime, and not of any"
)]

use super::{
    answers,
    bench::{Count, Run, Way},
    reader::{self, Seen, TCP},
};

/// A frame that a rule has matched.
pub struct Hit<'a> {
    pub way: &'a Way,
    pub frame: &'a [u8],
    pub seen: Seen,
    pub run: &'a Run,
    pub own: Count,
}

/// An action.
pub struct Action {
    pub text: &'static str,
    /// Whether this may be what has become of the frame.
    pub allows: fn(&Hit) -> bool,
    /// What is wrong with something that was sent because of it.
    pub complaint: fn(&Hit, &[u8]) -> Option<&'static str>,
}

impl Action {
    const fn silent(text: &'static str, allows: fn(&Hit) -> bool) -> Self {
        Self { text, allows, complaint: |_, _| Some("was sent") }
    }

    const fn answering(text: &'static str, allows: fn(&Hit) -> bool) -> Self {
        let complaint = |hit: &Hit, answer: &[u8]| answers::complaint(hit.frame, &hit.seen, answer);
        Self { text, allows, complaint }
    }
}

/// They end the matter: the first that hits is the last.
pub const ENDING: [Action; 3] = [
    Action::silent("kind = \"drop\"", |hit| hit.is_lost()),
    // What cannot be answered is lost all the same.
    Action::answering("kind = \"reject\"", |hit| hit.run.answer == hit.way.lost),
    Action::answering("kind = \"reset\"", |hit| hit.is_lost() || hit.has_failed()),
];

/// They leave a packet on its way.
pub const OTHERS: [Action; 6] = [
    Action::silent("kind = \"corrupt\"\nchecksum = \"broken\"", |hit| hit.is_lost()),
    Action::silent("kind = \"corrupt\"\nchecksum = \"valid\"\nbits = 8", |hit| {
        hit.has_failed() || hit.own.injected == 1 && hit.has_other_data()
    }),
    // There is no line.
    Action::silent("kind = \"delay\"\ndelay = \"50ms\"", |hit| hit.has_failed()),
    // The first frames need not wait.
    Action::silent("kind = \"rate\"\nrate = \"2Mbit\"", |hit| hit.goes_on()),
    Action::silent("kind = \"reorder\"\ndelay = \"10ms\"\nprobability = \"99%\"", |hit| hit.goes_on()),
    Action {
        text: "kind = \"duplicate\"\nprobability = \"100%\"",
        allows: |hit| hit.goes_on(),
        complaint: |hit, copy| (copy != hit.frame).then_some("is no copy"),
    },
];

/// Looks at connections, too.
pub const AFTER: &str = "kind = \"reset\"\nafter = \"1KiB\"\nnew_only = true";

/// Whether a rule of an action that names the frames' ends is to match.
pub fn is_for(way: &Way, seen: Option<Seen>, text: &str) -> bool {
    // Nothing but dropping can be done at a socket.
    let here = way.program != "kchaos_ingress" || text.contains("drop");
    seen.map(|seen| way.view(&seen)).is_some_and(|view| {
        // What ends a connection by itself is not cut.
        let is_cut = view.protocol == TCP && !view.resets;
        here && view.is_named && (is_cut || !text.contains("reset"))
    })
}

impl Hit<'_> {
    fn is_lost(&self) -> bool {
        self.own.injected == 1 && self.run.answer == self.way.lost
    }

    /// As it came.
    fn goes_on(&self) -> bool {
        self.run.answer == self.way.goes_on && self.run.packet == self.frame
    }

    /// It goes on as it came, and that is written down.
    fn has_failed(&self) -> bool {
        self.own.failed == 1 && self.goes_on()
    }

    /// It goes on, and nothing but data has changed, and the checksum, which is right if it was.
    fn has_other_data(&self) -> bool {
        let (before, after) = (self.frame, &self.run.packet[..]);
        let Seen { protocol, transport: Some(transport), .. } = self.seen else { return false };
        let Some(field) = reader::checksum_field(protocol) else { return false };
        let header = if protocol == TCP { usize::from(before[transport + 12] >> 4) * 4 } else { 8 };
        let checksum = transport + field..transport + field + 2;
        let data = transport + header..before.len();
        let is_stray = |at: &usize| before[*at] != after[*at] && !checksum.contains(at) && !data.contains(at);
        let sum = |bytes: &[u8]| reader::transport_checksum(bytes, transport, protocol);
        self.run.answer == self.way.goes_on
            && before.len() == after.len()
            && !(0..before.len()).any(|at| is_stray(&at))
            // A TCP header is of 20 bytes or more (RFC 9293, 3.1): what says less has no data.
            && (protocol != TCP || header >= 20)
            && (sum(before) != 0 || sum(after) == 0)
    }
}
