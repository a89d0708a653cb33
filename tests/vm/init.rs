//! The first process of a guest of `cargo xtask vm`: brings the machine up, runs one command, switches off.
//!
//! What it is to do stands in files below /kchaos, which xtask puts into the initramfs. The command's output
//! and our messages go to the second serial port, what it writes into `KCHAOS_REPORT` to the third; the first is
//! the kernel's own.

use std::{
    env,
    ffi::{CStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStringExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        socket::{AddressFamily, SockFlag, SockType, socket},
        termios::{SetArg, Termios, cfmakeraw, tcdrain, tcgetattr, tcsetattr},
        wait::{WaitStatus, wait},
    },
    unistd::setsid,
};

/// Source, place, type.
const MOUNTS: [(&str, &str, &str); 9] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("securityfs", "/sys/kernel/security", "securityfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
    ("tmpfs", "/dev/shm", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tmpfs", "/run", "tmpfs"),
];

/// What is written here comes out of the machine as it is.
const REPORT: &str = "/dev/ttyS2";

fn main() {
    if std::process::id() != 1 {
        eprintln!("error: kchaos-init is the first process of a virtual machine and nothing else");
        std::process::exit(2);
    }
    match mount_one("devtmpfs", "/dev", "devtmpfs").and_then(|()| raw("/dev/ttyS1")) {
        Ok((mut serial, cooked)) => {
            let ended = prepare().and_then(|()| work(&mut serial, &cooked));
            // The end of a shell hangs its terminal up, and what is open of it is of no use any more.
            if let Ok((again, _)) = raw("/dev/ttyS1") {
                serial = again;
            }
            let last = match ended {
                Ok(code) => format!("exit {code}"),
                Err(reason) => format!("failed {}", reason.replace('\n', " ")),
            };
            say(&mut serial, &last);
        }
        // The kernel's console is all that is left.
        Err(reason) => eprintln!("kchaos-init: {reason}"),
    }
    // A kernel that does not switch off is left waiting: the runner has heard the last message.
    let _ = reboot(RebootMode::RB_POWER_OFF);
    loop {
        std::thread::park();
    }
}

/// A serial port that changes nothing of what is written, and its settings as they were.
fn raw(port: &str) -> Result<(File, Termios), String> {
    let file = OpenOptions::new().read(true).write(true).open(port).map_err(said("open", port))?;
    let before = tcgetattr(&file).map_err(said("set up", port))?;
    set_raw(&file, before.clone()).map_err(said("set up", port))?;
    Ok((file, before))
}

fn set_raw(port: &File, mut settings: Termios) -> nix::Result<()> {
    cfmakeraw(&mut settings);
    tcsetattr(port, SetArg::TCSADRAIN, &settings)
}

/// File systems, modules and the loopback device.
fn prepare() -> Result<(), String> {
    for (source, place, kind) in MOUNTS {
        mount_one(source, place, kind)?;
    }
    load_modules(Path::new("/kchaos/modules"))?;
    raise("lo")
}

fn mount_one(source: &str, place: &str, kind: &str) -> Result<(), String> {
    // Some of these folders are made by the file system around them.
    if !Path::new(place).is_dir() {
        fs::create_dir_all(place).map_err(said("create", place))?;
    }
    match mount(Some(source), place, Some(kind), MsFlags::empty(), None::<&str>) {
        // Some kernels mount this one by themselves.
        Err(Errno::EBUSY) if kind == "devtmpfs" => Ok(()),
        other => other.map_err(said("mount", place)),
    }
}

/// In the order of their names, which is that of their dependencies.
fn load_modules(folder: &Path) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    for path in files {
        let name = path.display().to_string();
        let file = File::open(&path).map_err(said("open", &name))?;
        match finit_module(&file, options(&name), ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(said("load", &name)(error)),
        }
    }
    Ok(())
}

/// Some modules make devices that nobody has asked for.
fn options(file: &str) -> &'static CStr {
    if file.ends_with("-ifb.ko") {
        c"numifbs=0"
    } else if file.ends_with("-dummy.ko") {
        c"numdummies=0"
    } else {
        c""
    }
}

/// Does what `ip link set lo up` does.
fn raise(name: &str) -> Result<(), String> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(said("open a socket for", name))?;
    // SAFETY: this structure holds numbers and unions of numbers only, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::try_from(from).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the request is of the type that this call reads, and lives until it returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(result).map(drop).map_err(said("raise", name))
}

/// Runs the command and returns its exit code, as a shell would give it.
fn work(serial: &mut File, cooked: &Termios) -> Result<u8, String> {
    let arguments = list("arguments")?;
    let environment = list("environment")?;
    // Kept open: settings are gone when nobody has a port open.
    let (_report, _) = raw(REPORT)?;
    let terminal = fs::read_to_string("/kchaos/terminal").ok();
    if let Some(size) = &terminal {
        set_terminal(serial, cooked, size)?;
    }
    say(serial, "ready");
    let Some((program, arguments)) = arguments.split_first() else {
        // Only to see whether it boots.
        return Ok(0);
    };
    // SAFETY: no other thread runs yet. Programs are looked for by this process's own path.
    unsafe { env::set_var("PATH", "/bin:/sbin:/usr/bin:/usr/sbin") };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/tmp").env("HOME", "/tmp").env("KCHAOS_REPORT", REPORT);
    let kind = terminal.as_deref().and_then(|terminal| terminal.split(' ').nth(2));
    command.env("TERM", kind.unwrap_or("dumb"));
    for entry in environment {
        let entry = entry.into_vec();
        let name = entry.iter().position(|byte| *byte == b'=').unwrap_or(entry.len());
        let value = entry.get(name + 1..).unwrap_or_default().to_vec();
        command.env(OsString::from_vec(entry[..name].to_vec()), OsString::from_vec(value));
    }
    let port = |what| serial.try_clone().map(Stdio::from).map_err(said("copy", what));
    command.stdin(Stdio::null()).stdout(port("stdout")?).stderr(port("stderr")?);
    if terminal.is_some() {
        command.stdin(port("stdin")?);
        // SAFETY: between fork and exec, this makes system calls and nothing else.
        unsafe { command.pre_exec(lead_session) };
    }
    let name = program.to_string_lossy().into_owned();
    let child = command.spawn().map_err(said("start", &name))?;
    let status = reap(child.id()).map_err(said("wait for", &name))?;
    Ok(status.code().map_or_else(
        || 128 + u8::try_from(status.signal().unwrap_or_default()).unwrap_or_default(),
        |code| u8::try_from(code).unwrap_or(u8::MAX),
    ))
}

/// Makes the port a terminal: rows, columns, and what its keys mean.
fn set_terminal(serial: &File, cooked: &Termios, size: &str) -> Result<(), String> {
    let mut numbers = size.split(' ').map_while(|word| word.parse().ok());
    let (ws_row, ws_col) = (numbers.next().unwrap_or(24), numbers.next().unwrap_or(80));
    let size = libc::winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is of the type that this call reads, and lives until it returns.
    let result = unsafe { libc::ioctl(serial.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map_err(said("set the size of", "the terminal"))?;
    tcsetattr(serial, SetArg::TCSANOW, cooked).map_err(said("set up", "the terminal"))
}

/// Gives the process that is about to be the shell its standard input as the terminal that controls it.
fn lead_session() -> io::Result<()> {
    setsid()?;
    // SAFETY: the call takes numbers only.
    Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
    Ok(())
}

/// Waits for a process, and takes in the orphans that end before it.
fn reap(process: u32) -> nix::Result<ExitStatus> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw().unsigned_abs() == process => {
                return Ok(ExitStatus::from_raw(code << 8));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw().unsigned_abs() == process => {
                return Ok(ExitStatus::from_raw(signal as i32));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A message to the runner, known by the mark that this guest was given.
fn say(serial: &mut File, message: &str) {
    let mark = fs::read_to_string("/kchaos/mark").unwrap_or_default();
    // Nobody can be told that nobody can be told.
    let _ = serial.write_all(format!("\x1e{mark} {message}\n").as_bytes());
    let _ = tcdrain(&*serial);
}

/// A list of words, each ended by a zero byte.
fn list(name: &str) -> Result<Vec<OsString>, String> {
    let path = format!("/kchaos/{name}");
    let content = fs::read(&path).map_err(said("read", &path))?;
    let words = content.strip_suffix(b"\0").map(|words| words.split(|byte| *byte == 0));
    Ok(words.into_iter().flatten().map(|word| OsString::from_vec(word.to_vec())).collect())
}

/// Says what could not be done.
fn said<E: Into<io::Error>>(action: &str, what: &str) -> impl FnOnce(E) -> String {
    let action = format!("cannot {action} {what}");
    move |error| format!("{action}: {}", error.into())
}
