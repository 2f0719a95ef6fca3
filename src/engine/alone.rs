//! One keyed task, alone on the caller's thread: no Kafka, no other tasks. State, snapshots and checkpoints are the real ones; it owns
//! all key groups.

use super::{
    chain::Shared,
    compatible::check_claimed,
    context::{Builder, Parts, RestoredVertex, TaskContext, TaskState},
    event::TaskSnapshot,
    evolution,
    exchange::Keyed,
    halt::Halt,
    manifest::Blueprint,
    message::{MIN_WATERMARK, Mark, Timestamp},
    plan::Plan,
    processing_time::ProcessingTime,
    snapshot::OperatorSnapshots,
};
use crate::checkpoint::{Executor, Location, Manifest, Storage, Uploaded};
use crate::protocol::{CheckpointId, Failure, JobName, ManifestRef, Positions};
use crate::state::{
    Budget, Key, KeyGroups, Plan as WriterPlan, Settings, Snapshot, StateDescriptor, StateKey, Store, Stored, Unclaimed,
    Workspace, Writer, WriterEvent, inspect,
};
use crossbeam_channel::{Receiver, unbounded};
use serde_json::Value;
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// Name of the job in its checkpoints.
const JOB: &str = "harness";

/// Nothing here takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task, and all that it stands on.
pub struct Alone<K, T> {
    // Dropped in this order: the tables before the writer, that before RocksDB, that before its folder.
    head: Shared<Keyed<K, T>>,
    parts: Parts,
    /// Processing time, in ms.
    time: Rc<Cell<Timestamp>>,
    writer: Writer,
    written: Receiver<WriterEvent>,
    store: Arc<Store>,
    plan: Plan,
    groups: KeyGroups,
    watermark: Timestamp,
    next: CheckpointId,
    base: Option<ManifestRef>,
    job: JobName,
    executor: Executor,
    scratch: TempDir,
}

/// What a task begins with.
struct Origin {
    manifest: Manifest,
    reference: ManifestRef,
    storage: Storage,
}

impl<K: StateKey, T: 'static> Alone<K, T> {
    /// A task of the only vertex of `plan`, that `build` makes; with the state of the newest checkpoint in `folder`, if one is given.
    ///
    /// # Errors
    /// Refused: the checkpoint does not fit. Fatal: the graph has more than one stage, or declares what it does not use.
    pub fn start(
        plan: Plan,
        folder: Option<&Path>,
        build: impl FnOnce(&mut Builder<'_>) -> Result<Shared<Keyed<K, T>>, Failure>,
    ) -> Result<Self, Failure> {
        let [vertex] = plan.vertices.as_slice() else {
            return Err(Failure::fatal(format!("this is for graphs of one stage, and {plan:?} has {}", plan.vertices.len())));
        };
        let job: JobName = JOB.parse().map_err(|why| Failure::fatal(format!("{why}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| Failure::fatal(format!("cannot make a runtime: {why}")))?;
        let executor = Executor::Own(Arc::new(runtime));
        let scratch = TempDir::new().map_err(|why| Failure::fatal(format!("cannot make a folder for state: {why}")))?;
        let origin = folder.map(|folder| newest(folder, &job, &executor)).transpose()?;
        let groups = match &origin {
            Some(origin) => KeyGroups::new(u16::try_from(origin.manifest.max_parallelism).unwrap_or(u16::MAX))?,
            None => KeyGroups::default(),
        };
        let settings = Settings::new(scratch.path(), Settings::DEFAULT_MEMORY);
        let workspace = Workspace::create(scratch.path(), &job)?;
        let store = open(workspace, &plan, &settings, groups, origin.as_ref())?;

        let mut writer = WriterPlan::new(Arc::clone(&store));
        let mut ports = BTreeMap::new();
        for state in &plan.states {
            ports.insert(state.column_family(), writer.port(store.state(&state.operator, &state.name)?));
        }
        let (report, written) = unbounded();
        let writer = writer.start(move |event| drop(report.send(event)))?;
        let manifest = origin.as_ref().map(|origin| &origin.manifest);
        let restored = manifest.map(|manifest| RestoredVertex::of(manifest, &vertex.operators)).unwrap_or_default();
        let watermark = restored.watermark.unwrap_or(MIN_WATERMARK);
        let states: BTreeSet<String> = manifest.into_iter().flat_map(Manifest::state_names).collect();
        let state = TaskState { store: Arc::clone(&store), budget: Budget::of(&settings), ports, restored: Arc::new(states) };
        let mut context =
            TaskContext { restored: Arc::new(restored), state: Some(state), ..TaskContext::alone(&vertex.name, 0, 1, groups) };
        let time = Rc::new(Cell::new(0));
        let shown = Rc::clone(&time);
        let mut parts = Parts::at(ProcessingTime::of(move || shown.get()));
        let head = build(&mut Builder::new(&mut context, &mut parts))?;
        if let Some(name) = context.state.iter().flat_map(|state| state.ports.keys()).next() {
            return Err(Failure::fatal(format!("state {name} was declared, and no operator has asked for it")));
        }
        let plan = evolution::continuing(&plan, manifest)?;
        let (base, next) = match &origin {
            Some(origin) => (Some(origin.reference), origin.reference.checkpoint.next()),
            None => (None, CheckpointId::FIRST),
        };
        Ok(Self { head, parts, time, writer, written, store, plan, groups, watermark, next, base, job, executor, scratch })
    }

    /// One record.
    pub fn record(&mut self, timestamp: Timestamp, key: K, value: T) -> Result<(), Halt> {
        self.head.borrow_mut().collect(timestamp, Keyed { key: Key::new(key), timestamp, value })?;
        self.parts.tables.maintain()
    }

    /// Event time reaches `watermark`.
    pub fn mark(&mut self, watermark: Timestamp) -> Result<(), Halt> {
        self.watermark = self.watermark.max(watermark);
        self.head.borrow_mut().mark(Mark { watermark: self.watermark, idle: false })
    }

    /// Processing time reaches `now`: timers fire.
    pub fn processing_time(&mut self, now: Timestamp) -> Result<(), Halt> {
        self.time.set(now);
        self.parts.alarms.fire()?;
        self.parts.tables.maintain()
    }

    /// No record will follow.
    pub fn end(&mut self) -> Result<(), Halt> {
        self.head.borrow_mut().end()
    }

    /// Puts a checkpoint into `folder`, as a job does.
    pub fn checkpoint(&mut self, folder: &Path) -> Result<(), Halt> {
        let storage = Storage::open(&Location::folder(folder)?, &self.job, self.executor.clone())?;
        if let Some(newest) = storage.list_manifests()?.last() {
            self.next = self.next.max(newest.next());
        }
        let (checkpoint, task, snapshot) = self.freeze()?;
        let names: Vec<String> = snapshot.files().iter().map(|file| file.name.clone()).collect();
        let done = storage.upload(checkpoint, snapshot.dir(), &names, &mut Uploaded::nothing(), PATIENCE)?;
        let (shape, nowhere) = ((1, self.groups.count()), (Positions::new(), Positions::new()));
        let (plan, group) = (self.plan.clone(), self.job.to_string());
        let mut blueprint = Blueprint::new(self.job.clone(), group, shape, Vec::new(), plan, vec![0], nowhere);
        let mut manifest = blueprint.manifest(checkpoint, self.base, &[(0, task)]);
        (manifest.new_bytes, manifest.total_bytes, manifest.files) = (done.new_bytes, done.total_bytes, done.files);
        let reference = storage.put_manifest(&manifest)?;
        storage.put_marker(reference)?;
        self.base = Some(reference);
        Ok(())
    }

    /// The entries of a state as a checkpoint would hold them: keys as commands write them, values as JSON.
    pub fn entries(&mut self, operator: &str, name: &str) -> Result<BTreeMap<String, Value>, Halt> {
        let state = self.plan.states.iter().find(|state| state.operator == operator && state.name == name);
        let state: StateDescriptor =
            state.ok_or_else(|| Failure::fatal(format!("state {operator}/{name} was not declared")))?.clone();
        let (_, _, snapshot) = self.freeze()?;
        let workspace = Workspace::create(self.scratch.path(), &self.job)?;
        copy(&snapshot, &workspace.db_dir()).map_err(|why| Failure::fatal(format!("cannot copy a snapshot: {why}")))?;
        let stored = Stored::open(workspace, self.groups)?;
        let mut entries = BTreeMap::new();
        stored.scan::<Failure>(&state.column_family(), &[], |entry| {
            entries.insert(state.key.show(&state.key.to_json(entry.key)?), inspect::value_to_json(entry.value)?);
            Ok(true)
        })?;
        Ok(entries)
    }

    /// A barrier passes.
    fn freeze(&mut self) -> Result<(CheckpointId, TaskSnapshot, Snapshot), Halt> {
        let checkpoint = self.next;
        self.next = checkpoint.next();
        let mut operators = OperatorSnapshots::default();
        self.head.borrow_mut().snapshot(&mut operators)?;
        let task = TaskSnapshot { partitions: Vec::new(), watermark: self.watermark, operators, stall: Duration::ZERO };
        if self.plan.states.is_empty() {
            return Ok((checkpoint, task, self.store.snapshot(checkpoint)?));
        }
        self.parts.tables.freeze(checkpoint)?;
        while self.parts.tables.has_frozen() {
            self.parts.tables.encode_slice()?;
            if self.writer.in_flight() > 0 {
                std::thread::yield_now();
            }
        }
        match self.written.recv_timeout(PATIENCE) {
            Ok(WriterEvent::Snapshot(ready)) => Ok((checkpoint, task, ready.snapshot)),
            Ok(WriterEvent::Failed(failure)) => Err(failure.into()),
            Err(_) => Err(Failure::attempt(format!("no snapshot of the state within {PATIENCE:?}")).into()),
        }
    }
}

/// The newest checkpoint that is marked as committed.
fn newest(folder: &Path, job: &JobName, executor: &Executor) -> Result<Origin, Failure> {
    let storage = Storage::inspect(&Location::folder(folder)?, job, executor.clone())?;
    let marked = storage.markers()?.pop();
    let marked = marked.ok_or_else(|| Failure::refused(format!("no checkpoint in {}", storage.folder())))?;
    let (manifest, reference) = storage.read_manifest(marked.checkpoint)?;
    if reference != marked {
        return Err(Failure::refused(format!("manifest {} in {} was changed", marked.checkpoint, storage.folder())));
    }
    Ok(Origin { manifest, reference, storage })
}

fn open(
    workspace: Workspace,
    plan: &Plan,
    settings: &Settings,
    groups: KeyGroups,
    origin: Option<&Origin>,
) -> Result<Arc<Store>, Failure> {
    let Some(Origin { manifest, storage, .. }) = origin else { return Store::create(workspace, &plan.states, settings) };
    manifest.operators.iter().try_for_each(|operator| check_claimed(manifest, operator, plan))?;
    evolution::check_states(manifest, plan)?;
    storage.restore(manifest, &workspace.db_dir(), PATIENCE, &|_| {})?;
    let store = Store::open_restored(workspace, &plan.states, settings, Unclaimed::Refuse)?;
    store.try_values(groups)?;
    Ok(store)
}

fn copy(snapshot: &Snapshot, target: &Path) -> std::io::Result<()> {
    fs::create_dir(target)?;
    for file in snapshot.files() {
        fs::copy(snapshot.dir().join(&file.name), target.join(&file.name))?;
    }
    Ok(())
}
