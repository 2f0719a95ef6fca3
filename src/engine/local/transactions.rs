//! Transactions without Kafka: outputs staged aside, and one commit for all of them.

use super::{
    commit_log::{CommitLog, Committed},
    connect::{Owner, SinkTransaction, TwoPhaseCommitSink},
};
use crate::engine::sink::{CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing, Transactions};
use crate::protocol::{CommitPermit, Failure};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Sinks by name.
pub(super) type Sinks = BTreeMap<String, Arc<dyn TwoPhaseCommitSink>>;

/// Gives out transactions to the owner of a job.
pub(super) struct LocalTransactions {
    pub(super) log: CommitLog,
    pub(super) sinks: Arc<Sinks>,
    pub(super) owner: Owner,
}

impl Transactions for LocalTransactions {
    /// There are no ids to fence here: taking the job over has fenced everybody.
    fn fence(&mut self, _: &BTreeSet<String>) -> Result<(), Failure> {
        self.log.still_ours(self.owner.epoch)
    }

    fn begin(&mut self) -> Result<Box<dyn OpenTransaction>, Failure> {
        let (log, sinks, owner) = (self.log.clone(), Arc::clone(&self.sinks), self.owner.clone());
        Ok(Box::new(Open { log, sinks, owner, staged: BTreeMap::new() }))
    }
}

struct Open {
    log: CommitLog,
    sinks: Arc<Sinks>,
    owner: Owner,
    staged: BTreeMap<String, Box<dyn SinkTransaction>>,
}

impl OpenTransaction for Open {
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        if let Some(staged) = self.staged.get_mut(record.topic) {
            return staged.write(record);
        }
        let sink = self.sinks.get(record.topic);
        let sink = sink.ok_or_else(|| Failure::fatal(format!("there is no sink {:?}", record.topic)))?;
        let mut staged = sink.begin(&self.owner)?;
        staged.write(record)?;
        self.staged.insert(record.topic.to_owned(), staged);
        Ok(())
    }

    fn flush(self: Box<Self>) -> Result<Box<dyn FlushedTransaction>, Failure> {
        let Self { log, sinks, owner, staged } = *self;
        let finished = staged.into_iter().map(|(sink, staged)| Ok((sink, staged.pre_commit()?)));
        let outputs = finished.collect::<Result<BTreeMap<_, _>, Failure>>()?;
        Ok(Box::new(Flushed { log, sinks, epoch: owner.epoch, outputs }))
    }
}

struct Flushed {
    log: CommitLog,
    sinks: Arc<Sinks>,
    epoch: u64,
    outputs: BTreeMap<String, Vec<String>>,
}

impl FlushedTransaction for Flushed {
    fn commit(self: Box<Self>, permit: CommitPermit) -> CommitOutcome {
        let Self { log, sinks, epoch, outputs } = *self;
        let offsets = permit.positions().iter().map(|(at, offset)| ((at.topic.to_string(), at.partition), *offset)).collect();
        let committed = Committed { offsets, pointer: permit.metadata().to_owned(), outputs: outputs.clone() };
        log.commit(epoch, committed, &mut || publish(&sinks, &outputs))
    }
}

fn publish(sinks: &Sinks, outputs: &BTreeMap<String, Vec<String>>) -> Result<(), Failure> {
    outputs.iter().try_for_each(|(name, staged)| sinks.get(name).map_or(Ok(()), |sink| sink.commit(staged)))
}
