//! A rule: one fault of an experiment, compiled for the kernel.

/// Where a rule applies: one bit per hook, so that one table serves every program.
pub mod hook {
    /// Packets that the target sends (tc egress).
    pub const EGRESS: u32 = 1 << 0;
    /// Packets that the target receives (cgroup ingress).
    pub const INGRESS: u32 = 1 << 1;
    /// connect(2) over IPv4 and IPv6 (cgroup connect4/6).
    pub const CONNECT: u32 = 1 << 2;
    /// Packets that arrive at a device (tc ingress): where more can be done to them than at a socket.
    pub const ARRIVAL: u32 = 1 << 3;
    /// Sends of UDP that name their address (cgroup sendmsg4/6).
    pub const SEND_TO: u32 = 1 << 4;
    /// The read family (`security_file_permission`).
    pub const READ: u32 = 1 << 5;
    /// The write family (`security_file_permission`).
    pub const WRITE: u32 = 1 << 6;
    /// open(2) and its like (`security_file_open`).
    pub const OPEN: u32 = 1 << 7;
    /// connect(2) to a unix socket (`security_socket_connect`).
    pub const CONNECT_UNIX: u32 = 1 << 8;
    /// accept(2) (`security_socket_accept`).
    pub const ACCEPT: u32 = 1 << 9;
    /// The send family (`security_socket_sendmsg`).
    pub const SEND: u32 = 1 << 10;
    /// The recv family (`security_socket_recvmsg`).
    pub const RECV: u32 = 1 << 11;
    /// bind(2) (`security_socket_bind`).
    pub const BIND: u32 = 1 << 12;
    /// listen(2) (`security_socket_listen`).
    pub const LISTEN: u32 = 1 << 13;
    /// socket(2), socketpair(2) (`security_socket_create`).
    pub const SOCKET: u32 = 1 << 14;
    /// execve(2), execveat(2) (`security_bprm_creds_for_exec`).
    pub const EXEC: u32 = 1 << 15;
    /// fork(2), vfork(2), clone(2), clone3(2) (`security_task_alloc`).
    pub const FORK: u32 = 1 << 16;
    /// mmap(2) (`security_mmap_file`).
    pub const MMAP: u32 = 1 << 17;
    /// stat(2) and its like (`security_inode_getattr`).
    pub const STAT: u32 = 1 << 18;
    /// unlink(2), unlinkat(2) (`security_path_unlink`).
    pub const UNLINK: u32 = 1 << 19;
    /// rename(2) and its like (`security_path_rename`).
    pub const RENAME: u32 = 1 << 20;
    /// mkdir(2), mkdirat(2) (`security_path_mkdir`).
    pub const MKDIR: u32 = 1 << 21;
    /// truncate(2), ftruncate(2) (`security_path_truncate`, `security_file_truncate`).
    pub const TRUNCATE: u32 = 1 << 22;
    /// fsync(2), fdatasync(2) (the system calls themselves).
    pub const FSYNC: u32 = 1 << 23;
    /// close(2) (the system call itself).
    pub const CLOSE: u32 = 1 << 24;
    /// poll(2), ppoll(2), `epoll_wait(2)`, `epoll_pwait(2)` (the system calls themselves). The last one: there are
    /// [`crate::table::HOOKS`].
    pub const POLL: u32 = 1 << 25;
}

/// What happens to a packet or call that is hit.
pub mod action {
    /// The packet is lost: its sender believes that it was sent.
    pub const DROP: u32 = 1;
    /// The call fails with the rule's `errno`.
    pub const ERRNO: u32 = 2;
    /// The packet waits in the delay line ([`crate::delay`]).
    pub const DELAY: u32 = 3;
    /// The packet waits for its turn in a token bucket ([`crate::rate`]).
    pub const RATE: u32 = 4;
    /// The packet is held back, and others of its flow overtake it. `numbers[0]`: for how long, ns.
    pub const REORDER: u32 = 5;
    /// The packet goes out twice.
    pub const DUPLICATE: u32 = 6;
    /// Bits of the packet are flipped ([`crate::corrupt`]).
    pub const CORRUPT: u32 = 7;

    /// The packet is lost, and its sender is told: by a TCP reset, or by an ICMP error ([`crate::reject`]).
    pub const REJECT: u32 = 8;
    /// The connection is cut: both of its ends get a TCP reset ([`crate::reset`]).
    pub const RESET: u32 = 9;
    /// The call goes to another far end ([`crate::redirect`]).
    pub const REDIRECT: u32 = 10;

    /// The greatest of them.
    pub const LAST: u32 = REDIRECT;

    /// A set of actions: one bit for each.
    pub type Set = u32;

    /// Those that make a packet wait in the delay line.
    pub const WAITS: Set = 1 << DELAY | 1 << RATE | 1 << REORDER;

    /// Those of [`WAITS`] under which the packets of a connection keep their order: one that such a rule does not hit
    /// waits behind those that it did.
    pub const KEEPS_ORDER: Set = 1 << DELAY | 1 << RATE;

    /// Those that leave a packet on its way, so that later rules are asked, too. They are *noted* while the rules are
    /// asked and done afterwards, in the same order.
    pub const LEAVES_ON_ITS_WAY: Set = WAITS | 1 << DUPLICATE | 1 << CORRUPT;

    /// Those that send something of their own in a packet's place.
    pub const ANSWERS: Set = 1 << REJECT | 1 << RESET;

    /// All there are.
    pub const ALL: Set = LEAVES_ON_ITS_WAY | ANSWERS | 1 << DROP | 1 << ERRNO | 1 << REDIRECT;

    /// Whether an action is one of a set.
    #[inline(always)]
    pub const fn is_one_of(action: u32, set: Set) -> bool {
        set >> (action & 31) & 1 != 0
    }
}

/// [`Rule::flags`]: count what would be hit, hit nothing.
pub const FLAG_SHADOW: u32 = 1 << 0;

/// [`Rule::flags`]: only some connections are hit ([`Rule::flows`]).
pub const FLAG_FLOWS: u32 = 1 << 1;

/// [`Rule::flags`]: only connections that have begun while the experiment ran.
pub const FLAG_NEW_ONLY: u32 = 1 << 2;

/// One fault, as the kernel programs read it. Times are `CLOCK_BOOTTIME` in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    /// Clauses of which one must match: bits of one word ([`crate::table::Fields::rule_of`] says which).
    pub clauses: u64,
    /// Clauses of which none may match: bits of the same word.
    pub exclude: u64,
    /// The share that is hit, on the scale of [`crate::draw::SCALE`].
    pub threshold: u64,
    /// The share of connections that is hit at all, on the same scale; each is drawn for once and for all.
    pub flows: u64,
    /// Where this rule's draws start ([`crate::draw::rule_seed`]).
    pub seed: u64,
    /// Injection starts here.
    pub start_ns: u64,
    /// Injection has ended here.
    pub deadline_ns: u64,
    /// Length of the on phase, counted from `start_ns`; 0 is always on.
    pub pulse_on_ns: u64,
    /// Length of the off phase that follows.
    pub pulse_off_ns: u64,
    /// Where its counters are: the same through all generations.
    pub counters: u32,
    /// What to do: one of [`action`].
    pub action: u32,
    /// For [`action::ERRNO`]: 1..=133.
    pub errno: u32,
    /// Bits of `FLAG_*`.
    pub flags: u32,
    /// Which of its matches are hit: one of [`crate::pattern`].
    pub pattern: u32,
    /// Always 0.
    pub reserved: u32,
    /// The numbers of that pattern.
    pub shares: [u64; 4],
    /// The numbers of the action.
    pub numbers: [u64; 4],
    /// What must hold for a call, all of it ([`crate::call`]).
    pub facts: u64,
    /// How many matches may be hit at all; 0 is any number.
    pub limit: u64,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Rule {}
