//! The state of a checkpoint, opened to be looked into and never written.
//!
//! ```text
//! checkpoint storage ──hard links or copies, verified──► a workspace of its own ──read-only──► get, scan
//! ```
//!
//! It needs no types of the job: names, kinds and shapes of keys are in the manifest, values name their own fields. The live state
//! of a running job is never touched: it has a workspace of its own.

use super::{KeyGroups, StateDescriptor, Workspace, hash_key, states_in};
use crate::protocol::Failure;
use rocksdb::{ColumnFamily, DB, Options, ReadOptions};

/// An entry as it lies in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'e> {
    /// Key group.
    pub group: u16,
    /// Encoded key, without the group: [`super::KeyShape::to_json`] reads it.
    pub key: &'e [u8],
    /// Stored value: [`super::inspect::value_to_json`] reads it.
    pub value: &'e [u8],
}

/// The state of a checkpoint, open for reading.
pub struct Stored {
    // Dropped in this order: RocksDB closes before its directory goes.
    /// None for a checkpoint without files.
    db: Option<DB>,
    names: Vec<String>,
    groups: KeyGroups,
    _workspace: Workspace,
}

impl Stored {
    /// Opens what a restore put into [`Workspace::db_dir`]; without that directory, it is the state of a checkpoint without files.
    ///
    /// # Errors
    /// Refused: the files are whole, but no RocksDB that this program can read.
    pub fn open(workspace: Workspace, groups: KeyGroups) -> Result<Self, Failure> {
        let dir = workspace.db_dir();
        if !dir.exists() {
            return Ok(Self { db: None, names: Vec::new(), groups, _workspace: workspace });
        }
        let names = states_in(&dir)?;
        let mut options = Options::default();
        // It is asked a few things and closed again.
        options.set_skip_stats_update_on_db_open(true);
        let families = names.iter().map(String::as_str).chain([rocksdb::DEFAULT_COLUMN_FAMILY_NAME]);
        let db = DB::open_cf_for_read_only(&options, &dir, families, false)
            .map_err(|error| Failure::refused(format!("{} does not hold readable state: {error}", dir.display())))?;
        Ok(Self { db: Some(db), names, groups, _workspace: workspace })
    }

    /// Names (`operator/state`) of the states in the files, sorted.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The entry of an encoded key, with its key group; `read` sees it.
    ///
    /// Most keys lie in the group of their own hash. One that was stored under another key (a window of a user) lies in the group
    /// of that one, which only the job knows: so all other groups are asked as well.
    ///
    /// # Errors
    /// Fatal: the local files cannot be read.
    pub fn get<R>(
        &self,
        state: &StateDescriptor,
        key: &[u8],
        read: impl FnOnce(Entry<'_>) -> Result<R, Failure>,
    ) -> Result<Option<R>, Failure> {
        let name = state.column_family();
        let Some((db, family)) = self.family(&name) else { return Ok(None) };
        let own = self.groups.group(hash_key(key));
        for group in std::iter::once(own).chain((0..self.groups.count()).filter(|group| *group != own)) {
            let stored = db.get_pinned_cf(family, beginning(group, key)).map_err(|error| unreadable(&name, &error))?;
            if let Some(value) = stored {
                return read(Entry { group, key, value: &value }).map(Some);
            }
        }
        Ok(None)
    }

    /// Visits, by key group and then by the bytes of the key, the entries of `state` (`operator/state`) whose encoded key begins
    /// with `prefix`, until `visit` says `false`. A state that is not in the files has none.
    ///
    /// # Errors
    /// Fatal: the local files cannot be read. What `visit` fails with.
    pub fn scan<E: From<Failure>>(
        &self,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(Entry<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let Some((db, family)) = self.family(state) else { return Ok(()) };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut iterator = db.raw_iterator_cf_opt(family, options);
        for group in 0..self.groups.count() {
            let start = beginning(group, prefix);
            iterator.seek(&start);
            while let Some((key, value)) = iterator.item() {
                let Some(key) = key.strip_prefix(&group.to_be_bytes()).filter(|key| key.starts_with(prefix)) else { break };
                if !visit(Entry { group, key, value })? {
                    return Ok(());
                }
                iterator.next();
            }
            iterator.status().map_err(|error| unreadable(state, &error))?;
        }
        Ok(())
    }

    /// Bytes of the tables of `state` (`operator/state`): compressed, and with what was overwritten and not merged yet.
    ///
    /// # Errors
    /// Fatal: RocksDB does not say.
    pub fn file_bytes(&self, state: &str) -> Result<u64, Failure> {
        let Some((db, family)) = self.family(state) else { return Ok(0) };
        let bytes = db.property_int_value_cf(family, rocksdb::properties::LIVE_SST_FILES_SIZE);
        Ok(bytes.map_err(|error| unreadable(state, &error))?.unwrap_or(0))
    }

    fn family(&self, state: &str) -> Option<(&DB, &ColumnFamily)> {
        let db = self.db.as_ref()?;
        Some((db, db.cf_handle(state)?))
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("names", &self.names).finish_non_exhaustive()
    }
}

fn beginning(group: u16, key: &[u8]) -> Vec<u8> {
    [&group.to_be_bytes(), key].concat()
}

/// The files were whole a moment ago: it is the local disk.
#[cold]
fn unreadable(state: &str, error: &rocksdb::Error) -> Failure {
    Failure::fatal(format!("state {state}: the local copy of the checkpoint cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use crate::protocol::CheckpointId;
    use serde_json::json;
    use std::{collections::BTreeMap, path::Path};

    fn order() -> StateDescriptor {
        StateDescriptor::value::<String>("track", "order")
    }

    fn windows() -> StateDescriptor {
        StateDescriptor::value::<(i64, String)>("purchases", "windows")
    }

    /// Fills both states through tables and a writer, as a job does, and copies a snapshot into a workspace.
    fn checkpointed(dir: &Path, groups: KeyGroups) -> Workspace {
        let settings = Settings::new(dir, 16 << 20);
        let workspace = || Workspace::create(&settings.dir, &"orders".parse().unwrap()).unwrap();
        let store = Store::create(workspace(), &[order(), windows()], &settings).unwrap();
        let budget = Budget::with_filters(8 << 20, 0);
        let mut plan = Plan::new(store.clone());
        let options = || TableOptions { groups, owned: 0..groups.count(), starts_empty: true };
        let port = plan.port(store.state("track", "order").unwrap());
        let mut orders = Table::<String, u64>::new(store.clone(), port, &budget, options()).unwrap();
        let port = plan.port(store.state("purchases", "windows").unwrap());
        let mut sums = Table::<(i64, String), u64>::new(store.clone(), port, &budget, options()).unwrap();
        let (report, events) = crossbeam_channel::unbounded();
        let writer = plan.start(move |event| drop(report.send(event))).unwrap();
        for number in 0..1_000 {
            orders.insert(&Key::new(format!("O-{number:03}")), number).unwrap();
            // As a window operator does: under the user's group.
            let user = Key::new(format!("U-{:02}", number % 50));
            sums.insert(&Key::under(user.hash, ((number % 2) as i64 * 100, user.value.clone())), number).unwrap();
        }
        orders.remove(&Key::new("O-500".to_owned())).unwrap();
        for table in [&mut orders as &mut dyn AnyTable, &mut sums] {
            table.freeze(CheckpointId(1)).unwrap();
            while !table.encode_slice(1_000).unwrap() {
                std::thread::yield_now();
            }
        }
        let WriterEvent::Snapshot(ready) = events.recv().unwrap() else { panic!("no snapshot") };
        let restored = workspace();
        std::fs::create_dir(restored.db_dir()).unwrap();
        for file in ready.snapshot.files() {
            std::fs::copy(ready.snapshot.dir().join(&file.name), restored.db_dir().join(&file.name)).unwrap();
        }
        drop(writer);
        restored
    }

    fn found(stored: &Stored, state: &StateDescriptor, key: serde_json::Value) -> Option<(u16, serde_json::Value)> {
        let mut encoded = Vec::new();
        state.key.encode_json(&key, &mut encoded).unwrap();
        stored.get(state, &encoded, |entry| Ok((entry.group, inspect::value_to_json(entry.value)?))).unwrap()
    }

    fn scanned(stored: &Stored, state: &StateDescriptor, prefix: serde_json::Value) -> BTreeMap<String, serde_json::Value> {
        let mut start = Vec::new();
        state.key.encode_prefix(&prefix, &mut start).unwrap();
        let mut all = BTreeMap::new();
        let visit = |entry: Entry<'_>| {
            let key = state.key.show(&state.key.to_json(entry.key)?);
            assert!(all.insert(key, inspect::value_to_json(entry.value)?).is_none(), "an entry came twice");
            Ok::<bool, Failure>(true)
        };
        stored.scan(&state.column_family(), &start, visit).unwrap();
        all
    }

    #[test]
    fn every_entry_is_found_by_its_key_alone_and_by_what_it_begins_with() {
        for groups in [KeyGroups::default(), KeyGroups::new(1).unwrap(), KeyGroups::new(1_000).unwrap()] {
            // given the files of a checkpoint
            let dir = tempfile::tempdir().unwrap();
            let stored = Stored::open(checkpointed(dir.path(), groups), groups).unwrap();
            assert_eq!(stored.names(), ["purchases/windows", "track/order"]);
            // then each key is found, where the job has put it, and no other
            for number in (0..1_000).filter(|number| *number != 500) {
                let key = format!("O-{number:03}");
                let group = groups.group(Key::new(key.clone()).hash);
                assert_eq!(found(&stored, &order(), json!(key)), Some((group, json!(number))));
            }
            assert_eq!(found(&stored, &order(), json!("O-500")), None);
            assert_eq!(found(&stored, &order(), json!("O-50")), None);
            let group = groups.group(Key::new("U-07".to_owned()).hash);
            assert_eq!(found(&stored, &windows(), json!([100, "U-07"])), Some((group, json!(957))));
            assert_eq!(found(&stored, &windows(), json!([0, "U-07"])), None);
            // and scans give what begins with the prefix
            assert_eq!(scanned(&stored, &order(), json!("")).len(), 999);
            assert_eq!(scanned(&stored, &order(), json!("O-50")).into_keys().next().unwrap(), "O-501");
            assert_eq!(scanned(&stored, &order(), json!("O-50")).len(), 9);
            assert_eq!(scanned(&stored, &windows(), json!([])).len(), 50);
            assert_eq!(scanned(&stored, &windows(), json!([100])).len(), 25);
            assert_eq!(scanned(&stored, &windows(), json!([100, "U-0"])).len(), 5);
            // and one that has seen enough ends
            let mut seen = 0;
            let three = |_: Entry<'_>| {
                seen += 1;
                Ok::<bool, Failure>(seen < 3)
            };
            stored.scan("track/order", &[], three).unwrap();
            assert_eq!(seen, 3);
            assert!(stored.file_bytes("track/order").unwrap() > 1_000);
        }
    }

    #[test]
    fn a_state_that_is_not_in_the_files_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let groups = KeyGroups::default();
        // given a checkpoint without any file, and one without this state
        let workspace = Workspace::create(dir.path(), &"orders".parse().unwrap()).unwrap();
        for stored in [Stored::open(workspace, groups).unwrap(), Stored::open(checkpointed(dir.path(), groups), groups).unwrap()]
        {
            let other = StateDescriptor::value::<String>("track", "other");
            assert_eq!(found(&stored, &other, json!("O-001")), None);
            assert!(scanned(&stored, &other, json!("")).is_empty());
            assert_eq!(stored.file_bytes("track/other").unwrap(), 0);
        }
    }

    #[test]
    fn files_that_are_no_state_are_refused_with_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(dir.path(), &"orders".parse().unwrap()).unwrap();
        std::fs::create_dir(workspace.db_dir()).unwrap();
        let shown = workspace.db_dir().display().to_string();
        let failure = Stored::open(workspace, KeyGroups::default()).unwrap_err();
        assert!(failure.kind == crate::protocol::FailureKind::Refused && failure.message.contains(&shown), "{failure}");
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = checkpointed(dir.path(), KeyGroups::default());
        let folder = workspace.dir().to_owned();
        let stored = Stored::open(workspace, KeyGroups::default()).unwrap();
        assert!(folder.exists());
        drop(stored);
        assert!(!folder.exists());
    }
}
