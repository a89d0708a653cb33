//! Flags of the verbs that talk to the daemon, and what they make of its answers.

use std::{future::Future, path::PathBuf};

use super::{Failure, Format, foreground::runtime};
use crate::{
    api::client::{Client, ClientError},
    daemon,
    failure::{BAD_INPUT, BUG, INCONCLUSIVE, STOPPED},
};

/// Where the daemon is, and how its answer is written.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", env = "KCHAOS_SOCKET", default_value_os_t = daemon::default_socket())]
    pub socket: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

impl Args {
    /// The daemon.
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// Asks it.
    pub fn ask<T>(&self, question: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Result<T, Failure> {
        wait_for(question(self.client()))
    }
}

/// Waits for an answer.
pub fn wait_for<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(answer)?)
}

/// The path of an experiment in the API.
pub fn path(name: &str) -> Result<String, Failure> {
    // What a name may be needs no escaping in a path.
    if name.is_empty() || !name.chars().all(crate::config::is_name_character) {
        let shown = crate::printable::printable(name);
        return Err(Failure::Input(format!(
            "no experiment is called \"{shown}\": names are letters, digits, '-', '_' and '.'"
        )));
    }
    Ok(format!("/v1/experiments/{name}"))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => match (refusal.exit_code, &refusal.help) {
                (BAD_INPUT, Some(help)) => Self::Input(format!("{}\n{help}", refusal.message)),
                (BAD_INPUT, None) => Self::Input(refusal.message),
                (STOPPED, _) => Self::StopsAtOnce(refusal.message),
                (INCONCLUSIVE, _) => Self::LearnedNothing(refusal.message),
                (BUG, _) => Self::Bug(anyhow::Error::msg(refusal.message)),
                (_, Some(help)) => Self::Host(format!("{}\n{help}", refusal.message)),
                (_, None) => Self::Host(refusal.message),
            },
            other => Self::Host(other.to_string()),
        }
    }
}
