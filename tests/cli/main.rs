//! The command line as a stranger uses it: bad input, missing rights, formats, and the files in configs/ that go with it.
//! Nothing here injects anything.

mod bad_input;
mod daemon_settings;
mod deployment;
mod formats;
mod observing;
mod piped;
mod records;
mod rights;
