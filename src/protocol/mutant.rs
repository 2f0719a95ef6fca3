//! Deliberate bugs, each of which the model has to find: a check that has never failed has shown nothing.
//!
//! In a release [`on`] is a constant `false`, and the compiler removes every branch that asks it.

/// A protection that can be switched off in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// The permit is given when the manifest is asked for, not when it is durable.
    #[cfg(test)]
    CommitBeforeDurable,
    /// A commit with an unknown outcome counts as aborted, and the attempt goes on.
    ResumeAfterUnknownOutcome,
    /// The garbage of older checkpoints is cleared when the manifest is durable, not when the commit is confirmed.
    DeleteBeforeConfirm,
    /// The manifest is written before the sink has flushed.
    FlushNotAwaited,
    /// The manifest is written before its files are durable.
    UploadNotAwaited,
    /// The manifest is written when the first task has acknowledged.
    OneAcknowledgementIsEnough,
    /// Only partitions whose position has changed are committed.
    IdlePartitionsNotCommitted,
    /// One of the job's transactional ids is left out when fencing.
    ForgottenIdWhenFencing,
    /// Only today's transactional ids are fenced, now and later; the pool was larger before.
    OldIdsNotFenced,
    /// Ids that only the committed manifest names, which was written after the ids were collected, are not fenced.
    NamedIdsNotFenced,
    /// The committed offsets count, what their metadata says does not.
    MetadataIgnored,
    /// The newest manifest is restored, not the committed one.
    NewestManifestRestored,
    /// The number after the committed one is taken, even when storage holds newer manifests.
    NumberUsedTwice,
    /// Manifests of a first start that was never committed are a reason to refuse.
    UncommittedStartRefused,
    /// Garbage collection takes what is newer than the committed checkpoint, too.
    NewerCheckpointsDeleted,
    /// Garbage collection takes every file that no kept manifest names, whoever wrote it.
    FilesOfOthersDeleted,
    /// Savepoints are collected like any checkpoint.
    SavepointsDeleted,

    /// The engine: records of N+1 go out before N is flushed.
    #[cfg(test)]
    SentBeforeFlush,
    /// The engine: a producer is used again after a commit that was retried, without a new epoch.
    #[cfg(test)]
    ProducerReused,
    /// The engine: the owner id is taken after the other ids.
    #[cfg(test)]
    OwnerTakenLast,
    /// The engine: an initialised producer is used without asking whether the job is still ours.
    #[cfg(test)]
    ProducerNotProven,
    /// The engine: that is asked before the producer is initialised, not after.
    #[cfg(test)]
    ProvenTooEarly,
    /// The engine: an attempt begins with any of its ids, not with the first one.
    #[cfg(test)]
    BeginsWithAnyId,
    /// The engine: committed offsets are read before older attempts are fenced.
    #[cfg(test)]
    ReadBeforeFence,
    /// The engine: the manifests that were listed before fencing are those that the decision is made from.
    #[cfg(test)]
    ListedOnce,
    /// The engine: a manifest is put whether or not there is one of that number.
    #[cfg(test)]
    ManifestOverwritten,
    /// The engine: recovery publishes nothing of what is committed.
    #[cfg(test)]
    StagedNotPublished,
    /// The engine: local state of a failed attempt is used again.
    #[cfg(test)]
    LocalStateKept,
}

#[cfg(all(not(test), not(feature = "fault-injection")))]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}

/// For the tests of the whole program on a real broker: `SLUICEGATE_SWITCHED_OFF=NewestManifestRestored`.
#[cfg(all(not(test), feature = "fault-injection"))]
pub(super) fn on(mutant: Mutant) -> bool {
    crate::failpoint::switched_off(&format!("{mutant:?}"))
}

#[cfg(test)]
pub(crate) use switch::{on, with};

#[cfg(test)]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether the bug is switched on in this thread.
    pub(crate) fn on(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }

    /// Runs `work` with the bug on. Per thread, so that tests beside it, and the checker's other threads, are not touched.
    pub(crate) fn with<T>(mutant: Option<Mutant>, work: impl FnOnce() -> T) -> T {
        let before = ACTIVE.replace(mutant);
        let result = work();
        ACTIVE.set(before);
        result
    }
}
