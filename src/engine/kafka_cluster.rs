//! Kafka as the engine's [`Cluster`].

use super::{
    cluster::Cluster,
    sink::{CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing, Transactions},
    source::{LazyHeaders, RawRecord, Round, SplitReader},
    stop::Stop,
};
use crate::kafka::{
    self, CommittedOffsets, Connection, Flushed, Isolation, LastOwnership, Open, Outcome, Output, Polled, PoolSettings,
    ProducerPool, Reader, ReaderSettings, Start,
};
use crate::protocol::{Carrier, CommitPermit, Failure, Positions, TopicPartition, recovery::CommittedOffset};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Longest wait for the answer to a commit. Behind it the outcome counts as unknown, and recovery finds out.
const COMMIT: Duration = Duration::from_secs(30);

/// How Kafka is used.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// Addresses and properties.
    pub connection: Connection,
    /// Consumer group of the offsets.
    pub group: String,
    /// Where a job without a checkpoint begins.
    pub start: Start,
    /// `transaction.timeout.ms`.
    pub transaction_timeout: Duration,
    /// So long may brokers be away before an attempt fails.
    pub patience: Duration,
    /// Topics that must be there.
    pub output_topics: Vec<String>,
}

/// A cluster that has answered, and one job's way to it.
pub struct KafkaCluster {
    settings: KafkaSettings,
    asking: Arc<kafka::Cluster>,
    offsets: CommittedOffsets,
    topics: Vec<String>,
    /// Whether the topics were looked at since the last attempt.
    looked: AtomicBool,
    owned: LastOwnership,
}

impl KafkaCluster {
    /// Waits for a broker, for `patience` at most; refuses missing topics, and warns of limits that the job cannot keep.
    ///
    /// # Errors
    /// Fatal: a topic is not there; or several are read, and they are to begin at the same offsets. Transient: no broker answers.
    pub fn connect(settings: KafkaSettings, inputs: &[&str], cancel: &AtomicBool) -> Result<Self, Failure> {
        if let (Start::Offsets(_), [_, _, ..]) = (&settings.start, inputs) {
            return Err(Failure::fatal(format!(
                "source.start names offsets of partitions, and the job reads several topics: {}; allowed are earliest, latest, or a timestamp",
                inputs.join(", ")
            )));
        }
        let asking = Arc::new(kafka::Cluster::connect(&settings.connection, settings.patience, cancel)?);
        let mut topics = settings.output_topics.clone();
        topics.extend(inputs.iter().map(|topic| (*topic).to_owned()));
        asking.require(&topics)?;
        // Beside the start: each question about configuration costs 100 ms in the client. A transaction timeout over the
        // broker's limit is refused by the first initialisation of a producer anyhow; this says what to change.
        let (limits, timeout, outputs) = (Arc::clone(&asking), settings.transaction_timeout, settings.output_topics.clone());
        thread::spawn(move || {
            if let Err(failure) = limits.check_limits(timeout, &outputs) {
                tracing::warn!(%failure, "limits of the brokers");
            }
        });
        let offsets = CommittedOffsets::open(&settings.connection, &settings.group)?;
        Ok(Self { settings, asking, offsets, topics, looked: AtomicBool::new(true), owned: LastOwnership::default() })
    }
}

impl Cluster for KafkaCluster {
    fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Failure> {
        Ok(self.asking.partitions(topic)?.into_iter().map(|partition| partition.partition).collect())
    }

    fn log_bounds(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, (i64, i64)>, Failure> {
        self.asking.log_bounds(partitions)
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        stop: &Stop,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure> {
        self.offsets.read(partitions, self.settings.patience, &stop.flag())
    }

    fn start_positions(&self, partitions: &[TopicPartition], discovered: bool) -> Result<Positions, Failure> {
        let start = match &self.settings.start {
            Start::Earliest | Start::Latest | Start::Offsets(_) if discovered => &Start::Earliest,
            start => start,
        };
        self.asking.resolve(start, partitions)
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let settings = ReaderSettings { isolation: Isolation::ReadCommitted, broker_patience: self.settings.patience };
        Ok(Box::new(KafkaReader(Reader::open(&self.settings.connection, &self.settings.group, settings, positions)?)))
    }

    fn still_ours(&self, stop: &Stop) -> Result<(), Failure> {
        self.owned.prove(self.settings.patience, &stop.flag())
    }

    fn transactions(
        &self,
        fence: &BTreeSet<String>,
        ids: &[String],
        witness: &TopicPartition,
        stop: &Stop,
    ) -> Result<Box<dyn Transactions>, Failure> {
        // Records for a topic that is gone are kept by the client until they time out, without a word; so it is said here, before an
        // attempt makes any. A broker that has just started may not know yet what exists, so that another try may help.
        if !self.looked.swap(false, Ordering::Relaxed) {
            let missing = self.asking.missing(&self.topics)?;
            if !missing.is_empty() {
                let missing = missing.join(", ");
                return Err(Failure::transient(format!(
                    "topics that were there are gone: {missing}; what was in them is lost. Create them with: sluicegate topics create"
                )));
            }
        }
        let settings = PoolSettings {
            group: self.settings.group.clone(),
            ids: ids.to_vec(),
            former_ids: fence.iter().filter(|id| !ids.contains(id)).cloned().collect(),
            witness: witness.clone(),
            transaction_timeout: self.settings.transaction_timeout,
            commit_timeout: self.settings.transaction_timeout.min(COMMIT),
            init_timeout: self.settings.patience,
        };
        let pool = thread::scope(|scope| {
            // The first question about offsets costs 50 to 100 ms, because the coordinator is looked for; its answer does not
            // matter yet.
            scope.spawn(|| self.offsets.read(std::slice::from_ref(witness), Duration::from_millis(200), &stop.flag()));
            ProducerPool::start_again(&self.settings.connection, settings, &self.owned, stop.flag())
        })?;
        Ok(Box::new(KafkaTransactions { pool, patience: self.settings.patience }))
    }
}

/// Gives a record of Kafka to whoever takes those of any source.
pub(crate) fn with_raw<R>(record: &Polled<'_>, take: impl FnOnce(RawRecord<'_>) -> R) -> R {
    let headers =
        || record.headers().into_iter().map(|(name, value)| (name.into_owned().into(), value.map(<[u8]>::to_vec))).collect();
    take(RawRecord {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp_ms,
        key: record.key,
        value: record.value,
        headers: LazyHeaders::of(&headers),
    })
}

struct KafkaReader(Reader);

impl SplitReader for KafkaReader {
    fn poll(&mut self, patience: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure> {
        let poll = self.0.poll(patience, max, &mut |record| with_raw(&record, &mut *each))?;
        Ok(Round { records: poll.records, dry: poll.ends.to_vec() })
    }

    fn add(&mut self, positions: &Positions) -> Result<(), Failure> {
        self.0.add(positions)
    }

    fn lag(&self, positions: &Positions) -> Vec<(i32, i64)> {
        self.0.lag(positions)
    }

    fn waits_for_others(&self) -> bool {
        true
    }
}

struct KafkaTransactions {
    pool: ProducerPool,
    patience: Duration,
}

impl Transactions for KafkaTransactions {
    fn fence(&mut self, ids: &BTreeSet<String>) -> Result<(), Failure> {
        self.pool.fence(ids)
    }

    fn begin(&mut self) -> Result<Box<dyn OpenTransaction>, Failure> {
        let open = self.pool.take(self.patience)?.begin()?;
        Ok(Box::new(KafkaTransaction { open, patience: self.patience }))
    }
}

struct KafkaTransaction {
    open: Open,
    patience: Duration,
}

impl OpenTransaction for KafkaTransaction {
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let Outgoing { topic, key, value, headers } = *record;
        self.open.send(&Output { topic, key, value, headers, partition: None, timestamp_ms: None })
    }

    fn flush(self: Box<Self>) -> Result<Box<dyn FlushedTransaction>, Failure> {
        Ok(Box::new(KafkaFlushed(self.open.flush(self.patience)?)))
    }
}

struct KafkaFlushed(Flushed);

impl FlushedTransaction for KafkaFlushed {
    fn commit(self: Box<Self>, permit: CommitPermit, carrier: &Carrier) -> CommitOutcome {
        match self.0.commit(permit, carrier) {
            Outcome::Committed(_) => CommitOutcome::Committed,
            Outcome::Fenced(message) => CommitOutcome::Fenced(message),
            Outcome::Unknown(message) => CommitOutcome::Unknown(message),
        }
    }
}
