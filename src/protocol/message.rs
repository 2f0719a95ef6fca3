//! What the coordinator is told, and what it asks for.

use super::{CheckpointId, CommitPermit, Failure, ManifestRef, Positions};

/// Why a checkpoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A first start: pins the resolved start offsets before any record is read. Only the coordinator chooses it: the first
    /// trigger of an attempt that restored nothing becomes this one.
    Start,
    /// The interval has passed.
    Interval,
    /// Somebody asked for one to keep.
    Savepoint,
    /// It is the last one: the job ends after it.
    Final,
}

/// What a commit returned, other than OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommitOutcome {
    /// It may have happened or not.
    Unknown,
    /// Another instance has taken over.
    Fenced,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A checkpoint is wanted. While one is being made, `Interval` is dropped, `Savepoint` and `Final` wait for its end.
    TriggerDue {
        /// Why.
        trigger: Trigger,
    },
    /// A source has begun to read partitions that appeared while the job runs, at these offsets. To be reported before the
    /// barrier that they are acknowledged with.
    PartitionsAdded {
        /// Where each is read from.
        positions: Positions,
    },
    /// A task has frozen its state at the barrier.
    TaskAcknowledged {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Number of the task, from 0 to the plan's `tasks` - 1.
        task: usize,
        /// A source's positions at the barrier, of all its partitions, idle ones too; empty for other tasks.
        positions: Positions,
    },
    /// The transaction is closed to new records, and every delivery is confirmed.
    OutputFlushed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Every file of the state snapshot is durable in checkpoint storage.
    StateUploaded {
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// The manifest is durable, and it was not there before (conditional put).
    ManifestDurable {
        /// Its number and hash.
        manifest: ManifestRef,
    },
    /// The checkpoint cannot be made durable.
    PrepareFailed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        failure: Failure,
    },
    /// Kafka said OK.
    Committed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Kafka did not say OK.
    CommitFailed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What is known.
        outcome: CommitOutcome,
        /// What Kafka said.
        message: String,
    },
    /// The marker is written, or given up.
    Confirmed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// The checkpoint takes too long.
    TimedOut {
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Every source puts this barrier between its records. With [`Trigger::Start`] it comes before the first record, with
    /// [`Trigger::Final`] the source stops behind it.
    InjectBarrier {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        trigger: Trigger,
    },
    /// Everything that the manifest names is durable: write it, if no manifest of that number is there.
    WriteManifest {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Every owned partition's offset at the barrier.
        positions: Positions,
    },
    /// Commit outputs, offsets and the pointer in one transaction.
    Commit(CommitPermit),
    /// Write the marker, tell the operators, then clear away what only older checkpoints need. Best effort: whatever happens,
    /// answer with [`Event::Confirmed`].
    Confirm {
        /// The committed manifest.
        manifest: ManifestRef,
    },
    /// The attempt cannot go on: drop everything of it, and recover if the failure's kind allows.
    EndAttempt {
        /// Why, and what follows.
        failure: Failure,
        /// The checkpoint that failed by it, for [`super::FailureBudget`].
        checkpoint: Option<CheckpointId>,
    },
    /// The final checkpoint is confirmed.
    Finished,
}
