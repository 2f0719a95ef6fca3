//! The sink task: the open transaction of the current epoch, and what the rest of the engine needs of transactions.
//!
//! ```text
//! tasks ──batches──► gate ──► transaction N ──barrier N: flush──► committer ──permit N──► committed
//!                              │
//!                              └─ only after the flush: transaction N+1, on another producer
//! ```
//!
//! Order per output partition is kept because nothing of N+1 is sent before every record of N was acknowledged.

use super::meter::Meter;
use super::{
    event::TaskEvent,
    gate::{Gate, Incoming},
    halt::Halt,
    message::{Barrier, BarrierKind, MIN_WATERMARK, Message},
    output::{Header, OutputBatch},
    stop::Stop,
};
use crate::failpoint;
use crate::protocol::{Carrier, CheckpointId, CommitPermit, Failure};
use crossbeam_channel::{Receiver, Sender};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// A record for a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Key; decides the partition. None: any partition.
    pub key: Option<&'a [u8]>,
    /// Value; none in a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: &'a [Header],
}

/// Per sink that is not Kafka's, the names of what it has staged for a checkpoint.
pub type Staged = BTreeMap<String, Vec<String>>;

/// Gives out transactions, each on a freshly initialised producer.
pub trait Transactions: Send {
    /// Whether output is staged that the manifest has to name: then [`Transactions::settle`] is to be called before the first one begins.
    fn stages(&self) -> bool {
        false
    }

    /// Recovery knows what is committed: commits what of it is `staged` (none if the job has never committed), and aborts what else was
    /// staged before `epoch`, which is larger than that of any attempt before.
    fn settle(&mut self, epoch: u64, staged: Option<&Staged>) -> Result<(), Failure> {
        let _ = (epoch, staged);
        Ok(())
    }

    /// Fences more ids: whoever used them cannot commit any more, and what they left open is aborted.
    fn fence(&mut self, ids: &BTreeSet<String>) -> Result<(), Failure>;

    /// The next transaction; waits for a producer to be ready.
    fn begin(&mut self) -> Result<Box<dyn OpenTransaction>, Failure>;
}

/// A transaction that takes records.
pub trait OpenTransaction: Send {
    /// Adds a record; waits while the producer's queue is full.
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure>;
    /// Closes the transaction to new records and waits until every delivery is confirmed.
    fn flush(self: Box<Self>) -> Result<Box<dyn FlushedTransaction>, Failure>;
}

/// A transaction whose records are all in Kafka, invisible still.
pub trait FlushedTransaction: Send {
    /// What is staged outside of Kafka, to be named by the manifest.
    fn staged(&self) -> Staged {
        Staged::new()
    }

    /// Commits outputs, offsets and the pointer to the state in one step: those offsets that `carrier` says.
    fn commit(self: Box<Self>, permit: CommitPermit, carrier: &Carrier) -> CommitOutcome;
}

/// What Kafka said to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is visible.
    Committed,
    /// Another instance has taken the transactional id: this one must not go on.
    Fenced(String),
    /// Anything else. It may have been committed or not; only recovery can tell.
    Unknown(String),
}

/// A flushed transaction on its way to the committer.
pub struct Sealed {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// The transaction.
    pub transaction: Box<dyn FlushedTransaction>,
}

/// The open transaction, one after the other: one for each checkpoint.
pub struct Epochs {
    transactions: Box<dyn Transactions>,
    open: Option<Box<dyn OpenTransaction>>,
    records: u64,
}

impl Epochs {
    /// Opens the first transaction.
    pub fn begin(mut transactions: Box<dyn Transactions>) -> Result<Self, Failure> {
        let open = Some(transactions.begin()?);
        Ok(Self { transactions, open, records: 0 })
    }

    /// Adds a record to the open transaction.
    pub fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let open = self.open.as_mut().ok_or_else(|| Failure::fatal("records after the final barrier"))?;
        self.records += 1;
        open.send(record)
    }

    /// Ends the epoch: flushes its transaction, and only then opens the next one, if there is to be one. Says how many records
    /// the transaction holds.
    pub fn close(&mut self, barrier: Barrier) -> Result<(Sealed, u64), Failure> {
        let open = self.open.take().ok_or_else(|| Failure::fatal("barrier after the final barrier"))?;
        failpoint::hit("before-flush")?;
        let transaction = open.flush()?;
        if barrier.kind == BarrierKind::Running {
            self.open = Some(self.transactions.begin()?);
        }
        Ok((Sealed { checkpoint: barrier.checkpoint, transaction }, std::mem::take(&mut self.records)))
    }
}

/// What the sink task works with.
pub struct Sink {
    /// Channels from all tasks with output.
    pub inputs: Vec<Receiver<Message<OutputBatch>>>,
    /// Topic names by index.
    pub topics: Vec<String>,
    /// Source of transactions.
    pub transactions: Box<dyn Transactions>,
    /// To the committer.
    pub sealed: Sender<Sealed>,
    /// To the coordinator.
    pub events: Sender<TaskEvent>,
    /// The end of the attempt.
    pub stop: Stop,
    /// Counters.
    pub metrics: Meter,
}

impl Sink {
    /// Runs until the attempt ends.
    pub fn run(mut self) -> Result<(), Halt> {
        let mut gate = Gate::new(std::mem::take(&mut self.inputs), MIN_WATERMARK, self.stop.clone());
        let mut epochs = Epochs::begin(self.transactions)?;
        loop {
            let waiting_since = Instant::now();
            let incoming = gate.next(Duration::from_secs(1))?;
            let working_since = Instant::now();
            self.metrics.idle(working_since - waiting_since);
            match incoming {
                Incoming::Batch(batch) => {
                    for record in &batch.records {
                        let topic = self.topics.get(usize::from(record.topic)).map_or("", String::as_str);
                        let (key, value) = (batch.key(record), batch.value(record));
                        epochs.send(&Outgoing { topic, key, value, headers: batch.headers(record) })?;
                    }
                    self.metrics.written(&batch, &self.topics);
                }
                Incoming::Barrier(barrier) => {
                    let (sealed, records) = epochs.close(barrier)?;
                    let stall = gate.take_stall() + working_since.elapsed();
                    self.metrics.stall(stall);
                    let (checkpoint, staged) = (barrier.checkpoint, sealed.transaction.staged());
                    self.stop.send(&self.sealed, sealed)?;
                    self.stop.send(&self.events, TaskEvent::OutputFlushed { checkpoint, records, staged, stall })?;
                }
                Incoming::Mark(_) | Incoming::End | Incoming::Nothing => {}
            }
            self.metrics.busy(working_since.elapsed());
        }
    }
}
