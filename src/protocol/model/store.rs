//! A checkpoint storage whose puts may fail, or seem to fail and arrive later.

use super::{PARTITIONS, Partition};
use crate::protocol::{
    CheckpointId, ManifestHash, Positions,
    garbage::{Garbage, Inventory, Listed},
    mutant::{Mutant, on},
    recovery::StoredManifest,
};
use std::collections::{BTreeMap, BTreeSet};

/// State of one partition's records: those below `folded`. The rest is the name: nobody else writes one like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct File {
    pub(super) partition: Partition,
    pub(super) folded: u8,
    pub(super) number: u8,
    pub(super) attempt: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Manifest {
    /// Stands for the bytes: no two attempts write the same ones.
    pub(super) hash: u8,
    pub(super) base: Option<u8>,
    pub(super) positions: [Option<u8>; PARTITIONS],
    pub(super) pool: u8,
    pub(super) files: [File; PARTITIONS],
    pub(super) savepoint: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Store {
    pub(super) manifests: BTreeMap<u8, Manifest>,
    pub(super) markers: BTreeMap<u8, u8>,
    pub(super) files: BTreeSet<File>,
    /// Puts of manifests that their writer has given up, and that may still arrive.
    pub(super) late: BTreeSet<(u8, Manifest)>,
    /// Only for the invariant: savepoints whose commit was confirmed, with their hash.
    pub(super) savepoints: BTreeMap<u8, u8>,
}

pub(super) fn number(number: u8) -> CheckpointId {
    CheckpointId(u64::from(number))
}

pub(super) fn small(number: CheckpointId) -> u8 {
    u8::try_from(number.0).expect("the model's numbers are small")
}

pub(super) fn hash(hash: u8) -> ManifestHash {
    ManifestHash([hash; 32])
}

impl Store {
    /// Puts a manifest if there is none of that number. Says whether it did.
    pub(super) fn put(&mut self, number: u8, manifest: Manifest) -> bool {
        if self.manifests.contains_key(&number) && !on(Mutant::ManifestOverwritten) {
            return false;
        }
        self.manifests.insert(number, manifest);
        true
    }

    /// What recovery reads.
    pub(super) fn listed(&self) -> BTreeMap<CheckpointId, Result<StoredManifest, String>> {
        let read = |manifest: &Manifest| StoredManifest {
            hash: hash(manifest.hash),
            base: manifest.base.map(number),
            positions: positions(&manifest.positions),
            only_here: BTreeSet::new(),
            anchor: None,
            transactional_ids: super::ids(manifest.pool).into_iter().collect(),
            from: None,
        };
        self.manifests.iter().map(|(id, manifest)| (number(*id), Ok(read(manifest)))).collect()
    }

    /// What garbage collection lists.
    pub(super) fn inventory(&self) -> Inventory<File> {
        let listed = |manifest: &Manifest| Listed {
            base: manifest.base.map(number),
            savepoint: manifest.savepoint,
            files: manifest.files.into(),
        };
        Inventory {
            manifests: self.manifests.iter().map(|(id, manifest)| (number(*id), listed(manifest))).collect(),
            markers: self.markers.keys().copied().map(number).collect(),
            files: self.files.iter().map(|file| (*file, number(file.number))).collect(),
        }
    }

    pub(super) fn delete_manifests(&mut self, garbage: &Garbage<File>) {
        self.manifests.retain(|id, _| !garbage.manifests.contains(&number(*id)));
        self.markers.retain(|id, _| !garbage.markers.contains(&number(*id)));
    }

    pub(super) fn delete_files(&mut self, garbage: &Garbage<File>) {
        self.files.retain(|file| !garbage.files.contains(file));
    }
}

/// The names that the core uses.
pub(super) fn positions(offsets: &[Option<u8>; PARTITIONS]) -> Positions {
    let named = super::input().into_iter().zip(offsets);
    named.filter_map(|(partition, offset)| Some((partition, i64::from((*offset)?)))).collect()
}

/// The model's names.
pub(super) fn offsets(positions: &Positions) -> [Option<u8>; PARTITIONS] {
    super::input().map(|partition| positions.get(&partition).map(|offset| u8::try_from(*offset).expect("small")))
}
