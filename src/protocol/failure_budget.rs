//! How many checkpoints in a row may fail.

/// Counts checkpoints that failed one after the other, over all attempts of a process; the supervisor keeps it.
///
/// Flink's `tolerable-failed-checkpoints` lets a job run on over a failed checkpoint. Here a failed checkpoint always ends its
/// attempt, because its transaction holds output that can neither be committed nor kept for the next checkpoint. What the
/// setting decides is whether that counts: a tolerated failure is recovered from at once and without using up a restart of the
/// restart strategy; one failure too many is an attempt failure like any other. As in Flink, a checkpoint that completes
/// sets the counter back, and the default of 0 tolerates none.
///
/// ```
/// use sluicegate::protocol::FailureBudget;
///
/// let mut budget = FailureBudget::new(1);
/// assert!(budget.tolerates_another());
/// assert!(!budget.tolerates_another());
/// budget.checkpoint_completed();
/// assert!(budget.tolerates_another());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureBudget {
    tolerable: u32,
    in_a_row: u32,
}

impl FailureBudget {
    /// Tolerates `tolerable` failed checkpoints in a row.
    #[must_use]
    pub const fn new(tolerable: u32) -> Self {
        Self { tolerable, in_a_row: 0 }
    }

    /// Counts a failed checkpoint (a [`super::Command::EndAttempt`] with a checkpoint) and says whether it is tolerated.
    pub fn tolerates_another(&mut self) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row <= self.tolerable
    }

    /// A checkpoint was committed.
    pub fn checkpoint_completed(&mut self) {
        self.in_a_row = 0;
    }
}
