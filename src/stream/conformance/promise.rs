//! What is asked of a connector.

use crate::protocol::Failure;
use std::{error, fmt};

/// What a connector promises; each suite tries its own in this order.
///
/// ```
/// use sluicegate::stream::conformance::Promise;
///
/// assert_eq!(Promise::CommitIsIdempotent.to_string(), "to commit again what was committed changes nothing");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// What has no reason to fail does not.
    NothingFails,
    /// Source: all instances have the same partitions, and at least one.
    PartitionsAreStable,
    /// Source: the first position of a partition is not behind the position behind its last record.
    BoundsAreInOrder,
    /// Source: a reader gives only records of partitions that it was given, from the positions on that it was given.
    OnlyWhatWasAsked,
    /// Source: within a partition each record's position is larger than the one before.
    PositionsGrow,
    /// Source: a round has at most as many records as are wanted, and counts them.
    RoundsAreCounted,
    /// Source: a round without records does not last: barriers wait for it.
    RoundsAreShort,
    /// Source: a partition that has been read to its end says so, at the end's position. Without that a job never ends, or holds event
    /// time back.
    EndIsReported,
    /// Source: who reads again from the same positions gets the same records.
    ReplayIsEqual,
    /// Source: who begins behind any record gets exactly the records that follow it.
    ResumesBehindEachRecord,
    /// Source: a partition gives the same records whoever reads it, alone, with others, or taken on later.
    SplitsRedistribute,
    /// Source: a record is decoded in the same way again, whatever was decoded before.
    DecodingIsRepeatable,
    /// Sink: nothing is visible before its commit.
    NothingBeforeCommit,
    /// Sink: what was committed is visible, once, in the order in which it was written. Nothing is as good as something.
    CommitShowsAll,
    /// Sink: to commit again what was committed changes nothing, whoever does it.
    CommitIsIdempotent,
    /// Sink: a transaction is committed without the ones that are under way beside it.
    TransactionsAreApart,
    /// Sink: what was pre-committed and named by a commit becomes visible by recovery, when the process died in between.
    RecoveryCommits,
    /// Sink: of what was not committed recovery leaves nothing, neither visible nor beside.
    AbortLeavesNothing,
    /// Sink: recovery of one job leaves alone what another one has staged in the same place.
    JobsAreApart,
    /// Sink: what an instance does after another one has taken over stays invisible, and does the other no harm.
    ZombiesStayInvisible,
    /// Sink: an instance that recovers late, when another one has taken over, leaves alone what that has staged.
    NewerStays,
    /// Sink that is at-least-once: what was flushed has arrived, in order.
    FlushShowsAll,
    /// Sink that is at-least-once: a writer adds to what is there, also after a restart.
    NothingIsTakenBack,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingFails => "what has no reason to fail does not",
            Self::PartitionsAreStable => "all instances have the same partitions, and at least one",
            Self::BoundsAreInOrder => "the first position of a partition is not behind its end",
            Self::OnlyWhatWasAsked => "a reader gives only records of its partitions, from its positions on",
            Self::PositionsGrow => "within a partition each record's position is larger than the one before",
            Self::RoundsAreCounted => "a round has at most as many records as are wanted, and counts them",
            Self::RoundsAreShort => "a round without records does not last",
            Self::EndIsReported => "a partition that has been read to its end says so, at the end's position",
            Self::ReplayIsEqual => "who reads again from the same positions gets the same records",
            Self::ResumesBehindEachRecord => "who begins behind any record gets exactly the records that follow it",
            Self::SplitsRedistribute => "a partition gives the same records whoever reads it",
            Self::DecodingIsRepeatable => "a record is decoded in the same way again",
            Self::NothingBeforeCommit => "nothing is visible before its commit",
            Self::CommitShowsAll => "what was committed is visible, once and in order",
            Self::NewerStays => "recovery leaves alone what a newer instance has staged",
            Self::CommitIsIdempotent => "to commit again what was committed changes nothing",
            Self::TransactionsAreApart => "a transaction is committed without the ones beside it",
            Self::RecoveryCommits => "what a commit names becomes visible by recovery",
            Self::AbortLeavesNothing => "of what was not committed recovery leaves nothing",
            Self::JobsAreApart => "recovery of one job leaves alone what another one has staged",
            Self::ZombiesStayInvisible => "what an instance does after another one has taken over stays invisible",
            Self::FlushShowsAll => "what was flushed has arrived, in order",
            Self::NothingIsTakenBack => "a writer adds to what is there",
        })
    }
}

/// A promise that a connector does not keep, and how that was seen.
/// An example is at [`source`](super::source).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub promise: Promise,
    /// What was done, what was expected and what was found.
    pub found: String,
}

impl Broken {
    pub(super) fn new(promise: Promise, found: impl Into<String>) -> Self {
        Self { promise, found: found.into() }
    }

    /// Something failed that has no reason to.
    pub(super) fn failed(doing: &str) -> impl FnOnce(Failure) -> Self {
        let doing = doing.to_owned();
        move |failure| Self::new(Promise::NothingFails, format!("{doing}: {failure}"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not kept: {}. {}", self.promise, self.found)
    }
}

impl error::Error for Broken {}
