//! `cargo xtask fuzz`: requests that nobody has thought of, made by schemathesis from the `OpenAPI` document, to a daemon
//! that runs for that.
//!
//! schemathesis speaks to TCP ports only: a bridge on loopback passes its requests on to the control socket, as long as
//! this runs. Among the requests are some to halt everything: experiments that run on this machine meanwhile end.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{build, setup, sh};

/// The version that is known to work here.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// It knows no TOML: a file is sent as it was made up.
const HOOKS: &str = "import schemathesis\n\n\n@schemathesis.serializer(\"application/toml\")\ndef toml(ctx, value):\n    \
                     return str(value).encode(\"utf-8\", \"replace\")\n";

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// How many requests are made up for each operation
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    examples: u32,
    /// What they are drawn from: the same seed makes up the same requests
    #[arg(long, default_value_t = 20_261_122)]
    seed: u64,
}

/// As many as fit into the standard test.
const SHORT: Args = Args { examples: 40, seed: 20_261_122 };

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    build::main()?;
    run(args)
}

/// With what has been built: a short round, for the standard test. `false`: what makes the requests up cannot be had here.
pub fn short() -> Result<bool> {
    match schemathesis() {
        Ok(_) => run(&SHORT).map(|()| true),
        Err(error) => {
            println!("{SCHEMATHESIS} cannot be installed: {error:#}");
            Ok(false)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "the control socket is root's alone: run this as root");
    let program = schemathesis()?;
    let folder = sh::target_dir()?.join("fuzz");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("hooks.py"), HOOKS)?;
    let daemon = Daemon::start(&folder)?;
    let address = bridge(folder.join("kchaos.sock"))?;
    let status = Command::new(program)
        .args(["run", &format!("http://{address}/v1/openapi.json")])
        .args(["--max-examples", &args.examples.to_string(), "--seed", &args.seed.to_string()])
        // One that follows never ends; it has tests of its own.
        .args(["--exclude-path", "/v1/events", "--request-timeout", "20", "--no-color"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", &folder)
        .current_dir(&folder)
        .status()
        .context("cannot start schemathesis")?;
    let log = daemon.end()?;
    ensure!(!log.contains("panicked"), "the daemon has panicked: {}", folder.join("log").display());
    ensure!(
        status.success(),
        "schemathesis has found something; the daemon's log: {}",
        folder.join("log").display()
    );
    Ok(())
}

/// Its program, in an environment of its own below the target folder.
fn schemathesis() -> Result<PathBuf> {
    let folder = sh::target_dir()?.join("schemathesis");
    let (program, mark) = (folder.join("bin/schemathesis"), folder.join("version"));
    if fs::read_to_string(&mark).is_ok_and(|version| version == SCHEMATHESIS) {
        return Ok(program);
    }
    let steps: [&[&str]; 2] =
        [&["python3", "-m", "venv", "--clear", "."], &["bin/pip", "install", "--quiet", SCHEMATHESIS]];
    fs::create_dir_all(&folder)?;
    for words in steps {
        let status = Command::new(words[0]).args(&words[1..]).current_dir(&folder).status();
        let status = status.with_context(|| format!("cannot start {}", words[0]))?;
        ensure!(status.success(), "{} failed", words.join(" "));
    }
    fs::write(mark, SCHEMATHESIS)?;
    Ok(program)
}

/// Passes connections to a port of loopback on to a socket. Ends with this process.
fn bridge(socket: PathBuf) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&socket) else { continue };
            thread::spawn(move || pass(&client, &server));
        }
    });
    Ok(address)
}

fn pass(client: &TcpStream, server: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _either_end_has_gone = io::copy(&mut &*client, &mut &*server);
            let _gone = server.shutdown(std::net::Shutdown::Write);
        });
        let _either_end_has_gone = io::copy(&mut &*server, &mut &*client);
        let _gone = client.shutdown(std::net::Shutdown::Both);
    });
}

struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(folder: &Path) -> Result<Self> {
        let at = |name: &str| folder.join(name);
        fs::write(
            at("daemon.toml"),
            format!(
                "socket = \"{}\"\naudit_log = \"{}\"\nmetrics = \"off\"\n",
                at("kchaos.sock").display(),
                at("audit.jsonl").display()
            ),
        )?;
        let log = at("log");
        let mut command =
            sh::as_root("env").context("this needs root, and there is no sudo: run it as root")?;
        command.arg(sh::target_dir()?.join("kchaos")).args(["daemon", "--config"]).arg(at("daemon.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let mut this =
            Self { child: sh::dies_with_us(&mut command).spawn().context("cannot start kchaos")?, log };
        let begun = Instant::now();
        while UnixStream::connect(at("kchaos.sock")).is_err() {
            if begun.elapsed() > Duration::from_secs(20) || this.child.try_wait()?.is_some() {
                let log = fs::read_to_string(&this.log).unwrap_or_default();
                bail!("the daemon does not answer: {log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(this)
    }

    /// Ends it, and answers with its log. It must still be there.
    fn end(mut self) -> Result<String> {
        ensure!(self.child.try_wait()?.is_none(), "the daemon has ended: {}", self.log.display());
        self.child.kill()?;
        self.child.wait()?;
        Ok(fs::read_to_string(&self.log)?)
    }
}
