//! Garbage collection: what the kept checkpoints do not need goes.
//!
//! What may go is decided by [`protocol::garbage`](crate::protocol::garbage), out of an inventory; here the inventory is kept and
//! the decision is carried out. The store is listed once per attempt; from then on the manifests that this attempt commits say
//! what came. Manifests are deleted before their files, so that a crash in the middle leaves files without a manifest, never
//! a manifest without its files; the next attempt's list finds them.

use super::{
    holdings::Holdings,
    layout::Layout,
    manifest::{Manifest, Reason},
    storage::Storage,
};
use crate::protocol::{
    CheckpointId, Failure, FailureKind,
    garbage::{Inventory, Listed, collect},
};
use object_store::path::Path as ObjectPath;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Committed checkpoints to keep, the newest included. Savepoints come on top.
    pub retained: NonZeroU32,
    /// What dead attempts left behind is deleted only when it is older than this. Safety does not need it; it leaves people time
    /// to look.
    pub grace: Duration,
}

/// What one round deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests deleted.
    pub manifests: Vec<CheckpointId>,
    /// Files deleted.
    pub files: usize,
    /// What could not be done now; it is tried again in the next round.
    pub postponed: Vec<String>,
}

/// Collects the garbage of one job for one attempt. Correctness does not need any of it, so that its failures are reported,
/// not raised.
#[derive(Debug)]
pub struct Collector {
    storage: Storage,
    retention: Retention,
    surveyed: bool,
    /// What is in storage and could be read, but for this attempt's files that no manifest names yet.
    inventory: Inventory<String>,
    /// Bytes of the files in it.
    sizes: HashMap<String, u64>,
    /// Files that are still too young.
    young: HashMap<String, Instant>,
    /// Unfinished uploads of dead attempts, which a store does not list.
    torn: Vec<PathBuf>,
}

impl Collector {
    /// A collector that has not looked yet.
    #[must_use]
    pub fn new(storage: Storage, retention: Retention) -> Self {
        let inventory = Inventory { manifests: BTreeMap::new(), markers: BTreeSet::new(), files: BTreeMap::new() };
        Self { storage, retention, surveyed: false, inventory, sizes: HashMap::new(), young: HashMap::new(), torn: Vec::new() }
    }

    /// Lists what is in storage, and reads all manifests, once. Without it nothing is collected; when it was not called or has
    /// failed, [`Collector::confirmed`] does it.
    ///
    /// # Errors
    /// As any read of the storage; the next call tries again.
    pub fn survey(&mut self) -> Result<(), Failure> {
        if self.surveyed {
            return Ok(());
        }
        let storage = &self.storage;
        let ours = format!("-{}", storage.attempt());
        let (now, today) = (Instant::now(), SystemTime::now());
        // Files first: then every manifest that names one of them is listed, too.
        let mut files = BTreeMap::new();
        let mut young = HashMap::new();
        for meta in storage.list(&storage.layout().files())? {
            let Some(name) = meta.location.filename().filter(|name| !name.ends_with(&ours)) else { continue };
            // Not a name of ours: somebody else's business.
            let Some(number) = Layout::file_number(name) else { continue };
            let age = today.duration_since(meta.last_modified.into()).unwrap_or_default();
            young.insert(name.to_owned(), now + self.retention.grace.saturating_sub(age));
            files.insert(name.to_owned(), number);
            self.sizes.insert(name.to_owned(), meta.size);
        }
        let mut manifests = BTreeMap::new();
        for number in storage.list_manifests()? {
            match storage.read_manifest(number) {
                Ok((manifest, _)) => drop(manifests.insert(number, listed(&manifest))),
                Err(failure) if failure.kind == FailureKind::Refused => {
                    if storage.has_manifest(number)? {
                        // Of another version, or damaged: it may be somebody's savepoint, so that nothing it may name goes.
                        tracing::warn!(%failure, "a manifest that cannot be read is kept, with all files up to its number");
                        files.retain(|_, uploaded_for| *uploaded_for > number);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        let markers = storage.list(&storage.layout().markers())?;
        self.inventory.markers.extend(markers.iter().filter_map(|meta| Layout::marker_number(&meta.location)));
        // What this attempt has committed meanwhile is known better.
        manifests.append(&mut self.inventory.manifests);
        files.append(&mut self.inventory.files);
        (self.inventory.manifests, self.inventory.files, self.young) = (manifests, files, young);
        self.torn = storage.torn_uploads(self.retention.grace);
        self.surveyed = true;
        Ok(())
    }

    /// Deletes what `committed` and the checkpoints kept before it do not need. Call it only after Kafka (or, without Kafka,
    /// the marker) has confirmed the commit of `committed`, for each checkpoint in turn.
    pub fn confirmed(&mut self, committed: &Manifest) -> Collected {
        let mut done = Collected::default();
        self.learn(committed);
        self.inventory.markers.insert(committed.checkpoint);
        if let Err(failure) = self.survey().and_then(|()| self.learn_base(committed)) {
            done.postponed.push(failure.message);
            return done;
        }
        let garbage = collect(&self.inventory, committed.checkpoint, self.retention.retained);
        let manifests: Vec<_> = garbage.manifests.into_iter().collect();
        for (number, gone) in manifests.iter().zip(self.delete_manifests(&manifests)) {
            match gone {
                Ok(()) => {
                    self.inventory.manifests.remove(number);
                    done.manifests.push(*number);
                }
                Err(failure) => done.postponed.push(failure.message),
            }
        }
        if !done.postponed.is_empty() {
            return done;
        }
        let markers: Vec<_> = garbage.markers.into_iter().collect();
        let paths: Vec<_> = markers.iter().map(|number| self.storage.layout().marker(*number)).collect();
        for (number, gone) in markers.iter().zip(self.storage.delete_all(&paths)) {
            match gone {
                Ok(()) => drop(self.inventory.markers.remove(number)),
                Err(failure) => done.postponed.push(failure.message),
            }
        }
        let now = Instant::now();
        let due = garbage.files.into_iter().filter(|name| self.young.get(name).is_none_or(|from| *from <= now));
        let files: Vec<_> = due.collect();
        let paths: Vec<_> = files.iter().map(|name| self.storage.layout().file(name)).collect();
        for (name, gone) in files.iter().zip(self.storage.delete_all(&paths)) {
            match gone {
                Ok(()) => {
                    done.files += 1;
                    self.inventory.files.remove(name);
                    self.sizes.remove(name);
                    self.young.remove(name);
                }
                Err(failure) => done.postponed.push(failure.message),
            }
        }
        self.delete_torn(&mut done);
        done
    }

    /// What is in storage, as far as this attempt knows: it does not look again. What it uploaded for checkpoints that have failed is
    /// found by the next attempt only.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let manifests = self.inventory.manifests.values();
        let referenced = manifests.flat_map(|manifest| &manifest.files).map(String::as_str).collect();
        let size = |name: &String| self.sizes.get(name).copied().unwrap_or_default();
        Holdings::count(self.inventory.files.keys().map(|name| (name.as_str(), size(name))), &referenced)
    }

    fn learn(&mut self, manifest: &Manifest) {
        let known = listed(manifest);
        let named = known.files.iter().filter_map(|name| Some((name.clone(), Layout::file_number(name)?)));
        self.inventory.files.extend(named);
        self.sizes.extend(manifest.files.iter().map(|file| (file.object_name(), file.size)));
        self.inventory.manifests.insert(manifest.checkpoint, known);
    }

    /// A checkpoint of this attempt that nobody told us of, since its marker could not be written: without it the chain of
    /// committed checkpoints would end here.
    fn learn_base(&mut self, committed: &Manifest) -> Result<(), Failure> {
        let mut next = committed.base.map(|base| base.checkpoint);
        while let Some(number) = next.filter(|number| !self.inventory.manifests.contains_key(number)) {
            if !self.storage.has_manifest(number)? {
                break;
            }
            let (manifest, _) = self.storage.read_manifest(number)?;
            next = manifest.base.map(|base| base.checkpoint).filter(|base| *base < number);
            self.learn(&manifest);
        }
        Ok(())
    }

    /// Deletes manifests, for good before the first of their files is.
    fn delete_manifests(&self, numbers: &[CheckpointId]) -> Vec<Result<(), Failure>> {
        let paths: Vec<ObjectPath> = numbers.iter().map(|number| self.storage.layout().manifest(*number)).collect();
        let gone = self.storage.delete_all(&paths);
        match paths.first().map_or(Ok(()), |path| self.storage.sync_parent(path)) {
            Ok(()) => gone,
            Err(failure) => numbers.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    fn delete_torn(&mut self, done: &mut Collected) {
        self.torn.retain(|path| match std::fs::remove_file(path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                done.postponed.push(format!("{}: {why}", path.display()));
                true
            }
            _ => false,
        });
    }
}

/// What the rules of garbage collection ask of a manifest.
fn listed(manifest: &Manifest) -> Listed<String> {
    Listed {
        base: manifest.base.map(|base| base.checkpoint),
        savepoint: manifest.reason == Reason::Savepoint,
        files: manifest.files.iter().map(super::StateFile::object_name).collect(),
    }
}
