//! What the job is doing, for whoever asks whether it is well.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// What the job is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Status {
    /// Settings are read, clients are made.
    #[default]
    Starting,
    /// An attempt fences its predecessors and restores the state.
    Recovering,
    /// An attempt is recovered and processes records.
    Running,
    /// An attempt failed; the next one begins after the restart strategy's delay.
    Waiting {
        /// Why it failed.
        reason: String,
    },
    /// Asked to stop: takes its last checkpoint.
    Stopping,
    /// No further attempt will be made.
    Failed {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Recovering => f.write_str("recovering"),
            Self::Running => f.write_str("running"),
            Self::Waiting { reason } => write!(f, "waiting for the next attempt after: {reason}"),
            Self::Stopping => f.write_str("stopping"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

/// The status that the supervisor sets and HTTP tells.
#[derive(Debug, Default)]
pub struct Health(Mutex<Status>);

impl Health {
    /// Sets the status.
    pub fn set(&self, status: Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the job processes records.
    pub fn ready(&self) -> bool {
        self.status() == Status::Running
    }

    /// Whether the process should be left alone: true until no further attempt will be made.
    pub fn live(&self) -> bool {
        !matches!(self.status(), Status::Failed { .. })
    }
}
