//! Calls that can be made to fail inside the kernel's own functions: [`Call`] says which there are and where they can be
//! caught, [`types`] asks the kernel what it has, [`load`] brings a program there, [`trial`] tries it out, and
//! [`attach`] does all of it in the right order.
//!
//! What must stay true: only what a rule needs is attached, nothing is believed to work that was not seen to, and every
//! link dies with this process.

mod attach;
mod load;
mod told;
mod trial;
mod types;
mod way;

use std::fmt;

use chaos_common::rule::hook;

pub use attach::Calls;
pub use told::Told;
pub use types::KernelTypes;
pub use way::{Hooked, Way};

use crate::bpf::BpfError;

macro_rules! calls {
    ($($(#[$doc:meta])* $call:ident $name:literal $hook:ident,)*) => {
        /// A call, as `call = "..."` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Call {
            $($(#[$doc])* $call,)*
        }

        // A hook that has no row in the tables would be looked up in another's.
        const _: () = { $(assert!((hook::$hook.trailing_zeros() as usize) < chaos_common::table::HOOKS);)* };

        impl Call {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$call),*];

            /// The word for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$call => $name,)* }
            }

            /// Its name in JSON, as a feature.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$call => concat!("call_", $name),)* }
            }

            /// What users can do with it, as a feature. (Connects over IPv4 and IPv6 are another feature.)
            pub const fn serves(self) -> &'static str {
                if matches!(self, Self::Connect) {
                    return "call = \"connect\" to unix sockets";
                }
                match self { $(Self::$call => concat!("call = \"", $name, "\""),)* }
            }

            /// Its bit of `chaos_common::rule::hook`.
            pub const fn hook(self) -> u32 {
                match self { $(Self::$call => hook::$hook,)* }
            }
        }
    };
}

calls! {
    /// The read family, and reading directories.
    Read "read" READ,
    /// The write family, and fallocate(2).
    Write "write" WRITE,
    /// open(2), openat(2), creat(2), ...
    Open "open" OPEN,
    /// connect(2).
    Connect "connect" CONNECT_UNIX,
    /// accept(2).
    Accept "accept" ACCEPT,
    /// The send family, and write(2) on a socket.
    Send "send" SEND,
    /// The recv family, and read(2) on a socket.
    Recv "recv" RECV,
    /// bind(2).
    Bind "bind" BIND,
    /// listen(2).
    Listen "listen" LISTEN,
    /// socket(2), socketpair(2).
    Socket "socket" SOCKET,
    /// execve(2), execveat(2).
    Exec "exec" EXEC,
    /// fork(2), clone(2).
    Fork "fork" FORK,
    /// mmap(2).
    Mmap "mmap" MMAP,
    /// stat(2) and its like.
    Stat "stat" STAT,
    /// unlink(2).
    Unlink "unlink" UNLINK,
    /// rename(2) and its like.
    Rename "rename" RENAME,
    /// mkdir(2).
    Mkdir "mkdir" MKDIR,
    /// truncate(2), ftruncate(2).
    Truncate "truncate" TRUNCATE,
    /// fsync(2), fdatasync(2).
    Fsync "fsync" FSYNC,
    /// close(2).
    Close "close" CLOSE,
    /// poll(2), `epoll_wait(2)`, select(2), ...
    Poll "poll" POLL,
}

/// Where a call is caught.
#[derive(Clone, Copy, Debug)]
pub enum Catch {
    /// Where the kernel asks whether it is allowed. At least one question must be there.
    Questions(&'static [Question]),
    /// At the beginning of the system calls themselves: the program, and their names. At least one must be there.
    SystemCalls(&'static str, &'static [&'static str]),
}

/// A question of the kernel's, and the program for it.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The program.
    pub program: &'static str,
    /// The name of the question, without `security_` or `bpf_lsm_`.
    pub name: &'static str,
    /// How many arguments the program takes it to have.
    pub arguments: usize,
}

const fn ask(program: &'static str, name: &'static str, arguments: usize) -> Question {
    Question { program, name, arguments }
}

impl Call {
    /// Where it is caught.
    pub const fn catch(self) -> Catch {
        use Catch::{Questions, SystemCalls};
        match self {
            Self::Read | Self::Write => {
                Questions(const { &[ask("kchaos_file_permission", "file_permission", 2)] })
            }
            Self::Open => Questions(const { &[ask("kchaos_file_open", "file_open", 1)] }),
            Self::Connect => Questions(const { &[ask("kchaos_socket_connect", "socket_connect", 3)] }),
            Self::Accept => Questions(const { &[ask("kchaos_socket_accept", "socket_accept", 2)] }),
            Self::Send => Questions(const { &[ask("kchaos_socket_sendmsg", "socket_sendmsg", 3)] }),
            Self::Recv => Questions(const { &[ask("kchaos_socket_recvmsg", "socket_recvmsg", 4)] }),
            Self::Bind => Questions(const { &[ask("kchaos_socket_bind", "socket_bind", 3)] }),
            Self::Listen => Questions(const { &[ask("kchaos_socket_listen", "socket_listen", 2)] }),
            Self::Socket => Questions(const { &[ask("kchaos_socket_create", "socket_create", 4)] }),
            Self::Exec => Questions(const { &[ask("kchaos_bprm_creds_for_exec", "bprm_creds_for_exec", 1)] }),
            Self::Fork => Questions(const { &[ask("kchaos_task_alloc", "task_alloc", 2)] }),
            Self::Mmap => Questions(
                const { &[ask("kchaos_mmap_file", "mmap_file", 3), ask("kchaos_mmap_file4", "mmap_file", 4)] },
            ),
            Self::Stat => Questions(const { &[ask("kchaos_inode_getattr", "inode_getattr", 1)] }),
            Self::Unlink => Questions(const { &[ask("kchaos_path_unlink", "path_unlink", 2)] }),
            Self::Rename => Questions(
                const {
                    &[
                        ask("kchaos_path_rename", "path_rename", 5),
                        ask("kchaos_path_rename4", "path_rename", 4),
                    ]
                },
            ),
            Self::Mkdir => Questions(const { &[ask("kchaos_path_mkdir", "path_mkdir", 3)] }),
            Self::Truncate => Questions(
                const {
                    &[
                        ask("kchaos_path_truncate", "path_truncate", 1),
                        ask("kchaos_file_truncate", "file_truncate", 1),
                    ]
                },
            ),
            Self::Fsync => SystemCalls("kchaos_sys_fsync", &["fsync", "fdatasync"]),
            Self::Close => SystemCalls("kchaos_sys_close", &["close"]),
            Self::Poll => SystemCalls(
                "kchaos_sys_poll",
                &["poll", "ppoll", "epoll_wait", "epoll_pwait", "epoll_pwait2", "select", "pselect6"],
            ),
        }
    }

    /// Whether one system call may ask about the same file or socket several times (`sendfile`).
    pub const fn is_asked_again(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::Send)
    }

    /// Whether it names a file: its place and its type can be asked for.
    pub const fn has_file(self) -> bool {
        matches!(
            self,
            Self::Read
                | Self::Write
                | Self::Open
                | Self::Exec
                | Self::Mmap
                | Self::Stat
                | Self::Unlink
                | Self::Rename
                | Self::Mkdir
                | Self::Truncate
        )
    }

    /// Whether it is made on a socket whose far end may be known.
    pub const fn has_peer(self) -> bool {
        matches!(self, Self::Connect | Self::Send | Self::Recv)
    }

    /// Whether it is made on a socket whose near port is known.
    pub const fn has_local_port(self) -> bool {
        matches!(self, Self::Accept | Self::Send | Self::Recv | Self::Bind | Self::Listen)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a call cannot be caught on this kernel.
fn cannot(call: Call, why: impl Into<String>) -> BpfError {
    BpfError::Call { call, why: why.into() }
}
