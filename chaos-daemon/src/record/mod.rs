//! The evidence of a run: what was expected, what was done, what was seen.
//!
//! [`document`] is its shape, [`fill`] makes one of what was seen, [`origin`] says who ran it and from which file. [`markdown`], [`html`], [`junit`] and
//! [`summary`] are forms of it for different readers, with the same words ([`words`]); [`store`] keeps it and finds
//! it again.

mod document;
mod fill;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod origin;
pub(crate) mod plain;
pub mod store;
pub mod summary;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod examples;
#[cfg(test)]
mod tests;

pub use fill::{of, of_nothing};

pub use document::{
    By, File, Finding, Git, Injections, Probe, Record, Sample, State, Stop, Times, VERSION, Verdict,
};
