//! The command line as a stranger uses it: bad input, missing rights, formats. Nothing here injects anything.

mod bad_input;
mod formats;
mod rights;
