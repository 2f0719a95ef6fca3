//! Sinks that break one promise each, and the suite that says which.

use super::{Broken, Place, Promise, sink, two_phase_commit_sink};
use crate::engine::{
    Outgoing,
    local::{Owner, Sink, SinkTransaction, SinkWriter, TwoPhaseCommitSink},
};
use crate::protocol::Failure;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    CannotWrite,
    VisibleWhenWritten,
    VisibleWhenPreCommitted,
    LosesTheLast,
    Doubles,
    EmptyTransactionEmptiesThePlace,
    CommitAppends,
    CommitOfAllThatIsStaged,
    OneTransactionForAll,
    RecoveryForgets,
    RecoveryCommitsAll,
    RecoveryLeavesFiles,
    RecoveryAbortsOtherJobs,
    ZombieWritesIntoTheNew,
    RecoveryAbortsNewer,
}

/// What lies in a place: it outlives the instances.
#[derive(Debug, Default)]
struct Shelf {
    visible: Vec<String>,
    staged: BTreeMap<String, Vec<String>>,
    committed: Vec<String>,
    begun: u64,
}

#[derive(Debug, Clone)]
struct Memory {
    shelf: Arc<Mutex<Shelf>>,
    fault: Fault,
}

impl Memory {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }
}

impl Place for Memory {
    type Sink = Self;

    fn sink(&self) -> Self {
        self.clone()
    }

    fn visible(&self) -> Result<Vec<String>, Failure> {
        Ok(self.shelf().visible.clone())
    }

    fn leftovers(&self) -> Result<Vec<String>, Failure> {
        Ok(self.shelf().staged.keys().cloned().collect())
    }
}

impl TwoPhaseCommitSink for Memory {
    fn recover(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure> {
        if self.fault != Fault::RecoveryForgets {
            self.commit(committed.unwrap_or_default())?;
        }
        if self.fault == Fault::RecoveryCommitsAll {
            let all: Vec<String> = self.shelf().staged.keys().cloned().collect();
            self.commit(&all)?;
        }
        let mine = format!("{}/", owner.job);
        let epoch = |name: &str| name.strip_prefix(&mine)?.split('/').next()?.parse::<u64>().ok();
        match self.fault {
            Fault::RecoveryLeavesFiles => {}
            Fault::RecoveryAbortsOtherJobs => self.shelf().staged.retain(|name, _| !name.starts_with(owner.job.as_str())),
            Fault::RecoveryAbortsNewer => self.shelf().staged.retain(|name, _| !name.starts_with(&mine)),
            _ => self.shelf().staged.retain(|name, _| epoch(name).is_none_or(|epoch| epoch >= owner.epoch)),
        }
        Ok(())
    }

    fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure> {
        let mut shelf = self.shelf();
        shelf.begun += 1;
        let number = if self.fault == Fault::OneTransactionForAll { 0 } else { shelf.begun };
        let name = format!("{}/{}/{number:03}", owner.job, owner.epoch);
        shelf.staged.entry(name.clone()).or_default();
        Ok(Box::new(Staged { of: self.clone(), name }))
    }

    fn commit(&self, staged: &[String]) -> Result<(), Failure> {
        let shelf = &mut *self.shelf();
        let mut names = staged.to_vec();
        if self.fault == Fault::CommitOfAllThatIsStaged {
            names = shelf.staged.keys().cloned().collect();
        }
        for name in names {
            let taken = match self.fault {
                Fault::CommitAppends => shelf.staged.get(&name).cloned(),
                _ => shelf.staged.remove(&name),
            };
            let Some(mut records) = taken else { continue };
            shelf.committed.push(name);
            match self.fault {
                Fault::LosesTheLast => drop(records.pop()),
                Fault::Doubles => records.extend(records.clone()),
                Fault::EmptyTransactionEmptiesThePlace if records.is_empty() => shelf.visible.clear(),
                Fault::VisibleWhenWritten | Fault::VisibleWhenPreCommitted => records.clear(),
                _ => {}
            }
            shelf.visible.extend(records);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".into()
    }
}

struct Staged {
    of: Memory,
    name: String,
}

impl SinkTransaction for Staged {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        let mut shelf = self.of.shelf();
        match self.of.fault {
            Fault::CannotWrite => return Err(Failure::transient("no ink")),
            Fault::VisibleWhenWritten => shelf.visible.push(value.clone()),
            Fault::ZombieWritesIntoTheNew if !shelf.staged.contains_key(&self.name) => {
                if let Some(mut other) = shelf.staged.last_entry() {
                    other.get_mut().push(value);
                    return Ok(());
                }
            }
            _ => {}
        }
        // What was aborted stays aborted.
        if let Some(records) = shelf.staged.get_mut(&self.name) {
            records.push(value);
        }
        Ok(())
    }

    fn pre_commit(self: Box<Self>) -> Result<Vec<String>, Failure> {
        let mut shelf = self.of.shelf();
        if self.of.fault == Fault::VisibleWhenPreCommitted {
            let records = shelf.staged.get(&self.name).cloned().unwrap_or_default();
            shelf.visible.extend(records);
        }
        Ok(vec![self.name.clone()])
    }
}

fn tried(fault: Fault) -> Result<(), Broken> {
    two_phase_commit_sink(|| Memory { shelf: Arc::default(), fault })
}

#[test]
fn a_sink_without_fault_passes() {
    assert_eq!(tried(Fault::None), Ok(()));
}

#[test]
fn a_broken_promise_is_named() {
    for (fault, promise) in [
        (Fault::CannotWrite, Promise::NothingFails),
        (Fault::VisibleWhenWritten, Promise::NothingBeforeCommit),
        (Fault::VisibleWhenPreCommitted, Promise::NothingBeforeCommit),
        (Fault::LosesTheLast, Promise::CommitShowsAll),
        (Fault::Doubles, Promise::CommitShowsAll),
        (Fault::EmptyTransactionEmptiesThePlace, Promise::CommitShowsAll),
        (Fault::CommitAppends, Promise::CommitIsIdempotent),
        (Fault::CommitOfAllThatIsStaged, Promise::TransactionsAreApart),
        (Fault::OneTransactionForAll, Promise::TransactionsAreApart),
        (Fault::RecoveryForgets, Promise::RecoveryCommits),
        (Fault::RecoveryCommitsAll, Promise::AbortLeavesNothing),
        (Fault::RecoveryLeavesFiles, Promise::AbortLeavesNothing),
        (Fault::RecoveryAbortsOtherJobs, Promise::JobsAreApart),
        (Fault::ZombieWritesIntoTheNew, Promise::ZombiesStayInvisible),
        (Fault::RecoveryAbortsNewer, Promise::NewerStays),
    ] {
        let broken = tried(fault).expect_err(&format!("{fault:?} was not seen"));
        assert_eq!(broken.promise, promise, "{fault:?}: {broken}");
    }
}

/// What is wrong with a sink that is at-least-once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    None,
    FlushDoesNothing,
    Reversed,
    EachWriterBeginsAnew,
    NewInstanceBeginsAnew,
}

#[derive(Clone)]
struct Buffered {
    lines: Arc<Mutex<Vec<String>>>,
    waiting: Vec<String>,
    loss: Loss,
}

impl Place for Buffered {
    type Sink = Self;

    fn sink(&self) -> Self {
        if self.loss == Loss::NewInstanceBeginsAnew {
            self.lines.lock().unwrap().clear();
        }
        self.clone()
    }

    fn visible(&self) -> Result<Vec<String>, Failure> {
        Ok(self.lines.lock().unwrap().clone())
    }
}

impl Sink for Buffered {
    fn open(&self, _: &Owner) -> Result<Box<dyn SinkWriter>, Failure> {
        if self.loss == Loss::EachWriterBeginsAnew {
            self.lines.lock().unwrap().clear();
        }
        Ok(Box::new(self.clone()))
    }

    fn describe(&self) -> String {
        "memory".into()
    }
}

impl SinkWriter for Buffered {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.waiting.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.loss == Loss::Reversed {
            self.waiting.reverse();
        }
        if self.loss != Loss::FlushDoesNothing {
            self.lines.lock().unwrap().append(&mut self.waiting);
        }
        Ok(())
    }
}

#[test]
fn sinks_that_are_at_least_once_have_promises_too() {
    let tried = |loss| sink(|| Buffered { lines: Arc::default(), waiting: Vec::new(), loss });
    assert_eq!(tried(Loss::None), Ok(()));
    for (loss, promise) in [
        (Loss::FlushDoesNothing, Promise::FlushShowsAll),
        (Loss::Reversed, Promise::FlushShowsAll),
        (Loss::EachWriterBeginsAnew, Promise::FlushShowsAll),
        (Loss::NewInstanceBeginsAnew, Promise::NothingIsTakenBack),
    ] {
        let broken = tried(loss).expect_err(&format!("{loss:?} was not seen"));
        assert_eq!(broken.promise, promise, "{loss:?}: {broken}");
    }
}

#[test]
fn a_sink_that_commits_nothing_says_that_it_is_at_least_once() {
    let sink = Buffered { lines: Arc::default(), waiting: Vec::new(), loss: Loss::None };
    let warning = sink.warning().unwrap();
    assert!(warning.contains("memory is at-least-once"), "{warning}");
    // and so it is not taken for one that commits
    let broken = two_phase_commit_sink(|| Buffered { lines: Arc::default(), waiting: Vec::new(), loss: Loss::None });
    assert_eq!(broken.unwrap_err().promise, Promise::NothingBeforeCommit);
}
