//! What keeps kchaos from doing harm: [`capabilities`] it needs and does not have, processes and far ends that are
//! [`protected`].

pub mod capabilities;
pub mod protected;
