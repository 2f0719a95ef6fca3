//! One suite that both backends pass: every kind of state, with and without a time to live, against plain maps, through checkpoints,
//! crashes, other parallelism and a change of the backend.

use super::*;
use crate::{
    engine::{
        MIN_WATERMARK, Timestamp,
        context::{Builder, Parts, RestoredVertex, TaskContext, TaskState},
        snapshot::OperatorSnapshots,
    },
    protocol::CheckpointId,
    state::{
        Backend, Budget, Key, KeyGroups, Plan, Settings, Snapshot, StateDescriptor, StateValue, Store, Unclaimed, Workspace,
        Writer, WriterEvent,
    },
    stream::{Declare, Redistribution, Timers, held::Held},
};
use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

mod model_tests;
mod ttl_tests;

const OPERATOR: &str = "operator";
const DEADLINE: Duration = Duration::from_secs(60);
pub(super) const BACKENDS: [Backend; 2] = [Backend::RocksDb, Backend::Memory];

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) sum: u64,
    pub(super) count: u64,
}
impl StateValue for Sum {}

#[derive(Clone)]
pub(super) struct Total;

impl Accumulate for Total {
    type In = u64;
    type Accumulator = Sum;
    type Out = (u64, u64);
    fn create(&self) -> Sum {
        Sum::default()
    }
    fn add(&self, sum: &mut Sum, value: u64) {
        sum.sum += value;
        sum.count += 1;
    }
    fn result(&self, sum: &Sum) -> (u64, u64) {
        (sum.sum, sum.count)
    }
}

/// The handles of one state of each kind.
#[derive(Clone)]
pub(super) struct Handles {
    value: StateHandle<ValueState<String, u64>>,
    list: StateHandle<ListState<String, u64>>,
    map: StateHandle<MapState<String, i64, u64>>,
    highest: StateHandle<ReducingState<String, u64>>,
    total: StateHandle<AggregatingState<String, Total>>,
    split: StateHandle<OperatorList<u64>>,
    union: StateHandle<OperatorList<u64>>,
    rules: StateHandle<BroadcastState<String, u64>>,
    timers: StateHandle<Timers<String>>,
    keyed: Vec<StateDescriptor>,
}

impl Handles {
    pub(super) fn declare(ttl: Option<Ttl>) -> Self {
        let mut declare = Declare::new(OPERATOR);
        let reduce = |highest: &mut u64, value: u64| *highest = value.max(*highest);
        let (value, list, map, highest, total) = match ttl {
            None => (
                declare.value("value"),
                declare.list("list"),
                declare.map("map"),
                declare.reducing("highest", reduce),
                declare.aggregating("total", Total),
            ),
            Some(ttl) => (
                declare.with_ttl(ttl).value("value"),
                declare.with_ttl(ttl).list("list"),
                declare.with_ttl(ttl).map("map"),
                declare.with_ttl(ttl).reducing("highest", reduce),
                declare.with_ttl(ttl).aggregating("total", Total),
            ),
        };
        let split = declare.operator_list("split", Redistribution::Split);
        let union = declare.operator_list("union", Redistribution::Union);
        let rules = declare.broadcast("rules");
        let timers = declare.timers();
        let (keyed, _) = declare.into_states();
        Self { value, list, map, highest, total, split, union, rules, timers, keyed }
    }
}

/// The states of one task.
pub(super) struct Kinds {
    pub(super) value: ValueState<String, u64>,
    pub(super) list: ListState<String, u64>,
    pub(super) map: MapState<String, i64, u64>,
    pub(super) highest: ReducingState<String, u64>,
    pub(super) total: AggregatingState<String, Total>,
    pub(super) split: OperatorList<u64>,
    pub(super) union: OperatorList<u64>,
    pub(super) rules: BroadcastState<String, u64>,
    pub(super) timers: Timers<String>,
}

impl Kinds {
    fn open(context: &mut OperatorContext<'_, '_>, handles: &Handles) -> Self {
        Self {
            value: context.state(&handles.value).unwrap(),
            list: context.state(&handles.list).unwrap(),
            map: context.state(&handles.map).unwrap(),
            highest: context.state(&handles.highest).unwrap(),
            total: context.state(&handles.total).unwrap(),
            split: context.state(&handles.split).unwrap(),
            union: context.state(&handles.union).unwrap(),
            rules: context.state(&handles.rules).unwrap(),
            timers: context.state(&handles.timers).unwrap(),
        }
    }
}

/// What a checkpoint leaves in the storage and in the manifest.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) files: Option<PathBuf>,
    pub(super) elements: Vec<Value>,
    pub(super) watermark: Option<Timestamp>,
}

pub(super) struct Task {
    pub(super) kinds: Kinds,
    held: Held,
    parts: Parts,
}

/// One attempt, all of its tasks played by one thread.
pub(super) struct Attempt {
    pub(super) tasks: Vec<Task>,
    pub(super) store: Arc<Store>,
    groups: KeyGroups,
    _writer: Writer,
    events: Receiver<WriterEvent>,
    elements: BTreeMap<CheckpointId, Vec<Value>>,
    watermark: Timestamp,
}

impl Attempt {
    /// `memory` bounds the tables where not everything is in them.
    pub(super) fn start(
        dir: &Path,
        backend: Backend,
        memory: usize,
        parallelism: usize,
        handles: &Handles,
        stored: &Stored,
    ) -> Self {
        let settings = Settings { backend, ..Settings::new(dir, 0) };
        let workspace = Workspace::create(dir, &"orders".parse().unwrap()).unwrap();
        let store = match &stored.files {
            None => Store::create(workspace, &handles.keyed, &settings).unwrap(),
            Some(files) => {
                fs::create_dir(workspace.db_dir()).unwrap();
                for entry in fs::read_dir(files).unwrap() {
                    let path = entry.unwrap().path();
                    fs::copy(&path, workspace.db_dir().join(path.file_name().unwrap())).unwrap();
                }
                Store::open_restored(workspace, &handles.keyed, &settings, Unclaimed::Refuse).unwrap()
            }
        };
        let names: BTreeSet<String> = handles.keyed.iter().map(StateDescriptor::column_family).collect();
        let restored_states = Arc::new(if stored.files.is_some() { names } else { BTreeSet::new() });
        let operators = [(OPERATOR.to_owned(), stored.elements.clone())].into();
        let restored = Arc::new(RestoredVertex { watermark: stored.watermark, operators });
        let budget = Budget::new(if backend == Backend::Memory { 1 << 30 } else { memory });
        let groups = KeyGroups::new(16).unwrap();
        let mut plan = Plan::new(Arc::clone(&store));
        let name: Arc<str> = OPERATOR.into();
        let tasks = (0..parallelism).map(|subtask| {
            let ports = handles.keyed.iter().map(|state| {
                let id = store.state(&state.operator, &state.name).unwrap();
                (state.column_family(), plan.port(id))
            });
            let state = TaskState {
                store: Arc::clone(&store),
                budget: Arc::clone(&budget),
                ports: ports.collect(),
                restored: Arc::clone(&restored_states),
            };
            let mut context = TaskContext {
                restored: Arc::clone(&restored),
                state: Some(state),
                ..TaskContext::alone(OPERATOR, subtask, parallelism, groups)
            };
            let mut parts = Parts::new();
            let mut builder = Builder::new(&mut context, &mut parts);
            let mut operator = OperatorContext::new(&mut builder, &name);
            let kinds = Kinds::open(&mut operator, handles);
            let (_, held) = operator.into_parts();
            Task { kinds, held, parts }
        });
        let tasks = tasks.collect();
        let (report, events) = crossbeam_channel::unbounded();
        let writer = plan.start(move |event| drop(report.send(event))).unwrap();
        let watermark = stored.watermark.unwrap_or(MIN_WATERMARK);
        Self { tasks, store, groups, _writer: writer, events, elements: BTreeMap::new(), watermark }
    }

    /// The states of the task that owns `key`.
    pub(super) fn of(&self, key: &Key<String>) -> &Kinds {
        let subtask = self.groups.subtask_of(self.groups.group(key.hash), self.tasks.len());
        &self.tasks[subtask].kinds
    }

    pub(super) fn record(&self, timestamp: Timestamp) {
        self.tasks.iter().for_each(|task| task.held.record(timestamp));
    }

    pub(super) fn advance(&mut self, watermark: Timestamp) {
        self.watermark = watermark;
        self.tasks.iter().for_each(|task| task.held.advance(watermark));
    }

    /// The timers that are due in any task, which it fires in the order of time.
    pub(super) fn fire(&self, until: Timestamp) -> BTreeSet<(Timestamp, String)> {
        let mut all = BTreeSet::new();
        for task in &self.tasks {
            let mut last = Timestamp::MIN;
            while let Some((time, key)) = task.kinds.timers.pop_due(until).unwrap() {
                assert!(last <= time, "{time} after {last}");
                last = time;
                assert!(all.insert((time, key)), "a timer fires once");
            }
        }
        all
    }

    pub(super) fn freeze(&mut self, checkpoint: CheckpointId) {
        let mut operators = OperatorSnapshots::default();
        for task in &self.tasks {
            operators.put(OPERATOR, task.held.snapshot().unwrap());
            task.parts.tables.freeze(checkpoint).unwrap();
        }
        self.elements.insert(checkpoint, operators.into_lists().remove(OPERATOR).unwrap());
    }

    pub(super) fn encode(&self) -> bool {
        self.tasks.iter().for_each(|task| task.parts.tables.encode_slice().unwrap());
        self.tasks.iter().all(|task| !task.parts.tables.has_frozen())
    }

    fn encode_all(&self) {
        while !self.encode() {
            std::thread::yield_now();
        }
    }

    /// A table that waits for room would wait for the others' turn to encode, as one thread plays all tasks.
    pub(super) fn maintain(&self) {
        self.encode_all();
        self.tasks.iter().for_each(|task| task.parts.tables.maintain().unwrap());
    }

    /// Waits for the snapshot, and keeps it below `dir` as a checkpoint storage does.
    pub(super) fn complete(&mut self, checkpoint: CheckpointId, watermark: Timestamp, dir: &Path) -> Stored {
        self.encode_all();
        let snapshot = match self.events.recv_timeout(DEADLINE).unwrap() {
            WriterEvent::Snapshot(ready) => {
                assert_eq!(ready.checkpoint, checkpoint);
                ready.snapshot
            }
            WriterEvent::Failed(failure) => panic!("{failure}"),
        };
        let files = keep(&snapshot, dir, checkpoint);
        let watermark = (watermark != MIN_WATERMARK).then_some(watermark);
        Stored { files: Some(files), elements: self.elements.remove(&checkpoint).unwrap(), watermark }
    }

    pub(super) fn checkpoint(&mut self, checkpoint: CheckpointId, dir: &Path) -> Stored {
        self.freeze(checkpoint);
        self.complete(checkpoint, self.watermark, dir)
    }
}

fn keep(snapshot: &Snapshot, dir: &Path, checkpoint: CheckpointId) -> PathBuf {
    let kept = dir.join(format!("stored-{checkpoint}"));
    fs::create_dir(&kept).unwrap();
    for file in snapshot.files() {
        fs::copy(snapshot.dir().join(&file.name), kept.join(&file.name)).unwrap();
    }
    kept
}

pub(super) fn key(number: u8) -> Key<String> {
    Key::new(format!("k{number}"))
}

#[test]
fn operator_state_is_given_out_whole_for_any_parallelism() {
    for backend in BACKENDS {
        // given three subtasks with elements, and a map that is the same on all
        let dir = TempDir::new().unwrap();
        let handles = Handles::declare(None);
        let mut attempt = Attempt::start(dir.path(), backend, 1 << 20, 3, &handles, &Stored::default());
        for (subtask, task) in attempt.tasks.iter().enumerate() {
            task.kinds.split.add_all([subtask as u64 * 10, subtask as u64 * 10 + 1]);
            task.kinds.union.add(subtask as u64);
            task.kinds.rules.put("limit".into(), 7);
            task.kinds.rules.put("gone".into(), 8);
            assert!(task.kinds.rules.remove(&"gone".into()));
        }
        let stored = attempt.checkpoint(CheckpointId(1), dir.path());
        drop(attempt);
        assert_eq!(stored.elements.len(), 6 + 3 + 1, "the map is stored once: {:?}", stored.elements);
        // then with any other number of them each element is with one, or with all, and the map is everywhere
        for parallelism in 1..5 {
            let attempt = Attempt::start(dir.path(), backend, 1 << 20, parallelism, &handles, &stored);
            let mut split: Vec<u64> = attempt.tasks.iter().flat_map(|task| task.kinds.split.read(<[u64]>::to_vec)).collect();
            split.sort_unstable();
            assert_eq!(split, [0, 1, 10, 11, 20, 21]);
            for task in &attempt.tasks {
                assert_eq!(task.kinds.union.read(<[u64]>::to_vec), [0, 1, 2]);
                assert_eq!((task.kinds.rules.get(&"limit".into()), task.kinds.rules.contains(&"gone".into())), (Some(7), false));
            }
        }
    }
}

#[test]
fn elements_of_another_type_are_refused_with_the_state_and_the_element() {
    let mut declare = Declare::new(OPERATOR);
    let numbers = declare.operator_list::<u64>("numbers", Redistribution::Split);
    let stored = vec![
        crate::engine::snapshot::NamedElement::write(crate::engine::snapshot::ElementKind::List, "numbers", &"seven").unwrap(),
    ];
    let mut parts = Parts::new();
    let mut context = TaskContext {
        restored: Arc::new(RestoredVertex { watermark: None, operators: [(OPERATOR.to_owned(), stored)].into() }),
        ..TaskContext::alone(OPERATOR, 0, 1, KeyGroups::default())
    };
    let mut builder = Builder::new(&mut context, &mut parts);
    let mut operator = OperatorContext::new(&mut builder, &OPERATOR.into());
    let error = operator.state(&numbers).err().unwrap();
    assert!(error.message.contains("operator/numbers") && error.message.contains("seven"), "{error}");
    // and elements without a name are not those of a state with one
    assert!(operator.restored(Redistribution::Split).is_empty());
}
