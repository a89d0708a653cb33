//! What the entry programs share, in the order of a packet's way: [`parse`] reads the [`headers`], [`select`] finds the
//! clauses that match, [`judge`] decides rule by rule with a [`draw`], [`count`] keeps the books; [`target`] and [`flow`]
//! know whose a packet is ([`receiver`]: who gets it; [`service`]: by which name its sender knows that) and which
//! connection it belongs to. What leaves a packet on its way is noted in a [`plan`] and done by [`act`], which knows [`what`] it is and may send it
//! into the delay [`line`], in [`order`]. [`reply`] makes answers of a packet, and [`icmp`] errors. [`state`] is what rules
//! remember, and [`life`] what is known of connections. [`packet`] strings them together for packets, and [`call`] for
//! connects by address.
//!
//! A call that the kernel asks about comes through [`hooks`], which know its arguments: [`caller`] says who makes it,
//! [`file`] and [`socket`](mod@socket) what it is about, read at an [`offset`](mod@offset), and [`syscall`] has it judged.
//!
//! [`skb`] is the packet, and [`kern`] wraps helpers that need `unsafe`.
//!
//! Everything is inlined but the functions called `kchaos_*`. They are *global* functions of BPF: the verifier looks at
//! each of them once, whatever its arguments, and not again for every way that leads to it. So they take and give plain
//! numbers only, and the context.

pub mod act;
pub mod call;
pub mod caller;
pub mod count;
pub mod draw;
pub mod file;
pub mod flow;
pub mod headers;
pub mod hooks;
pub mod icmp;
pub mod judge;
pub mod kern;
pub mod life;
pub mod line;
pub mod log;
pub mod offset;
pub mod order;
pub mod packet;
pub mod parse;
pub mod plan;
pub mod receiver;
pub mod reply;
pub mod select;
pub mod service;
pub mod skb;
pub mod socket;
pub mod state;
pub mod syscall;
pub mod target;
pub mod what;
