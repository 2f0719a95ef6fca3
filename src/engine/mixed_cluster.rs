//! A job of which some ends are Kafka's and some are not, as the engine's [`Cluster`].
//!
//! ```text
//! records ─┬─ for topics ─────► transaction N ──── flush ────┐
//!          └─ for other sinks ► staged aside ── pre-commit ──┴─► manifest N durable ──► permit ──► transaction N committed ──► published
//!                                    │ names                       ▲ positions, names              ▲ the commit                ▲ again by
//!                                    └─────────────────────────────┘                                                             recovery
//! ```
//!
//! # Why nothing is lost and nothing comes twice
//!
//! 1. *One step.* The commit is that of Kafka's transaction, as for any job with Kafka: it makes the outputs in topics visible, and the
//!    pointer to the manifest, which names positions of all sources and what all sinks have staged. Where no input is Kafka's, the pointer
//!    is with the offset of an output partition ([`Carrier`]).
//! 2. *Staged is durable before it is named.* Sinks pre-commit before the manifest is written, and that before there is a permit.
//! 3. *Published after the commit, and by whoever comes next.* Recovery first publishes what the committed manifest names; to do it
//!    again changes nothing. What is staged and not named by it was never committed, and is aborted.
//! 4. *One owner.* Kafka's transactional ids fence whoever was overtaken. It may be paused while it recovers, and abort later what it takes
//!    for left over: so each attempt has an epoch, and aborts only what was staged in an older one (see [`super::settle`]).

use super::{
    cluster::Cluster,
    local::{CommitLog, LocalSource, Owner, Sinks, Staging, publish, recover, warn},
    plan::Plan,
    sink::{CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing, Staged, Transactions},
    source::SplitReader,
    stop::Stop,
};
use crate::checkpoint::Location;
use crate::failpoint;
use crate::protocol::{Carrier, CommitPermit, Failure, HeldBy, JobName, Positions, TopicPartition, recovery::CommittedOffset};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One job's sources and sinks: Kafka, and others.
pub struct MixedCluster {
    job: JobName,
    kafka: Box<dyn Cluster>,
    sources: BTreeMap<String, Arc<dyn LocalSource>>,
    sinks: Arc<Sinks>,
}

impl MixedCluster {
    /// What `plan` reads and writes; `kafka` is the way to its topics. Says which guarantees the other ends do not give.
    ///
    /// # Errors
    /// Refused: the job was one without Kafka before, and `storage` holds what it has committed.
    pub fn new(job: &JobName, kafka: impl Cluster + 'static, storage: &Location, plan: &Plan) -> Result<Self, Failure> {
        if let Some(folder) = storage.as_folder() {
            let committed = CommitLog::of(folder, job).committed();
            if committed.exists() {
                return Err(Failure::refused(format!(
                    "{}: the job has committed without Kafka before, and this is the place that says what: give the job that uses Kafka \
                     another name (job.name)",
                    committed.display()
                )));
            }
        }
        warn(plan);
        Ok(Self::over(job, kafka, plan))
    }

    /// The same, of a job that has not been another one before.
    pub(super) fn over(job: &JobName, kafka: impl Cluster + 'static, plan: &Plan) -> Self {
        let (sources, sinks) = (plan.sources.clone(), Arc::new(plan.sinks.clone()));
        Self { job: job.clone(), kafka: Box::new(kafka), sources, sinks }
    }

    fn is_of_kafka(&self, partition: &&TopicPartition) -> bool {
        !self.sources.contains_key(&*partition.topic)
    }

    /// What Kafka answers for its partitions, and each other source for its own.
    fn ask<T>(
        &self,
        partitions: &[TopicPartition],
        kafka: impl FnOnce(&[TopicPartition]) -> Result<BTreeMap<TopicPartition, T>, Failure>,
        other: impl Fn(&dyn LocalSource, i32) -> Result<T, Failure>,
    ) -> Result<BTreeMap<TopicPartition, T>, Failure> {
        let of_kafka: Vec<TopicPartition> = partitions.iter().filter(|at| self.is_of_kafka(at)).cloned().collect();
        let mut answers = if of_kafka.is_empty() { BTreeMap::new() } else { kafka(&of_kafka)? };
        for at in partitions {
            if let Some(source) = self.sources.get(&*at.topic) {
                answers.insert(at.clone(), other(source.as_ref(), at.partition)?);
            }
        }
        Ok(answers)
    }
}

impl Cluster for MixedCluster {
    fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Failure> {
        match self.sources.get(topic) {
            Some(source) => source.partitions(),
            None => self.kafka.partitions(topic),
        }
    }

    fn log_bounds(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, (i64, i64)>, Failure> {
        self.ask(partitions, |of_kafka| self.kafka.log_bounds(of_kafka), |source, partition| source.bounds(partition))
    }

    fn held_by<'a>(&'a self, group: &'a str) -> HeldBy<'a> {
        self.kafka.held_by(group)
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        stop: &Stop,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure> {
        self.kafka.committed(partitions, stop)
    }

    fn start_positions(&self, partitions: &[TopicPartition], discovered: bool) -> Result<Positions, Failure> {
        let first = |source: &dyn LocalSource, partition| Ok(source.bounds(partition)?.0);
        self.ask(partitions, |of_kafka| self.kafka.start_positions(of_kafka, discovered), first)
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let topic = positions.keys().next().map(|at| &at.topic);
        match topic.and_then(|topic| self.sources.get(&**topic)) {
            Some(source) => source.reader(positions),
            None => self.kafka.reader(positions),
        }
    }

    fn still_ours(&self, stop: &Stop) -> Result<(), Failure> {
        self.kafka.still_ours(stop)
    }

    fn transactions(
        &self,
        fence: &BTreeSet<String>,
        ids: &[String],
        witness: &TopicPartition,
        stop: &Stop,
    ) -> Result<Box<dyn Transactions>, Failure> {
        let kafka = self.kafka.transactions(fence, ids, witness, stop)?;
        let owner = Owner { job: self.job.clone(), epoch: 0 };
        Ok(Box::new(MixedTransactions { kafka, sinks: Arc::clone(&self.sinks), owner }))
    }
}

struct MixedTransactions {
    kafka: Box<dyn Transactions>,
    sinks: Arc<Sinks>,
    /// Its epoch is known once it is settled.
    owner: Owner,
}

impl Transactions for MixedTransactions {
    fn stages(&self) -> bool {
        !self.sinks.is_empty()
    }

    fn settle(&mut self, epoch: u64, staged: Option<&Staged>) -> Result<(), Failure> {
        self.owner.epoch = epoch;
        recover(&self.sinks, &self.owner, staged)
    }

    fn fence(&mut self, ids: &BTreeSet<String>) -> Result<(), Failure> {
        self.kafka.fence(ids)
    }

    fn begin(&mut self) -> Result<Box<dyn OpenTransaction>, Failure> {
        let (sinks, staging) = (Arc::clone(&self.sinks), Staging::new(&self.sinks, &self.owner));
        Ok(Box::new(Open { kafka: self.kafka.begin()?, sinks, staging }))
    }
}

struct Open {
    kafka: Box<dyn OpenTransaction>,
    sinks: Arc<Sinks>,
    staging: Staging,
}

impl OpenTransaction for Open {
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        if self.staging.write(record)? { Ok(()) } else { self.kafka.send(record) }
    }

    fn flush(self: Box<Self>) -> Result<Box<dyn FlushedTransaction>, Failure> {
        let Self { kafka, sinks, staging } = *self;
        // What was sent to Kafka is on its way meanwhile.
        let staged = staging.pre_commit()?;
        Ok(Box::new(Flushed { kafka: kafka.flush()?, sinks, staged }))
    }
}

struct Flushed {
    kafka: Box<dyn FlushedTransaction>,
    sinks: Arc<Sinks>,
    staged: Staged,
}

impl FlushedTransaction for Flushed {
    fn staged(&self) -> Staged {
        self.staged.clone()
    }

    fn commit(self: Box<Self>, permit: CommitPermit, carrier: &Carrier) -> CommitOutcome {
        let Self { kafka, sinks, staged } = *self;
        let outcome = kafka.commit(permit, carrier);
        if outcome != CommitOutcome::Committed || staged.is_empty() {
            return outcome;
        }
        // It is committed; whatever keeps it from being published now, recovery publishes it.
        let published = failpoint::hit("before-publishing").and_then(|()| publish(&sinks, &staged));
        published.map_or_else(|why| CommitOutcome::Unknown(why.message), |()| outcome)
    }
}
