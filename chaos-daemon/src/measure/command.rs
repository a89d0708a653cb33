//! `command = ["program", "argument"]`: whether a program says that all is well, by its exit code 0.
//!
//! It runs where kchaos runs and never as the target. What must stay true: it does not outlive us, nor the time it has:
//! it is the leader of a process group of its own, which is killed as a whole when its time is over or when nobody
//! waits for it any more; and it dies with the thread that has started it.

use std::{io, os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    time::timeout,
};
use toml::Spanned;

use super::{MeasureError, Measured, absent};
use crate::{
    config::{Problem, Section},
    guard::files,
    printable::printable,
    target::in_words,
};

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program, by its path or looked up in `PATH`.
    pub program: String,
    /// Its arguments, which no shell has touched.
    pub arguments: Vec<String>,
}

/// How much of its last words is kept.
const LAST_WORDS: usize = 300;

/// How long its last words may take to arrive when it has ended: something that it has started may still hold the pipe.
const LINGER: Duration = Duration::from_millis(50);

impl Command {
    /// Reads the source.
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let place = section.place_of("command").unwrap_or_else(|| section.span());
        let is_list = section.is_list("command");
        let Some(words) = section.list::<String>("command")? else { return Err(absent(section)) };
        let mut words: Vec<String> = words.into_iter().map(Spanned::into_inner).collect();
        if words.iter().any(|word| word.contains('\0'))
            || words.first().is_none_or(|word| word.trim().is_empty())
        {
            return Err(Problem::at(place, "`command` names no program", "cannot be started")
                .help("write a list: command = [\"/usr/local/bin/healthy\", \"--quick\"]"));
        }
        // As for a command that is the target.
        if !is_list && words[0].contains(char::is_whitespace) {
            words = vec!["/bin/sh".to_owned(), "-c".to_owned(), words.remove(0)];
        }
        let program = words.remove(0);
        Ok(Self { program, arguments: words })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        format!("{} ends with exit code 0", self.words())
    }

    fn words(&self) -> String {
        [std::slice::from_ref(&self.program), &self.arguments].concat().join(" ")
    }

    pub(super) async fn measure(&self) -> Result<Measured, MeasureError> {
        let mut running = Running(self.start().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                MeasureError::Mistake(format!("cannot start {}: {error}", self.program))
            }
            _ => MeasureError::Failed(format!("cannot start {}: {error}", self.program)),
        })?);
        let mut words = LastWords::default();
        let mut stderr = running.0.stderr.take();
        let status = {
            let listening = words.listen(stderr.as_mut());
            tokio::pin!(listening);
            let status = tokio::select! {
                status = running.0.wait() => {
                    // It has nothing more to say, or will not be heard.
                    let _silent = timeout(LINGER, &mut listening).await;
                    status
                }
                () = &mut listening => running.0.wait().await,
            };
            status.map_err(|error| MeasureError::Failed(format!("waiting for {}: {error}", self.program)))?
        };
        if status.success() {
            return Ok(Measured::Well);
        }
        let how = if status.signal().is_some() { "was ended by" } else { "ended with" };
        let words = words.line();
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        Ok(Measured::Unwell(format!("{} {how} {}{said}", self.words(), in_words(status))))
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let given = files::given();
        // SAFETY: between fork and exec, only async-signal-safe calls: prctl and prlimit.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                files::give_back(given)
            });
        }
        command.spawn()
    }
}

/// A started program. Dropped before its end, it goes with all that it has started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has an id as long as nobody has waited for it, and as long as that the id is no one else's.
        if let Some(pid) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The end of what a program says.
#[derive(Default)]
struct LastWords(Vec<u8>);

impl LastWords {
    /// Listens until there is nothing more, and keeps little of it.
    async fn listen(&mut self, stream: Option<&mut (impl AsyncRead + Unpin)>) {
        let Some(stream) = stream else { return };
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.0.extend_from_slice(&buffer[..count]);
            let surplus = self.0.len().saturating_sub(buffer.len());
            self.0.drain(..surplus);
        }
    }

    /// The last line with something in it.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        printable(&line.chars().take(LAST_WORDS).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use super::*;

    fn shell(script: &str) -> Command {
        Command { program: "sh".to_owned(), arguments: vec!["-c".to_owned(), script.to_owned()] }
    }

    #[tokio::test]
    async fn says_what_the_exit_code_says_and_the_last_words() {
        assert_eq!(Ok(Measured::Well), shell("echo no >&2; exit 0").measure().await);
        let Ok(Measured::Unwell(why)) =
            shell("echo one >&2; printf 'two\\033[2J\\n\\n' >&2; exit 7").measure().await
        else {
            panic!()
        };
        assert!(why.ends_with("ended with exit code 7: two\\u{1b}[2J"), "{why}");
        let Ok(Measured::Unwell(why)) = shell("kill -9 $$").measure().await else { panic!() };
        assert!(why.ends_with("was ended by signal 9"), "{why}");
    }

    #[tokio::test]
    async fn more_words_than_a_pipe_holds_block_nobody() {
        let Ok(Measured::Unwell(why)) =
            shell("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; \
                   echo last >&2; exit 1").measure().await
        else {
            panic!()
        };
        assert!(why.ends_with(": last"), "{why}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_a_mistake() {
        let absent = Command { program: "/nowhere/at-all".to_owned(), arguments: vec![] };
        assert!(matches!(absent.measure().await, Err(MeasureError::Mistake(_))));
    }

    /// What it has started holds the pipe open, and nobody waits for that.
    #[tokio::test]
    async fn a_child_that_stays_does_not_keep_us() {
        let begun = Instant::now();
        assert_eq!(Ok(Measured::Well), shell("sleep 3 & exit 0").measure().await);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    /// Also what the shell has started.
    #[tokio::test]
    async fn nothing_is_left_when_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let (pid, late) = (folder.path().join("pid"), folder.path().join("late"));
        let script = format!("(sleep 1; touch {}) & echo $! > {}; wait", late.display(), pid.display());
        let command = shell(&script);
        assert!(timeout(Duration::from_millis(500), command.measure()).await.is_err());
        let pid = std::fs::read_to_string(pid).unwrap().trim().to_owned();
        let stat = Path::new("/proc").join(pid).join("stat");
        for _ in 0..100 {
            // A zombie of a child whose parent is gone is not ours to reap.
            match std::fs::read_to_string(&stat) {
                Ok(stat) if !stat.contains(") Z") => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => break,
            }
        }
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!late.exists());
    }
}
