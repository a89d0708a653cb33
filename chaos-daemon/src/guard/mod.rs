//! What keeps kchaos from doing harm: [`capabilities`] it needs and does not have, [`files`] that may be open,
//! processes and far ends that are [`protected`], settings of the [`loopback`] device that are put back, and the locks in
//! [`run_dir`] that keep two of them from getting in each other's way.

pub mod capabilities;
pub mod files;
pub mod loopback;
pub mod protected;
pub mod run_dir;
