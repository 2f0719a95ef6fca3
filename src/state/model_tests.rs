//! Tables, writer and RocksDB together against a plain map, under random schedules, with both backends in turn.

use super::*;
use crate::protocol::CheckpointId;
use compact_str::{CompactString, format_compact};
use crossbeam_channel::Receiver;
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, time::Duration};
use tempfile::TempDir;

type WindowKey = (i64, CompactString);
type Model = BTreeMap<WindowKey, String>;
type WindowTable = Table<WindowKey, String>;

const DEADLINE: Duration = Duration::from_secs(60);

fn key(window: i64, user: u16) -> Key<WindowKey> {
    let user = format_compact!("U-{user}");
    let partition = Key::new(user.clone());
    Key::under(partition.hash, (window, user))
}

/// What one run is about.
struct Setup {
    settings: Settings,
    /// Bytes of entries and of filters, where not all is in memory.
    budget: (usize, usize),
    /// A map's table keeps its entries in order.
    kind: StateKind,
}

impl Setup {
    fn states(&self) -> [StateDescriptor; 2] {
        [
            StateDescriptor::value::<String>("other", "unused"),
            StateDescriptor::value::<WindowKey>("purchases", "windows").kind(self.kind),
        ]
    }
}

/// One attempt: all that lives between a start and a crash.
struct Attempt {
    tables: Vec<WindowTable>,
    groups: KeyGroups,
    writer: Writer,
    events: Receiver<WriterEvent>,
}

impl Attempt {
    fn start(setup: &Setup, backend: Backend, parallelism: usize, restored: Option<&std::path::Path>) -> Self {
        let settings = &Settings { backend, ..setup.settings.clone() };
        let states = setup.states();
        let workspace = Workspace::create(&settings.dir, &"orders".parse().unwrap()).unwrap();
        let store = match restored {
            None => Store::create(workspace, &states, settings).unwrap(),
            Some(files) => {
                fs::create_dir(workspace.db_dir()).unwrap();
                for entry in fs::read_dir(files).unwrap() {
                    let path = entry.unwrap().path();
                    fs::hard_link(&path, workspace.db_dir().join(path.file_name().unwrap())).unwrap();
                }
                Store::open_restored(workspace, &states, settings, Unclaimed::Refuse).unwrap()
            }
        };
        let groups = KeyGroups::new(16).unwrap();
        let budget = match backend {
            Backend::RocksDb => Budget::with_filters(setup.budget.0, setup.budget.1),
            Backend::Memory => Budget::with_filters(usize::MAX / 4, 0),
        };
        let mut plan = Plan::new(store.clone());
        let state = store.state("purchases", "windows").unwrap();
        let tables = (0..parallelism)
            .map(|subtask| {
                let options =
                    TableOptions { groups, owned: groups.range(subtask, parallelism), starts_empty: restored.is_none() };
                Table::new(store.clone(), plan.port(state), &budget, options).unwrap()
            })
            .collect();
        let (report, events) = crossbeam_channel::unbounded();
        let writer = plan.start(move |event| report.send(event).unwrap()).unwrap();
        Self { tables, groups, writer, events }
    }

    fn table(&mut self, key: &Key<WindowKey>) -> &mut WindowTable {
        let subtask = self.groups.subtask_of(self.groups.group(key.hash), self.tables.len());
        &mut self.tables[subtask]
    }

    fn encode(&mut self, max: usize) -> bool {
        self.tables.iter_mut().map(|table| table.encode_slice(max).unwrap()).fold(true, |all, done| all & done)
    }

    fn encode_all(&mut self) {
        while !self.encode(usize::MAX) {
            std::thread::yield_now();
        }
    }

    fn maintain(&mut self) {
        // One thread plays all tasks here: a table that waits for the snapshot would wait for the others' turn to encode.
        self.tables.iter_mut().for_each(Table::publish);
        if self.tables.iter().any(|table| table.share.pressure() == budget::Pressure::Full) {
            self.encode_all();
        }
        for table in &mut self.tables {
            table.maintain().unwrap();
        }
    }

    fn await_snapshot(&mut self, checkpoint: CheckpointId) -> Snapshot {
        self.encode_all();
        match self.events.recv_timeout(DEADLINE).unwrap() {
            WriterEvent::Snapshot(ready) => {
                assert_eq!(ready.checkpoint, checkpoint);
                ready.snapshot
            }
            WriterEvent::Failed(failure) => panic!("{failure}"),
        }
    }

    fn contents(&mut self, prefix: &[u8]) -> Model {
        let mut found = Model::new();
        for table in &mut self.tables {
            table
                .scan_prefix(prefix, &mut |key, value| {
                    assert!(found.insert(key.clone(), value.clone()).is_none(), "{key:?} was visited twice");
                    Ok(())
                })
                .unwrap();
        }
        found
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(i64, u16, u8),
    InsertIfAbsent(i64, u16),
    Append(i64, u16),
    Change(i64, u16),
    Remove(i64, u16),
    Get(i64, u16),
    Scan(i64),
    Drain(i64),
    Freeze,
    Encode(usize),
    Maintain,
    /// Finish the running checkpoint, and look at its snapshot.
    Complete,
    /// Crash, and restore the last finished checkpoint with this parallelism and backend.
    Crash(usize, Backend),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || (0_i64..3, 0_u16..40);
    prop_oneof![
        6 => (key(), any::<u8>()).prop_map(|((w, u), length)| Step::Insert(w, u, length)),
        4 => key().prop_map(|(w, u)| Step::InsertIfAbsent(w, u)),
        8 => key().prop_map(|(w, u)| Step::Append(w, u)),
        4 => key().prop_map(|(w, u)| Step::Change(w, u)),
        4 => key().prop_map(|(w, u)| Step::Remove(w, u)),
        6 => key().prop_map(|(w, u)| Step::Get(w, u)),
        1 => (0_i64..3).prop_map(Step::Scan),
        1 => (0_i64..3).prop_map(Step::Drain),
        3 => Just(Step::Freeze),
        4 => (0_usize..12).prop_map(Step::Encode),
        5 => Just(Step::Maintain),
        1 => Just(Step::Complete),
        1 => (1_usize..4, backend()).prop_map(|(parallelism, backend)| Step::Crash(parallelism, backend)),
    ]
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![Just(Backend::RocksDb), Just(Backend::Memory)]
}

fn prefix_of(window: i64) -> Vec<u8> {
    let mut prefix = Vec::new();
    window.encode(&mut prefix);
    prefix
}

fn run(budget: (usize, usize), kind: StateKind, backend: Backend, parallelism: usize, steps: &[Step]) {
    let dir = TempDir::new().unwrap();
    let setup = Setup { settings: Settings::new(dir.path(), 0), budget, kind };
    let mut attempt = Attempt::start(&setup, backend, parallelism, None);
    let mut now = Model::new();
    let mut next = CheckpointId(1);
    let mut running: Option<(CheckpointId, Model)> = None;
    let mut finished: Option<(Snapshot, Model)> = None;
    // Snapshots outlive the attempt that made them only as copies, as in checkpoint storage.
    let keep = |snapshot: &Snapshot, at: CheckpointId| {
        let kept = dir.path().join(format!("stored-{at}"));
        fs::create_dir(&kept).unwrap();
        for file in snapshot.files() {
            assert_eq!(fs::metadata(snapshot.dir().join(&file.name)).unwrap().len(), file.size);
            fs::hard_link(snapshot.dir().join(&file.name), kept.join(&file.name)).unwrap();
        }
        kept
    };
    let mut stored: Option<(std::path::PathBuf, Model)> = None;
    let mut version = 0_u32;

    for step in steps {
        version += 1;
        match *step {
            Step::Insert(w, u, length) => {
                let (key, value) = (key(w, u), format!("{version}{}", "x".repeat(length.into())));
                attempt.table(&key).insert(&key, value.clone()).unwrap();
                now.insert(key.value, value);
            }
            Step::InsertIfAbsent(w, u) => {
                let key = key(w, u);
                let wrote = attempt.table(&key).insert_if_absent(&key, format!("{version}")).unwrap();
                assert_eq!(wrote, !now.contains_key(&key.value));
                now.entry(key.value).or_insert_with(|| format!("{version}"));
            }
            Step::Append(w, u) => {
                let key = key(w, u);
                attempt.table(&key).upsert(&key, || "new".into()).unwrap().push_str(&version.to_string());
                now.entry(key.value).or_insert_with(|| "new".into()).push_str(&version.to_string());
            }
            Step::Change(w, u) => {
                let key = key(w, u);
                let value = attempt.table(&key).get_mut(&key).unwrap();
                assert_eq!(value.as_deref(), now.get(&key.value));
                if let Some(value) = value {
                    value.push('c');
                }
                if let Some(value) = now.get_mut(&key.value) {
                    value.push('c');
                }
            }
            Step::Remove(w, u) => {
                let key = key(w, u);
                assert_eq!(attempt.table(&key).remove(&key).unwrap(), now.remove(&key.value).is_some());
            }
            Step::Get(w, u) => {
                let key = key(w, u);
                assert_eq!(attempt.table(&key).get(&key).unwrap(), now.get(&key.value));
            }
            Step::Scan(w) => {
                let expected: Model =
                    now.range((w, "".into())..(w + 1, "".into())).map(|(k, v)| (k.clone(), v.clone())).collect();
                assert_eq!(attempt.contents(&prefix_of(w)), expected);
            }
            Step::Drain(w) => {
                let mut drained = Model::new();
                for table in &mut attempt.tables {
                    table
                        .drain_prefix(&prefix_of(w), &mut |key, value| {
                            drained.insert(key.clone(), value.clone());
                            Ok(())
                        })
                        .unwrap();
                }
                let rest = now.split_off(&(w + 1, "".into()));
                assert_eq!(drained, now.split_off(&(w, "".into())));
                now.extend(rest);
            }
            Step::Freeze => {
                if running.is_none() {
                    for table in &mut attempt.tables {
                        table.freeze(next).unwrap();
                    }
                    running = Some((next, now.clone()));
                    next = next.next();
                }
            }
            Step::Encode(max) => {
                attempt.encode(max);
            }
            Step::Maintain => attempt.maintain(),
            Step::Complete => {
                if let Some((at, model)) = running.take() {
                    let snapshot = attempt.await_snapshot(at);
                    stored = Some((keep(&snapshot, at), model.clone()));
                    finished = Some((snapshot, model));
                }
            }
            Step::Crash(parallelism, backend) => {
                let _ = finished.take();
                drop(attempt);
                running = None;
                now = stored.as_ref().map(|(_, model)| model.clone()).unwrap_or_default();
                attempt = Attempt::start(&setup, backend, parallelism, stored.as_ref().map(|(files, _)| files.as_path()));
                assert_eq!(attempt.contents(&[]), now, "what was restored");
            }
        }
    }
    if let Some((at, model)) = running.take() {
        let snapshot = attempt.await_snapshot(at);
        stored = Some((keep(&snapshot, at), model));
    }
    assert_eq!(attempt.contents(&[]), now);
    drop(attempt);
    if let Some((files, model)) = stored {
        for backend in [Backend::RocksDb, Backend::Memory] {
            let mut restored = Attempt::start(&setup, backend, 2, Some(&files));
            assert_eq!(restored.contents(&[]), model, "the snapshot differs from the state at its barrier");
            for (window, user) in (0..3).flat_map(|w| (0..40).map(move |u| (w, u))) {
                let key = key(window, user);
                assert_eq!(restored.table(&key).get(&key).unwrap(), model.get(&key.value));
            }
            assert_eq!(restored.writer.in_flight(), 0);
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path().join("orders")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["attempts.lock"], "an attempt leaves its directory behind");
}

proptest! {
    // Each case opens RocksDB several times, which is mostly waiting for the disk. PROPTEST_CASES widens it, TMPDIR on memory
    // makes it quick.
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24), ..ProptestConfig::default() })]

    #[test]
    fn a_table_is_a_map_and_its_snapshots_are_the_map_at_their_barriers(
        // nothing fits; some fits; all fits
        budget in prop_oneof![Just(0_usize), 500_usize..20_000, Just(usize::MAX / 4)],
        // without and with filters of what was evicted and restored
        filters in prop_oneof![Just(0_usize), Just(1 << 20)],
        kind in prop_oneof![Just(StateKind::Value), Just(StateKind::Map)],
        backend in backend(),
        parallelism in 1_usize..4,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        run((budget, filters), kind, backend, parallelism, &steps);
    }
}
