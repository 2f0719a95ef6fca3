//! Producers over the simulated broker, by the same rules as the pool over Kafka (`kafka/pool.rs`, `kafka/ownership.rs`):
//! the owner id first, then all others, a proof that the owner id is still ours; then each id is used for one transaction, and
//! initialised again in the background, with a proof before and one after it.

use super::{
    broker::Refusal,
    cluster::failure,
    fate::ProcessId,
    network::{Network, Trouble},
    world::{FiberId, lock},
};
use crate::engine::{
    sink::{self, CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing},
    stop::Stop,
};
use crate::protocol::{
    Carrier, CommitPermit, Failure, FailureKind, Positions, TopicPartition,
    mutant::{self, Mutant},
};
use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// For the abort of a transaction that was given up.
const ABORT: Duration = Duration::from_secs(2);
/// For the question what a fencing means.
const JUDGEMENT: Duration = Duration::from_secs(10);
/// Between two looks of somebody who waits for somebody else's proof.
const TURN: Duration = Duration::from_millis(1);

/// What a pool is made for.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: String,
    pub(super) ids: Vec<String>,
    pub(super) witness: TopicPartition,
    pub(super) transaction_timeout: Duration,
    pub(super) patience: Duration,
}

/// A producer that may be used for one transaction.
#[derive(Debug)]
struct Producer {
    id: String,
    epoch: i64,
    /// Records sent in this epoch.
    records: u64,
}

/// A producer that went back, and whether its transaction is open.
struct Retired(Producer, bool);

/// The producers of one attempt.
pub(super) struct Pool {
    network: Network,
    settings: Settings,
    stop: Stop,
    owner: (String, i64),
    proving: AtomicBool,
    closed: AtomicBool,
    ready: Mutex<VecDeque<Result<Producer, Failure>>>,
    retired: Mutex<VecDeque<Retired>>,
    renewer: Mutex<Option<FiberId>>,
    taker: Mutex<Option<FiberId>>,
}

impl Pool {
    /// Takes the job over. `first` are initialised before this returns.
    pub(super) fn start(
        network: &Network,
        process: Option<ProcessId>,
        settings: Settings,
        first: &BTreeSet<String>,
        stop: &Stop,
    ) -> Result<Arc<Self>, Failure> {
        let owner = format!("{}-owner", settings.group);
        let mut pool = Self {
            network: network.clone(),
            settings,
            stop: stop.clone(),
            owner: (owner.clone(), -1),
            proving: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ready: Mutex::default(),
            retired: Mutex::default(),
            renewer: Mutex::default(),
            taker: Mutex::default(),
        };
        let mut producers = Vec::new();
        if mutant::on(Mutant::OwnerTakenLast) {
            producers = first.iter().map(|id| pool.init(id)).collect::<Result<_, _>>()?;
        }
        pool.owner.1 = pool.init(&owner)?.epoch;
        if producers.is_empty() {
            producers = first.iter().map(|id| pool.init(id)).collect::<Result<_, _>>()?;
        }
        pool.prove(pool.settings.patience)?;
        let pool = Arc::new(pool);
        for id in &pool.settings.ids {
            // One that was forgotten is not given out either.
            if let Some(index) = producers.iter().position(|producer| producer.id == *id) {
                lock(&pool.ready).push_back(Ok(producers.swap_remove(index)));
            }
        }
        if mutant::on(Mutant::BeginsWithAnyId) {
            lock(&pool.ready).make_contiguous().reverse();
        }
        if let Some(process) = process {
            let weak = Arc::clone(&pool);
            *lock(&pool.renewer) = Some(network.world.spawn(process, "producers", move || weak.renew_all()));
        }
        Ok(pool)
    }

    fn init(&self, id: &str) -> Result<Producer, Failure> {
        let (name, timeout) = (id.to_owned(), self.settings.transaction_timeout);
        let doing = format!("init {id}");
        let epoch = self
            .network
            .call(&doing, self.settings.patience, &self.stop, move |broker, now| broker.init(&name, timeout, now))
            .map_err(|trouble| failure(&doing, trouble))?;
        Ok(Producer { id: id.to_owned(), epoch, records: 0 })
    }

    /// Proves that nobody has taken the job since, with a transaction of the owner id that is always aborted.
    fn prove(&self, patience: Duration) -> Result<(), Failure> {
        let world = &self.network.world;
        while self.proving.swap(true, Ordering::AcqRel) {
            world.sleep(TURN);
        }
        let proven = self.ask(patience);
        self.proving.store(false, Ordering::Release);
        proven.map_err(|trouble| match trouble {
            Trouble::Refused(Refusal::Fenced) => Failure::fenced(format!("{} was taken by another instance", self.owner.0)),
            other => failure("proof of ownership", other),
        })
    }

    fn ask(&self, patience: Duration) -> Result<(), Trouble> {
        let (owner, epoch) = self.owner.clone();
        let witness = Positions::from([(self.settings.witness.clone(), 0)]);
        let id = owner.clone();
        let add = move |broker: &mut super::broker::Broker, now| broker.add_offsets((&id, epoch), &witness, "proof", now);
        self.network.call("proof", patience, &self.stop, add)?;
        let end = move |broker: &mut super::broker::Broker, now| broker.end((&owner, epoch), false, now);
        match self.network.call("end of proof", patience, &self.stop, end) {
            // A late request of an earlier proof has ended this one.
            Err(Trouble::Refused(Refusal::InvalidState)) => Ok(()),
            done => done,
        }
    }

    /// What fencing of an id means: the job is lost, or, if the owner id is still ours, the attempt is.
    fn judge(&self, fenced: Failure) -> Failure {
        match self.prove(JUDGEMENT) {
            Err(lost) if lost.kind == FailureKind::Fenced => Failure::fenced(format!("{lost} ({fenced})")),
            Err(unknown) => Failure::attempt(format!("{fenced}; who owns the job could not be found out: {unknown}")),
            Ok(()) => Failure::attempt(format!("{fenced}; the job is ours still")),
        }
    }

    fn judged(&self, doing: &str, trouble: Trouble) -> Failure {
        let failure = failure(doing, trouble);
        if failure.kind == FailureKind::Fenced { self.judge(failure) } else { failure }
    }

    /// Initialises again what was used, until the attempt ends.
    fn renew_all(self: Arc<Self>) {
        while !self.closed.load(Ordering::Acquire) && !self.stop.stopped() {
            let Some(retired) = lock(&self.retired).pop_front() else {
                self.network.world.wait(None);
                continue;
            };
            let renewed = self.renew(retired);
            let failed = renewed.is_err();
            self.give(renewed);
            if failed {
                return;
            }
        }
    }

    fn renew(&self, Retired(producer, open): Retired) -> Result<Producer, Failure> {
        let Producer { id, epoch, records } = producer;
        if open {
            let name = id.clone();
            let abort = move |broker: &mut super::broker::Broker, now| broker.end((&name, epoch), false, now);
            // Best effort: the next initialisation does it otherwise.
            let _ = self.network.call(&format!("abort {id}"), ABORT, &self.stop, abort);
        }
        if mutant::on(Mutant::ProducerReused) && !open {
            return Ok(Producer { id, epoch, records });
        }
        if !mutant::on(Mutant::ProducerNotProven) {
            self.prove(self.settings.patience)?;
        }
        let producer = self.init(&id)?;
        if !mutant::on(Mutant::ProducerNotProven) && !mutant::on(Mutant::ProvenTooEarly) {
            self.prove(self.settings.patience)?;
        }
        Ok(producer)
    }

    fn give(&self, ready: Result<Producer, Failure>) {
        lock(&self.ready).push_back(ready);
        if let Some(taker) = *lock(&self.taker) {
            self.network.world.notify(taker);
        }
    }

    fn take(&self) -> Result<Producer, Failure> {
        let world = &self.network.world;
        let deadline = world.now() + self.settings.patience;
        *lock(&self.taker) = Some(world.current());
        loop {
            if let Some(ready) = lock(&self.ready).pop_front() {
                return ready;
            }
            if self.stop.stopped() {
                return Err(Failure::attempt("waiting for a producer: the attempt has ended"));
            }
            if lock(&self.renewer).is_none() {
                let retired = lock(&self.retired).pop_front();
                return retired.map_or_else(|| Err(Failure::transient("no producer is left")), |retired| self.renew(retired));
            }
            if world.now() >= deadline {
                return Err(Failure::transient("no producer was ready in time"));
            }
            world.wait(Some(deadline));
        }
    }

    fn retire(&self, producer: Producer, open: bool) {
        lock(&self.retired).push_back(Retired(producer, open));
        if let Some(renewer) = *lock(&self.renewer) {
            self.network.world.notify(renewer);
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(renewer) = *lock(&self.renewer) {
            self.network.world.notify(renewer);
        }
    }
}

/// What the engine holds of a [`Pool`].
pub(super) struct Transactions(pub(super) Arc<Pool>);

impl sink::Transactions for Transactions {
    fn fence(&mut self, ids: &BTreeSet<String>) -> Result<(), Failure> {
        ids.iter().try_for_each(|id| self.0.init(id).map(drop))?;
        self.0.prove(self.0.settings.patience)
    }

    fn begin(&mut self) -> Result<Box<dyn OpenTransaction>, Failure> {
        let producer = self.0.take()?;
        self.0.network.world.record(format_args!("begin with {} epoch {}", producer.id, producer.epoch));
        Ok(Box::new(Held { pool: Arc::clone(&self.0), producer: Some(producer), queue: VecDeque::new() }))
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.close();
        }
    }
}

/// A transaction, open or flushed.
struct Held {
    pool: Arc<Pool>,
    producer: Option<Producer>,
    /// Records that have not been sent.
    queue: VecDeque<(String, Vec<u8>, Vec<u8>)>,
}

impl Held {
    /// Sends the oldest records that wait, this many at most.
    fn transmit(&mut self, most: usize) -> Result<(), Failure> {
        for _ in 0..most {
            let Some((topic, key, value)) = self.queue.pop_front() else { return Ok(()) };
            let Some(producer) = &mut self.producer else { return Ok(()) };
            let (id, epoch, number) = (producer.id.clone(), producer.epoch, producer.records);
            producer.records += 1;
            let doing = format!("send {} with {id} epoch {epoch}", String::from_utf8_lossy(&value));
            let request =
                move |broker: &mut super::broker::Broker, now| broker.produce((&id, epoch), number, (&topic, &key, &value), now);
            let sent = self.pool.network.call(&doing, self.pool.settings.patience, &self.pool.stop, request);
            sent.map_err(|trouble| self.pool.judged(&doing, trouble))?;
        }
        Ok(())
    }
}

impl OpenTransaction for Held {
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let bytes = |part: Option<&[u8]>| part.unwrap_or_default().to_vec();
        self.queue.push_back((record.topic.to_owned(), bytes(record.key), bytes(record.value)));
        // A producer sends when it likes: so the transaction is open at the broker at once, or only when it is flushed.
        let most = self.pool.network.world.dice(3);
        self.transmit(usize::try_from(most).unwrap_or(0))
    }

    fn flush(mut self: Box<Self>) -> Result<Box<dyn FlushedTransaction>, Failure> {
        self.transmit(usize::MAX)?;
        Ok(self)
    }
}

impl FlushedTransaction for Held {
    fn commit(mut self: Box<Self>, permit: CommitPermit, carrier: &Carrier) -> CommitOutcome {
        let Some(producer) = self.producer.take() else { return CommitOutcome::Unknown("used twice".to_owned()) };
        let (id, epoch) = (producer.id.clone(), producer.epoch);
        let patience = self.pool.settings.transaction_timeout;
        let (positions, metadata) = (carrier.offsets(&permit).into_owned(), permit.metadata().to_owned());
        let name = id.clone();
        let add = move |broker: &mut super::broker::Broker, now| broker.add_offsets((&name, epoch), &positions, &metadata, now);
        let doing = format!("offsets of {} with {id} epoch {epoch}", permit.checkpoint());
        let network = &self.pool.network;
        let added = network.call(&doing, patience, &self.pool.stop, add);
        let name = id.clone();
        let end = move |broker: &mut super::broker::Broker, now| broker.end((&name, epoch), true, now);
        let doing = format!("commit of {} with {id} epoch {epoch}", permit.checkpoint());
        let ended = added.and_then(|()| network.call(&doing, patience, &self.pool.stop, end));
        if ended.is_err() {
            network.world.count("commits with an unknown outcome or fenced");
        }
        match ended {
            Ok(()) => {
                self.pool.retire(producer, false);
                CommitOutcome::Committed
            }
            Err(Trouble::Refused(Refusal::Fenced)) => {
                let judged = self.pool.judge(Failure::fenced(doing));
                match judged.kind {
                    FailureKind::Fenced => CommitOutcome::Fenced(judged.message),
                    _ => CommitOutcome::Unknown(judged.message),
                }
            }
            Err(trouble) => CommitOutcome::Unknown(format!("{doing}: {trouble:?}")),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(producer) = mem::take(&mut self.producer)
            && !thread::panicking()
        {
            self.pool.retire(producer, true);
        }
    }
}
