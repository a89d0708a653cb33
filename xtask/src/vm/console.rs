//! What a guest says: its command's output on one serial line, its kernel's complaints on another.

/// Starts a message of our init; text hardly ever has this control character, and the mark settles it.
const SIGN: u8 = 0x1e;

/// A message of our init.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything is mounted and loaded; the command's output follows.
    Ready,
    /// The command ended.
    Exit(u8),
    /// The command was never started, for this reason.
    Failed(String),
}

/// Parts the command's output from the messages of our init.
pub struct Splitter {
    mark: String,
    ready: bool,
    held: Vec<u8>,
}

impl Splitter {
    /// For the guest whose init was given this mark.
    pub fn new(mark: &str) -> Self {
        Self { mark: mark.to_owned(), ready: false, held: Vec::new() }
    }

    /// Takes what came and returns what of it is to be shown, and the messages.
    pub fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<Event>) {
        self.held.extend(bytes);
        let (mut output, mut events) = (Vec::new(), Vec::new());
        loop {
            let plain = self.held.iter().position(|byte| *byte == SIGN).unwrap_or(self.held.len());
            self.show(plain, &mut output);
            let Some(end) = self.held.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            let line: Vec<u8> = self.held.iter().take(end).copied().collect();
            match self.message(&line) {
                Some(event) => {
                    self.ready |= event == Event::Ready;
                    events.push(event);
                    self.held.drain(..=end);
                }
                // The character was the command's own.
                None => self.show(1, &mut output),
            }
        }
        (output, events)
    }

    /// What is still held back when nothing more will come.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        self.show(self.held.len(), &mut output);
        output
    }

    /// Moves the first bytes to the output; what was said before our init was ready is no output.
    fn show(&mut self, count: usize, output: &mut Vec<u8>) {
        let bytes = self.held.drain(..count);
        if self.ready {
            output.extend(bytes);
        }
    }

    fn message(&self, line: &[u8]) -> Option<Event> {
        let line = String::from_utf8_lossy(line.get(1..)?);
        let message = line.strip_prefix(&self.mark)?.trim_end_matches('\r').strip_prefix(' ')?;
        match message.split_once(' ') {
            None if message == "ready" => Some(Event::Ready),
            Some(("exit", code)) => code.parse().ok().map(Event::Exit),
            Some(("failed", reason)) => Some(Event::Failed(reason.to_owned())),
            _ => None,
        }
    }
}

/// A kernel that does not go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, in our words.
    pub kind: &'static str,
    /// The kernel's line about it.
    pub line: String,
}

/// What kernels write, and what it means; the first that is found counts.
const TROUBLES: [(&str, &str); 7] = [
    ("Kernel panic - not syncing", "kernel panic"),
    ("BUG: soft lockup", "soft lock-up"),
    ("detected stalls on CPUs", "stalled CPU"),
    ("self-detected stall on CPU", "stalled CPU"),
    ("PANIC: double fault", "double fault"),
    ("BUG: unable to handle", "kernel fault"),
    ("Oops: ", "kernel fault"),
];

/// Looks for a kernel's last words on its console.
pub fn trouble(console: &str) -> Option<Trouble> {
    TROUBLES.iter().find_map(|(words, kind)| {
        let line = console.lines().find(|line| line.contains(words))?;
        // Without the time stamp.
        let line = line
            .trim_start()
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
            .map_or(line, |part| part.1);
        Some(Trouble { kind, line: line.trim().to_owned() })
    })
}

/// The end of a console log, for the person who has to find out.
pub fn tail(console: &str, lines: usize) -> String {
    let all: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let end = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    std::iter::once("").chain(end.iter().copied()).collect::<Vec<_>>().join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::{Event, Splitter, tail, trouble};

    /// Feeds a stream in pieces of one size.
    fn split(stream: &[u8], size: usize) -> (String, Vec<Event>) {
        let mut splitter = Splitter::new("m1");
        let (mut output, mut events) = (Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            let (more, said) = splitter.feed(piece);
            output.extend(more);
            events.extend(said);
        }
        output.extend(splitter.rest());
        (String::from_utf8(output).unwrap(), events)
    }

    #[test]
    fn output_is_what_lies_between_the_messages() {
        let stream = b"SeaBIOS\r\n\x1em1 ready\none\ntwo\x1em1 exit 3\n";
        for size in 1..=stream.len() {
            let (output, events) = split(stream, size);
            assert_eq!(output, "one\ntwo", "in pieces of {size}");
            assert_eq!(events, [Event::Ready, Event::Exit(3)]);
        }
    }

    #[test]
    fn a_message_of_another_mark_is_output() {
        let (output, events) = split(b"\x1em1 ready\n\x1em2 exit 0\n\x1e\x1em1 exit 256\n", 5);
        assert_eq!(output, "\x1em2 exit 0\n\x1e\x1em1 exit 256\n");
        assert_eq!(events, [Event::Ready]);
    }

    #[test]
    fn the_reason_of_a_failure_is_kept() {
        let (output, events) = split(b"\x1em1 failed cannot mount /sys: EPERM\n", 64);
        assert_eq!(output, "");
        assert_eq!(events, [Event::Failed("cannot mount /sys: EPERM".into())]);
    }

    #[test]
    fn a_panic_is_seen() {
        let found = trouble(
            "[    0.9] Run /init as init process\n\
             [    1.234567] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n\
             [    1.3] CPU: 0 PID: 1 Comm: init\n",
        )
        .unwrap();
        assert_eq!(found.kind, "kernel panic");
        assert_eq!(found.line, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100");
    }

    #[test]
    fn a_lock_up_is_seen() {
        let found =
            trouble("[   48.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kchaos:98]\r\n").unwrap();
        assert_eq!(found.kind, "soft lock-up");
        assert_eq!(found.line, "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kchaos:98]");
        let stalled = trouble("[9.9] rcu: INFO: rcu_sched self-detected stall on CPU\n").unwrap();
        assert_eq!(stalled.kind, "stalled CPU");
    }

    #[test]
    fn a_double_fault_in_early_boot_is_seen() {
        let found = trouble("PANIC: double fault, error_code: 0x0\n").unwrap();
        assert_eq!(found.kind, "double fault");
    }

    #[test]
    fn warnings_are_no_trouble() {
        let console = "[    0.0] Linux version 6.1.0\n[    1.0] tsc: Marking TSC unstable\nWARNING: CPU: 0\n";
        assert_eq!(trouble(console), None);
        assert_eq!(trouble(""), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\n\nb\r\nc\n", 2), "\n    b\n    c");
        assert_eq!(tail("", 2), "");
    }
}
