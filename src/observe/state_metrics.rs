//! What the state of the running attempt takes, in memory and on the disk.

use super::registry::{Building, Gauge, Labelled};
use crate::state::DiskUse;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// State.
#[derive(Debug)]
pub struct StateMetrics {
    memory: Labelled<Gauge>,
    disk: Labelled<Gauge>,
    /// The folder of the attempt that runs.
    folder: Mutex<Option<PathBuf>>,
}

impl StateMetrics {
    pub(super) fn new(b: &mut Building) -> Self {
        Self {
            memory: b.labelled(
                "state_memory_bytes",
                &["part"],
                "Memory used for state: tables, of which dirty (not in the store yet); filters of evicted keys; block_cache, memtables and table_readers of RocksDB.",
                Gauge::default,
            ),
            disk: b.labelled(
                "state_disk_bytes",
                &["part"],
                "Files below state.dir: live (RocksDB's) and snapshots (what only those hold that wait for their upload).",
                Gauge::default,
            ),
            folder: Mutex::default(),
        }
    }

    /// The state of the attempt that begins lies in this folder.
    pub fn lies_in(&self, folder: &Path) {
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
    }

    /// Whoever asks is told what is true now: between two commits is when snapshots are there.
    pub(super) fn look_at_the_disk(&self) {
        let Some(folder) = self.folder.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let DiskUse { live, snapshots } = DiskUse::of(&folder);
        for (part, bytes) in [("live", live), ("snapshots", snapshots)] {
            self.disk.with(&[part]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn disk_parts(&self) -> Vec<(Vec<String>, Gauge)> {
        self.disk.all()
    }

    /// Memory of one part of the state, in bytes.
    pub fn memory(&self, part: &str) -> Gauge {
        self.memory.with(&[part])
    }

    pub(super) fn memory_parts(&self) -> Vec<(Vec<String>, Gauge)> {
        self.memory.all()
    }
}
