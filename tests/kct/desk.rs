//! A small service that takes orders: for each it starts a program, such as a client of a database, and answers what
//! became of it. Without a time limit it waits for as long as that program does.

use std::{
    io::Read as _,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::http;

/// How it does its work.
pub struct Work {
    /// What takes an order, each a text for the shell. The one that worked last is asked first, then those behind it.
    pub by: Vec<String>,
    /// For how long each is waited for; without one for ever.
    pub limit: Option<Duration>,
    /// The status if none of them can do it.
    pub failure: u16,
}

/// Serves HTTP until killed. `/health` asks nobody.
pub fn serve(listen: SocketAddr, work: Work) {
    let worked = AtomicUsize::new(0);
    http::serve(listen, move |path| match path {
        "/health" => (200, "open".to_owned()),
        _ => work.take(&worked),
    });
}

impl Work {
    fn take(&self, worked: &AtomicUsize) -> http::Answer {
        let first = worked.load(Ordering::Relaxed);
        let mut said = String::new();
        for place in (first..first + self.by.len()).map(|place| place % self.by.len()) {
            match self.ask(&self.by[place]) {
                Ok(text) => {
                    worked.store(place, Ordering::Relaxed);
                    return (200, text);
                }
                Err(text) => said += &text,
            }
        }
        (self.failure, said)
    }

    fn ask(&self, program: &str) -> Result<String, String> {
        let mut command = Command::new("sh");
        command.args(["-c", program]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let well = self.wait(&mut child);
        let mut text = String::new();
        // Both are a line or two.
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        if well { Ok(text) } else { Err(text) }
    }

    /// Whether it has ended well, and in time.
    fn wait(&self, child: &mut Child) -> bool {
        let Some(limit) = self.limit else { return child.wait().unwrap().success() };
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        false
    }
}
