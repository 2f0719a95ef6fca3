//! What local state takes on the disk.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Bytes of the files below one attempt's folder. A file with several names is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// RocksDB's files, and those that are written for it just now.
    pub live: u64,
    /// What only the snapshots hold that wait for their upload: RocksDB has merged these files into others since.
    pub snapshots: u64,
}

impl DiskUse {
    /// Looks at every file below the folder of an attempt ([`Workspace::dir`](super::Workspace::dir)), which costs a microsecond or two
    /// for each. Files come and go meanwhile; what cannot be looked at counts for nothing.
    #[must_use]
    pub fn of(attempt: &Path) -> Self {
        let snapshots = attempt.join(super::workspace::SNAPSHOTS);
        let mut seen = BTreeSet::new();
        // The live ones first: what is in both is live.
        let live = sum(attempt, &snapshots, &mut seen);
        Self { live, snapshots: sum(&snapshots, Path::new(""), &mut seen) }
    }
}

/// Bytes of the files below `folder`, but for `left_out`, that are not `seen` yet.
fn sum(folder: &Path, left_out: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
    let (mut bytes, mut folders) = (0, vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(meta) if meta.is_dir() && path != left_out => folders.push(path),
                Ok(meta) if meta.is_file() && seen.insert((meta.dev(), meta.ino())) => bytes += meta.len(),
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_whatever_it_is_called_and_what_only_a_snapshot_holds_apart() {
        let attempt = tempfile::tempdir().unwrap();
        let path = |name: &str| attempt.path().join(name);
        for folder in ["db", "sorted", "snapshots/17"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        // given a table that RocksDB and a snapshot have, one that RocksDB has merged away, and one that is being written
        fs::write(path("db/1.sst"), [0; 100]).unwrap();
        fs::hard_link(path("db/1.sst"), path("snapshots/17/1.sst")).unwrap();
        fs::write(path("snapshots/17/2.sst"), [0; 30]).unwrap();
        fs::write(path("sorted/3.sst"), [0; 7]).unwrap();
        assert_eq!(DiskUse::of(attempt.path()), DiskUse { live: 107, snapshots: 30 });
        // when the first is merged away too
        fs::remove_file(path("db/1.sst")).unwrap();
        assert_eq!(DiskUse::of(attempt.path()), DiskUse { live: 7, snapshots: 130 });
        // when all is gone
        assert_eq!(DiskUse::of(&path("nowhere")), DiskUse::default());
    }
}
