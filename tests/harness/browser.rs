//! A real browser without a screen: Chromium, asked over a pipe in the protocol of its developer tools. It runs in a
//! network namespace of its own in which there is no device but a loopback that is down: whatever a page asks for, it
//! cannot get, and that it asked is seen.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use nix::{
    fcntl::OFlag,
    sched::{CloneFlags, unshare},
    unistd::pipe2,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ends_with_us;

/// One that is killed when dropped.
pub struct Browser {
    child: Child,
    requests: File,
    answers: BufReader<File>,
    session: String,
    number: u64,
    /// What it has said by itself since the last page was opened.
    events: Vec<Value>,
    _home: TempDir,
}

impl Browser {
    /// Starts one with an empty page.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (its_requests, requests) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (answers, its_answers) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]);
        command.args(["--no-first-run", "--disable-extensions", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", home.path().display()));
        command.env("HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ends_with_us(&mut command);
        let (read, write) = (its_requests.as_raw_fd(), its_answers.as_raw_fd());
        // SAFETY: dup2, fcntl and unshare are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                unshare(CloneFlags::CLONE_NEWNET)?;
                // Away from 3 and 4 first, which may be the other one of the two.
                let high = |fd| libc::fcntl(fd, libc::F_DUPFD, 10);
                let (read, write) = (high(read), high(write));
                if libc::dup2(read, 3) < 0 || libc::dup2(write, 4) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                libc::close(read);
                libc::close(write);
                Ok(())
            });
        }
        let child =
            command.spawn().expect("chromium of the package chromium: `cargo xtask setup` installs it");
        // So that its end is seen.
        drop((its_requests, its_answers));
        let mut this = Self {
            child,
            requests: requests.into(),
            answers: BufReader::new(File::from(answers)),
            session: String::new(),
            number: 0,
            events: Vec::new(),
            _home: home,
        };
        let target = this.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = this.ask("Target.attachToTarget", &attach);
        session["sessionId"].as_str().unwrap().clone_into(&mut this.session);
        for domain in ["Page", "Network", "Log", "Runtime"] {
            this.ask(&format!("{domain}.enable"), &json!({}));
        }
        this
    }

    /// Asks for something and waits for the answer.
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut request = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.requests.write_all(&bytes).unwrap();
        loop {
            let mut said = self.hear();
            if said["id"] == self.number {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            self.events.push(said);
        }
    }

    fn hear(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).unwrap();
        assert_eq!(Some(0), bytes.pop(), "the browser is gone");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Opens a file at this width and height, in the colours that its user prefers: `light` or `dark`.
    pub fn open(&mut self, path: &std::path::Path, (width, height): (u32, u32), colours: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", &size);
        let prefers = json!({ "features": [{ "name": "prefers-color-scheme", "value": colours }] });
        self.ask("Emulation.setEmulatedMedia", &prefers);
        self.events.clear();
        self.ask("Page.navigate", &json!({ "url": format!("file://{}", path.display()) }));
        let loaded = |event: &Value| event["method"] == "Page.loadEventFired";
        while !self.events.iter().any(loaded) {
            let event = self.hear();
            self.events.push(event);
        }
    }

    /// What a script in the page would see. The page's own policy does not bind the developer tools.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{answer}");
        answer["result"]["value"].take()
    }

    /// Everything that the page has asked for since it was opened, itself first.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What the browser had to complain about: what a policy forbids, scripts, markup.
    pub fn complaints(&self) -> Vec<String> {
        let of = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        let said = self.events.iter().filter(|event| of.iter().any(|method| event["method"] == *method));
        said.map(|event| event["params"].to_string()).collect()
    }

    /// What it looks like, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let answer = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
