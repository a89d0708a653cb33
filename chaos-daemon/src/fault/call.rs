//! `call`: chosen system calls of the target fail with an errno of choice, narrowed down to files, sockets, users and
//! programs. Kernel side: `chaos-ebpf/src/fault/call.rs` and `chaos-ebpf/src/lib/hooks/`.

use std::{collections::BTreeSet, ops::Range};

use chaos_common::rule::{Rule, action, hook};
use toml::Spanned;

use super::{Fault, Field, Kind, Takes, packets::field};
use crate::{
    bpf::{Feature, Need, call::Call as Which},
    config::{
        Packets, Problem, Section,
        section::closest,
        value::{Comm, Errno, FilePath, FileType, UNIX, Uid, UnixPeer},
    },
};

/// The kind.
pub struct Call;

/// What a call must be about, beside its far end and ports. Empty is anything.
#[derive(Debug, Default)]
pub struct Asks {
    /// Files, or directories with all below them.
    pub paths: Vec<Spanned<FilePath>>,
    /// Kinds of files.
    pub files: BTreeSet<FileType>,
    /// Users who make it.
    pub users: BTreeSet<Uid>,
    /// Programs that make it.
    pub programs: BTreeSet<Comm>,
    /// Unix sockets that it names.
    pub unix: BTreeSet<UnixPeer>,
    /// Where the fault names its call, for messages.
    pub place: Range<usize>,
}

impl Asks {
    /// The conditions but for unix sockets, as the file has them.
    pub fn conditions(&self) -> Vec<String> {
        let lists = [
            ("path", self.paths.iter().map(|path| path.get_ref().0.display().to_string()).collect()),
            ("file", self.files.iter().map(|kind| kind.name().to_owned()).collect()),
            ("uid", self.users.iter().map(|user| user.0.to_string()).collect()),
            ("comm", self.programs.iter().map(|program| program.0.clone()).collect::<Vec<_>>()),
        ];
        let given = lists.into_iter().filter(|(_, values)| !values.is_empty());
        given.map(|(field, values)| format!("{field} = {}", values.join(", "))).collect()
    }

    /// The unix sockets, as the file has them.
    pub fn sockets(&self) -> Vec<String> {
        self.unix.iter().map(ToString::to_string).collect()
    }
}

const WHICH: &str = "Which call fails: read, write, open, connect, accept, send, recv, bind, listen, socket, exec, fork, mmap, \
                     stat, unlink, rename, mkdir, truncate, fsync, close or poll";

impl Kind for Call {
    fn name(&self) -> &'static str {
        "call"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["syscall", "io", "disk_failure", "diskfailure", "IOChaos"]
    }

    fn about(&self) -> &'static str {
        "Make system calls (read, write, open, ...) fail with an errno"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: &[Field] = &[
            field("call", "CALL", WHICH),
            field("errno", "ERRNO", "How it fails: EIO, ENOSPC, EMFILE, EACCES, ..."),
            several("path", "PATH", "Only this file, or this directory and all below it"),
            several("file", "TYPE", "Only regular, pipe, socket, device or dir"),
            several("uid", "NUMBER", "Only calls of this user"),
            several("comm", "NAME", "Only calls of programs with this name"),
            several("local_port", "PORTS", "Ports of the near end: 8080, 8000-8099 or 80,443"),
        ];
        FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let place = section.place_of("call").unwrap_or(0..0);
        let call = which(section)?;
        let errno: Spanned<Errno> = section.need("errno", "\"EIO\"")?;
        refuse_what_it_has_not(call, section)?;
        refuse_what_is_tried_again(call, &errno)?;
        let errno = errno.into_inner();
        let unix = if call == Which::Connect && section.has_text_with("peer", UNIX) {
            values(section.list("peer")?)
        } else {
            BTreeSet::new()
        };
        let asks = Asks {
            paths: section.list("path")?.unwrap_or_default(),
            files: values(section.list("file")?),
            users: values(section.list("uid")?),
            programs: values(section.list("comm")?),
            unix,
            place,
        };
        let local_ports: Vec<Spanned<_>> = section.list("local_port")?.unwrap_or_default();
        let local_ports = local_ports.into_iter().map(Spanned::into_inner).collect();
        Ok((Box::new(CallFault::new(call, errno, asks)), Packets { local_ports, ..Packets::default() }))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "call = \"recv\"\nerrno = \"EIO\"\nprobability = \"25%\"",
            "a quarter of the answers cannot be read, though they have arrived",
        )
    }
}

const fn several(name: &'static str, value: &'static str, help: &'static str) -> Field {
    Field { name, value, help, takes: Takes::Several }
}

fn values<T: Ord>(list: Option<Vec<Spanned<T>>>) -> BTreeSet<T> {
    list.into_iter().flatten().map(Spanned::into_inner).collect()
}

/// What people call calls.
const ALSO: &[(&str, Which)] = &[
    ("openat", Which::Open),
    ("creat", Which::Open),
    ("pread", Which::Read),
    ("pwrite", Which::Write),
    ("sendto", Which::Send),
    ("sendmsg", Which::Send),
    ("recvfrom", Which::Recv),
    ("recvmsg", Which::Recv),
    ("execve", Which::Exec),
    ("clone", Which::Fork),
    ("fstat", Which::Stat),
    ("ftruncate", Which::Truncate),
    ("fdatasync", Which::Fsync),
    ("epoll_wait", Which::Poll),
    ("select", Which::Poll),
    ("accept4", Which::Accept),
    ("fallocate", Which::Write),
    ("sendfile", Which::Write),
    ("getdents", Which::Read),
];

/// Calls that look like others, and cannot be had.
const NOT_COVERED: &[&str] = &[
    "rmdir",
    "access",
    "munmap",
    "lseek",
    "ioctl",
    "dup",
    "dup2",
    "futex",
    "nanosleep",
    "chmod",
    "chown",
    "link",
];

fn which(section: &mut Section<'_>) -> Result<Which, Problem> {
    let name = section.need::<String>("call", "\"read\"")?;
    let text = name.get_ref().as_str();
    if let Some(call) = Which::ALL.iter().find(|call| call.name() == text) {
        return Ok(*call);
    }
    let names: Vec<&str> = Which::ALL.iter().map(|call| call.name()).collect();
    let known = names.join(", ");
    if NOT_COVERED.contains(&text) {
        let message = format!("{text} cannot be made to fail");
        return Err(
            Problem::at(name.span(), message, "none of the calls").help(format!("calls are: {known}"))
        );
    }
    let close = ALSO
        .iter()
        .find(|(also, _)| *also == text)
        .map(|(_, call)| call.name())
        .or_else(|| closest(text, &names));
    let help = match close {
        Some(close) => format!("did you mean \"{close}\"? Calls are: {known}"),
        None => format!("calls are: {known}"),
    };
    Err(Problem::at(name.span(), format!("unknown call \"{text}\""), "not a call").help(help))
}

/// A condition, the calls that can have it (of a call, and whether it is about a unix socket), and why others cannot. A
/// field may stand here several times.
type Condition = (&'static str, fn(Which, bool) -> bool, &'static str);

const CONDITIONS: &[Condition] = &[
    ("path", |call, _| call.has_file(), "names no file that can be told"),
    ("file", |call, _| call.has_file() && call != Which::Mkdir, "names no file that is there yet"),
    ("peer", |call, _| call.has_peer(), "has no far end that is known"),
    ("exclude", |call, _| call.has_peer(), "has no far end that is known"),
    ("exclude", |_, of_unix| !of_unix, "to a unix socket that is named has nothing to exclude"),
    ("local_port", |call, _| call.has_local_port(), "has no near port that is known"),
    ("protocol", |call, _| call.has_peer() || call.has_local_port(), "has no protocol that is known"),
    ("protocol", |_, of_unix| !of_unix, "to a unix socket has no such protocol"),
    ("uid", |call, of_unix| call != Which::Connect || of_unix, BY_ADDRESS),
    ("comm", |call, of_unix| call != Which::Connect || of_unix, BY_ADDRESS),
];

const BY_ADDRESS: &str = "over IPv4 and IPv6 is caught where nobody asks who makes it";

/// Conditions that can never hold.
fn refuse_what_it_has_not(call: Which, section: &Section<'_>) -> Result<(), Problem> {
    let of_unix = call == Which::Connect && section.has_text_with("peer", UNIX);
    for (field, has, why) in CONDITIONS {
        let Some(span) = section.place_of(field).filter(|_| !has(call, of_unix)) else { continue };
        let can =
            |other: &&Which| CONDITIONS.iter().all(|(name, has, _)| name != field || has(**other, false));
        let others: Vec<&str> = Which::ALL.iter().filter(can).map(|other| other.name()).collect();
        return Err(Problem::at(span, format!("`{field}` means nothing here: {call} {why}"), "not here")
            .help(format!("leave it out; `{field}` goes with {}", others.join(", "))));
    }
    Ok(())
}

/// Errnos that the kernel itself takes for a reason to look the name up again, and to ask again (`retry_estale`,
/// include/linux/namei.h; `do_filp_open`, fs/namei.c): what it draws the second time is another draw.
fn refuse_what_is_tried_again(call: Which, errno: &Spanned<Errno>) -> Result<(), Problem> {
    let number = errno.get_ref().number();
    let by_name = matches!(
        call,
        Which::Open | Which::Stat | Which::Unlink | Which::Rename | Which::Mkdir | Which::Truncate
    );
    let stale = number == libc::ESTALE.cast_unsigned() && by_name;
    let child = number == libc::ECHILD.cast_unsigned() && call == Which::Open;
    if !stale && !child {
        return Ok(());
    }
    let name = if stale { "ESTALE" } else { "ECHILD" };
    let message = format!("{call} cannot fail with {name}: the kernel tries again by itself");
    Err(Problem::at(errno.span(), message, "not with this call").help("take another one, such as EIO"))
}

#[derive(Debug)]
struct CallFault {
    call: Which,
    errno: Errno,
    asks: Asks,
    needs: [Need; 1],
}

impl CallFault {
    fn new(call: Which, errno: Errno, asks: Asks) -> Self {
        let by_address = call == Which::Connect && asks.unix.is_empty();
        let need = if !by_address {
            Feature::Call(call).in_full()
        } else if errno.number() == libc::EPERM.cast_unsigned() {
            Feature::CgroupConnect.any_way()
        } else {
            Feature::CgroupConnect.in_full()
        };
        Self { call, errno, asks, needs: [need] }
    }
}

impl Fault for CallFault {
    fn kind(&self) -> &'static str {
        Call.name()
    }

    /// Connects over IPv4 and IPv6 are caught at the target's own cgroup, where they cost others nothing.
    fn hooks(&self) -> u32 {
        match self.call {
            Which::Connect if self.asks.unix.is_empty() => hook::CONNECT,
            other => other.hook(),
        }
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::ERRNO;
        rule.errno = self.errno.number();
    }

    fn describe(&self) -> String {
        format!("fail {} with {}", self.call, self.errno)
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn asks(&self) -> Option<&Asks> {
        Some(&self.asks)
    }
}
