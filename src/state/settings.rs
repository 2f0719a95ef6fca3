//! One number bounds the memory of state; this is how it is split.

use std::{fmt, path::PathBuf};

/// Where the entries of state are while a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// In tables as far as these have room, the rest in RocksDB on the local disk. A checkpoint brings what has changed.
    #[default]
    RocksDb,
    /// In tables, all of them. A checkpoint brings everything.
    Memory,
}

/// What the state of a job may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directory under which each attempt makes its own: a cache of a checkpoint, never read after a crash.
    pub dir: PathBuf,
    /// Bytes that tables, RocksDB and what is on the way between them may use together.
    pub memory: usize,
    /// Where entries are while the job runs.
    pub backend: Backend,
    /// Count RocksDB's block cache hits and misses (a few per cent of speed): for tests and for finding out.
    pub statistics: bool,
}

impl Settings {
    /// `memory` when nothing else is configured.
    pub const DEFAULT_MEMORY: usize = 256 << 20;
    /// The least that works: below, tables would be evicted faster than they fill.
    pub const LEAST_MEMORY: usize = 8 << 20;

    /// State under `dir` within `memory` bytes.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, memory: usize) -> Self {
        Self { dir: dir.into(), memory, backend: Backend::default(), statistics: false }
    }

    /// The split of [`Self::memory`].
    #[must_use]
    pub fn split(&self) -> MemorySplit {
        let memory = self.memory.max(Self::LEAST_MEMORY);
        let (in_flight, memtables) = (memory / 8, (memory / 32).max(1 << 20));
        match self.backend {
            Backend::RocksDb => {
                MemorySplit { tables: memory / 2, in_flight, block_cache: memory / 4, filters: memory / 16, memtables }
            }
            // RocksDB is read only when state is restored, and no key is evicted.
            Backend::Memory => MemorySplit { tables: memory / 4 * 3, in_flight, block_cache: memory / 32, filters: 0, memtables },
        }
    }
}

/// Where the memory of state goes. Rest: one 32nd for what RocksDB keeps per open file and for allocator overhead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySplit {
    /// Typed entries in tables, dirty and frozen ones included: one half; three quarters where all of them are there.
    pub tables: usize,
    /// Encoded entries between the tables and RocksDB, in channels and sorted runs: one eighth.
    pub in_flight: usize,
    /// RocksDB's block cache, with the partitions of indexes and filters: one quarter; one 32nd where it is hardly read.
    pub block_cache: usize,
    /// Filters that remember which keys the tables evicted: one 16th; none where nothing is evicted.
    pub filters: usize,
    /// RocksDB's memtables; the writer goes round them with sorted files, so little: one 32nd, at least 1 MiB.
    pub memtables: usize,
}

/// What is in use now, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryReport {
    /// Typed entries in tables.
    pub tables: usize,
    /// Those of them that are not yet in RocksDB.
    pub dirty: usize,
    /// Filters that remember which keys the tables evicted.
    pub filters: usize,
    /// Encoded entries on their way into RocksDB.
    pub in_flight: usize,
    /// Block cache.
    pub block_cache: usize,
    /// The part of the block cache that is pinned and cannot be evicted.
    pub pinned: usize,
    /// Memtables.
    pub memtables: usize,
    /// What RocksDB keeps per open file outside of the block cache (estimate of RocksDB).
    pub table_readers: usize,
}

impl MemoryReport {
    /// All parts together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.tables + self.filters + self.in_flight + self.block_cache + self.memtables + self.table_readers
    }
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "tables {:.1} MiB (not yet stored {:.1}), filters {:.1}, in flight {:.1}, block cache {:.1} (pinned {:.1}), memtables {:.1}, readers {:.1}",
            mib(self.tables),
            mib(self.dirty),
            mib(self.filters),
            mib(self.in_flight),
            mib(self.block_cache),
            mib(self.pinned),
            mib(self.memtables),
            mib(self.table_readers)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_stay_within_the_whole() {
        let sizes = [1, Settings::LEAST_MEMORY, 128 << 20, 1 << 30];
        for (memory, backend) in sizes.into_iter().flat_map(|size| [(size, Backend::RocksDb), (size, Backend::Memory)]) {
            let settings = Settings { backend, ..Settings::new("state", memory) };
            let split = settings.split();
            let sum = split.tables + split.in_flight + split.block_cache + split.filters + split.memtables;
            let whole = memory.max(Settings::LEAST_MEMORY);
            assert!(sum <= whole + (1 << 20), "{split:?} is {sum} of {whole}");
        }
    }
}
