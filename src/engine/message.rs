//! What travels between tasks: batches of records, and between them watermarks, barriers and the end.

use crate::protocol::CheckpointId;

/// Event time in milliseconds since the epoch, UTC.
pub type Timestamp = i64;

/// No event time is known yet.
pub const MIN_WATERMARK: Timestamp = i64::MIN;

/// Event time is complete: every window fires.
pub const MAX_WATERMARK: Timestamp = i64::MAX;

/// Why a checkpoint is taken; a final one ends the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierKind {
    /// The job goes on after it.
    Running,
    /// Sources stop after it.
    Final,
    /// As `Final`, but event time is moved to the end first: windows fire, operators give out what they hold.
    Drain,
}

/// Separates the records of checkpoint `checkpoint` from those of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// Number of the checkpoint that ends here.
    pub checkpoint: CheckpointId,
    /// What comes after.
    pub kind: BarrierKind,
}

/// How far event time has come on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// No record with a timestamp at or below it is expected any more.
    pub watermark: Timestamp,
    /// The channel has nothing to say for now and must not hold event time back.
    pub idle: bool,
}

impl Mark {
    /// The beginning: nothing known.
    pub const START: Mark = Mark { watermark: MIN_WATERMARK, idle: false };
}

/// One hand-over between two tasks, of batches `B`.
#[derive(Debug)]
pub enum Message<B> {
    /// Records, in order.
    Batch(B),
    /// Event time moved, or idleness changed.
    Mark(Mark),
    /// A checkpoint's barrier.
    Barrier(Barrier),
    /// No record will follow (draining); a last barrier may.
    End,
}
