//! Which checkpoints and files nobody needs any more.
//!
//! The one who clears away may be a zombie by now: paused, overtaken, and awake again in the middle of it. So what may go is
//! chosen such that it does no harm whenever it is done:
//!
//! 1. It begins only when the commit of N is confirmed. From then on no recovery can name a checkpoint older than N.
//! 2. Only manifests with numbers below N go. Those above may be a successor's. What dead attempts have left above N goes after
//!    the next commit: an attempt's first number is above everything that it saw in storage.
//! 3. A file carries the number of the checkpoint that it was uploaded for, and only files with numbers below N go, if no kept
//!    or newer manifest names them. A successor's new files have higher numbers, and the older ones that it still uses are
//!    those of N, or were: what is not in N cannot be in what is built on N.
//!
//! This grace is a number, not a time: no clock is compared with the clock of a storage.

use super::{
    CheckpointId,
    mutant::{self, Mutant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

/// What matters here of a manifest in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<F> {
    /// The committed checkpoint that it builds on.
    pub base: Option<CheckpointId>,
    /// Somebody asked for it: it stays until somebody deletes it.
    pub savepoint: bool,
    /// Its files.
    pub files: BTreeSet<F>,
}

/// What is in storage. Manifests and files are listed in this order, so that the files of each listed manifest are listed too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory<F> {
    /// All manifests.
    pub manifests: BTreeMap<CheckpointId, Listed<F>>,
    /// All markers.
    pub markers: BTreeSet<CheckpointId>,
    /// All files, each with the number of the checkpoint that it was uploaded for.
    pub files: BTreeMap<F, CheckpointId>,
}

/// What may be deleted. In this order: a crash in between then leaves files without a manifest, never the other way round.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Garbage<F: Ord> {
    /// Manifests.
    pub manifests: BTreeSet<CheckpointId>,
    /// Markers.
    pub markers: BTreeSet<CheckpointId>,
    /// Files.
    pub files: BTreeSet<F>,
}

/// What may go, once the commit of `committed` is confirmed. `retained` counts committed checkpoints, the newest included;
/// savepoints come on top.
#[must_use]
pub fn collect<F: Ord + Clone>(inventory: &Inventory<F>, committed: CheckpointId, retained: NonZeroU32) -> Garbage<F> {
    let kept = kept(inventory, committed, retained);
    let mine = |number: &CheckpointId| *number < committed || mutant::on(Mutant::NewerCheckpointsDeleted) && *number != committed;
    let goes = |number: &CheckpointId| mine(number) && !kept.contains(number);
    let manifests: BTreeSet<_> = inventory.manifests.keys().filter(|number| goes(number)).copied().collect();
    let markers = inventory.markers.iter().filter(|number| goes(number)).copied().collect();
    let stays = inventory.manifests.iter().filter(|(number, _)| !manifests.contains(number));
    let needed: BTreeSet<&F> = stays.flat_map(|(_, manifest)| &manifest.files).collect();
    let old = |number: &CheckpointId| *number < committed || mutant::on(Mutant::FilesOfOthersDeleted);
    let files = inventory.files.iter().filter(|(file, number)| old(number) && !needed.contains(file));
    Garbage { manifests, markers, files: files.map(|(file, _)| file.clone()).collect() }
}

/// The committed checkpoint, what it builds on, and so on, as many as are retained; and all savepoints. A manifest that is not
/// in this chain was never committed, whatever its number.
fn kept<F>(inventory: &Inventory<F>, committed: CheckpointId, retained: NonZeroU32) -> BTreeSet<CheckpointId> {
    let savepoints =
        inventory.manifests.iter().filter(|(_, manifest)| manifest.savepoint && !mutant::on(Mutant::SavepointsDeleted));
    let mut kept: BTreeSet<_> = savepoints.map(|(number, _)| *number).collect();
    let mut next = Some(committed);
    for _ in 0..retained.get() {
        let Some(number) = next else { break };
        kept.insert(number);
        next = inventory.manifests.get(&number).and_then(|manifest| manifest.base);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(number: u64, base: Option<u64>, files: &[(&'static str, u64)]) -> (CheckpointId, Listed<&'static str>) {
        let files = files.iter().map(|(name, _)| *name).collect();
        (CheckpointId(number), Listed { base: base.map(CheckpointId), savepoint: false, files })
    }

    /// Committed: 1 - 2 - 4 - 5. Number 3 and 6 were never committed.
    fn storage() -> Inventory<&'static str> {
        Inventory {
            manifests: [
                manifest(1, None, &[("a", 1)]),
                manifest(2, Some(1), &[("a", 1), ("b", 2)]),
                manifest(3, Some(2), &[("b", 2), ("dead", 3)]),
                manifest(4, Some(2), &[("b", 2), ("c", 4)]),
                manifest(5, Some(4), &[("c", 4), ("d", 5)]),
                manifest(6, Some(5), &[("d", 5), ("e", 6)]),
            ]
            .into(),
            markers: [1, 2, 4].map(CheckpointId).into(),
            files: [("a", 1), ("b", 2), ("dead", 3), ("c", 4), ("d", 5), ("e", 6), ("torn", 4), ("coming", 5), ("next", 7)]
                .map(|(name, number)| (name, CheckpointId(number)))
                .into(),
        }
    }

    fn collected(inventory: &Inventory<&'static str>, committed: u64, retained: u32) -> (Vec<u64>, Vec<&'static str>) {
        let garbage = collect(inventory, CheckpointId(committed), NonZeroU32::new(retained).unwrap());
        (garbage.manifests.iter().map(|number| number.0).collect(), garbage.files.into_iter().collect())
    }

    #[test]
    fn what_only_older_checkpoints_need_goes() {
        assert_eq!(collected(&storage(), 5, 1), (vec![1, 2, 3, 4], vec!["a", "b", "dead", "torn"]));
    }

    #[test]
    fn retained_counts_committed_checkpoints_only() {
        assert_eq!(collected(&storage(), 5, 2), (vec![1, 2, 3], vec!["a", "dead", "torn"]));
        assert_eq!(collected(&storage(), 5, 3), (vec![1, 3], vec!["dead", "torn"]));
        assert_eq!(collected(&storage(), 5, 99), (vec![3], vec!["dead", "torn"]));
    }

    #[test]
    fn a_zombie_touches_nothing_that_came_after_its_commit() {
        assert_eq!(collected(&storage(), 2, 1), (vec![1], vec![]));
    }

    #[test]
    fn a_savepoint_stays_with_its_files() {
        let mut inventory = storage();
        inventory.manifests.get_mut(&CheckpointId(1)).unwrap().savepoint = true;
        assert_eq!(collected(&inventory, 5, 1), (vec![2, 3, 4], vec!["b", "dead", "torn"]));
    }

    #[test]
    fn markers_go_with_their_manifests() {
        let garbage = collect(&storage(), CheckpointId(5), NonZeroU32::MIN);
        assert_eq!(garbage.markers, [1, 2, 4].map(CheckpointId).into());
    }
}
