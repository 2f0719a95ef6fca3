//! Sources, sinks and the commit log of a job without Kafka, as the engine's [`Cluster`].

use super::{
    commit_log::{CommitLog, Committed},
    connect::{LocalSource, Owner},
    transactions::{LocalTransactions, Sinks},
};
use crate::checkpoint::Location;
use crate::engine::{cluster::Cluster, plan::Plan, sink::Transactions, source::SplitReader, stop::Stop};
use crate::protocol::{Failure, HeldBy, JobName, Positions, TopicPartition, recovery::CommittedOffset};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One job's sources and sinks, none of which is Kafka.
pub struct LocalCluster {
    job: JobName,
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
        let inputs = plan.inputs()?;
        let mut remote: Vec<&str> = inputs.into_iter().filter(|topic| !plan.sources.contains_key(*topic)).collect();
        remote.extend(plan.topics.iter().map(String::as_str).filter(|topic| !plan.sinks.contains_key(*topic)));
        if let Some(topic) = remote.first() {
            return Err(Failure::fatal(format!(
                "{topic:?} is a topic of Kafka, other ends of the job are not: the outputs of a job are committed together, so that \
                 either all of its sources and sinks are Kafka's or none is"
            )));
        }
        if plan.topics.is_empty() {
            return Err(Failure::fatal("the job writes to no sink: give at least one of its streams one"));
        }
        let warnings = plan.sources.iter().map(|(name, source)| (name, source.warning()));
        let warnings = warnings.chain(plan.sinks.iter().map(|(name, sink)| (name, sink.warning())));
        for (name, warning) in warnings {
            if let Some(warning) = warning {
                tracing::warn!(name, "{warning}");
            }
        }
        let log = CommitLog::new(folder.join(job.as_str()).join("local"));
        Ok(Self {
            job: job.clone(),
            committed: log.committed().display().to_string(),
            log,
            sources: plan.sources.clone(),
            sinks: Arc::new(plan.sinks.clone()),
            epoch: AtomicU64::new(0),
        })
    }

    fn source(&self, topic: &str) -> Result<&dyn LocalSource, Failure> {
        let source = self.sources.get(topic).map(AsRef::as_ref);
        source.ok_or_else(|| Failure::fatal(format!("there is no source {topic:?}")))
    }

    /// What a sink that is not in the job any more has staged, and nobody has published.
    fn nothing_is_left_behind(&self, committed: &Committed) -> Result<(), Failure> {
        let gone = committed.outputs.iter().filter(|(name, _)| !self.sinks.contains_key(*name));
        for (name, staged) in gone {
            if let Some(path) = staged.iter().find(|path| Path::new(path).exists()) {
                return Err(Failure::refused(format!(
                    "sink {name:?} is not in the job any more, but {path}, which is committed, was not published yet: start the job \
                     once with the sink, or move the file yourself"
                )));
            }
        }
        Ok(())
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
            if let Some(committed) = committed {
                self.nothing_is_left_behind(committed)?;
            }
            let staged = |name: &str| committed.map(|all| all.outputs.get(name).map(Vec::as_slice).unwrap_or_default());
            let about = |name: &str, done: Result<(), Failure>| done.map_err(|why| why.context(format_args!("sink {name}")));
            // All of them first: two sinks may write to one place, and what the one aborts there must not be what the other has committed.
            self.sinks.iter().try_for_each(|(name, sink)| about(name, sink.commit(staged(name).unwrap_or_default())))?;
            self.sinks.iter().try_for_each(|(name, sink)| about(name, sink.recover(&owner, staged(name))))
        })?;
        self.epoch.store(epoch, Ordering::Release);
        let owner = Owner { job: self.job.clone(), epoch };
        Ok(Box::new(LocalTransactions { log: self.log.clone(), sinks: Arc::clone(&self.sinks), owner }))
    }
}
