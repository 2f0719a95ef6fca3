//! What a store, its tables and its writer promise beside being a map.

use super::{budget::Pressure, *};
use crate::protocol::CheckpointId;
use compact_str::{CompactString, format_compact};
use crossbeam_channel::Receiver;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

fn workspace(settings: &Settings) -> Workspace {
    Workspace::create(&settings.dir, &"orders".parse().unwrap()).unwrap()
}

fn order(number: usize) -> Key<CompactString> {
    Key::new(format_compact!("O-{number:09}"))
}

/// A store, its writer, and tables of the state `track/order`.
struct Rig<V> {
    store: Arc<Store>,
    tables: Vec<Table<CompactString, V>>,
    budget: Arc<Budget>,
    writer: Writer,
    events: Receiver<WriterEvent>,
}

fn track() -> StateDescriptor {
    StateDescriptor::value::<CompactString>("track", "order")
}

impl<V: StateValue> Rig<V> {
    fn over(store: Arc<Store>, budget: Arc<Budget>, tables: usize, starts_empty: bool) -> Self {
        let groups = KeyGroups::default();
        let mut plan = Plan::new(store.clone());
        let state = store.state("track", "order").unwrap();
        let table = |subtask| {
            let options = TableOptions { groups, owned: groups.range(subtask, tables), starts_empty };
            Table::new(store.clone(), plan.port(state), &budget, options).unwrap()
        };
        let tables = (0..tables).map(table).collect();
        let (report, events) = crossbeam_channel::unbounded();
        let writer = plan.start(move |event| drop(report.send(event))).unwrap();
        Self { store, tables, budget, writer, events }
    }

    fn new(settings: &Settings, state: StateDescriptor, budget: usize) -> Self {
        let store = Store::create(workspace(settings), &[state], settings).unwrap();
        Self::over(store, Budget::with_filters(budget, 0), 1, true)
    }

    fn checkpoint(&mut self, number: u64) -> SnapshotReady {
        for table in &mut self.tables {
            table.freeze(CheckpointId(number)).unwrap();
        }
        self.finish()
    }

    fn finish(&mut self) -> SnapshotReady {
        let begin = Instant::now();
        while !self.tables.iter_mut().map(|table| table.encode_slice(1000).unwrap()).fold(true, |all, sent| all & sent) {
            assert!(begin.elapsed() < DEADLINE);
            std::thread::yield_now();
        }
        match self.events.recv_timeout(DEADLINE).unwrap() {
            WriterEvent::Snapshot(ready) => ready,
            WriterEvent::Failed(failure) => panic!("{failure}"),
        }
    }
}

/// Copies a snapshot as a checkpoint storage does.
fn keep(snapshot: &Snapshot, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for file in snapshot.files() {
        fs::copy(snapshot.dir().join(&file.name), to.join(&file.name)).unwrap();
    }
    to.to_owned()
}

fn restore(settings: &Settings, files: &Path) -> Workspace {
    let workspace = workspace(settings);
    fs::create_dir(workspace.db_dir()).unwrap();
    for entry in fs::read_dir(files).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, workspace.db_dir().join(path.file_name().unwrap())).unwrap();
    }
    workspace
}

#[test]
fn memory_stays_bounded_under_a_state_of_many_times_the_budget() {
    // given a budget for about ten thousand entries
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let mut rig = Rig::<String>::new(&settings, track(), 1 << 20);
    // when two hundred thousand are written, with checkpoints and long times without one
    let mut most = 0;
    for batch in 0..400 {
        for number in batch * 500..(batch + 1) * 500 {
            rig.tables[0].upsert(&order(number), String::new).unwrap().push_str("value");
        }
        if batch % 150 == 149 {
            rig.checkpoint(batch as u64);
        }
        rig.tables[0].maintain().unwrap();
        most = most.max(rig.budget.used());
        assert!(rig.writer.in_flight() <= settings.split().in_flight + (1 << 20), "{} on the way", rig.writer.in_flight());
    }
    // then memory held to it, and nothing is lost
    assert!(most <= 2 * rig.budget.limit(), "{most} bytes of {}", rig.budget.limit());
    let report = rig.budget.report(rig.store.memory());
    assert!(report.total() < settings.memory, "{report}");
    for number in (0..200_000).step_by(997) {
        assert_eq!(rig.tables[0].get(&order(number)).unwrap().unwrap(), "value");
    }
}

#[test]
fn a_table_in_memory_refuses_to_grow_beyond_it_and_names_the_settings() {
    // given all state in memory, and a state larger than it
    let dir = TempDir::new().unwrap();
    let settings = Settings { backend: Backend::Memory, ..Settings::new(dir.path(), 8 << 20) };
    let store = Store::create(workspace(&settings), &[track()], &settings).unwrap();
    let mut rig = Rig::<String>::over(store, Budget::of(&settings), 1, true);
    let mut refused = None;
    for number in 0..200_000 {
        rig.tables[0].insert(&order(number), "value".into()).unwrap();
        if number % 500 == 0 {
            refused = rig.tables[0].maintain().err();
        }
        if refused.is_some() {
            break;
        }
    }
    // then it is not an attempt that fails and is begun again: the settings are too small
    let failure = refused.expect("it grew and grew");
    assert_eq!(failure.kind, crate::protocol::FailureKind::Fatal);
    assert!(failure.message.contains("state.memory = 8MiB") && failure.message.contains("state.backend"), "{failure}");
    assert!(rig.budget.used() <= rig.budget.limit() + 500_000);
}

#[test]
fn a_restore_that_does_not_fit_into_memory_is_refused_as_well() {
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let mut rig = Rig::<u64>::new(&settings, track(), 8 << 20);
    for number in 0..150_000 {
        rig.tables[0].insert(&order(number), 1).unwrap();
    }
    let files = keep(&rig.checkpoint(1).snapshot, &dir.path().join("kept"));
    drop(rig);
    let settings = Settings { backend: Backend::Memory, ..settings };
    let store = Store::open_restored(restore(&settings, &files), &[track()], &settings, Unclaimed::Refuse).unwrap();
    let mut plan = Plan::new(store.clone());
    let port = plan.port(store.state("track", "order").unwrap());
    let groups = KeyGroups::default();
    let options = TableOptions { groups, owned: 0..groups.count(), starts_empty: false };
    let error = Table::<CompactString, u64>::new(store, port, &Budget::of(&settings), options).unwrap_err();
    assert!(error.message.contains("state.memory = 8MiB"), "{error}");
}

#[test]
fn no_two_snapshots_of_one_attempt_have_tables_of_the_same_name_with_other_content() {
    // The upload takes a table whose name it knows for uploaded.
    for backend in [Backend::RocksDb, Backend::Memory] {
        let dir = TempDir::new().unwrap();
        let settings = Settings { backend, ..Settings::new(dir.path(), 8 << 20) };
        let mut rig = Rig::<u64>::new(&settings, track(), 1 << 20);
        let mut known = std::collections::BTreeMap::new();
        for number in 0..5 {
            rig.tables[0].insert(&order(number), 1).unwrap();
            let snapshot = rig.checkpoint(number as u64 + 1).snapshot;
            for file in snapshot.files().iter().filter(|file| file.is_immutable()) {
                let content = fs::read(snapshot.dir().join(&file.name)).unwrap();
                let before = known.insert(file.name.clone(), content.clone());
                assert!(before.is_none_or(|before| before == content), "{} changed with {backend:?}", file.name);
            }
            let tables = snapshot.files().iter().filter(|file| file.is_immutable()).count();
            assert!(tables == if backend == Backend::Memory { 1 } else { number + 1 }, "{tables} with {backend:?}");
        }
    }
}

#[test]
fn a_table_in_memory_forgets_what_expired_before_the_horizon() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { backend: Backend::Memory, ..Settings::new(dir.path(), 8 << 20) };
    let mut rig = Rig::<Timed<u64>>::new(&settings, track().ttl_ms(50), 1 << 20);
    for (number, at) in [(0, 0), (1, 100)] {
        rig.tables[0].insert(&order(number), Timed { written_at: at, value: 7 }).unwrap();
    }
    let mut left = |watermark: i64| {
        rig.store.horizon().raise(watermark);
        rig.tables[0].maintain().unwrap();
        rig.tables[0].in_memory()
    };
    assert_eq!([left(49), left(50), left(149), left(150)], [2, 1, 1, 0]);
}

#[test]
fn a_full_table_waits_for_the_snapshot_before_it_writes_what_came_after() {
    // given two tables, one of which has not yet sent its part of checkpoint 1
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let store = Store::create(workspace(&settings), &[track()], &settings).unwrap();
    let budget = Budget::with_filters(200_000, 0);
    let mut rig = Rig::<String>::over(store, budget.clone(), 2, true);
    let groups = KeyGroups::default();
    let mut slow = rig.tables.pop().unwrap();
    let mut full = rig.tables.pop().unwrap();
    let of = move |subtask| (0..).map(order).filter(move |key| groups.subtask_of(groups.group(key.hash), 2) == subtask);
    for key in of(1).take(100) {
        slow.upsert(&key, String::new).unwrap();
    }
    for table in [&mut slow, &mut full] {
        table.freeze(CheckpointId(1)).unwrap();
    }
    // when the other writes more than its memory holds
    let flood = std::thread::spawn(move || {
        for (number, key) in of(0).take(20_000).enumerate() {
            full.upsert(&key, String::new).unwrap();
            if number % 100 == 0 {
                full.maintain().unwrap();
            }
        }
        full
    });
    let begin = Instant::now();
    while budget.used() <= 2 * budget.limit() {
        assert!(begin.elapsed() < DEADLINE && !flood.is_finished(), "it never came to its limit");
        std::thread::yield_now();
    }
    // then it stands still, with what a batch adds over the limit at most, until the snapshot is linked
    assert!(rig.events.is_empty() && !flood.is_finished());
    assert!(budget.used() <= 2 * budget.limit() + 50_000);
    rig.tables.push(slow);
    let ready = rig.finish();
    let full = flood.join().unwrap();
    assert_ne!(full.share.pressure(), Pressure::Full);
    // and the snapshot has nothing of what came after its barrier
    let files = keep(&ready.snapshot, &dir.path().join("kept"));
    drop((full, rig));
    let store = Store::open_restored(restore(&settings, &files), &[track()], &settings, Unclaimed::Refuse).unwrap();
    let mut restored = Rig::<String>::over(store, Budget::new(1 << 20), 1, false);
    let mut keys = 0;
    restored.tables[0]
        .scan_prefix(&[], &mut |_, _| {
            keys += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(keys, 100);
}

#[test]
fn absent_keys_do_not_read_filters_again_and_again() {
    // given 300,000 stored keys, none of them in memory, and a block cache of 4 MiB
    let dir = TempDir::new().unwrap();
    let settings = Settings { statistics: true, ..Settings::new(dir.path(), 16 << 20) };
    let mut rig = Rig::<u64>::new(&settings, track(), 0);
    for part in 0..6 {
        for number in part * 50_000..(part + 1) * 50_000 {
            rig.tables[0].insert(&order(number), 1).unwrap();
        }
        rig.checkpoint(part as u64 + 1);
        while rig.tables[0].in_memory() > 0 {
            rig.tables[0].maintain().unwrap();
        }
    }
    let absent = |number: usize| Key::new(format_compact!("O-{:09}x", number * 7919 % 300_000));
    let mut look = |from: usize, to: usize| {
        for number in from..to {
            assert!(rig.tables[0].get(&absent(number)).unwrap().is_none());
        }
        rig.store.cache_misses()
    };
    // when absent keys between them are looked up
    let (warm, _) = look(0, 50_000);
    let (filters, data) = look(50_000, 150_000);
    // then their filters come from the cache, and seldom is a block read in vain
    let misses = filters - warm;
    assert!(misses < 100, "{misses} filter blocks were read again by 100,000 look-ups");
    assert!(data < 20_000, "{data} data blocks were read by 150,000 look-ups of absent keys");
}

#[test]
fn a_restored_table_learns_which_keys_do_not_exist() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { statistics: true, ..Settings::new(dir.path(), 16 << 20) };
    let mut rig = Rig::<u64>::new(&settings, track(), 1 << 20);
    for number in 0..20_000 {
        rig.tables[0].insert(&order(number), 1).unwrap();
    }
    let files = keep(&rig.checkpoint(1).snapshot, &dir.path().join("kept"));
    drop(rig);

    let store = Store::open_restored(restore(&settings, &files), &[track()], &settings, Unclaimed::Refuse).unwrap();
    let mut rig = Rig::<u64>::over(store, Budget::new(8 << 20), 1, false);
    let table = &mut rig.tables[0];
    assert!(!table.absence.is_certain(order(20_001).slot()));
    let begin = Instant::now();
    while !table.absence.is_certain(order(20_001).slot()) {
        assert!(begin.elapsed() < DEADLINE);
        table.maintain().unwrap();
        std::thread::yield_now();
    }
    for number in 0..20_000 {
        assert_eq!(table.get(&order(number)).unwrap(), Some(&1));
    }
    let certain = (20_000..40_000).filter(|&number| table.absence.is_certain(order(number).slot())).count();
    assert!(certain > 19_000, "{certain} of 20,000");
}

#[test]
fn compaction_removes_what_expired_before_the_horizon_and_nothing_else() {
    // given entries written at 0, 100 and without a time, with a time to live of 50
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let mut rig = Rig::<Timed<u64>>::new(&settings, track().ttl_ms(50), 0);
    for (number, at) in [(0, 0), (1, 100)] {
        rig.tables[0].insert(&order(number), Timed { written_at: at, value: 7 }).unwrap();
    }
    let kept = keep(&rig.checkpoint(1).snapshot, &dir.path().join("kept"));
    rig.tables[0].maintain().unwrap();
    let mut stored = |watermark: i64| {
        rig.store.horizon().raise(watermark);
        rig.store.compact();
        let table = &mut rig.tables[0];
        table.maintain().unwrap();
        assert_eq!(table.in_memory(), 0);
        let found: Vec<bool> = (0..2).map(|number| table.get(&order(number)).unwrap().is_some()).collect();
        for _ in 0..3 {
            table.maintain().unwrap();
        }
        found
    };
    // when the horizon rises, then they go when their time has come, and not before
    assert_eq!(stored(49), [true, true]);
    assert_eq!(stored(50), [false, true]);
    assert_eq!(stored(10), [false, true], "the horizon never goes back");
    assert_eq!(stored(150), [false, false]);
    // and a snapshot that was linked before still has them
    drop(rig);
    let store = Store::open_restored(restore(&settings, &kept), &[track()], &settings, Unclaimed::Refuse).unwrap();
    let mut restored = Rig::<Timed<u64>>::over(store, Budget::new(1 << 20), 1, false);
    assert_eq!(restored.tables[0].get(&order(0)).unwrap(), Some(&Timed { written_at: 0, value: 7 }));
}

#[test]
fn state_that_nobody_claims_is_refused_kept_or_dropped_as_the_caller_says() {
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let mut rig = Rig::<u64>::new(&settings, track(), 1 << 20);
    rig.tables[0].insert(&order(1), 1).unwrap();
    let files = keep(&rig.checkpoint(1).snapshot, &dir.path().join("kept"));
    drop(rig);
    assert_eq!(states_in(&files).unwrap(), ["track/order"]);

    let renamed = [StateDescriptor::value::<CompactString>("follow", "order")];
    let open = |files: &Path, unclaimed| Store::open_restored(restore(&settings, files), &renamed, &settings, unclaimed);
    let refused = open(&files, Unclaimed::Refuse).unwrap_err();
    assert!(refused.message.contains("track/order"), "{refused}");

    let kept = keep(&open(&files, Unclaimed::Keep).unwrap().snapshot(CheckpointId(2)).unwrap(), &dir.path().join("kept-2"));
    assert_eq!(states_in(&kept).unwrap(), ["follow/order", "track/order"]);
    let dropped = keep(&open(&files, Unclaimed::Drop).unwrap().snapshot(CheckpointId(2)).unwrap(), &dir.path().join("kept-3"));
    assert_eq!(states_in(&dropped).unwrap(), ["follow/order"]);
    assert!(states_in(dir.path()).unwrap_err().message.contains("does not hold readable state"));
}

#[test]
fn a_table_with_other_keys_than_declared_and_a_key_of_another_task_are_refused() {
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let store = Store::create(workspace(&settings), &[track()], &settings).unwrap();
    let groups = KeyGroups::default();
    let mut plan = Plan::new(store.clone());
    let state = store.state("track", "order").unwrap();
    let options = TableOptions { groups, owned: groups.range(0, 2), starts_empty: true };
    let budget = Budget::new(1 << 20);
    let error = Table::<u64, u64>::new(store.clone(), plan.port(state), &budget, options.clone()).unwrap_err();
    assert!(error.message.contains("track/order") && error.message.contains("keys of text"), "{error}");

    let mut table = Table::<CompactString, u64>::new(store, plan.port(state), &budget, options).unwrap();
    let foreign = (0..).map(order).find(|key| groups.group(key.hash) >= 64).unwrap();
    let error = table.insert(&foreign, 1).unwrap_err();
    assert!(error.message.contains("track/order") && error.message.contains("0..64"), "{error}");
}

#[test]
fn a_writer_that_cannot_write_reports_it_and_stops_the_tables() {
    // given a disk that takes nothing any more
    let dir = TempDir::new().unwrap();
    let settings = Settings::new(dir.path(), 8 << 20);
    let mut rig = Rig::<u64>::new(&settings, track(), 1 << 20);
    let attempt =
        fs::read_dir(dir.path().join("orders")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    fs::remove_dir_all(attempt.join("sorted")).unwrap();
    // when a checkpoint is to be written
    rig.tables[0].insert(&order(1), 1).unwrap();
    rig.tables[0].freeze(CheckpointId(1)).unwrap();
    assert!(rig.tables[0].encode_slice(10).unwrap());
    // then the writer says so once, and the tables fail
    let WriterEvent::Failed(failure) = rig.events.recv_timeout(DEADLINE).unwrap() else { panic!("it wrote") };
    assert!(failure.message.contains("cannot write") && failure.message.contains("sorted"), "{failure}");
    rig.tables[0].freeze(CheckpointId(2)).unwrap();
    let error = rig.tables[0].encode_slice(10).unwrap_err();
    assert_eq!(error.message, failure.message);
}
