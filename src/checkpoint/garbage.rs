//! Garbage collection: what the kept checkpoints do not need goes.
//!
//! Listed before a commit, deleted after it: see rule 4 of the [room](super). The store is listed once per attempt; from then
//! on the manifests that this attempt commits say what goes. Manifests are deleted before their files, so that a crash in the
//! middle leaves files without a manifest, never a manifest without its files; the next attempt's list finds them.

use super::{layout::Layout, manifest::Manifest, storage::Storage};
use crate::protocol::{CheckpointId, Failure};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Committed checkpoints to keep, the newest included.
    pub retained: NonZeroU32,
    /// What dead attempts left behind is deleted only when it is older than this. Safety does not need it (rule 4 does); it
    /// leaves people time to look.
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
    /// Manifests and markers that may be there.
    numbers: BTreeSet<CheckpointId>,
    /// What is known of manifests that may be kept.
    known: BTreeMap<CheckpointId, Known>,
    /// Files that go as soon as no kept manifest names them, with the earliest time.
    candidates: BTreeMap<String, Instant>,
    /// Unfinished uploads of dead attempts, which a store does not list.
    torn: Vec<PathBuf>,
}

/// What a manifest says that matters here.
#[derive(Debug)]
struct Known {
    base: Option<CheckpointId>,
    files: BTreeSet<String>,
}

impl Known {
    fn of(manifest: &Manifest) -> Self {
        Self {
            base: manifest.base.map(|base| base.checkpoint),
            files: manifest.files.iter().map(super::StateFile::object_name).collect(),
        }
    }
}

impl Collector {
    /// A collector that has not looked yet.
    #[must_use]
    pub fn new(storage: Storage, retention: Retention) -> Self {
        Self {
            storage,
            retention,
            surveyed: false,
            numbers: BTreeSet::new(),
            known: BTreeMap::new(),
            candidates: BTreeMap::new(),
            torn: Vec::new(),
        }
    }

    /// Lists what is in storage, once. Call it after this attempt fenced all others and **before** it asks for a commit: what
    /// it finds and what is not ours then belongs to attempts that can never commit again.
    ///
    /// # Errors
    /// As any read of the storage; the next call tries again. Going on without is safe, garbage then stays.
    pub fn survey(&mut self) -> Result<(), Failure> {
        if self.surveyed {
            return Ok(());
        }
        let storage = &self.storage;
        let mut numbers: BTreeSet<_> = storage.list_manifests()?.into_iter().collect();
        let markers = storage.list(&storage.layout().markers())?;
        numbers.extend(markers.iter().filter_map(|meta| Layout::marker_number(&meta.location)));
        let ours = format!("-{}", storage.attempt());
        let (now, today) = (Instant::now(), SystemTime::now());
        let mut candidates = BTreeMap::new();
        for meta in storage.list(&storage.layout().files())? {
            let Some(name) = meta.location.filename().filter(|name| !name.ends_with(&ours)) else { continue };
            let age = today.duration_since(meta.last_modified.into()).unwrap_or_default();
            candidates.insert(name.to_owned(), now + self.retention.grace.saturating_sub(age));
        }
        self.torn = storage.torn_uploads(self.retention.grace);
        self.numbers.extend(numbers);
        self.candidates.extend(candidates);
        self.surveyed = true;
        Ok(())
    }

    /// Deletes what `committed` and the checkpoints kept before it do not need. Call it only after Kafka (or, without Kafka,
    /// the marker) has confirmed the commit of `committed`, for each checkpoint in turn.
    pub fn confirmed(&mut self, committed: &Manifest) -> Collected {
        let mut done = Collected::default();
        let newest = committed.checkpoint;
        self.numbers.insert(newest);
        self.known.insert(newest, Known::of(committed));
        let kept = match self.kept(newest) {
            Ok(kept) => kept,
            Err(failure) => {
                done.postponed.push(failure.message);
                return done;
            }
        };
        self.delete_manifests(newest, &kept, &mut done);
        if done.postponed.is_empty() {
            self.delete_files(&mut done);
        }
        self.torn.retain(|path| match std::fs::remove_file(path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                done.postponed.push(format!("{}: {why}", path.display()));
                true
            }
            _ => false,
        });
        done
    }

    /// The committed checkpoints to keep: `newest`, what it builds on, and so on. A manifest that is not in this chain was
    /// never committed, whatever its number.
    fn kept(&mut self, newest: CheckpointId) -> Result<BTreeSet<CheckpointId>, Failure> {
        let mut kept = BTreeSet::new();
        let mut next = Some(newest);
        while let Some(checkpoint) = next.filter(|_| kept.len() < self.retention.retained.get() as usize) {
            if !self.known.contains_key(&checkpoint) {
                if !self.storage.has_manifest(checkpoint)? {
                    break;
                }
                let (manifest, _) = self.storage.read_manifest(checkpoint)?;
                self.known.insert(checkpoint, Known::of(&manifest));
            }
            // A base has a lower number; anything else would be a circle.
            let base = self.known.get(&checkpoint).and_then(|known| known.base);
            next = base.filter(|base| *base < checkpoint);
            kept.insert(checkpoint);
        }
        Ok(kept)
    }

    /// Only numbers below the committed one go: no attempt will ever write one of them again.
    fn delete_manifests(&mut self, newest: CheckpointId, kept: &BTreeSet<CheckpointId>, done: &mut Collected) {
        let expired: Vec<_> = self.numbers.range(..newest).filter(|number| !kept.contains(number)).copied().collect();
        if expired.is_empty() {
            return;
        }
        let layout = self.storage.layout();
        let manifests: Vec<_> = expired.iter().map(|number| layout.manifest(*number)).collect();
        let markers: Vec<_> = expired.iter().map(|number| layout.marker(*number)).collect();
        let mut gone = self.storage.delete_all(&manifests);
        // The manifests must be gone for good before the first of their files is.
        if let Err(failure) = manifests.iter().take(1).try_for_each(|manifest| self.storage.sync_parent(manifest)) {
            gone = expired.iter().map(|_| Err(failure.clone())).collect();
        }
        let unmarked = self.storage.delete_all(&markers);
        for ((number, gone), unmarked) in expired.into_iter().zip(gone).zip(unmarked) {
            match gone.and(unmarked) {
                Ok(()) => {
                    done.manifests.push(number);
                    self.numbers.remove(&number);
                    let files = self.known.remove(&number).map(|known| known.files).unwrap_or_default();
                    self.candidates.extend(files.into_iter().map(|name| (name, Instant::now())));
                }
                Err(failure) => done.postponed.push(failure.message),
            }
        }
    }

    fn delete_files(&mut self, done: &mut Collected) {
        let needed: HashSet<&str> = self.known.values().flat_map(|known| &known.files).map(String::as_str).collect();
        let now = Instant::now();
        let due = self.candidates.iter().filter(|(name, from)| **from <= now && !needed.contains(name.as_str()));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        let paths: Vec<_> = due.iter().map(|name| self.storage.layout().file(name)).collect();
        for (name, gone) in due.iter().zip(self.storage.delete_all(&paths)) {
            match gone {
                Ok(()) => {
                    done.files += 1;
                    self.candidates.remove(name);
                }
                Err(failure) => done.postponed.push(failure.message),
            }
        }
    }
}
