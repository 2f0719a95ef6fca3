//! What the threads of an attempt tell the coordinator, and what it tells the sources.

use super::{message::Barrier, message::Timestamp, sink::Staged, snapshot::OperatorSnapshots};
use crate::checkpoint::Holdings;
use crate::protocol::{CheckpointId, Failure, ManifestRef, Positions, TopicPartition};
use crate::state::Snapshot;
use std::time::Duration;

/// Where a source stood in one partition when a barrier passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// Which partition.
    pub partition: TopicPartition,
    /// Offset of the next record to read.
    pub offset: i64,
    /// Largest event time seen, if any record was seen.
    pub max_timestamp: Option<Timestamp>,
    /// Whether it had stopped holding event time back.
    pub idle: bool,
}

/// What one task was at a barrier, besides keyed state.
#[derive(Debug, Clone, Default)]
pub struct TaskSnapshot {
    /// Sources: every owned partition, idle ones too.
    pub partitions: Vec<PartitionState>,
    /// Event time of the task.
    pub watermark: Timestamp,
    /// State of its operators.
    pub operators: OperatorSnapshots,
    /// For how long the barrier kept the task from work: waiting for the other inputs, and freezing.
    pub stall: Duration,
}

/// Reported to the coordinator.
#[derive(Debug)]
pub enum TaskEvent {
    /// The task's state is frozen at the barrier.
    Acknowledged {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Index of the task in the attempt.
        task: usize,
        /// What it was.
        snapshot: TaskSnapshot,
    },
    /// A source has read all that its partitions held when the attempt began.
    CaughtUp {
        /// Index of the task in the attempt.
        task: usize,
    },
    /// Transaction N is closed and every delivery is confirmed.
    OutputFlushed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Records in the transaction.
        records: u64,
        /// What of them is staged outside of Kafka.
        staged: Staged,
        /// Time the sink could not take records.
        stall: Duration,
    },
    /// All frozen state is in the local snapshot.
    SnapshotReady {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The local snapshot.
        snapshot: Snapshot,
    },
    /// The snapshot's new files are durable.
    StateUploaded {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Bytes that had to be uploaded, and bytes in all.
        new_bytes: u64,
        /// Size of the whole state in storage.
        total_bytes: u64,
        /// Time it took.
        took: Duration,
    },
    /// The manifest is durable.
    ManifestDurable(ManifestRef),
    /// Upload or manifest failed.
    PrepareFailed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        failure: Failure,
    },
    /// Kafka said that transaction N is committed.
    Committed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Time it took.
        took: Duration,
    },
    /// Kafka did not say that transaction N is committed.
    CommitFailed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Another instance fenced this one; otherwise the outcome is unknown.
        fenced: bool,
        /// What Kafka said.
        message: String,
    },
    /// Marker written (or given up: it is best effort), old checkpoints collected.
    Confirmed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What is in the checkpoint storage now.
        holdings: Holdings,
    },
    /// A partition appeared.
    NewPartitions(Positions),
    /// A thread cannot go on.
    Failed {
        /// Name of the thread.
        thread: String,
        /// Why.
        failure: Failure,
    },
}

/// Told to a source.
#[derive(Debug, Clone)]
pub enum SourceCommand {
    /// Put this barrier between the records.
    Inject(Barrier),
    /// Read these partitions as well.
    Add(Positions),
}
