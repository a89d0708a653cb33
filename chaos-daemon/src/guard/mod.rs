//! What keeps kchaos from doing harm: [`capabilities`] it needs and does not have, [`files`] that may be open,
//! processes and far ends that are [`protected`], targets that are [`forbidden`], [`leftovers`] of killed ones, the [`memory`] of a daemon, settings of the [`loopback`] device that
//! are put back ([`sysctl`] writes them), the locks in [`run_dir`] that keep two of them from getting in each other's way,
//! and what makes an experiment [`stop`].

pub mod capabilities;
pub mod files;
pub mod forbidden;
pub mod leftovers;
pub mod loopback;
pub mod memory;
pub mod protected;
pub mod run_dir;
pub mod stop;
pub mod sysctl;
