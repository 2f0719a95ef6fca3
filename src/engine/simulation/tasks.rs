//! What stands in for the engine's tasks: sources that count what they read, and a writer that makes snapshots of the counts.

use super::{
    job::{self, Counts, State, Tables},
    scene::Scene,
    world::{FiberId, World},
};
use crate::engine::{
    event::{PartitionState, SourceCommand, TaskEvent, TaskSnapshot},
    halt::Halt,
    message::{Barrier, BarrierKind, Message},
    source::SplitReader,
    stop::Stop,
};
use crate::protocol::{CheckpointId, Failure, Positions, TopicPartition};
use crate::state::Snapshot;
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Between two looks for new records.
const LOOK: Duration = Duration::from_millis(150);

/// What a source gives to the sink: keys and values.
pub(super) type Outputs = Message<Vec<(String, String)>>;

/// Reports to the driver, and wakes it.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) world: World,
    pub(super) events: Sender<TaskEvent>,
    pub(super) driver: FiberId,
}

impl Report {
    /// Reports.
    pub(super) fn send(&self, event: TaskEvent) {
        let _ = self.events.send(event);
        self.world.notify(self.driver);
    }
}

/// The next message; none when the sender is gone or the attempt has ended.
pub(super) fn next<T>(world: &World, receiver: &Receiver<T>, stop: &Stop) -> Option<T> {
    loop {
        if stop.stopped() {
            return None;
        }
        match receiver.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Empty) => world.wait(None),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

/// Reads, counts, and lets barriers pass between records.
pub(super) struct Source {
    pub(super) task: usize,
    pub(super) reader: Box<dyn SplitReader>,
    pub(super) state: State,
    pub(super) positions: Positions,
    pub(super) targets: Positions,
    pub(super) commands: Receiver<SourceCommand>,
    pub(super) output: Sender<Outputs>,
    pub(super) sink: FiberId,
    pub(super) parts: Sender<(CheckpointId, Counts)>,
    pub(super) writer: FiberId,
    pub(super) barrier_first: bool,
    pub(super) report: Report,
    pub(super) stop: Stop,
}

impl Source {
    /// Runs until the attempt ends.
    pub(super) fn run(mut self) -> Result<(), Halt> {
        let world = self.report.world.clone();
        let mut caught_up = false;
        loop {
            self.stop.check()?;
            match self.commands.try_recv() {
                Ok(SourceCommand::Inject(barrier)) => {
                    self.barrier(barrier);
                    if barrier.kind != BarrierKind::Running {
                        while !self.stop.stopped() {
                            world.wait(None);
                        }
                        return Err(Halt::Stopped);
                    }
                }
                Ok(SourceCommand::Add(positions)) => self.reader.add(&positions)?,
                Err(TryRecvError::Disconnected) => return Err(Halt::Stopped),
                Err(TryRecvError::Empty) if self.barrier_first => {
                    world.wait(None);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
            }
            let read = self.read(usize::try_from(1 + world.dice(4)).unwrap_or(1))?;
            let done = self.positions.iter().all(|(partition, at)| self.targets.get(partition).is_none_or(|end| at >= end));
            if done && !std::mem::replace(&mut caught_up, done) {
                self.report.send(TaskEvent::CaughtUp { task: self.task });
            }
            if read == 0 {
                world.wait(Some(world.now() + LOOK));
            }
        }
    }

    fn read(&mut self, max: usize) -> Result<usize, Failure> {
        let (state, positions, mut batch) = (&mut self.state, &mut self.positions, Vec::new());
        let round = self.reader.poll(Duration::ZERO, max, &mut |record| {
            let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
            let count = state.fold(record.partition, &key);
            let value = job::output(record.partition, record.offset, &key, count);
            positions.insert(TopicPartition::new(record.topic, record.partition), record.offset + 1);
            batch.push((key, value));
        })?;
        if !batch.is_empty() {
            let _ = self.output.send(Message::Batch(batch));
            self.report.world.notify(self.sink);
        }
        Ok(round.records)
    }

    fn barrier(&mut self, barrier: Barrier) {
        self.barrier_first = false;
        let checkpoint = barrier.checkpoint;
        let _ = self.parts.send((checkpoint, self.state.freeze()));
        self.report.world.notify(self.writer);
        let state = |(partition, offset): (&TopicPartition, &i64)| PartitionState {
            partition: partition.clone(),
            offset: *offset,
            max_timestamp: None,
            idle: false,
        };
        let snapshot = TaskSnapshot { partitions: self.positions.iter().map(state).collect(), ..TaskSnapshot::default() };
        self.report.send(TaskEvent::Acknowledged { checkpoint, task: self.task, snapshot });
        let _ = self.output.send(Message::Barrier(barrier));
        self.report.world.notify(self.sink);
    }
}

/// Makes a snapshot when all tasks have frozen theirs.
pub(super) struct Writer {
    pub(super) scene: Scene,
    pub(super) attempt: u32,
    pub(super) tables: Tables,
    pub(super) tasks: usize,
    /// Of a thousand snapshots, so many merge all tables.
    pub(super) merge: u32,
    pub(super) parts: Receiver<(CheckpointId, Counts)>,
}

impl Writer {
    /// Runs until the attempt ends.
    pub(super) fn run(mut self, report: &Report, stop: &Stop) -> Result<(), Halt> {
        let mut waiting: BTreeMap<CheckpointId, (usize, Counts)> = BTreeMap::new();
        while let Some((checkpoint, changes)) = next(&report.world, &self.parts, stop) {
            let (tasks, all) = waiting.entry(checkpoint).or_default();
            *tasks += 1;
            all.extend(changes);
            if *tasks < self.tasks {
                continue;
            }
            let (_, changes) = waiting.remove(&checkpoint).unwrap_or_default();
            report.world.sleep(report.world.between(Duration::ZERO, Duration::from_millis(20)));
            let folder: PathBuf = self.scene.folder(self.attempt, &format!("snapshot-{checkpoint}"));
            self.tables.snapshot(changes, report.world.chance(self.merge), &folder)?;
            report.send(TaskEvent::SnapshotReady { checkpoint, snapshot: Snapshot::of(folder)? });
        }
        Err(Halt::Stopped)
    }
}
