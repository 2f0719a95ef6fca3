//! What is read and written without Kafka, as the engine sees it. [`crate::connectors`] has the implementations.

use crate::engine::{sink::Outgoing, source::SplitReader};
use crate::protocol::{Failure, JobName, Positions};
use std::collections::BTreeSet;

/// Input that can be read again from any position: one or more partitions, in each of which positions only grow. One that cannot be read
/// again is at most once, and says so in [`LocalSource::warning`].
pub trait LocalSource: Send + Sync {
    /// Numbers of the partitions.
    ///
    /// # Errors
    /// Fatal: the input is not there.
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure>;

    /// The first position of a partition, and the one behind what it holds now. Of an input without end: the largest number.
    fn bounds(&self, partition: i32) -> Result<(i64, i64), Failure>;

    /// Reads from `positions`.
    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure>;

    /// Whether the input ends: a job whose inputs all end does so, too, when everything is committed.
    fn bounded(&self) -> bool;

    /// What it is and where, in a few words.
    fn describe(&self) -> String;

    /// The guarantee that it does not give, to be told when the job starts.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// Whose output it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The job.
    pub job: JobName,
    /// Raised each time that the job is taken over: no two attempts have the same.
    pub epoch: u64,
}

/// Takes output that becomes visible with the checkpoint that it belongs to.
pub trait LocalSink: Send + Sync {
    /// The job is `owner`'s now. `committed` is what the last commit names of this sink (none if the job has never committed): it is
    /// published if it was not yet; whatever else was staged is removed.
    ///
    /// # Errors
    /// Refused: there is published output of a job that has never committed.
    fn take_over(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure>;

    /// The output of one checkpoint, staged aside.
    fn begin(&self, owner: &Owner) -> Result<Box<dyn StagedOutput>, Failure>;

    /// Makes visible what was staged under these names. Any number of times.
    fn publish(&self, staged: &[String]) -> Result<(), Failure>;

    /// What it is and where, in a few words.
    fn describe(&self) -> String;

    /// The guarantee that it does not give, to be told when the job starts.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// Output on its way.
pub trait StagedOutput: Send {
    /// Adds a record.
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure>;

    /// Makes durable what was written, and says under which names it is staged: paths, where they are files. Nothing is visible yet.
    fn finish(self: Box<Self>) -> Result<Vec<String>, Failure>;
}
