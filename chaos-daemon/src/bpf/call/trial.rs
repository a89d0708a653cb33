//! Tries a call out, in this very thread and before anything is armed: once it must fail as told, and once it must come
//! through. A program that loads and attaches may still never be asked (Linux 5.10 without `bpf` in its list of
//! security modules takes LSM programs and never runs them).

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::PathBuf,
};

use aya::maps::{Array, MapData};
use chaos_common::call::Trial;

use super::Call;
use crate::guard::run_dir;

const AF_UNIX: libc::sa_family_t = 1;

/// What no call answers by itself.
const ERRNO: i32 = libc::ENOTNAM;

/// Makes both calls. The error says what was seen.
pub fn run(call: Call, map: &mut Array<MapData, Trial>) -> Result<(), String> {
    let stage = Stage::set(call).map_err(|e| format!("the trial could not be prepared: {e}"))?;
    // SAFETY: no arguments.
    let (process, thread) = (std::process::id(), unsafe { libc::gettid() });
    let who = u64::from(process) << 32 | u64::from(thread.cast_unsigned());
    let mut put = |trial: Trial| map.set(0, trial, 0).map_err(|e| format!("writing the trial: {e}"));
    put(Trial { who, hook: call.hook(), errno: ERRNO.cast_unsigned() })?;
    let must_fail = stage.make(call);
    put(Trial::default())?;
    let must_pass = stage.make(call);
    match (must_fail, must_pass) {
        (Some(ERRNO), other) if other != Some(ERRNO) => Ok(()),
        (Some(ERRNO), _) => Err("a call that should have come through failed as well".to_owned()),
        (None, _) if is_in_a_pid_namespace() => {
            Err("kchaos does not find itself by its process id: run it in the host's pid namespace (hostPID)"
                .to_owned())
        }
        (None, _) => Err("it loads and attaches, but the kernel never asks it".to_owned()),
        (Some(other), _) => Err(format!(
            "the trial's call failed with {} instead of {}",
            nix::errno::Errno::from_raw(other),
            nix::errno::Errno::from_raw(ERRNO)
        )),
    }
}

/// Whether our process has another number on the host: the programs know it by that one.
fn is_in_a_pid_namespace() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
        || std::fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own.as_os_str() != HOSTS_PID_NAMESPACE)
}

/// The first one, on every kernel (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const HOSTS_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What the calls are made on.
struct Stage {
    /// A socket, or a file in memory.
    on: OwnedFd,
    /// The other end of the socket.
    _other: Option<OwnedFd>,
    /// A directory of our own, for calls that name files.
    place: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for name in ["a", "b"] {
            // Whichever the calls have left.
            let _gone = std::fs::remove_file(self.place.join(name));
            let _gone = std::fs::remove_dir(self.place.join(name));
        }
        let _gone = std::fs::remove_dir(&self.place);
    }
}

impl Stage {
    fn set(call: Call) -> io::Result<Self> {
        let place = PathBuf::from(run_dir::PATH).join(format!("trial-{}", std::process::id()));
        let (on, other) = match call {
            Call::Connect | Call::Accept | Call::Bind | Call::Listen | Call::Socket => (socket()?, None),
            Call::Send | Call::Recv => {
                let [one, other] = pair()?;
                (one, Some(other))
            }
            Call::Read | Call::Write => (open("/dev/zero")?, None),
            _ => (memory()?, None),
        };
        let stage = Self { on, _other: other, place };
        if matches!(call, Call::Unlink | Call::Rename | Call::Mkdir | Call::Truncate) {
            run_dir::make()?;
            std::fs::create_dir_all(&stage.place)?;
            if call != Call::Mkdir {
                std::fs::write(stage.place.join("a"), b"kchaos")?;
            }
        }
        Ok(stage)
    }

    /// Makes the call; answers with its errno if it fails.
    fn make(&self, call: Call) -> Option<i32> {
        let on = self.on.as_raw_fd();
        let [a, b] = ["a", "b"].map(|name| {
            CString::new(self.place.join(name).into_os_string().into_encoded_bytes()).unwrap_or_default()
        });
        let mut byte = [0u8; 1];
        let at = byte.as_mut_ptr();
        let mut address: libc::sockaddr_un = zeroed();
        address.sun_family = AF_UNIX;
        let nobody = (&raw const address).cast();
        // A name that the kernel chooses; and one that nobody has.
        let (chosen, named) = (2u32, 12u32);
        // SAFETY: descriptors and memory that live here, sizes as they are. What makes a process is ended at once.
        let answer = unsafe {
            match call {
                Call::Read => libc::read(on, at.cast(), 1),
                Call::Write => libc::write(on, at.cast(), 1),
                Call::Open => closed(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC)),
                Call::Connect => libc::connect(on, nobody, named) as isize,
                Call::Accept => {
                    closed(libc::accept4(on, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC))
                }
                Call::Send => libc::send(on, at.cast(), 1, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL),
                Call::Recv => libc::recv(on, at.cast(), 1, libc::MSG_DONTWAIT),
                Call::Bind => libc::bind(on, nobody, chosen) as isize,
                Call::Listen => libc::listen(on, 1) as isize,
                Call::Socket => {
                    closed(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))
                }
                Call::Exec => run_nothing(on),
                Call::Fork => fork_nothing(),
                Call::Mmap => map_nothing(),
                Call::Stat => {
                    let mut stat: libc::stat = zeroed();
                    libc::fstat(on, &raw mut stat) as isize
                }
                Call::Unlink => libc::unlink(a.as_ptr()) as isize,
                Call::Rename => libc::rename(a.as_ptr(), b.as_ptr()) as isize,
                Call::Mkdir => libc::mkdir(a.as_ptr(), 0o700) as isize,
                Call::Truncate => libc::truncate(a.as_ptr(), 0) as isize,
                Call::Fsync => libc::fsync(on) as isize,
                Call::Close => libc::close(-1) as isize,
                Call::Poll => libc::poll(std::ptr::null_mut(), 0, 0) as isize,
            }
        };
        if answer < 0 { io::Error::last_os_error().raw_os_error() } else { None }
    }
}

fn zeroed<T>() -> T
where
    T: Copy,
{
    // SAFETY: only for structures of the C library that may be all zeros.
    unsafe { std::mem::zeroed() }
}

/// Closes a descriptor that a call has made, keeping its errno if it has made none.
fn closed(descriptor: i32) -> isize {
    if descriptor >= 0 {
        // SAFETY: it was just made, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    descriptor as isize
}

/// A process that ends at once. What it shares with this one is not touched.
fn fork_nothing() -> isize {
    // SAFETY: the child calls nothing but _exit.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(0);
        }
        if child > 0 {
            let mut status = 0;
            libc::waitpid(child, &raw mut status, 0);
        }
        child as isize
    }
}

/// execve(2) of a file that is no program: the kernel asks about it before it knows.
fn run_nothing(file: i32) -> isize {
    let nothing = [std::ptr::null::<libc::c_char>()];
    // SAFETY: lists that end; a file that cannot be run.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file,
            c"".as_ptr(),
            nothing.as_ptr(),
            nothing.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    if answer < 0 { -1 } else { 0 }
}

fn map_nothing() -> isize {
    const SIZE: usize = 4096;
    // SAFETY: memory of our own, which is given back.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            SIZE,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if at == libc::MAP_FAILED {
            return -1;
        }
        libc::munmap(at, SIZE);
    }
    0
}

fn owned(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })
}

fn pair() -> io::Result<[OwnedFd; 2]> {
    let mut both = [0; 2];
    // SAFETY: room for two.
    let made = unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0, both.as_mut_ptr())
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok([owned(both[0])?, owned(both[1])?])
}

fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(std::fs::OpenOptions::new().read(true).write(true).open(path)?.into())
}

/// A file in memory that may be run, and is no program.
fn memory() -> io::Result<OwnedFd> {
    const MFD_EXEC: u32 = 0x10;
    let make = |flags| {
        // SAFETY: a name that ends, and flags.
        owned(unsafe { libc::memfd_create(c"kchaos-trial".as_ptr(), flags) })
    };
    // Before Linux 6.3 there is no such flag.
    let file = make(libc::MFD_CLOEXEC | MFD_EXEC).or_else(|_| make(libc::MFD_CLOEXEC))?;
    // Four letters: kernels before 6.14 would look for a module that knows what begins with other bytes.
    // SAFETY: four bytes that live.
    unsafe { libc::write(file.as_raw_fd(), c"none".as_ptr().cast(), 4) };
    Ok(file)
}
