//! Transactions without Kafka: outputs staged aside, and one commit for all of them.

use super::{
    commit_log::{CommitLog, Committed},
    connect::Owner,
    sinks::{Sinks, Staging, publish},
};
use crate::engine::sink::{CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing, Staged, Transactions};
use crate::protocol::{Carrier, CommitPermit, Failure};
use std::{collections::BTreeSet, sync::Arc};

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
        let staging = Staging::new(&self.sinks, &self.owner);
        let (log, sinks, epoch) = (self.log.clone(), Arc::clone(&self.sinks), self.owner.epoch);
        Ok(Box::new(Open { log, sinks, epoch, staging }))
    }
}

struct Open {
    log: CommitLog,
    sinks: Arc<Sinks>,
    epoch: u64,
    staging: Staging,
}

impl OpenTransaction for Open {
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        match self.staging.write(record)? {
            true => Ok(()),
            false => Err(Failure::fatal(format!("there is no sink {:?}", record.topic))),
        }
    }

    fn flush(self: Box<Self>) -> Result<Box<dyn FlushedTransaction>, Failure> {
        let Self { log, sinks, epoch, staging } = *self;
        Ok(Box::new(Flushed { log, sinks, epoch, outputs: staging.pre_commit()? }))
    }
}

struct Flushed {
    log: CommitLog,
    sinks: Arc<Sinks>,
    epoch: u64,
    outputs: Staged,
}

impl FlushedTransaction for Flushed {
    fn commit(self: Box<Self>, permit: CommitPermit, _: &Carrier) -> CommitOutcome {
        let Self { log, sinks, epoch, outputs } = *self;
        let offsets = permit.positions().iter().map(|(at, offset)| ((at.topic.to_string(), at.partition), *offset)).collect();
        let committed = Committed { offsets, pointer: permit.metadata().to_owned(), outputs: outputs.clone() };
        log.commit(epoch, committed, &mut || publish(&sinks, &outputs))
    }
}
