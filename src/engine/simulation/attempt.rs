//! One attempt: the engine's own recovery, coordinator, sink, committer and checkpointer, each on a fiber, and the simulated job
//! between them.
//!
//! What `Supervisor::attempt` and `Attempt::start` do to connect them is done here by hand.

use super::{
    checks::WAITS,
    fate::ProcessId,
    job::{INPUT, State, Tables},
    process::Knobs,
    scene::{GROUP, Scene},
    tasks::{Outputs, Report, Source, Writer, next},
    world::{FiberId, World},
};
use crate::checkpoint::{Collector, Manifest, Retention, Uploaded};
use crate::engine::{
    checkpointer::{Checkpointer, Request},
    clock::Clock,
    committer::commit,
    coordinator::{Ask, Bounds, Driver, Ending, Input, Links, Setup},
    event::{SourceCommand, TaskEvent},
    gate::{Gate, Incoming},
    halt::Halt,
    manifest::Blueprint,
    message::MIN_WATERMARK,
    plan::{Plan, Vertex, VertexKind},
    recovery::{Identity, Recovered, recover, second_look},
    sink::{Epochs, Outgoing, Sealed, Transactions},
    stop::Stop,
};
use crate::observe::Metrics;
use crate::protocol::{
    Carrier, CommitPermit, Coordinator, Failure, Plan as CorePlan, Positions, TopicPartition, transactional_ids,
};
use crate::state::Horizon;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Key groups. The simulated job has none; manifests want a number.
const MAX_PARALLELISM: u16 = 8;

/// So often the driver may be due without time passing.
const IN_VAIN: u32 = 100;

/// The graph, as far as recovery and manifests look at it, with the ends of `ends`.
fn plan(ends: Plan) -> Plan {
    let run = |_: &mut crate::engine::context::TaskContext| Ok(());
    let vertex = Vertex {
        name: "counts".to_owned(),
        kind: VertexKind::Source { topic: INPUT.to_owned() },
        has_output: true,
        operators: vec!["counts".to_owned()],
        run: Arc::new(run),
    };
    Plan { vertices: vec![vertex], ..ends }
}

/// The fibers of an attempt and the ways to wake them.
struct Fibers {
    world: World,
    process: ProcessId,
    report: Report,
    stop: Stop,
    all: Vec<FiberId>,
}

impl Fibers {
    fn start(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), Halt> + Send + 'static) -> FiberId {
        let (report, stop) = (self.report.clone(), self.stop.clone());
        let fiber = self.world.spawn(self.process, name, move || {
            if let Err(Halt::Failed(failure)) = work()
                && !stop.stopped()
            {
                report.send(TaskEvent::Failed { thread: name.to_owned(), failure });
            }
        });
        self.all.push(fiber);
        fiber
    }
}

/// Runs one attempt to its end; nothing of it runs any more when this returns.
pub(super) fn attempt(scene: &Scene, process: ProcessId, knobs: &Knobs, stopping: &AtomicBool) -> Result<Ending, Failure> {
    let number = scene.next_attempt();
    scene.world.record(format_args!("process {}: attempt {number} {knobs:?}", process.0));
    let stop = Stop::new();
    let storage = scene.storage(number)?;
    let (cluster, ends) = scene.ends(knobs, process);
    let (ids, plan) = (transactional_ids(GROUP, knobs.producers), plan(ends));
    let identity = Identity {
        job: &scene.job,
        group: GROUP,
        ids: &ids,
        plan: &plan,
        max_parallelism: MAX_PARALLELISM,
        restore: None,
        from: None,
    };
    let Recovered { base, next, positions, mut transactions, carrier, epoch } = recover(&*cluster, &storage, identity, &stop)?;
    let (mut tables, mut uploaded) = (Tables::default(), Uploaded::nothing());
    if let Some(manifest) = base.manifest().filter(|manifest| !manifest.files.is_empty()) {
        let folder = scene.folder(number, "restored");
        storage
            .restore(manifest, &folder, knobs.schedule.timeout, &|_| ())
            .map_err(|refused| second_look(refused, &mut *transactions))?;
        tables = Tables::restored(&folder)?;
        uploaded = Uploaded::restored(manifest);
    }
    let base_ref = base.committed();
    scene.world.record(format_args!("process {}: recovered {:?}, next {next}", process.0, base_ref.map(|base| base.checkpoint)));

    let (events, reported) = unbounded();
    let report = Report { world: scene.world.clone(), events, driver: scene.world.current() };
    let mut fibers = Fibers { world: scene.world.clone(), process, report, stop: stop.clone(), all: Vec::new() };
    let counts = tables.counts();
    let targets: Positions = {
        let partitions: Vec<TopicPartition> = positions.keys().cloned().collect();
        cluster.log_bounds(&partitions)?.into_iter().map(|(partition, (_, end))| (partition, end)).collect()
    };
    let shares = shares(&positions, knobs.sources);
    let tasks = shares.len();

    let (parts, gathered) = unbounded();
    let (sealed, to_commit) = unbounded::<Sealed>();
    let (permits, permitted) = unbounded::<CommitPermit>();
    let (requests, requested) = unbounded::<Request>();
    let (mut outputs, mut gate) = (Vec::new(), Vec::new());
    (0..tasks).for_each(|_| {
        let (sender, receiver) = unbounded();
        outputs.push(sender);
        gate.push(receiver);
    });

    let writer = Writer { scene: scene.clone(), attempt: number, tables, tasks, merge: knobs.merge, parts: gathered };
    let (report, halted) = (fibers.report.clone(), stop.clone());
    let writer = fibers.start("writer", move || writer.run(&report, &halted));
    let (report, halted, permitted_to) = (fibers.report.clone(), stop.clone(), permitted.clone());
    let committing = carrier.clone();
    let committer = fibers.start("committer", move || run_committer(&permitted_to, &to_commit, &committing, &report, &halted));
    let (report, halted) = (fibers.report.clone(), stop.clone());
    let topics = plan.topics.clone();
    let sink = fibers.start("sink", move || run_sink((gate, topics), transactions, &sealed, committer, &report, &halted));
    let retention = Retention { retained: knobs.retained, grace: Duration::ZERO };
    let collector = Collector::new(storage.clone(), retention);
    let checkpointer = Checkpointer::new(storage.clone(), uploaded, collector, knobs.schedule.timeout);
    let (report, halted, requested_of) = (fibers.report.clone(), stop.clone(), requested.clone());
    let checkpointing = fibers.start("checkpointer", move || run_checkpointer(checkpointer, &requested_of, &report, &halted));

    let mut commands = Vec::new();
    for (task, (share, output)) in shares.into_iter().zip(outputs).enumerate() {
        let (sender, receiver) = unbounded::<SourceCommand>();
        let own: BTreeSet<i32> = share.keys().map(|partition| partition.partition).collect();
        let source = Source {
            task,
            reader: cluster.reader(&share)?,
            state: State::of(&counts, &own),
            positions: share,
            targets: targets.clone(),
            commands: receiver.clone(),
            output,
            sink,
            parts: parts.clone(),
            writer,
            barrier_first: base_ref.is_none(),
            report: fibers.report.clone(),
            stop: stop.clone(),
        };
        let fiber = fibers.start("source", move || source.run());
        commands.push((sender, receiver, fiber));
    }

    let sources = commands.iter().map(|(sender, ..)| (INPUT.into(), sender.clone())).collect();
    let links = Links { sources, checkpointer: requests, permits };
    let core = Coordinator::new(CorePlan { job: scene.job.clone(), tasks, next, base: base_ref, positions: positions.clone() });
    let mut blueprint = blueprint(scene, knobs, ids, plan, tasks, positions, base.manifest());
    (blueprint.carrier, blueprint.epoch) = (carrier, epoch);
    let clock = scene.clone();
    let mut driver = Driver::new(Setup {
        core,
        schedule: knobs.schedule,
        bounds: Bounds { until_caught_up: knobs.until_caught_up, drain: false },
        links,
        blueprint,
        metrics: Metrics::new(),
        committed: Arc::new(|_| ()),
        horizon: Horizon::default(),
        gauges: Box::new(|| ()),
        clock: Clock::of(move || clock.instant()),
    });
    let mut in_vain = 0;
    let ending = loop {
        let due = scene.at(driver.wake());
        let input = match reported.try_recv() {
            Ok(event) => Input::Event(event),
            Err(_) if stopping.swap(false, Ordering::AcqRel) => Input::Ask(Ask::Stop { drain: false }),
            Err(_) if scene.world.now() >= due && in_vain < IN_VAIN => {
                in_vain += 1;
                Input::Nothing
            }
            Err(_) if scene.world.now() >= due => {
                scene.world.violated(WAITS, "the driver is due all the time, and does nothing");
                return Err(Failure::fatal("the driver spins"));
            }
            Err(_) => {
                in_vain = 0;
                scene.world.wait(Some(due));
                continue;
            }
        };
        if let Some(ending) = driver.step(input) {
            break ending;
        }
        for (_, receiver, source) in &commands {
            wake(&scene.world, receiver, *source);
        }
        wake(&scene.world, &requested, checkpointing);
        wake(&scene.world, &permitted, committer);
    };
    stop.stop();
    storage.cancel();
    drop(driver);
    fibers.all.iter().for_each(|fiber| scene.world.notify(*fiber));
    scene.world.join(&fibers.all);
    Ok(ending)
}

fn wake<T>(world: &World, receiver: &Receiver<T>, fiber: FiberId) {
    if !receiver.is_empty() {
        world.notify(fiber);
    }
}

fn blueprint(
    scene: &Scene,
    knobs: &Knobs,
    ids: Vec<String>,
    plan: Plan,
    tasks: usize,
    positions: Positions,
    base: Option<&Manifest>,
) -> Blueprint {
    let shape = (knobs.sources, MAX_PARALLELISM);
    let mut began = positions.clone();
    began.extend(base.into_iter().flat_map(Manifest::began));
    Blueprint::new(scene.job.clone(), GROUP.to_owned(), shape, ids, plan, vec![0; tasks], (positions, began))
}

/// Partitions by task.
fn shares(positions: &Positions, sources: usize) -> Vec<Positions> {
    let tasks = sources.min(positions.len().max(1));
    let mut shares = vec![Positions::new(); tasks];
    for (index, (partition, offset)) in positions.iter().enumerate() {
        shares[index % tasks].insert(partition.clone(), *offset);
    }
    shares
}

fn run_sink(
    (inputs, topics): (Vec<Receiver<Outputs>>, Vec<String>),
    transactions: Box<dyn Transactions>,
    sealed: &Sender<Sealed>,
    committer: FiberId,
    report: &Report,
    stop: &Stop,
) -> Result<(), Halt> {
    let mut gate = Gate::new(inputs, MIN_WATERMARK, stop.clone());
    let mut epochs = Epochs::begin(transactions)?;
    loop {
        match gate.next(Duration::ZERO)? {
            Incoming::Batch(batch) => {
                for (key, value) in batch {
                    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
                    for topic in &topics {
                        epochs.send(&Outgoing { topic, key, value, headers: &[] })?;
                    }
                }
            }
            Incoming::Barrier(barrier) => {
                let (flushed, records) = epochs.close(barrier)?;
                let staged = flushed.transaction.staged();
                let _ = sealed.send(flushed);
                report.world.notify(committer);
                let stall = Duration::ZERO;
                report.send(TaskEvent::OutputFlushed { checkpoint: barrier.checkpoint, records, staged, stall });
            }
            Incoming::Mark(_) | Incoming::End => {}
            Incoming::Nothing => report.world.wait(None),
        }
    }
}

fn run_committer(
    permits: &Receiver<CommitPermit>,
    sealed: &Receiver<Sealed>,
    carrier: &Carrier,
    report: &Report,
    stop: &Stop,
) -> Result<(), Halt> {
    while let Some(permit) = next(&report.world, permits, stop) {
        let Some(sealed) = next(&report.world, sealed, stop) else { break };
        report.send(commit(permit, carrier, sealed)?);
    }
    Err(Halt::Stopped)
}

fn run_checkpointer(
    mut checkpointer: Checkpointer,
    requests: &Receiver<Request>,
    report: &Report,
    stop: &Stop,
) -> Result<(), Halt> {
    while let Some(request) = next(&report.world, requests, stop) {
        report.send(checkpointer.handle(request)?);
    }
    Err(Halt::Stopped)
}
