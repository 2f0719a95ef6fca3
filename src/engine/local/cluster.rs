//! Sources, sinks and the commit log of a job without Kafka, as the engine's [`Cluster`].

use super::{
    commit_log::CommitLog,
    connect::{LocalSource, Owner},
    sinks::{Sinks, recover, warn},
    transactions::LocalTransactions,
};
use crate::checkpoint::Location;
use crate::engine::{
    cluster::Cluster, plan::Plan, settle::nothing_is_left_behind, sink::Transactions, source::SplitReader, stop::Stop,
};
use crate::protocol::{Failure, HeldBy, JobName, Positions, TopicPartition, recovery::CommittedOffset};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One job's sources and sinks, none of which is Kafka.
pub struct LocalCluster {
    job: JobName,
    plan: Plan,
    log: CommitLog,
    /// The file of the commit log, for messages.
    committed: String,
    sources: BTreeMap<String, Arc<dyn LocalSource>>,
    sinks: Arc<Sinks>,
    /// Epoch of the last attempt.
    epoch: AtomicU64,
}

impl LocalCluster {
    /// What `plan` reads and writes, with the commit log beside the job's checkpoints in `storage`. Says which guarantees its ends do
    /// not give.
    ///
    /// # Errors
    /// Fatal: the plan uses Kafka as well, has no source, or no sink; the storage is no folder.
    pub fn new(job: &JobName, storage: &Location, plan: &Plan) -> Result<Self, Failure> {
        let Some(folder) = storage.as_folder() else {
            return Err(Failure::fatal(format!(
                "checkpoint.storage = {storage}: a job without Kafka commits by replacing a file, so that it needs a folder"
            )));
        };
        if let Some(topic) = plan.kafka_inputs()?.into_iter().chain(plan.kafka_outputs()).next() {
            return Err(Failure::fatal(format!(
                "{topic:?} is a topic of Kafka, and the job is run without settings that say where that is: give it a command line \
                 with App::main"
            )));
        }
        if plan.topics.is_empty() {
            return Err(Failure::fatal("the job writes to no sink: give at least one of its streams one"));
        }
        warn(plan);
        let log = CommitLog::of(folder, job);
        Ok(Self {
            job: job.clone(),
            committed: log.committed().display().to_string(),
            log,
            plan: plan.clone(),
            sources: plan.sources.clone(),
            sinks: Arc::new(plan.sinks.clone()),
            epoch: AtomicU64::new(0),
        })
    }

    fn source(&self, topic: &str) -> Result<&dyn LocalSource, Failure> {
        let source = self.sources.get(topic).map(AsRef::as_ref);
        source.ok_or_else(|| Failure::fatal(format!("there is no source {topic:?}")))
    }
}

impl Cluster for LocalCluster {
    fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Failure> {
        self.source(topic)?.partitions()
    }

    fn log_bounds(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, (i64, i64)>, Failure> {
        partitions.iter().map(|at| Ok((at.clone(), self.source(&at.topic)?.bounds(at.partition)?))).collect()
    }

    fn held_by<'a>(&'a self, _: &'a str) -> HeldBy<'a> {
        HeldBy::File(&self.committed)
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        _: &Stop,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure> {
        let committed = self.log.read()?;
        let of = |at: &TopicPartition| {
            let committed = committed.as_ref()?;
            let offset = *committed.offsets.get(&(at.topic.to_string(), at.partition))?;
            Some(CommittedOffset { offset, metadata: committed.pointer.clone() })
        };
        Ok(partitions.iter().map(|at| (at.clone(), of(at))).collect())
    }

    fn start_positions(&self, partitions: &[TopicPartition], _: bool) -> Result<Positions, Failure> {
        Ok(self.log_bounds(partitions)?.into_iter().map(|(at, (low, _))| (at, low)).collect())
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let topic = positions.keys().next().map(|at| Arc::clone(&at.topic));
        let topic = topic.ok_or_else(|| Failure::fatal("a source without partitions"))?;
        self.source(&topic)?.reader(positions)
    }

    fn still_ours(&self, _: &Stop) -> Result<(), Failure> {
        self.log.still_ours(self.epoch.load(Ordering::Acquire))
    }

    fn transactions(
        &self,
        _: &BTreeSet<String>,
        _: &[String],
        _: &TopicPartition,
        stop: &Stop,
    ) -> Result<Box<dyn Transactions>, Failure> {
        let epoch = self.log.take_over(stop, |epoch, committed| {
            let owner = Owner { job: self.job.clone(), epoch };
            let staged = committed.map(|committed| &committed.outputs);
            if let Some(staged) = staged {
                nothing_is_left_behind(staged, &self.plan)?;
            }
            recover(&self.sinks, &owner, staged)
        })?;
        self.epoch.store(epoch, Ordering::Release);
        let owner = Owner { job: self.job.clone(), epoch };
        Ok(Box::new(LocalTransactions { log: self.log.clone(), sinks: Arc::clone(&self.sinks), owner }))
    }
}
