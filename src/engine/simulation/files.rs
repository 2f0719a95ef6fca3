//! What is not Kafka: a folder with staged and published output, and input with positions of its own.

use super::{
    checks::Checks,
    cluster::SimulatedCluster,
    job::INPUT,
    world::{World, lock},
};
use crate::engine::{
    cluster::Cluster,
    local::{LocalSource, Owner, SinkTransaction, TwoPhaseCommitSink},
    sink::Outgoing,
    source::SplitReader,
};
use crate::protocol::{
    Failure, Positions, TopicPartition,
    mutant::{self, Mutant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The sink, beside the output topic: it is given the same records.
pub(super) const FILES: &str = "files";

/// Whose the ends of the simulated job are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// A topic into a topic.
    Kafka,
    /// A topic into a topic and files.
    WithFiles,
    /// Files into a topic and files.
    FromFiles,
}

/// What lies in the folder; it outlives processes. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Folder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// What readers see, in order.
    published: Vec<String>,
    /// By name: epoch, and values.
    staged: BTreeMap<String, (u64, Vec<String>)>,
    begun: u64,
}

impl Folder {
    /// What readers see, and then what these names would add.
    pub(super) fn published_with(&self, names: &[String]) -> Vec<String> {
        let inner = lock(&self.0);
        let named = names.iter().filter_map(|name| inner.staged.get(name)).flat_map(|(_, values)| values);
        inner.published.iter().chain(named).cloned().collect()
    }

    /// Whether anything is staged.
    pub(super) fn has_staged(&self) -> bool {
        !lock(&self.0).staged.is_empty()
    }
}

/// The sink over the folder. Each step is a request: the process may die there, or be paused.
pub(super) struct FilesSink {
    pub(super) world: World,
    pub(super) folder: Folder,
    pub(super) checks: Checks,
    /// Of the attempt, once it has recovered.
    pub(super) epoch: AtomicU64,
}

impl FilesSink {
    fn step(&self) {
        self.world.request();
        self.world.sleep(self.world.between(Duration::from_micros(100), Duration::from_millis(20)));
    }
}

impl TwoPhaseCommitSink for FilesSink {
    fn recover(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure> {
        self.commit(committed.unwrap_or_default())?;
        self.step();
        let listed: Vec<(String, u64)> =
            lock(&self.folder.0).staged.iter().map(|(name, (epoch, _))| (name.clone(), *epoch)).collect();
        for (name, epoch) in listed {
            if epoch < owner.epoch {
                self.step();
                self.world.record(format_args!("{name}: aborted in epoch {}", owner.epoch));
                lock(&self.folder.0).staged.remove(&name);
                self.checks.after_deletion();
            }
        }
        self.epoch.store(owner.epoch, Ordering::Relaxed);
        Ok(())
    }

    fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure> {
        let (world, folder) = (self.world.clone(), self.folder.clone());
        Ok(Box::new(Staging { world, folder, epoch: owner.epoch, values: Vec::new() }))
    }

    fn commit(&self, staged: &[String]) -> Result<(), Failure> {
        for name in staged {
            self.step();
            let own = self.epoch.load(Ordering::Relaxed);
            let inner = &mut *lock(&self.folder.0);
            if mutant::on(Mutant::StagedNotPublished) && inner.staged.get(name).is_some_and(|(epoch, _)| *epoch != own) {
                continue;
            }
            if let Some((_, values)) = inner.staged.remove(name) {
                self.world.record(format_args!("{name}: published"));
                inner.published.extend(values);
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        FILES.to_owned()
    }
}

struct Staging {
    world: World,
    folder: Folder,
    epoch: u64,
    values: Vec<String>,
}

impl SinkTransaction for Staging {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.values.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
        Ok(())
    }

    fn pre_commit(self: Box<Self>) -> Result<Vec<String>, Failure> {
        self.world.request();
        let inner = &mut *lock(&self.folder.0);
        inner.begun += 1;
        let name = format!("{}-{}", self.epoch, inner.begun);
        inner.staged.insert(name.clone(), (self.epoch, self.values));
        Ok(vec![name])
    }
}

/// The input, as if it were not Kafka's: nothing of it is committed there.
pub(super) struct FilesSource(pub(super) SimulatedCluster);

impl LocalSource for FilesSource {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        self.0.partitions(INPUT)
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), Failure> {
        let at = TopicPartition::new(INPUT, partition);
        let bounds = self.0.log_bounds(std::slice::from_ref(&at))?;
        bounds.get(&at).copied().ok_or_else(|| Failure::fatal(format!("{at} is not there")))
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        self.0.reader(positions)
    }

    fn bounded(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        INPUT.to_owned()
    }
}
