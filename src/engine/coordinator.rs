//! Drives the protocol: turns what the threads report into its events, and its commands into work for the threads.
//!
//! It decides nothing itself but the time: when a checkpoint is due, and when one has taken too long.

use super::{
    checkpointer::Request,
    clock::Clock,
    event::{PartitionState, SourceCommand, TaskEvent, TaskSnapshot},
    manifest::Blueprint,
    message::{Barrier, BarrierKind},
    sink::Staged,
};
use crate::observe::{CheckpointReport, Metrics, Phases};
use crate::protocol::{CheckpointId, Command, CommitOutcome, CommitPermit, Coordinator, Event, Failure, Positions, Trigger};
use crate::state::{Horizon, Store};
use crossbeam_channel::{Receiver, Sender, never, select};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The first checkpoint of an attempt is taken at once, and holds where reading begins. After a start, and after a failure, everybody
/// waits for what is read then: so the second one comes after this part of the interval.
const SECOND: u32 = 4;

/// When checkpoints are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From one trigger to the next; from the first of an attempt to its second, a part of it.
    pub interval: Duration,
    /// From the end of one checkpoint to the next trigger, at least.
    pub min_pause: Duration,
    /// A checkpoint that takes longer ends the attempt.
    pub timeout: Duration,
}

/// Asked from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Take a last checkpoint, commit it, end.
    Stop {
        /// Event time is moved to the end before: all windows fire.
        drain: bool,
    },
}

/// When the job ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// When the input's end at the start is committed.
    pub until_caught_up: bool,
    /// Event time is moved to the end before the last checkpoint.
    pub drain: bool,
}

/// The ends of the channels that the coordinator writes to.
pub struct Links {
    /// One for each source task, with the topic that it reads.
    pub sources: Vec<(Arc<str>, Sender<SourceCommand>)>,
    /// To the checkpointer.
    pub checkpointer: Sender<Request>,
    /// To the committer.
    pub permits: Sender<CommitPermit>,
}

/// What is known of the checkpoint that is being made.
struct Making {
    checkpoint: CheckpointId,
    started: Instant,
    deadline: Instant,
    snapshots: Vec<(usize, TaskSnapshot)>,
    phases: Phases,
    last: Instant,
    records_out: u64,
    staged: Staged,
    new_bytes: u64,
    total_bytes: u64,
}

impl Making {
    /// Time since the last call: the length of the phase that ended now.
    fn lap(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(std::mem::replace(&mut self.last, now))
    }
}

/// How the attempt ended.
#[derive(Debug)]
pub enum Ending {
    /// The final checkpoint is confirmed.
    Finished,
    /// It cannot go on.
    Failed {
        /// Why.
        failure: Failure,
        /// The checkpoint that failed by it, if one did.
        checkpoint: Option<CheckpointId>,
        /// It had been asked to end: the next one would not know.
        asked_to_stop: bool,
    },
}

/// What the driver of an attempt works with.
pub struct Setup {
    /// The protocol, recovered.
    pub core: Coordinator,
    /// When checkpoints are due.
    pub schedule: Schedule,
    /// When the job ends by itself.
    pub bounds: Bounds,
    /// To the threads.
    pub links: Links,
    /// What manifests say.
    pub blueprint: Blueprint,
    /// Where checkpoints are reported.
    pub metrics: Arc<Metrics>,
    /// Told of each commit.
    pub committed: Arc<dyn Fn(CheckpointId) + Send + Sync>,
    /// Raised with each commit.
    pub horizon: Horizon,
    /// Shows what is measured now and then, such as memory.
    pub gauges: Box<dyn Fn()>,
    /// Says what is due.
    pub clock: Clock,
}

/// What wakes the driver.
#[derive(Debug)]
pub enum Input {
    /// A thread reports.
    Event(TaskEvent),
    /// Somebody asks.
    Ask(Ask),
    /// Nobody did until [`Driver::wake`].
    Nothing,
}

/// Drives one attempt.
pub struct Driver {
    core: Coordinator,
    schedule: Schedule,
    bounds: Bounds,
    links: Links,
    blueprint: Blueprint,
    metrics: Arc<Metrics>,
    committed: Arc<dyn Fn(CheckpointId) + Send + Sync>,
    horizon: Horizon,
    gauges: Box<dyn Fn()>,
    clock: Clock,
    making: Option<Making>,
    next_due: Instant,
    /// From the next trigger to the one after it.
    pause: Duration,
    caught_up: usize,
    stopping: bool,
    asked_to_stop: bool,
    /// State without tables, see [`Self::without_tables`].
    stateless: Option<Arc<Store>>,
}

impl Driver {
    /// A driver for a fresh attempt; the first checkpoint is due at once.
    pub fn new(setup: Setup) -> Self {
        let Setup { core, schedule, bounds, links, blueprint, metrics, committed, horizon, gauges, clock } = setup;
        let next_due = clock.now();
        Self {
            core,
            schedule,
            bounds,
            links,
            blueprint,
            metrics,
            committed,
            horizon,
            gauges,
            clock,
            making: None,
            next_due,
            pause: schedule.interval / SECOND,
            caught_up: 0,
            stopping: false,
            asked_to_stop: false,
            stateless: None,
        }
    }

    /// For a graph without keyed state: there is no table that would make the writer take snapshots of `store`, which holds nothing.
    #[must_use]
    pub fn without_tables(mut self, store: Arc<Store>) -> Self {
        self.stateless = Some(store);
        self
    }

    /// Runs until the job is finished or the attempt cannot go on.
    pub fn run(mut self, events: &Receiver<TaskEvent>, asked: &Receiver<Ask>) -> Ending {
        let mut asked = asked.clone();
        loop {
            let patience = self.wake().saturating_duration_since(self.clock.now());
            let input = select! {
                recv(events) -> event => match event {
                    Ok(event) => Input::Event(event),
                    Err(_) => return self.failed(Failure::attempt("all tasks have ended"), None),
                },
                recv(asked) -> ask => match ask {
                    Ok(ask) => Input::Ask(ask),
                    // Nobody is left to ask: the job goes on.
                    Err(_) => { asked = never(); continue }
                },
                default(patience) => Input::Nothing,
            };
            if let Some(ending) = self.step(input) {
                return ending;
            }
        }
    }

    /// When something is due, even if nobody reports anything.
    pub fn wake(&self) -> Instant {
        self.making.as_ref().map_or(self.next_due, |making| making.deadline)
    }

    /// Takes one input and does what follows; the attempt is over when it says how it ended.
    pub fn step(&mut self, input: Input) -> Option<Ending> {
        let commands = match input {
            Input::Event(event) => self.digest(event),
            Input::Ask(Ask::Stop { drain }) => {
                self.asked_to_stop = true;
                self.bounds.drain |= drain;
                Ok(self.stop())
            }
            Input::Nothing => Ok(self.tick()),
        };
        let done = commands.and_then(|commands| self.execute(commands));
        done.unwrap_or_else(|failure| Some(self.failed(failure, None)))
    }

    fn failed(&self, failure: Failure, checkpoint: Option<CheckpointId>) -> Ending {
        Ending::Failed { failure, checkpoint, asked_to_stop: self.asked_to_stop }
    }

    fn tick(&mut self) -> Vec<Command> {
        let now = self.clock.now();
        match &self.making {
            Some(making) if now >= making.deadline => {
                let checkpoint = making.checkpoint;
                let commands = self.core.handle(Event::TimedOut { checkpoint });
                // It was committed, and clearing away takes too long: nobody waits for that.
                self.finish(checkpoint, now);
                commands
            }
            None if now >= self.next_due => {
                self.next_due = now + std::mem::replace(&mut self.pause, self.schedule.interval);
                self.core.handle(Event::TriggerDue { trigger: Trigger::Interval })
            }
            _ => Vec::new(),
        }
    }

    /// Nothing of `checkpoint` is waited for any more. A confirmation that comes late must not end the next one.
    fn finish(&mut self, checkpoint: CheckpointId, now: Instant) {
        if self.making.take_if(|making| making.checkpoint == checkpoint).is_some() {
            self.next_due = self.next_due.max(now + self.schedule.min_pause);
        }
    }

    fn stop(&mut self) -> Vec<Command> {
        if std::mem::replace(&mut self.stopping, true) {
            return Vec::new();
        }
        self.core.handle(Event::TriggerDue { trigger: Trigger::Final })
    }

    fn digest(&mut self, event: TaskEvent) -> Result<Vec<Command>, Failure> {
        let now = self.clock.now();
        let event = match event {
            TaskEvent::Acknowledged { checkpoint, task, snapshot } => {
                let positions = positions(&snapshot.partitions);
                if let Some(making) = self.making.as_mut().filter(|making| making.checkpoint == checkpoint) {
                    making.snapshots.push((task, snapshot));
                    making.phases.align = now.saturating_duration_since(making.started);
                    making.last = now;
                }
                Event::TaskAcknowledged { checkpoint, task, positions }
            }
            TaskEvent::OutputFlushed { checkpoint, records, staged, stall } => {
                if let Some(making) = &mut self.making {
                    making.phases.flush = stall;
                    making.records_out = records;
                    making.staged = staged;
                }
                Event::OutputFlushed { checkpoint }
            }
            TaskEvent::SnapshotReady { checkpoint, snapshot } => {
                if let Some(making) = &mut self.making {
                    let since_start = now.saturating_duration_since(making.started);
                    making.phases.state_write = since_start.saturating_sub(making.phases.align);
                    making.last = now;
                }
                self.send_checkpointer(Request::Upload(checkpoint, snapshot))?;
                return Ok(Vec::new());
            }
            TaskEvent::StateUploaded { checkpoint, new_bytes, total_bytes, took } => {
                if let Some(making) = &mut self.making {
                    making.phases.upload = took;
                    making.new_bytes = new_bytes;
                    making.total_bytes = total_bytes;
                    making.last = now;
                }
                Event::StateUploaded { checkpoint }
            }
            TaskEvent::ManifestDurable(manifest) => {
                if let Some(making) = &mut self.making {
                    making.phases.manifest = making.lap(now);
                }
                Event::ManifestDurable { manifest }
            }
            TaskEvent::PrepareFailed { checkpoint, failure } => Event::PrepareFailed { checkpoint, failure },
            TaskEvent::Committed { checkpoint, took } => {
                if let Some(making) = &mut self.making {
                    making.phases.commit = took;
                }
                // Kafka confirmed it: no replay will begin before the event time of this checkpoint.
                self.horizon.raise(self.blueprint.watermark());
                self.report(checkpoint);
                (self.gauges)();
                (self.committed)(checkpoint);
                Event::Committed { checkpoint }
            }
            TaskEvent::CommitFailed { checkpoint, fenced, message } => {
                let outcome = if fenced { CommitOutcome::Fenced } else { CommitOutcome::Unknown };
                Event::CommitFailed { checkpoint, outcome, message }
            }
            TaskEvent::Confirmed { checkpoint, holdings } => {
                self.metrics.checkpoints.stored(holdings);
                self.finish(checkpoint, now);
                Event::Confirmed { checkpoint }
            }
            TaskEvent::CaughtUp { .. } => {
                self.caught_up += 1;
                let all = self.caught_up >= self.links.sources.len();
                return Ok(if all && self.bounds.until_caught_up { self.stop() } else { Vec::new() });
            }
            TaskEvent::NewPartitions(positions) => {
                self.add_partitions(&positions)?;
                Event::PartitionsAdded { positions }
            }
            TaskEvent::Failed { thread, failure } => return Err(failure.context(format!("task {thread}"))),
        };
        Ok(self.core.handle(event))
    }

    fn execute(&mut self, commands: Vec<Command>) -> Result<Option<Ending>, Failure> {
        for command in commands {
            match command {
                Command::InjectBarrier { checkpoint, trigger } => self.inject(checkpoint, trigger)?,
                Command::WriteManifest { checkpoint, .. } => {
                    let making = self.making.as_mut().filter(|making| making.checkpoint == checkpoint);
                    let making = making.ok_or_else(|| Failure::attempt(format!("checkpoint {checkpoint} is not being made")))?;
                    let (snapshots, staged) = (std::mem::take(&mut making.snapshots), std::mem::take(&mut making.staged));
                    let mut manifest = self.blueprint.manifest(checkpoint, self.core.base(), &snapshots);
                    manifest.set_staged(staged);
                    self.send_checkpointer(Request::Publish(Box::new(manifest)))?;
                }
                Command::Commit(permit) => {
                    self.links.permits.send(permit).map_err(|_| Failure::attempt("the committer has ended"))?;
                }
                Command::Confirm { manifest } => self.send_checkpointer(Request::Confirm(manifest))?,
                Command::EndAttempt { failure, checkpoint } => return Ok(Some(self.failed(failure, checkpoint))),
                Command::Finished => return Ok(Some(Ending::Finished)),
            }
        }
        Ok(None)
    }

    fn inject(&mut self, checkpoint: CheckpointId, trigger: Trigger) -> Result<(), Failure> {
        let started = self.clock.now();
        self.making = Some(Making {
            checkpoint,
            started,
            deadline: started + self.schedule.timeout,
            snapshots: Vec::new(),
            phases: Phases::default(),
            last: started,
            records_out: 0,
            staged: Staged::new(),
            new_bytes: 0,
            total_bytes: 0,
        });
        let kind = match trigger {
            Trigger::Final if self.bounds.drain => BarrierKind::Drain,
            Trigger::Final => BarrierKind::Final,
            Trigger::Start | Trigger::Interval | Trigger::Savepoint => BarrierKind::Running,
        };
        self.blueprint.begin(trigger);
        for (_, source) in &self.links.sources {
            let command = SourceCommand::Inject(Barrier { checkpoint, kind });
            source.send(command).map_err(|_| Failure::attempt("a source has ended"))?;
        }
        match &self.stateless {
            Some(store) => self.send_checkpointer(Request::Upload(checkpoint, store.snapshot(checkpoint)?)),
            None => Ok(()),
        }
    }

    fn send_checkpointer(&self, request: Request) -> Result<(), Failure> {
        self.links.checkpointer.send(request).map_err(|_| Failure::attempt("the checkpointer has ended"))
    }

    /// Gives new partitions to the source tasks of their topic in turn.
    fn add_partitions(&mut self, positions: &Positions) -> Result<(), Failure> {
        self.blueprint.began.extend(positions.clone());
        for (partition, offset) in positions {
            let of_topic = || self.links.sources.iter().filter(|(topic, _)| *topic == partition.topic);
            let index = usize::try_from(partition.partition).unwrap_or(0) % of_topic().count().max(1);
            let Some((_, source)) = of_topic().nth(index) else { continue };
            tracing::info!(%partition, offset, "new partition");
            let one = Positions::from([(partition.clone(), *offset)]);
            source.send(SourceCommand::Add(one)).map_err(|_| Failure::attempt("a source has ended"))?;
        }
        Ok(())
    }

    fn report(&self, checkpoint: CheckpointId) {
        let Some(making) = self.making.as_ref().filter(|making| making.checkpoint == checkpoint) else { return };
        let report = CheckpointReport {
            checkpoint,
            duration: self.clock.since(making.started),
            phases: making.phases,
            size_bytes: making.total_bytes,
            new_bytes: making.new_bytes,
            records_in: self.blueprint.records_since_last(),
            records_out: making.records_out,
            offsets: self.blueprint.positions(),
        };
        report.publish(&self.metrics);
    }
}

fn positions(partitions: &[PartitionState]) -> Positions {
    partitions.iter().map(|state| (state.partition.clone(), state.offset)).collect()
}
