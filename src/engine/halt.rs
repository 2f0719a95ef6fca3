//! Why a task's loop ends before its time.

use crate::protocol::Failure;

/// Either the attempt is over already, or this task ends it.
#[derive(Debug)]
pub enum Halt {
    /// Another thread ended the attempt.
    Stopped,
    /// This task cannot go on.
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Halt::Failed(failure)
    }
}
