//! A consistent picture of RocksDB, as hard links.

use crate::protocol::Failure;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files that RocksDB had at one moment, hard-linked into a directory of their own. The directory is removed on drop.
#[derive(Debug)]
pub struct Snapshot {
    dir: PathBuf,
    files: Vec<SnapshotFile>,
}

/// A file of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotFile {
    /// Name within the snapshot's directory.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

impl SnapshotFile {
    /// Sorted tables never change once written: the same name within one attempt is the same content. Other files (`MANIFEST`,
    /// `CURRENT`, `OPTIONS`) differ between snapshots.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|extension| extension == "sst")
    }
}

impl Snapshot {
    pub(crate) fn of(dir: PathBuf) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::attempt(format!("cannot list snapshot {}: {error}", dir.display()));
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| Failure::attempt(format!("snapshot {}: odd file name {}", dir.display(), name.display())))?;
            files.push(SnapshotFile { name, size: entry.metadata().map_err(failed)?.len() });
        }
        files.sort();
        Ok(Self { dir, files })
    }

    /// The directory that holds the files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files, by name.
    #[must_use]
    pub fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    /// Sum of the files' sizes, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(dir = %self.dir.display(), %error, "cannot remove a snapshot's links");
            }
            _ => {}
        }
    }
}
