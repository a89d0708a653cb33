//! Signals that a process can be sent: by their names in signal(7).

use std::{fmt, str::FromStr};

use nix::sys::signal::Signal;

use super::{Invalid, deserialize_from_text};

/// A signal, but none that stops a process: nobody would make it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal(pub Signal);

deserialize_from_text!(StopSignal, "a signal such as \"SIGTERM\"");

impl StopSignal {
    /// The one that nobody can refuse.
    pub const KILL: Self = Self(Signal::SIGKILL);
}

impl FromStr for StopSignal {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let upper = text.trim().to_ascii_uppercase();
        let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let signal: Signal = name.parse().map_err(|_| {
            Invalid::new(
                format!("\"{text}\" is not a signal"),
                "write its name: \"SIGKILL\", \"SIGTERM\", \"SIGHUP\"",
            )
        })?;
        match signal {
            Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => Err(Invalid::new(
                format!("{signal} stops a process for good"),
                "kind = \"pause\" stops the target, and lets it go on at the end",
            )),
            _ => Ok(Self(signal)),
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_and_without_their_beginning() {
        for (text, signal) in
            [("SIGTERM", Signal::SIGTERM), ("term", Signal::SIGTERM), ("KILL", Signal::SIGKILL)]
        {
            assert_eq!(Ok(StopSignal(signal)), text.parse());
        }
        assert_eq!("SIGKILL", StopSignal::KILL.to_string());
    }

    #[test]
    fn refuses_what_is_none_or_would_stay() {
        for text in ["", "9", "SIGNONE", "SIGSTOP", "tstp"] {
            assert!(text.parse::<StopSignal>().is_err(), "{text}");
        }
        assert!("SIGSTOP".parse::<StopSignal>().unwrap_err().help.contains("pause"));
    }
}
