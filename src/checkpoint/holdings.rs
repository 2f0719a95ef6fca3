//! What a job's files take in its checkpoint storage.

use super::{layout::Layout, manifest::Manifest, storage::Storage};
use crate::protocol::Failure;
use serde::Serialize;
use std::collections::BTreeSet;

/// Files and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// The state files of a job in its storage. Manifests and marks are small beside them; savepoints are storages of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Holdings {
    /// What the checkpoints name that are there, each file once.
    pub referenced: Amount,
    /// What none of them names: it is on its way into one, or is cleared away after a later commit.
    pub unreferenced: Amount,
}

impl Holdings {
    /// Counts `files`, each with its size.
    pub(super) fn count<'f>(files: impl IntoIterator<Item = (&'f str, u64)>, referenced: &BTreeSet<&str>) -> Self {
        let mut holdings = Self::default();
        for (name, bytes) in files {
            let amount = match referenced.contains(name) {
                true => &mut holdings.referenced,
                false => &mut holdings.unreferenced,
            };
            amount.files += 1;
            amount.bytes += bytes;
        }
        holdings
    }
}

impl Storage {
    /// Lists the files that are in the storage, and counts them as `manifests` name them.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn holdings<'m>(&self, manifests: impl IntoIterator<Item = &'m Manifest>) -> Result<Holdings, Failure> {
        let names: Vec<String> =
            manifests.into_iter().flat_map(|manifest| &manifest.files).map(super::StateFile::object_name).collect();
        let referenced = names.iter().map(String::as_str).collect();
        let listed = self.list(&self.layout().files())?;
        // Another name is somebody else's business.
        let ours = listed.iter().filter_map(|meta| Some((meta.location.filename()?, meta.size)));
        Ok(Holdings::count(ours.filter(|(name, _)| Layout::file_number(name).is_some()), &referenced))
    }
}
