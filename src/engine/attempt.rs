//! One attempt: every thread of a running job, from a recovered state to an ending.

use super::{
    alignment::Alignment,
    checkpointer::{Checkpointer, Request},
    clock::Clock,
    committer::Committer,
    context::{RestoredVertex, TaskContext, TaskState},
    coordinator::{Ask, Bounds, Driver, Ending, Links, Schedule, Setup},
    event::{SourceCommand, TaskEvent},
    halt::Halt,
    manifest::Blueprint,
    message::Message,
    meter::Meter,
    output::OutputBatch,
    plan::{Plan, Vertex, VertexKind},
    pulse::Phase,
    sink::{Sealed, Sink, Transactions},
    source::SourceInput,
    stop::Stop,
    watchdog::Watchdog,
};
use crate::checkpoint::{Collector, Storage, Uploaded};
use crate::observe::Metrics;
use crate::protocol::{Carrier, CheckpointId, CommitPermit, Coordinator, Failure};
use crate::state::{Budget, KeyGroups, Plan as WriterPlan, Store, Writer, WriterEvent};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Batches that a channel between two tasks holds. With 512 records to a batch this bounds what is on the way, and so how
/// long a barrier takes to get through under load.
const CHANNEL: usize = 4;

/// Batches on the way from a task to the sink.
const OUTPUT_CHANNEL: usize = 4;

/// How long the threads of an ended attempt may take to notice. They look at the end between slices of every blocking call.
const GRACE: Duration = Duration::from_secs(60);

/// After so long somebody is told why.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that an attempt begins with.
pub struct Attempt {
    /// The graph.
    pub plan: Plan,
    /// Tasks per keyed stage.
    pub parallelism: usize,
    /// Key groups.
    pub groups: KeyGroups,
    /// Per source vertex, one input for each of its tasks.
    pub sources: BTreeMap<usize, Vec<SourceInput>>,
    /// Per vertex, what it restores.
    pub restored: BTreeMap<usize, RestoredVertex>,
    /// RocksDB, empty or restored.
    pub store: Arc<Store>,
    /// Memory of all state tables.
    pub budget: Arc<Budget>,
    /// Column families that were restored.
    pub restored_states: BTreeSet<String>,
    /// Transactions for the sink.
    pub transactions: Box<dyn Transactions>,
    /// Which offsets their commits hold.
    pub carrier: Carrier,
    /// Checkpoint storage.
    pub storage: Storage,
    /// What need not be uploaded again.
    pub uploaded: Uploaded,
    /// Clears away old checkpoints.
    pub collector: Collector,
    /// The protocol's core. It is told how many tasks acknowledge.
    pub core: Box<dyn FnOnce(usize) -> Coordinator>,
    /// What all manifests have in common; it is told which vertex each task belongs to.
    pub blueprint: Box<dyn FnOnce(Vec<usize>) -> Blueprint>,
    /// When checkpoints are taken.
    pub schedule: Schedule,
    /// When the job ends by itself.
    pub bounds: Bounds,
    /// Looks for new partitions, if it is to.
    pub discovery: Option<Discovery>,
    /// A task that is at the same thing for so long has stalled.
    pub task_timeout: Option<Duration>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Told of each commit.
    pub committed: Arc<dyn Fn(CheckpointId) + Send + Sync>,
    /// The end.
    pub stop: Stop,
}

/// Looks for new partitions.
pub struct Discovery {
    /// From one look to the next.
    pub interval: Duration,
    /// Partitions that were not there at the last look, and where to begin in them.
    pub look: Box<dyn FnMut() -> Result<crate::protocol::Positions, Failure> + Send>,
}

struct Threads {
    handles: Vec<(String, JoinHandle<()>)>,
    events: Sender<TaskEvent>,
    stop: Stop,
}

impl Threads {
    /// Starts a thread whose failure, or panic, ends the attempt.
    fn start(&mut self, name: String, work: impl FnOnce() -> Result<(), Halt> + Send + 'static) -> Result<(), Failure> {
        let (events, stop, thread) = (self.events.clone(), self.stop.clone(), name.clone());
        let guarded = move || {
            let failure = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(()) | Err(Halt::Stopped)) => return,
                Ok(Err(Halt::Failed(failure))) => failure,
                Err(panic) => Failure::attempt(format!("panicked: {}", panic_text(panic.as_ref()))),
            };
            if !stop.stopped() {
                let _ = events.send(TaskEvent::Failed { thread, failure });
            }
        };
        let builder = std::thread::Builder::new().name(name.clone());
        let handle = builder.spawn(guarded).map_err(|error| Failure::attempt(format!("cannot start thread {name}: {error}")))?;
        self.handles.push((name, handle));
        Ok(())
    }

    /// Waits for all threads, which have been told to stop.
    fn join(self, ending: &Ending) {
        let began = Instant::now();
        let (deadline, mut told) = (began + GRACE, false);
        for (name, handle) in self.handles {
            while !handle.is_finished() {
                if !told && began.elapsed() >= PATIENCE {
                    told = true;
                    let failure = match ending {
                        Ending::Failed { failure, .. } => Some(tracing::field::display(failure)),
                        Ending::Finished => None,
                    };
                    // A call of librdkafka may last until its time-out while no broker answers.
                    tracing::warn!(thread = name, failure, "the attempt is over, but a thread of it has not ended yet");
                }
                if Instant::now() >= deadline {
                    // The next attempt must not run beside it: the process is given up, and whoever supervises it starts anew.
                    tracing::error!(thread = name, "did not end within {GRACE:?}; giving up the process");
                    std::process::exit(1);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = handle.join();
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

/// The channels of an attempt.
struct Wiring {
    /// Per edge and upstream task.
    senders: BTreeMap<(usize, usize), Box<dyn Any + Send>>,
    /// Per vertex and task, those of each edge that leads there.
    receivers: BTreeMap<(usize, usize), Vec<Box<dyn Any + Send>>>,
}

impl Attempt {
    fn tasks_of(&self, vertex: usize) -> usize {
        match self.sources.get(&vertex) {
            Some(inputs) => inputs.len(),
            None => self.parallelism,
        }
    }

    fn wire(&self) -> Wiring {
        let mut wiring = Wiring { senders: BTreeMap::new(), receivers: BTreeMap::new() };
        for (index, edge) in self.plan.edges.iter().enumerate() {
            let channels = (edge.channels)(self.tasks_of(edge.from), self.tasks_of(edge.to), CHANNEL);
            let senders = channels.senders.into_iter().enumerate();
            wiring.senders.extend(senders.map(|(task, senders)| ((index, task), senders)));
            for (task, receivers) in channels.receivers.into_iter().enumerate() {
                wiring.receivers.entry((edge.to, task)).or_default().push(receivers);
            }
        }
        wiring
    }

    /// Runs to the end. When this returns, every thread of the attempt has ended.
    pub fn run(self, asked: &Receiver<Ask>) -> Ending {
        let (events, reported) = unbounded();
        let mut threads = Threads { handles: Vec::new(), events: events.clone(), stop: self.stop.clone() };
        let stop = self.stop.clone();
        let storage = self.storage.clone();
        let ending = match self.start(&mut threads, &events) {
            Ok((driver, writer)) => {
                drop(events);
                let ending = driver.run(&reported, asked);
                stop.stop();
                storage.cancel();
                drop(writer);
                ending
            }
            // Who asked it to stop was not heard yet: that lies in `asked` still.
            Err(failure) => Ending::Failed { failure, checkpoint: None, asked_to_stop: false },
        };
        stop.stop();
        threads.join(&ending);
        ending
    }

    fn start(mut self, threads: &mut Threads, events: &Sender<TaskEvent>) -> Result<(Driver, Writer), Failure> {
        let mut wiring = self.wire();
        let horizon = self.store.horizon().clone();
        let mut writer = WriterPlan::new(Arc::clone(&self.store));
        let budget = Arc::clone(&self.budget);
        let gauges = memory_gauges(&self.store, &budget, &self.metrics);
        let restored_states = Arc::new(std::mem::take(&mut self.restored_states));
        let (mut outputs, mut source_commands, mut vertex_of_task) = (Vec::new(), Vec::new(), Vec::new());
        let mut contexts: Vec<(Vertex, TaskContext)> = Vec::new();
        let alignment = Arc::new(Alignment::of(self.sources.values().map(Vec::len).sum()));

        for (index, vertex) in self.plan.vertices.clone().into_iter().enumerate() {
            let restored = Arc::new(self.restored.remove(&index).unwrap_or_default());
            let tasks = self.tasks_of(index);
            let mut inputs = self.sources.remove(&index).unwrap_or_default().into_iter();
            for subtask in 0..tasks {
                let output = vertex.has_output.then(|| {
                    let (sender, receiver) = bounded::<Message<OutputBatch>>(OUTPUT_CHANNEL);
                    outputs.push(receiver);
                    sender
                });
                let commands = match &vertex.kind {
                    VertexKind::Keyed => None,
                    VertexKind::Source { topic } => {
                        let (sender, receiver) = unbounded::<SourceCommand>();
                        source_commands.push((topic.as_str().into(), sender));
                        Some(receiver)
                    }
                };
                let edges = self.plan.edges.iter().enumerate().filter(|(_, edge)| edge.from == index);
                let senders = edges.filter_map(|(edge, _)| Some((edge, wiring.senders.remove(&(edge, subtask))?))).collect();
                let mut ports = BTreeMap::new();
                for state in self.plan.states.iter().filter(|state| vertex.operators.contains(&state.operator)) {
                    let id = self.store.state(&state.operator, &state.name)?;
                    ports.insert(state.column_family(), writer.port(id));
                }
                let state = TaskState {
                    store: Arc::clone(&self.store),
                    budget: Arc::clone(&budget),
                    ports,
                    restored: Arc::clone(&restored_states),
                };
                let context = TaskContext {
                    task: contexts.len(),
                    name: vertex.name.as_str().into(),
                    subtask,
                    parallelism: tasks,
                    groups: self.groups,
                    restored: Arc::clone(&restored),
                    events: events.clone(),
                    stop: self.stop.clone(),
                    metrics: Meter::new(&self.metrics, &vertex.name, subtask),
                    pulse: Arc::default(),
                    alignment: Arc::clone(&alignment),
                    state: Some(state),
                    senders,
                    receivers: wiring.receivers.remove(&(index, subtask)).unwrap_or_default(),
                    commands,
                    output,
                    input: inputs.next().map(|input| Box::new(input) as Box<dyn Any + Send>),
                };
                vertex_of_task.push(index);
                contexts.push((vertex.clone(), context));
            }
        }

        let (sealed, to_commit) = bounded::<Sealed>(2);
        let (permits, permitted) = unbounded::<CommitPermit>();
        let (requests, requested) = unbounded::<Request>();
        let report = events.clone();
        let writer = writer.start(move |event| {
            let _ = report.send(match event {
                WriterEvent::Snapshot(ready) => {
                    TaskEvent::SnapshotReady { checkpoint: ready.checkpoint, snapshot: ready.snapshot }
                }
                WriterEvent::Failed(failure) => TaskEvent::Failed { thread: "state-writer".to_owned(), failure },
            });
        })?;

        let sink = Sink {
            inputs: outputs,
            topics: self.plan.topics.clone(),
            transactions: self.transactions,
            sealed,
            events: events.clone(),
            stop: self.stop.clone(),
            metrics: Meter::new(&self.metrics, "sink", 0),
        };
        threads.start("sink".to_owned(), move || sink.run())?;
        let committer = Committer {
            sealed: to_commit,
            permits: permitted,
            carrier: self.carrier,
            events: events.clone(),
            stop: self.stop.clone(),
        };
        threads.start("committer".to_owned(), move || committer.run())?;
        let checkpointer = Checkpointer::new(self.storage, self.uploaded, self.collector, self.schedule.timeout);
        let (report, stop) = (events.clone(), self.stop.clone());
        threads.start("checkpointer".to_owned(), move || checkpointer.run(&requested, &report, &stop))?;
        let tasks = contexts.len();
        let links = Links { sources: source_commands, checkpointer: requests, permits };
        let driver = Driver::new(Setup {
            core: (self.core)(tasks),
            schedule: self.schedule,
            bounds: self.bounds,
            links,
            blueprint: (self.blueprint)(vertex_of_task),
            metrics: self.metrics,
            committed: self.committed,
            horizon,
            gauges,
            clock: Clock::system(),
        });
        let driver = if self.plan.states.is_empty() { driver.without_tables(Arc::clone(&self.store)) } else { driver };
        let mut watchdog = self.task_timeout.map(Watchdog::new);
        for (vertex, mut context) in contexts {
            let name = format!("{}-{}", vertex.name, context.subtask);
            if let Some(watchdog) = &mut watchdog {
                watchdog.watch(name.clone(), Arc::clone(&context.pulse));
            }
            threads.start(name, move || {
                context.pulse.begin();
                let ended = (vertex.run)(&mut context);
                context.pulse.turn_to(Phase::Waiting);
                ended
            })?;
        }
        if let Some(watchdog) = watchdog {
            let (events, stop) = (events.clone(), self.stop.clone());
            threads.start("watchdog".to_owned(), move || watchdog.run(&events, &stop))?;
        }
        if let Some(discovery) = self.discovery {
            let (events, stop) = (events.clone(), self.stop);
            threads.start("partitions".to_owned(), move || discover(discovery, &events, &stop))?;
        }
        Ok((driver, writer))
    }
}

/// Shows the memory of the state, part by part.
fn memory_gauges(store: &Arc<Store>, budget: &Arc<Budget>, metrics: &Arc<Metrics>) -> Box<dyn Fn()> {
    let (store, budget, metrics) = (Arc::clone(store), Arc::clone(budget), Arc::clone(metrics));
    Box::new(move || {
        let report = budget.report(store.memory());
        let parts = [
            ("tables", report.tables),
            ("dirty", report.dirty),
            ("filters", report.filters),
            ("block_cache", report.block_cache),
            ("memtables", report.memtables),
            ("table_readers", report.table_readers),
        ];
        for (part, bytes) in parts {
            metrics.state.memory(part).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    })
}

fn discover(mut discovery: Discovery, events: &Sender<TaskEvent>, stop: &Stop) -> Result<(), Halt> {
    loop {
        if stop.signal().recv_timeout(discovery.interval) != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            return Err(Halt::Stopped);
        }
        match (discovery.look)() {
            Ok(found) if found.is_empty() => {}
            Ok(found) => stop.send(events, TaskEvent::NewPartitions(found))?,
            // The sources notice a broker that is away; a look that failed is repeated.
            Err(failure) => tracing::warn!(%failure, "could not look for new partitions"),
        }
    }
}
