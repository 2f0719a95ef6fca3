//! The writer: a thread that brings frozen entries into RocksDB and links snapshots.
//!
//! ```text
//! table (task 0) --Chunk, Done--┐
//! table (task 1) --Chunk, Done--┼--> run per state --sorted file--> RocksDB --all tables Done(N)--> Snapshot N
//! table (task 1) --Chunk, Done--┘                                      |
//!      ^                                                               |
//!      └── applied: this chunk is in RocksDB, its entries may be evicted; linked: N is linked, entries of N+1 may be written
//! ```
//!
//! Why snapshot N is exactly the state at barrier N: a table encodes what it froze at N with the values of that moment (a later
//! change encodes the old value first), and sends nothing of N+1 before N is linked; the writer sets aside what comes too early
//! all the same. RocksDB holds the rest of the state as it was at N-1, since each entry that changed in between is among those.

use super::{
    Snapshot, StateId, Store,
    chunk::{CHUNK_BYTES, Chunk},
    port::{Message, Port, Shared},
    run::Run,
};
use crate::protocol::{CheckpointId, Failure};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What the writer reports.
#[derive(Debug)]
pub enum WriterEvent {
    /// Everything of a checkpoint is in RocksDB, and linked.
    Snapshot(SnapshotReady),
    /// The writer has ended: the attempt cannot go on.
    Failed(Failure),
}

/// A checkpoint's state, ready to be uploaded.
#[derive(Debug)]
pub struct SnapshotReady {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its files; removed from the local disk when this is dropped.
    pub snapshot: Snapshot,
    /// Where the time went.
    pub timings: WriterTimings,
}

/// Where the writer's time went for one checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterTimings {
    /// Entries written.
    pub entries: u64,
    /// Bytes of sorted files written.
    pub bytes: u64,
    /// Sorting and writing, all of it.
    pub write: Duration,
    /// From the first table that had sent everything to the last.
    pub gather: Duration,
    /// Hard links.
    pub link: Duration,
}

/// A writer before it starts: hands out one [`Port`] per table, so that it knows how many tables a checkpoint waits for.
#[derive(Debug)]
pub struct Plan {
    store: Arc<Store>,
    shared: Arc<Shared>,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    applied: Vec<Arc<AtomicU32>>,
}

impl Plan {
    /// A plan of the writer to `store`.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        let room = store.settings().split().in_flight / 2 / CHUNK_BYTES;
        let (sender, receiver) = bounded(room.max(4));
        Self { store, shared: Arc::default(), sender, receiver, applied: Vec::new() }
    }

    /// A port for one more table of `state`. Each port must get its table: checkpoints wait for all of them.
    pub fn port(&mut self, state: StateId) -> Port {
        let applied = Arc::new(AtomicU32::new(0));
        self.applied.push(applied.clone());
        Port {
            shared: self.shared.clone(),
            sender: self.sender.clone(),
            number: self.applied.len() - 1,
            state,
            applied,
            outbox: VecDeque::new(),
        }
    }

    /// Starts the thread. `report` is called on it, with each snapshot and at most one failure; it should only hand over.
    pub fn start(self, report: impl FnMut(WriterEvent) + Send + 'static) -> Result<Writer, Failure> {
        let Self { store, shared, sender, receiver, applied } = self;
        drop(sender);
        let (stop, stopped) = bounded(0);
        let common = shared.clone();
        let thread = std::thread::Builder::new().name("state-writer".into()).spawn(move || {
            let mut report = report;
            let work = AssertUnwindSafe(|| Work::new(store, common.clone(), applied).run(&receiver, &stopped, &mut report));
            let result = catch_unwind(work).unwrap_or_else(|_| Err(Failure::attempt("local state: the writer panicked")));
            if let Err(failure) = result {
                common.fail(failure.clone());
                drop(receiver);
                report(WriterEvent::Failed(failure));
            }
        });
        let thread = thread.map_err(|error| Failure::attempt(format!("cannot start the thread of the state writer: {error}")))?;
        Ok(Writer { shared, stop: Some(stop), thread: Some(thread) })
    }
}

/// The running writer. Ends when dropped; what is on the way is then lost, which local state may be.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Bytes of encoded entries on their way into RocksDB.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.fail(Failure::attempt("local state: the attempt has ended"));
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported.
            let _ = thread.join();
        }
    }
}

/// The checkpoint that is being gathered.
#[derive(Default)]
struct Gathering {
    checkpoint: Option<CheckpointId>,
    done: usize,
    since: Option<Instant>,
    timings: WriterTimings,
}

struct Work {
    store: Arc<Store>,
    shared: Arc<Shared>,
    applied: Vec<Arc<AtomicU32>>,
    runs: Vec<Run>,
    /// Most bytes that all runs together may hold.
    room: usize,
    /// The freeze that is being gathered, from 1.
    generation: u32,
    gathering: Gathering,
    early: VecDeque<Message>,
    files: u64,
}

impl Work {
    fn new(store: Arc<Store>, shared: Arc<Shared>, applied: Vec<Arc<AtomicU32>>) -> Self {
        let runs = store.states().map(|_| Run::default()).collect();
        let room = store.settings().split().in_flight / 2;
        Self {
            store,
            shared,
            applied,
            runs,
            room,
            generation: 1,
            gathering: Gathering::default(),
            early: VecDeque::new(),
            files: 0,
        }
    }

    fn run(
        mut self,
        messages: &Receiver<Message>,
        stopped: &Receiver<()>,
        report: &mut (impl FnMut(WriterEvent) + Send),
    ) -> Result<(), Failure> {
        loop {
            let message = select! {
                recv(messages) -> message => message,
                recv(stopped) -> _ => return Ok(()),
            };
            let Ok(message) = message else { return Ok(()) }; // all tables are gone
            self.take(message, report)?;
        }
    }

    fn take(&mut self, message: Message, report: &mut impl FnMut(WriterEvent)) -> Result<(), Failure> {
        if let Message::Chunk(Chunk { generation, .. }) | Message::Done { generation, .. } = &message
            && *generation > self.generation
        {
            self.early.push_back(message);
            return Ok(());
        }
        match message {
            Message::Hurry => self.write_all(),
            Message::Chunk(chunk) => self.gather(chunk),
            Message::Done { port, checkpoint, .. } => {
                if self.done(port, checkpoint)? {
                    report(WriterEvent::Snapshot(self.finish(checkpoint)?));
                    for message in std::mem::take(&mut self.early) {
                        self.take(message, report)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn gather(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let run = self.runs.get_mut(chunk.state.0).ok_or_else(|| Failure::attempt("a table wrote to an unknown state"))?;
        run.push(chunk);
        if self.runs.iter().map(Run::memory).sum::<usize>() > self.room {
            let largest = self.runs.iter().enumerate().max_by_key(|(_, run)| run.memory()).map(|(state, _)| state);
            if let Some(state) = largest {
                self.write(StateId(state))?;
            }
        }
        Ok(())
    }

    /// One more table has sent everything; `true` = all have.
    fn done(&mut self, port: usize, checkpoint: CheckpointId) -> Result<bool, Failure> {
        let gathering = &mut self.gathering;
        let of = *gathering.checkpoint.get_or_insert(checkpoint);
        if of != checkpoint {
            return Err(Failure::attempt(format!("table {port} froze checkpoint {checkpoint} while others froze {of}")));
        }
        gathering.since.get_or_insert_with(Instant::now);
        gathering.done += 1;
        Ok(gathering.done == self.applied.len())
    }

    fn write_all(&mut self) -> Result<(), Failure> {
        (0..self.runs.len()).try_for_each(|state| self.write(StateId(state)))
    }

    /// Brings one state's run into RocksDB.
    fn write(&mut self, state: StateId) -> Result<(), Failure> {
        let Some(run) = self.runs.get_mut(state.0) else { return Ok(()) };
        if run.is_empty() {
            return Ok(());
        }
        let begin = Instant::now();
        let last: Vec<(usize, u32)> = run.chunks().iter().map(|chunk| (chunk.port, chunk.sequence)).collect();
        let (memory, entries) = (run.memory(), run.entries());
        self.files += 1;
        self.gathering.timings.bytes += run.write(&self.store, state, self.files)?;
        self.gathering.timings.entries += entries as u64;
        for (port, sequence) in last {
            if let Some(applied) = self.applied.get(port) {
                applied.fetch_max(sequence, Ordering::Release);
            }
        }
        self.shared.landed(memory);
        self.shared.notify();
        self.gathering.timings.write += begin.elapsed();
        Ok(())
    }

    fn finish(&mut self, checkpoint: CheckpointId) -> Result<SnapshotReady, Failure> {
        let gather = self.gathering.since.map(|since| since.elapsed()).unwrap_or_default();
        self.write_all()?;
        let begin = Instant::now();
        let snapshot = self.store.snapshot(checkpoint)?;
        let timings = WriterTimings { gather, link: begin.elapsed(), ..std::mem::take(&mut self.gathering).timings };
        self.generation += 1;
        self.shared.set_linked(checkpoint);
        Ok(SnapshotReady { checkpoint, snapshot, timings })
    }
}
