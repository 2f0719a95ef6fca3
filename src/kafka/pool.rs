//! Producers, each initialised for one transaction, the next ones ready before they are needed.
//!
//! ```text
//!            take            retire (drop)
//!   ready ─────────► used ───────────────► drop, create, initialise, prove ownership ──► ready
//!     ▲                                     one thread per transactional id                 │
//!     └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Why one transaction per initialisation: before KIP-890 (which librdkafka 2.12 does not speak) an EndTxn request that is delayed
//! in the network can end the *next* transaction of the same epoch. A new epoch for each transaction makes it stale instead.
//! Initialising costs 54 ms when the id is quiet and up to 555 ms when the broker is still finishing; in the background, with
//! enough ids (500 ms / interval + 2), nobody waits for it.
//!
//! Why that does not let a replaced instance come back: see [`super::ownership`].

use super::{
    Connection,
    context::Deliveries,
    failure,
    fencing::{fence, fence_with},
    group::ConsumerGroup,
    ownership::{LastOwnership, Ownership},
    plain_producer::Feed,
    transaction::Prepared,
    waiting::Wait,
};
use crate::failpoint;
use crate::protocol::{Failure, TopicPartition};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often a wait looks at its cancel flag.
const LOOK: Duration = Duration::from_millis(20);

/// For the workers at the end of an attempt.
const FAREWELL: Duration = Duration::from_secs(5);

/// For the abort of a transaction that was given up; if the broker does not answer, the next initialisation aborts it.
const ABORT: Duration = Duration::from_secs(2);

/// What a pool is made for.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Group that offsets are committed for.
    pub group: String,
    /// Transactional ids to use.
    pub ids: Vec<String>,
    /// Ids that the job may have used before: fenced, not used.
    pub former_ids: Vec<String>,
    /// Any partition that exists, of the input: ownership is proven with an offset of it that is never committed.
    pub witness: TopicPartition,
    /// `transaction.timeout.ms`: the broker aborts what is open for longer.
    pub transaction_timeout: Duration,
    /// Longest wait for the answer to a commit.
    pub commit_timeout: Duration,
    /// Longest wait for an id to be initialised.
    pub init_timeout: Duration,
}

/// What comes from a worker: a producer that may be used, or why there will be none.
type Ready = Result<Lease, Failure>;

/// Producers for one attempt.
pub struct ProducerPool {
    ready: Receiver<Ready>,
    workers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    connection: Connection,
    settings: PoolSettings,
    group: Arc<ConsumerGroup>,
    ownership: Arc<Ownership>,
    /// Ends every wait of the attempt.
    cancel: Arc<AtomicBool>,
    /// Ends the workers.
    closing: AtomicBool,
}

impl ProducerPool {
    /// Takes the job over: initialises the owner id, then all other ids at once, then proves that the owner id is ours still. When this
    /// returns, nobody else can commit for the group, and what was open is aborted: now the committed offsets may be read. The first
    /// producers are given out in the order of `ids`.
    ///
    /// # Errors
    ///
    /// Fenced if another instance took over at the same time; transient if a coordinator is away for `init_timeout`; fatal without
    /// the rights, or for a transaction timeout that the brokers do not allow; attempt if `cancel` is raised.
    pub fn start(connection: &Connection, settings: PoolSettings, cancel: Arc<AtomicBool>) -> Result<Self, Failure> {
        Self::start_again(connection, settings, &LastOwnership::default(), cancel)
    }

    /// The same for a process that makes several attempts: the ownership of each is kept in `last`, to be asked after its end.
    ///
    /// # Errors
    ///
    /// As [`ProducerPool::start`].
    pub fn start_again(
        connection: &Connection,
        settings: PoolSettings,
        last: &LastOwnership,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let wait = Wait::new(settings.init_timeout, &cancel);
        let handles = Self::handles(connection, &settings)?;
        let started = Instant::now();
        let (group, owner, fenced) = thread::scope(|scope| {
            // Closing the consumer that it is made of takes rdkafka 100 ms; nothing below waits for it.
            let group = scope.spawn(|| ConsumerGroup::of(connection, &settings.group));
            let owner = Ownership::take(connection, &settings.group, settings.transaction_timeout, &wait)?;
            let fenced = failpoint::hit("during-fencing").and_then(|()| Self::fence_all(connection, &settings, handles, &wait));
            let group = group.join().map_err(|_| Failure::attempt("a thread that prepares the group has panicked"))??;
            Ok::<_, Failure>((Arc::new(group), owner, fenced))
        })?;
        let took = started.elapsed();
        let ownership = Arc::new(Ownership::new(owner, Arc::clone(&group), settings.witness.clone()));
        last.set(&ownership);
        let producers = fenced?;
        ownership.prove(&wait)?;
        tracing::debug!(fenced = ?took, proven = ?(started.elapsed() - took), "took the job over");

        let closing = AtomicBool::new(false);
        let shared = Arc::new(Shared { connection: connection.clone(), settings, group, ownership, cancel, closing });
        let (to_ready, ready) = unbounded();
        let mut pool = Self { ready, workers: Vec::new(), shared };
        for (id, producer) in producers {
            // A lease comes back at most once before it is given out again, so returning it never waits.
            let (retire, retired) = bounded(1);
            let worker = Worker { id, shared: Arc::clone(&pool.shared), ready: to_ready.clone(), retire, retired };
            worker.give(producer);
            let name = format!("kafka-{}", worker.id);
            let started = thread::Builder::new().name(name).spawn(move || worker.run());
            pool.workers.push(started.map_err(|error| Failure::attempt(format!("starting a thread: {error}")))?);
        }
        Ok(pool)
    }

    /// Handles that are not initialised: they connect while the owner id is taken, and fence nobody.
    fn handles(connection: &Connection, settings: &PoolSettings) -> Result<Vec<(String, BaseProducer<Deliveries>)>, Failure> {
        let former = settings.former_ids.iter().filter(|id| !settings.ids.contains(id));
        let all = settings.ids.iter().chain(former);
        all.map(|id| Ok((id.clone(), connection.transactional_client(id, settings.transaction_timeout)?))).collect()
    }

    fn fence_all(
        connection: &Connection,
        settings: &PoolSettings,
        handles: Vec<(String, BaseProducer<Deliveries>)>,
        wait: &Wait<'_>,
    ) -> Result<Vec<(String, BaseProducer<Deliveries>)>, Failure> {
        let timeout = settings.transaction_timeout;
        let fenced: Vec<Result<(String, BaseProducer<Deliveries>), Failure>> = thread::scope(|scope| {
            let threads: Vec<_> = handles
                .into_iter()
                .map(|(id, handle)| {
                    scope.spawn(move || fence_with(handle, connection, &id, timeout, wait).map(|producer| (id, producer)))
                })
                .collect();
            let lost = || Err(Failure::attempt("a thread that initialises a producer has panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
        });
        let fenced: Result<Vec<_>, Failure> = fenced.into_iter().collect();
        // Former ids need no producer: without one they stay fenced.
        Ok(fenced?.into_iter().filter(|(id, _)| settings.ids.contains(id)).collect())
    }

    /// The next producer; waits for at most `patience`.
    ///
    /// # Errors
    ///
    /// Fenced if another instance has taken the job; transient if no id could be initialised in time; attempt if cancelled.
    pub fn take(&self, patience: Duration) -> Result<Prepared, Failure> {
        let wait = Wait::new(patience, &self.shared.cancel);
        loop {
            match self.ready.recv_timeout(wait.slice(LOOK)) {
                Ok(ready) => {
                    let shared = &self.shared;
                    return Ok(Prepared {
                        lease: ready?,
                        group: Arc::clone(&shared.group),
                        ownership: Arc::clone(&shared.ownership),
                        commit_timeout: shared.settings.commit_timeout,
                        cancel: Arc::clone(&shared.cancel),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::attempt("the pool of producers has ended")),
                Err(RecvTimeoutError::Timeout) if wait.cancelled() => return Err(failure::cancelled("waiting for a producer")),
                Err(RecvTimeoutError::Timeout) if wait.is_over() => {
                    return Err(Failure::transient(format!(
                        "no producer was ready within {patience:?}: {} ids are not enough (kafka.producers), or the broker does not answer",
                        self.shared.settings.ids.len()
                    )));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Fences more ids that the job may have used before; what was committed with them meanwhile is to be read again.
    ///
    /// # Errors
    ///
    /// As [`ProducerPool::start`].
    pub fn fence(&self, ids: &BTreeSet<String>) -> Result<(), Failure> {
        let Shared { connection, settings, ownership, cancel, .. } = &*self.shared;
        let wait = Wait::new(settings.init_timeout, cancel);
        ids.iter().try_for_each(|id| fence(connection, id, settings.transaction_timeout, &wait).map(drop))?;
        ownership.prove(&wait)
    }

    /// Number of producers that are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }
}

impl Drop for ProducerPool {
    /// Waits for the workers: each sees the end within half a second, or after the abort of what it holds. One that waits inside of
    /// librdkafka for a coordinator that is away (`send_offsets_to_transaction` knows no time-out, its issue 5456) is left behind: it
    /// sees the end when that call returns, and touches nothing any more.
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        let until = Instant::now() + FAREWELL;
        for worker in self.workers.drain(..) {
            while !worker.is_finished() && Instant::now() < until {
                thread::sleep(LOOK);
            }
            if worker.is_finished() {
                drop(worker.join());
            }
        }
    }
}

/// The keeper of one transactional id.
struct Worker {
    id: String,
    shared: Arc<Shared>,
    ready: Sender<Ready>,
    retire: Sender<Retired>,
    retired: Receiver<Retired>,
}

impl Worker {
    fn run(self) {
        loop {
            match self.retired.recv_timeout(LOOK) {
                Ok(retired) => {
                    retired.end();
                    if self.is_closing() {
                        return;
                    }
                    match self.renew() {
                        Ok(producer) => self.give(producer),
                        Err(_) if self.is_closing() => return,
                        Err(failure) => {
                            // The pool is at its end, too, when nobody listens.
                            let _ = self.ready.send(Err(failure));
                            return;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) if !self.is_closing() => {}
                Err(_) => return,
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.shared.closing.load(Ordering::Acquire) || self.shared.cancel.load(Ordering::Acquire)
    }

    fn renew(&self) -> Result<BaseProducer<Deliveries>, Failure> {
        let settings = &self.shared.settings;
        let wait = Wait::new(settings.init_timeout, &self.shared.closing);
        // A courtesy: an instance that was replaced should not take ids from the one that replaced it.
        self.shared.ownership.prove(&wait)?;
        // It may have taken until long after the attempt's end: nothing of the next one's may be touched now.
        if self.is_closing() {
            return Err(failure::cancelled("initialising a producer"));
        }
        let producer = fence(&self.shared.connection, &self.id, settings.transaction_timeout, &wait)?;
        // The guarantee: a proof after the initialisation, see `ownership`.
        self.shared.ownership.prove(&wait)?;
        Ok(producer)
    }

    fn give(&self, producer: BaseProducer<Deliveries>) {
        let feed = Feed::new(producer, self.shared.connection.message_max_bytes());
        let lease = Lease { held: Some(Held { feed, open: false }), id: self.id.clone(), retire: self.retire.clone() };
        let _ = self.ready.send(Ok(lease));
    }
}

struct Held {
    feed: Feed,
    open: bool,
}

/// A producer that went back.
struct Retired(Held);

impl Retired {
    fn end(self) {
        let Held { feed, open } = self.0;
        let producer = feed.producer();
        if !open || producer.client().fatal_error().is_some() {
            return;
        }
        // Records that wait would hold the abort up until their reports are polled.
        producer.purge(PurgeConfig::default().queue().inflight());
        feed.serve();
        if let Err(error) = producer.abort_transaction(ABORT) {
            tracing::debug!(error = %failure::explain(&error), "abort; the next initialisation of the id does it");
        }
    }
}

/// A producer in use; goes back to its worker when dropped.
pub(super) struct Lease {
    held: Option<Held>,
    id: String,
    retire: Sender<Retired>,
}

impl Lease {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    #[expect(clippy::expect_used, reason = "taken out only by the drop and by `abandon`, which is the last use")]
    pub(super) fn feed(&self) -> &Feed {
        &self.held.as_ref().expect("held until dropped").feed
    }

    #[expect(clippy::expect_used, reason = "see `feed`")]
    pub(super) fn feed_mut(&mut self) -> &mut Feed {
        &mut self.held.as_mut().expect("held until dropped").feed
    }

    /// A transaction has begun: it is to be aborted unless it ends.
    pub(super) fn opened(&mut self) {
        if let Some(held) = &mut self.held {
            held.open = true;
        }
    }

    /// The transaction has ended.
    pub(super) fn ended(&mut self) {
        if let Some(held) = &mut self.held {
            held.open = false;
        }
    }

    /// Nothing more is to be done with this producer; the id stays as it is until the next attempt fences it.
    pub(super) fn abandon(&mut self) {
        drop(self.held.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.held.take()
            && let Err(unsent) = self.retire.try_send(Retired(held))
        {
            unsent.into_inner().end();
        }
    }
}
