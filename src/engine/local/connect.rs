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

/// Takes output that becomes visible with the checkpoint that it belongs to, and not before: exactly once.
///
/// ```text
/// begin ─ write … write ─ pre_commit ──► the checkpoint is durable and committed ──► commit
///                │              │                                                      ▲
///              crash          crash                                                    │ what the last commit names
///                └──────────────┴──────────────► recover ────────────────────────────►─┘ the rest is aborted
/// ```
///
/// Between `pre_commit` and `commit` the names of what is staged are kept in what the job commits, in the same step as the positions of its
/// sources: in its commit log, or, if the job uses Kafka as well, in the manifest that Kafka's commit names.
/// [`crate::stream::conformance`] has a suite that tells whether a sink keeps what is asked of it here, with an example of a sink.
pub trait TwoPhaseCommitSink: Send + Sync {
    /// The job is `owner`'s now. `committed` is what the last commit names of this sink (none if the job has never committed): it is
    /// committed here if it was not yet. Whatever else this job has staged in an older epoch is aborted. What other jobs have staged
    /// stays, and what was staged in a newer epoch: an instance that was paused may come here when another one has taken the job over.
    ///
    /// # Errors
    /// Refused, where it can be told: there is visible output of a job that has never committed.
    fn recover(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure>;

    /// Begins the transaction of one checkpoint. It may begin before the one before it is committed.
    fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure>;

    /// Makes visible what was staged under these names, in this order. May be called any number of times, also by a later process that
    /// does not know whether it was done, and by two processes at the same time.
    fn commit(&self, staged: &[String]) -> Result<(), Failure>;

    /// What it is and where, in a few words.
    fn describe(&self) -> String;

    /// The guarantee that it does not give, to be told when the job starts.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// The output of one checkpoint, on its way into a [`TwoPhaseCommitSink`]. One that is dropped is aborted: nothing of it becomes visible.
pub trait SinkTransaction: Send {
    /// Adds a record.
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure>;

    /// Makes durable what was written, and says under which names it is staged: paths, where they are files. Nothing is visible yet.
    fn pre_commit(self: Box<Self>) -> Result<Vec<String>, Failure>;
}

/// Takes output that cannot be taken back: at least once. After a failure, the records since the last checkpoint come again.
///
/// Where output can be staged, a [`TwoPhaseCommitSink`] does better; every `Sink` is one that has nothing left to commit.
pub trait Sink: Send + Sync {
    /// What writes the output of one checkpoint. It adds to what is there.
    fn open(&self, owner: &Owner) -> Result<Box<dyn SinkWriter>, Failure>;

    /// What it is and where, in a few words.
    fn describe(&self) -> String;
}

/// Writes output of a [`Sink`].
pub trait SinkWriter: Send {
    /// Writes a record. It may wait in a buffer.
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure>;

    /// All that was written has arrived when this returns; called once, before the checkpoint is committed: what a crash loses before,
    /// comes again.
    fn flush(&mut self) -> Result<(), Failure>;
}

impl<S: Sink> TwoPhaseCommitSink for S {
    fn recover(&self, _: &Owner, _: Option<&[String]>) -> Result<(), Failure> {
        Ok(())
    }

    fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure> {
        Ok(Box::new(Written(self.open(owner)?)))
    }

    fn commit(&self, _: &[String]) -> Result<(), Failure> {
        Ok(())
    }

    fn describe(&self) -> String {
        Sink::describe(self)
    }

    fn warning(&self) -> Option<String> {
        let what = Sink::describe(self);
        Some(format!("{what} is at-least-once: after a failure, records since the last checkpoint are written again"))
    }
}

/// Output that is where it belongs before it is committed.
struct Written(Box<dyn SinkWriter>);

impl SinkTransaction for Written {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.0.write(record)
    }

    fn pre_commit(mut self: Box<Self>) -> Result<Vec<String>, Failure> {
        self.0.flush()?;
        Ok(Vec::new())
    }
}
