//! Failures have a kind, and the kind decides what happens.

use std::fmt;

/// What a failure asks of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// Something outside is away for now (broker, storage) and was retried inside already: the attempt ends, and the restart
    /// strategy decides when the next one begins.
    Transient,
    /// This attempt cannot go on (unknown commit outcome, panic, time-out): drop everything of it and recover from what Kafka
    /// says is committed.
    Attempt,
    /// Another instance of the job took over: exit, never fight.
    Fenced,
    /// Going on would be a guess (offsets gone, manifest missing, state incompatible): stop with the facts, change nothing.
    Refused,
    /// The settings or the surroundings are wrong and a restart will not mend it (topic missing, record over the limit).
    Fatal,
}

/// Why an attempt, or a command, cannot go on. The message says what the user can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    /// Decides what happens next.
    pub kind: FailureKind,
    /// What happened, with names and values, and what to do about it.
    pub message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// [`FailureKind::Transient`].
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Transient, message)
    }

    /// [`FailureKind::Attempt`].
    pub fn attempt(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Attempt, message)
    }

    /// [`FailureKind::Fenced`].
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Fenced, message)
    }

    /// [`FailureKind::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    /// [`FailureKind::Fatal`].
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Fatal, message)
    }

    /// The same kind, with what was being done put in front.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
