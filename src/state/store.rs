//! One RocksDB per attempt: where state lies that does not fit into tables, and what snapshots are made of.
//!
//! ```text
//! tables --encoded entries--> writer thread: sorted files --ingest--> RocksDB --hard links--> Snapshot
//!    ^                                                                   |
//!    └─────────────── get, scan (keys that are not in memory) ───────────┘
//! ```
//!
//! The write-ahead log and the memtables are not used: what is written is sorted here and given to RocksDB as files, which costs
//! a third of the way through memtable and flush. A crash loses nothing, since local state is never opened again after one.
//!
//! With [`Backend::Memory`] the arrow upwards ends with the restore, and each snapshot replaces all files (see [`super::files`]).

use super::{
    Backend, Horizon, MemoryReport, Settings, Snapshot, StateDescriptor, Workspace, files::Files, store_options::Tuning,
};
use crate::protocol::{CheckpointId, Failure};
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Options, ReadOptions};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Number of a state: its place among the descriptors that the store was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub(super) usize);

/// What to do with a state that the restored files hold and this job does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclaimed {
    /// Refuse to open, naming it.
    Refuse,
    /// Leave it alone: it stays in the following checkpoints.
    Keep,
    /// Delete it.
    Drop,
}

/// Sees an encoded key without its key group, and the stored value; `false` ends the scan.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<bool, Failure>;

/// The RocksDB of one attempt.
pub struct Store {
    // Dropped in this order: RocksDB closes before its directory goes, and before the options that it was given later.
    files: Files,
    tuning: Tuning,
    file_options: Options,
    states: Vec<(StateDescriptor, String)>,
    horizon: Horizon,
    settings: Settings,
    workspace: Workspace,
}

/// RocksDB's errors have no kind that we could act on: local state is broken or the disk is full, and the attempt ends.
fn failed<E: std::fmt::Display>(doing: impl std::fmt::Display) -> impl FnOnce(E) -> Failure {
    move |error| Failure::attempt(format!("local state: cannot {doing}: {error}"))
}

/// Names (`operator/state`), sorted, of the states in the RocksDB that lies in `dir`.
pub fn states_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let mut names = DB::list_cf(&Options::default(), dir)
        .map_err(|error| Failure::refused(format!("{} does not hold readable state: {error}", dir.display())))?;
    names.retain(|name| name != rocksdb::DEFAULT_COLUMN_FAMILY_NAME);
    names.sort();
    Ok(names)
}

impl Store {
    /// An empty store.
    pub fn create(workspace: Workspace, states: &[StateDescriptor], settings: &Settings) -> Result<Arc<Self>, Failure> {
        Self::open(workspace, states, settings, &[])
    }

    /// A store over the files that a restore put into [`Workspace::db_dir`]. States that are not among the files start empty.
    pub fn open_restored(
        workspace: Workspace,
        states: &[StateDescriptor],
        settings: &Settings,
        unclaimed: Unclaimed,
    ) -> Result<Arc<Self>, Failure> {
        let stored = states_in(&workspace.db_dir())?;
        let mut others: Vec<String> =
            stored.into_iter().filter(|name| !states.iter().any(|s| s.column_family() == *name)).collect();
        others.sort();
        if unclaimed == Unclaimed::Refuse && !others.is_empty() {
            return Err(Failure::refused(format!(
                "the checkpoint holds state that no operator of this job claims: {}. An operator or state was renamed or removed; \
                 give it back its name, or allow non-restored state to go on without it",
                others.join(", ")
            )));
        }
        let mut store = Self::open(workspace, states, settings, &others)?;
        if unclaimed == Unclaimed::Drop
            && let Some(store) = Arc::get_mut(&mut store)
        {
            for name in &others {
                store.files.get_mut().drop_cf(name).map_err(failed(format!("drop state {name}")))?;
            }
        }
        Ok(store)
    }

    fn open(
        workspace: Workspace,
        states: &[StateDescriptor],
        settings: &Settings,
        others: &[String],
    ) -> Result<Arc<Self>, Failure> {
        let mut named = Vec::with_capacity(states.len());
        for state in states {
            state.check()?;
            let name = state.column_family();
            if named.iter().any(|(_, other)| *other == name) {
                return Err(Failure::fatal(format!("two states have the same name {name}: give the operators different names")));
            }
            named.push((state.clone(), name));
        }
        let horizon = Horizon::default();
        let tuning = Tuning::new(settings);
        let families = named
            .iter()
            .map(|(state, name)| ColumnFamilyDescriptor::new(name, tuning.family(state.ttl_ms, &horizon)))
            .chain(others.iter().map(|name| ColumnFamilyDescriptor::new(name, tuning.family(None, &horizon))));
        let db_dir = workspace.db_dir();
        let db = DB::open_cf_descriptors(tuning.database(), &db_dir, families)
            .map_err(failed(format!("open {}", db_dir.display())))?;
        let file_options = tuning.family(None, &horizon);
        let files = Files::of(settings.backend, db);
        Ok(Arc::new(Self { files, tuning, file_options, states: named, horizon, settings: settings.clone(), workspace }))
    }

    /// The states, in the order given when opening.
    pub fn states(&self) -> impl Iterator<Item = &StateDescriptor> {
        self.states.iter().map(|(state, _)| state)
    }

    /// Number of the state `operator/state`.
    pub fn state(&self, operator: &str, name: &str) -> Result<StateId, Failure> {
        let place = self.states.iter().position(|(state, _)| state.operator == operator && state.name == name);
        place
            .map(StateId)
            .ok_or_else(|| Failure::fatal(format!("state {operator}/{name} was not declared when the store was opened")))
    }

    /// What the state is.
    pub(super) fn descriptor(&self, state: StateId) -> Result<&StateDescriptor, Failure> {
        self.states.get(state.0).map(|(descriptor, _)| descriptor).ok_or_else(|| unknown(state))
    }

    /// The settings that it was opened with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Entries whose time to live ended before this event time may be removed physically. See [`Horizon`].
    #[must_use]
    pub fn horizon(&self) -> &Horizon {
        &self.horizon
    }

    /// Whether tables hold all of the state.
    pub(super) fn is_in_memory(&self) -> bool {
        self.settings.backend == Backend::Memory
    }

    fn family<'d>(&self, db: &'d DB, state: StateId) -> Result<&'d ColumnFamily, Failure> {
        self.states.get(state.0).and_then(|(_, name)| db.cf_handle(name)).ok_or_else(|| unknown(state))
    }

    fn name(&self, state: StateId) -> &str {
        self.states.get(state.0).map_or("?", |(_, name)| name)
    }

    /// Reads one entry; `key` begins with its key group. `read` sees the stored value.
    pub fn get<R>(&self, state: StateId, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, Failure> {
        self.files.with(|db| {
            let found = db.get_pinned_cf(self.family(db, state)?, key);
            let found = found.map_err(|e| failed(format!("read from {}", self.name(state)))(e))?;
            Ok(found.map(|value| read(&value)))
        })
    }

    /// Visits, in the order of their bytes, the entries of `group` whose encoded key begins with `prefix`, until `visit` says
    /// `false`.
    pub fn scan(&self, state: StateId, group: u16, prefix: &[u8], visit: Visit<'_>) -> Result<(), Failure> {
        self.files.with(|db| self.scan_in(db, state, group, (prefix, prefix), visit))
    }

    /// As [`Self::scan`], from the encoded key `from` on, which begins with `prefix`.
    pub fn scan_from(&self, state: StateId, group: u16, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), Failure> {
        self.files.with(|db| self.scan_in(db, state, group, (prefix, from), visit))
    }

    fn scan_in(
        &self,
        db: &DB,
        state: StateId,
        group: u16,
        (prefix, from): (&[u8], &[u8]),
        visit: Visit<'_>,
    ) -> Result<(), Failure> {
        let mut start = Vec::with_capacity(2 + prefix.len());
        start.extend_from_slice(&group.to_be_bytes());
        start.extend_from_slice(prefix);
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        if let Some(end) = successor(&start) {
            options.set_iterate_upper_bound(end);
        }
        let mut iterator = db.raw_iterator_cf_opt(self.family(db, state)?, options);
        iterator.seek([&group.to_be_bytes(), from].concat());
        while let Some((key, value)) = iterator.item() {
            let Some((_, key)) = key.split_first_chunk::<2>() else {
                return Err(Failure::refused(format!("state {} holds a key without key group", self.name(state))));
            };
            if !visit(key, value)? {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(|error| failed(format!("scan {}", self.name(state)))(error))
    }

    /// Hands over a file of sorted entries. Later files win over earlier ones.
    pub(super) fn ingest(&self, state: StateId, file: PathBuf) -> Result<(), Failure> {
        let name = self.name(state);
        self.files.take(state, name, file).map_err(failed(format!("take sorted entries into {name}")))
    }

    /// Options for files that [`Self::ingest`] takes.
    pub(super) fn file_options(&self) -> &Options {
        &self.file_options
    }

    /// Where a sorted file is written before it is ingested.
    pub(super) fn sorted_file(&self, number: u64) -> PathBuf {
        self.workspace.sorted_dir().join(format!("{number}.sst"))
    }

    /// Hard links of all files that RocksDB has now, which hold everything written so far; with [`Backend::Memory`] everything
    /// written since the snapshot before, and nothing else.
    pub fn snapshot(&self, checkpoint: CheckpointId) -> Result<Snapshot, Failure> {
        let dir = self.workspace.snapshot_dir(&checkpoint.to_string());
        let names = self.states.iter().map(|(_, name)| name.as_str());
        let linked = self.files.link(&dir, names, &self.file_options);
        linked.map_err(failed(format!("link snapshot {}", dir.display())))?;
        Snapshot::of(dir)
    }

    /// About how many keys a state has.
    pub(super) fn estimated_keys(&self, state: StateId) -> Result<u64, Failure> {
        let property = rocksdb::properties::ESTIMATE_NUM_KEYS;
        self.files.with(|db| {
            Ok(db.property_int_value_cf(self.family(db, state)?, property).map_err(failed("read a property"))?.unwrap_or(0))
        })
    }

    /// Bytes that RocksDB uses now; the tables' part is added by who has them.
    #[must_use]
    pub fn memory(&self) -> MemoryReport {
        let sum = |property: &rocksdb::properties::PropName| -> usize {
            self.files.with(|db| {
                let families = self.states.iter().filter_map(|(_, name)| db.cf_handle(name));
                families
                    .filter_map(|family| db.property_int_value_cf(family, property).ok().flatten())
                    .map(|bytes| bytes as usize)
                    .sum()
            })
        };
        let (block_cache, pinned) = self.tuning.cache_usage();
        MemoryReport {
            block_cache,
            pinned,
            memtables: sum(rocksdb::properties::CUR_SIZE_ALL_MEM_TABLES),
            table_readers: sum(rocksdb::properties::ESTIMATE_TABLE_READERS_MEM),
            ..MemoryReport::default()
        }
    }

    /// Block cache misses of filters and of data blocks since opening; zeros without [`Settings::statistics`].
    #[must_use]
    pub fn cache_misses(&self) -> (u64, u64) {
        self.tuning.cache_misses()
    }

    /// Compacts everything now: for tests and for measuring.
    pub fn compact(&self) {
        self.files.with(|db| {
            for family in self.states.iter().filter_map(|(_, name)| db.cf_handle(name)) {
                db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
            }
        });
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.workspace.dir()).finish_non_exhaustive()
    }
}

#[cold]
fn unknown(state: StateId) -> Failure {
    Failure::attempt(format!("state number {} is not among the states of this store", state.0))
}

/// The smallest bytes that are larger than everything that begins with `prefix`; none for `FF FF …`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}
