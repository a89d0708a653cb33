//! Makes system calls when it is told to, and says how each ended, without any other call that could be made to fail: it
//! is told and answers in shared memory, and sleeps in between.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "small numbers, as the C library's functions want them"
)]

use std::{
    ffi::CString,
    fs::{self, File},
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    path::{Path, PathBuf},
    ptr,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use kchaos_tests::caller::CALLS;
use libc::{c_int, c_void};

use crate::board;

/// Words of the shared memory: the number of the round that is asked for, the one that is done, how many calls of which
/// kind, and then how often each errno was the answer (0: none).
const ASKED: usize = 0;
const DONE: usize = 1;
const COUNT: usize = 2;
const WHICH: usize = 3;
const ANSWERS: usize = 4;
const WORDS: usize = ANSWERS + 134;

/// Makes calls in rounds, as the file `board` says, on files in the folder `place`.
pub fn run(board: &Path, place: &Path) -> ! {
    let board = board::mapped(board, WORDS);
    let stage = Stage::set(place);
    board[DONE].store(u64::MAX, Ordering::SeqCst);
    let mut round = 0;
    loop {
        let asked = board[ASKED].load(Ordering::SeqCst);
        if asked == round {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        round = asked;
        let which = board[WHICH].load(Ordering::SeqCst) as usize;
        for number in 0..board[COUNT].load(Ordering::SeqCst) {
            // SAFETY: calls on what is the stage's own.
            let errno = unsafe { stage.make(which, number) };
            board[ANSWERS + errno as usize].fetch_add(1, Ordering::SeqCst);
        }
        board[DONE].store(round, Ordering::SeqCst);
    }
}

/// Everything that calls are made on, ready beforehand.
struct Stage {
    file: c_int,
    other: c_int,
    zero: c_int,
    pipe: [c_int; 2],
    pair: [c_int; 2],
    listener: c_int,
    stream: c_int,
    dir: c_int,
    sink: c_int,
    udp: c_int,
    tcp: c_int,
    udp6: c_int,
    nothing: c_int,
    script: CString,
    names: [CString; 3],
    many: Vec<CString>,
    place: CString,
}

/// How many files may be unlinked.
const MANY: usize = 256;
const SIZE: usize = 1 << 20;

fn name(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

impl Stage {
    fn set(place: &Path) -> Self {
        let at = |name: &str| -> PathBuf { place.join(name) };
        for file in ["file", "other", "old"] {
            if !at(file).exists() {
                fs::write(at(file), vec![7; SIZE]).unwrap();
            }
        }
        fs::write(at("script"), "#!/bin/kct-that-is-not-there\n").unwrap();
        let many: Vec<CString> = (0..MANY)
            .map(|n| {
                let path = at(&format!("many-{}-{n}", std::process::id()));
                fs::write(&path, "").unwrap();
                name(&path)
            })
            .collect();
        let open = |path: PathBuf| File::options().read(true).write(true).open(path).unwrap().into_raw_fd();
        let mut pipe = [0; 2];
        let mut pair = [0; 2];
        // SAFETY: room for two, and plain numbers.
        unsafe {
            assert_eq!(0, libc::pipe(pipe.as_mut_ptr()));
            assert_eq!(0, libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()));
            for end in [pipe[0], pipe[1], pair[0], pair[1]] {
                libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK | libc::O_RDWR);
            }
            let listener = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
            let address = unix(&format!("@kct-{}", std::process::id()));
            assert_eq!(0, libc::bind(listener, (&raw const address.0).cast(), address.1));
            assert_eq!(0, libc::listen(listener, 8));
            let nothing = libc::memfd_create(c"nothing".as_ptr(), 0x10);
            let nothing = if nothing < 0 { libc::memfd_create(c"nothing".as_ptr(), 0) } else { nothing };
            libc::write(nothing, c"none".as_ptr().cast(), 4);
            libc::chmod(name(&at("script")).as_ptr(), 0o755);
            Self {
                file: open(at("file")),
                other: open(at("other")),
                zero: open("/dev/zero".into()),
                pipe,
                pair,
                listener,
                stream: libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
                dir: File::open(place).unwrap().into_raw_fd(),
                sink: open("/dev/null".into()),
                udp: libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0),
                udp6: libc::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0),
                tcp: bound(7998),
                nothing,
                script: name(&at("script")),
                names: ["old", "new", "made"].map(|n| name(&at(n))),
                many,
                place: name(place),
            }
        }
    }

    /// Makes a call; its errno, or 0.
    unsafe fn make(&self, which: usize, number: u64) -> c_int {
        let mut bytes = [0u8; 64];
        let at: *mut c_void = bytes.as_mut_ptr().cast();
        let [old, new, made] = &self.names;
        // SAFETY: the caller's promise: all of it is ours, and sizes are as they are.
        let answer = unsafe {
            match CALLS[which] {
                "read" => libc::pread(self.file, at, 1, 0) as i64,
                "write" => libc::pwrite(self.file, at, 1, 0) as i64,
                "open" => closing(libc::openat(libc::AT_FDCWD, self.names[0].as_ptr(), libc::O_RDONLY)),
                "open-dir" => closing(libc::open(self.place.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY)),
                "connect" => {
                    let to = unix("/nowhere/kct.sock");
                    libc::connect(self.stream, (&raw const to.0).cast(), to.1) as i64
                }
                "accept" => closing(libc::accept(self.listener, ptr::null_mut(), ptr::null_mut())),
                "send" => {
                    let sent = libc::send(self.pair[0], at, 1, 0) as i64;
                    return ended(sent, || {
                        if sent > 0 {
                            libc::recv(self.pair[1], at, 64, 0);
                        }
                    });
                }
                "write-socket" => {
                    let sent = libc::write(self.pair[0], at, 1) as i64;
                    return ended(sent, || {
                        if sent > 0 {
                            libc::recv(self.pair[1], at, 64, 0);
                        }
                    });
                }
                "recv" => libc::recv(self.pair[1], at, 64, libc::MSG_DONTWAIT) as i64,
                "read-socket" => libc::read(self.pair[1], at, 64) as i64,
                "bind" => {
                    // A name that the kernel chooses, the first time.
                    let to = unix("");
                    libc::bind(self.stream, (&raw const to.0).cast(), 2) as i64
                }
                "listen-tcp" => libc::listen(self.tcp, 1).into(),
                "listen" => libc::listen(self.udp, 1) as i64,
                "socket" => closing(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)),
                "exec" => {
                    let none = [ptr::null::<libc::c_char>()];
                    let none = none.as_ptr();
                    libc::syscall(
                        libc::SYS_execveat,
                        self.nothing,
                        c"".as_ptr(),
                        none,
                        none,
                        libc::AT_EMPTY_PATH,
                    )
                }
                "script" => {
                    let none = [ptr::null::<libc::c_char>()];
                    libc::execve(self.script.as_ptr(), none.as_ptr(), none.as_ptr()) as i64
                }
                "fork" => {
                    let child = libc::fork();
                    if child == 0 {
                        libc::_exit(0);
                    }
                    return ended(child.into(), || {
                        if child > 0 {
                            libc::waitpid(child, ptr::null_mut(), 0);
                        }
                    });
                }
                "mmap" => {
                    let prot = libc::PROT_READ;
                    let mapped = libc::mmap(ptr::null_mut(), 4096, prot, libc::MAP_PRIVATE, self.file, 0);
                    let answer = if mapped == libc::MAP_FAILED { -1 } else { 0 };
                    return ended(answer, || {
                        if answer == 0 {
                            libc::munmap(mapped, 4096);
                        }
                    });
                }
                "stat" => {
                    let mut seen: libc::stat = std::mem::zeroed();
                    libc::stat(old.as_ptr(), &raw mut seen).into()
                }
                "unlink" => libc::unlink(self.many[number as usize % MANY].as_ptr()).into(),
                "rename" => {
                    let answer = i64::from(libc::rename(old.as_ptr(), new.as_ptr()));
                    return ended(answer, || {
                        if answer == 0 {
                            libc::rename(new.as_ptr(), old.as_ptr());
                        }
                    });
                }
                "mkdir" => {
                    let answer = i64::from(libc::mkdir(made.as_ptr(), 0o700));
                    return ended(answer, || {
                        if answer == 0 {
                            libc::rmdir(made.as_ptr());
                        }
                    });
                }
                "truncate" => libc::ftruncate(self.other, SIZE as i64).into(),
                "fsync" => libc::fsync(self.file).into(),
                "close" => {
                    let answer = libc::close(libc::dup(self.zero));
                    answer.into()
                }
                "poll" => libc::poll(ptr::null_mut(), 0, 0).into(),
                "read-pipe" => libc::read(self.pipe[0], at, 1) as i64,
                "read-zero" => libc::read(self.zero, at, 1) as i64,
                "getdents" => {
                    libc::lseek(self.dir, 0, libc::SEEK_SET);
                    let mut entries = [0u8; 1024];
                    libc::syscall(libc::SYS_getdents64, self.dir, entries.as_mut_ptr(), 1024)
                }
                "sendfile" => {
                    libc::lseek(self.file, 0, libc::SEEK_SET);
                    libc::sendfile(self.other, self.file, ptr::null_mut(), SIZE) as i64
                }
                "copy_file_range" => {
                    let (mut from, mut to) = (0i64, 0i64);
                    libc::copy_file_range(self.file, &raw mut from, self.other, &raw mut to, SIZE, 0) as i64
                }
                "splice" => {
                    let mut from = 0i64;
                    let moved =
                        libc::splice(self.file, &raw mut from, self.pipe[1], ptr::null_mut(), 65_536, 0)
                            as i64;
                    return ended(moved, || {
                        if moved > 0 {
                            let (out, sink) = (self.pipe[0], self.sink);
                            libc::splice(out, ptr::null_mut(), sink, ptr::null_mut(), moved as usize, 0);
                        }
                    });
                }
                "send-udp6" => {
                    let mut to: libc::sockaddr_in6 = std::mem::zeroed();
                    to.sin6_family = libc::AF_INET6 as u16;
                    to.sin6_port = 7999u16.to_be();
                    to.sin6_addr.s6_addr[15] = 1;
                    libc::sendto(self.udp6, at, 1, 0, (&raw const to).cast(), 28) as i64
                }
                "send-udp" => {
                    let mut to: libc::sockaddr_in = std::mem::zeroed();
                    to.sin_family = libc::AF_INET as u16;
                    to.sin_port = 7999u16.to_be();
                    to.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
                    libc::sendto(self.udp, at, 1, 0, (&raw const to).cast(), 16) as i64
                }
                other => panic!("{other} is no call"),
            }
        };
        ended(answer, || {})
    }
}

/// The errno of a call that has just ended, and then what is to be put in order.
fn ended(answer: i64, afterwards: impl FnOnce()) -> c_int {
    let errno = if answer < 0 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 };
    afterwards();
    errno
}

/// A TCP socket with this port.
fn bound(port: u16) -> c_int {
    std::net::TcpListener::bind(("127.0.0.1", port)).map_or(-1, IntoRawFd::into_raw_fd)
}

fn closing(descriptor: c_int) -> i64 {
    if descriptor >= 0 {
        // SAFETY: it was just made.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    descriptor.into()
}

/// The address of a unix socket; `@` begins one without a file.
fn unix(path: &str) -> (libc::sockaddr_un, u32) {
    // SAFETY: zeros are a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.replacen('@', "\0", 1).bytes()) {
        *to = from as libc::c_char;
    }
    (address, 2 + path.len() as u32 + u32::from(path.starts_with('/')))
}
