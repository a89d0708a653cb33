//! The life of an experiment as a state machine:
//!
//! `pending` (waits for its time) -> `checking` (nothing is applied yet) -> `running` (faults are on) -> `recovering`
//! (faults are off, what waits is delivered) -> `ended`. An experiment that comes back goes on from `ended` to `pending`.
//!
//! What must stay true: faults are on in `running` only, and every end goes through `ended`, with the reason.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an experiment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for its time.
    Pending,
    /// Its target, names and stop conditions are looked up; nothing is applied.
    Checking,
    /// Its faults are on.
    Running,
    /// Its faults are off; packets that wait are delivered, and everything is detached.
    Recovering,
    /// It is over.
    Ended,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its time box was over.
    Completed,
    /// By a stop condition, because its target went away, or with the daemon.
    Stopped,
    /// Somebody halted it.
    Halted,
    /// It could not start, or went wrong: nothing is applied.
    Failed,
}

impl Phase {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Checking, Self::Running, Self::Recovering, Self::Ended];

    /// The word for it in documents, metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Checking => "checking",
            Self::Running => "running",
            Self::Recovering => "recovering",
            Self::Ended => "ended",
        }
    }

    /// Whether what is here may go on there. The end can come from anywhere but itself: halted while it waited, failed
    /// while it was checked, gone wrong while it ran.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending, Self::Checking)
                | (Self::Checking, Self::Running)
                | (Self::Running, Self::Recovering)
                | (Self::Pending | Self::Checking | Self::Running | Self::Recovering, Self::Ended)
                | (Self::Ended, Self::Pending)
        )
    }
}

impl End {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Stopped, Self::Halted, Self::Failed];

    /// The word for it in documents, metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Halted => "halted",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair, written out: a new way through a life is a decision.
    #[test]
    fn a_life_has_one_direction() {
        use Phase::{Checking, Ended, Pending, Recovering, Running};
        let allowed = [
            (Pending, Checking),
            (Pending, Ended),
            (Checking, Running),
            (Checking, Ended),
            (Running, Recovering),
            (Running, Ended),
            (Recovering, Ended),
            (Ended, Pending),
        ];
        for from in Phase::ALL {
            for to in Phase::ALL {
                assert_eq!(allowed.contains(&(from, to)), from.may_become(to), "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn words_are_those_of_the_documents() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::json!(phase), phase.name());
        }
        for end in End::ALL {
            assert_eq!(serde_json::json!(end), end.name());
        }
    }
}
