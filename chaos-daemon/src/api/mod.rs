//! The control API: HTTP and JSON over a unix socket that only root can open. [`routes`] says which path
//! does what, [`extract`] reads what is asked, [`server`] has the connections, and [`client`] is the other end, for the
//! command line. What is answered are documents of [`crate::daemon`].
//!
//! What must stay true: a document in, a status out; the same request twice does what one does; and nothing that a client
//! sends, or does not send, keeps an experiment from being halted.

pub mod client;
mod extract;
mod routes;
mod server;

pub use routes::openapi;
pub use server::{Server, serve};
