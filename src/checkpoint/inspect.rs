//! Looking into the storage without the job: which checkpoint is meant, and whether all of it is there.

use super::{
    explain::{Class, Trouble},
    manifest::{Manifest, StateFile},
    restore::{RestoreProgress, Source},
    storage::Storage,
};
use crate::protocol::{CheckpointId, Failure, FailureKind, ManifestHash, ManifestRef};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// Numbers that an error lists at most.
const SHOWN: usize = 20;

/// A checkpoint as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is in it.
    pub manifest: Manifest,
    /// Its number, and the hash of its manifest's bytes.
    pub reference: ManifestRef,
    /// Whether it is marked as committed.
    pub committed: bool,
    /// Path or URL of the manifest.
    pub object: String,
}

/// A file that keeps a checkpoint from being restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, as the manifest has it.
    pub file: StateFile,
    /// Path or URL of the object.
    pub object: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Nothing lies under its name.
    Missing,
    /// Its size or hash is not the manifest's; in words, with both.
    Damaged(String),
}

impl Storage {
    /// The checkpoint `wanted`; without a number the newest one that is marked as committed, and where none is marked, the newest.
    /// The manifest's hash is compared with the mark, or, where that is missing, with what a checkpoint that was built on it says.
    ///
    /// # Errors
    /// Fatal: there is no such checkpoint, or none at all. Refused: its manifest is missing, damaged, or of a newer format.
    pub fn find(&self, wanted: Option<CheckpointId>) -> Result<Found, Failure> {
        if let Some(wanted) = wanted {
            let marks = self.marks()?;
            return match self.found(wanted, &marks) {
                // With a mark it was there once, and is missing.
                Err(failure)
                    if failure.kind == FailureKind::Refused && !marks.contains_key(&wanted) && !self.has_manifest(wanted)? =>
                {
                    Err(self.unknown(wanted)?)
                }
                found => found,
            };
        }
        loop {
            let (number, marks) = self.newest()?;
            match self.found(number, &marks) {
                // A running job may have gone on, and cleared it away since it was listed.
                Err(failure) if failure.kind == FailureKind::Refused && self.newest()?.0 != number => {}
                found => return found,
            }
        }
    }

    /// Reads every file of `manifest` and compares size and hash; gives those that are not what the manifest says, by name.
    /// `within` bounds the time for each file: all together take as long as they take.
    ///
    /// # Errors
    /// Transient: storage away, or a file not read in time. Fatal: reading is not permitted.
    pub fn examine(
        &self,
        manifest: &Manifest,
        within: Duration,
        progress: &(dyn Fn(RestoreProgress) + Sync),
    ) -> Result<Vec<Damage>, Failure> {
        let (files_done, bytes_done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let one = |(file, source): (&StateFile, Source)| {
            let file = file.clone();
            let (files_done, bytes_done) = (&files_done, &bytes_done);
            async move {
                let deadline = tokio::time::Instant::now() + within;
                let read = tokio::time::timeout_at(deadline, self.read_file(&file, source, None, deadline)).await;
                let read = read.unwrap_or_else(|_| Err(Trouble::new(Class::Passing, format!("not done within {within:?}"))));
                let problem = match read {
                    Ok(_) => None,
                    Err(trouble) => match trouble.class {
                        Class::Missing => Some(Problem::Missing),
                        Class::Damaged => Some(Problem::Damaged(trouble.to_string())),
                        _ => return Err(self.lost(trouble, manifest, &file)),
                    },
                };
                progress(RestoreProgress {
                    files_done: files_done.fetch_add(1, Ordering::Relaxed) + 1,
                    files: manifest.files.len(),
                    bytes_done: bytes_done.fetch_add(file.size, Ordering::Relaxed) + file.size,
                    bytes: manifest.total_bytes,
                });
                let object = self.show(&self.layout().file(&file.object_name()));
                Ok(problem.map(|problem| Damage { file, object, problem }))
            }
        };
        let (at_a_time, sources) = (self.files_at_a_time(), self.sources(manifest));
        let all = stream::iter(sources).map(one).buffer_unordered(at_a_time).try_collect();
        let examined: Vec<Option<Damage>> = self.block_on(all, || Failure::attempt("given up: the attempt has ended"))?;
        let mut damaged: Vec<Damage> = examined.into_iter().flatten().collect();
        damaged.sort_by(|a, b| a.file.name.cmp(&b.file.name));
        Ok(damaged)
    }

    /// Number of the newest marked checkpoint, or of the newest where none is marked; with all marks.
    fn newest(&self) -> Result<(CheckpointId, BTreeMap<CheckpointId, ManifestHash>), Failure> {
        let marks = self.marks()?;
        let newest = match marks.last_key_value() {
            Some((marked, _)) => Some(*marked),
            None => self.list_manifests()?.pop(),
        };
        match newest {
            Some(newest) => Ok((newest, marks)),
            None => Err(Failure::fatal(format!("job {} has no checkpoint in {} yet", self.job(), self.folder()))),
        }
    }

    fn found(&self, number: CheckpointId, marks: &BTreeMap<CheckpointId, ManifestHash>) -> Result<Found, Failure> {
        let (manifest, reference) = self.read_manifest(number)?;
        let object = self.show(&self.layout().manifest(number));
        let marked = marks.get(&number).copied();
        let vouched = match marked {
            Some(hash) => Some((hash, "its mark as committed".to_owned())),
            None => self.vouched_by_successor(number)?,
        };
        if let Some((hash, by)) = vouched.filter(|(hash, _)| *hash != reference.hash) {
            return Err(Failure::refused(format!(
                "manifest {object} has hash {}, but {by} says {}: it was changed or damaged",
                reference.hash.short(),
                hash.short()
            )));
        }
        Ok(Found { manifest, reference, committed: marked.is_some(), object })
    }

    /// The hash of manifest `number` that a later checkpoint was built on.
    fn vouched_by_successor(&self, number: CheckpointId) -> Result<Option<(ManifestHash, String)>, Failure> {
        for later in self.list_manifests()?.into_iter().filter(|later| *later > number) {
            match self.read_manifest(later) {
                Ok((manifest, _)) => {
                    if let Some(base) = manifest.base.filter(|base| base.checkpoint == number) {
                        return Ok(Some((base.hash, format!("checkpoint {later}, which was built on it,"))));
                    }
                }
                // Damaged, or cleared away since: it vouches for nothing.
                Err(failure) if failure.kind == FailureKind::Refused => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    fn unknown(&self, wanted: CheckpointId) -> Result<Failure, Failure> {
        let all = self.list_manifests()?;
        let newest: Vec<String> = all.iter().rev().take(SHOWN).rev().map(ToString::to_string).collect();
        let there = match newest.as_slice() {
            [] => "there is none yet".to_owned(),
            shown if shown.len() < all.len() => format!("the newest of {} are {}", all.len(), shown.join(", ")),
            shown => format!("there are {}", shown.join(", ")),
        };
        Ok(Failure::fatal(format!("job {} has no checkpoint {wanted} in {}: {there}", self.job(), self.folder())))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Uploaded,
            conformance::{MINUTE, Place, checkpoint},
        },
        *,
    };

    const FIRST: &[(&str, &[u8])] = &[("000007.sst", b"rows"), ("000008.sst", b"more rows"), ("CURRENT", b"MANIFEST-000005\n")];

    #[test]
    fn the_newest_marked_checkpoint_is_meant_when_none_is_named() {
        for place in Place::all() {
            // given two checkpoints that are not marked
            let storage = place.attempt("one");
            let none = storage.find(None).unwrap_err();
            assert!(none.kind == FailureKind::Fatal && none.message.contains("no checkpoint"), "{}: {none}", place.name);
            let mut uploaded = Uploaded::nothing();
            let (first, marked) = checkpoint(&storage, &mut uploaded, 4, None, &place.snapshot("4", FIRST)).unwrap();
            let (second, _) = checkpoint(&storage, &mut uploaded, 5, Some(marked), &place.snapshot("5", FIRST)).unwrap();
            // then the newest is meant, and once one is marked, that
            let found = storage.find(None).unwrap();
            assert_eq!((&found.manifest, found.committed), (&second, false), "{}", place.name);
            storage.put_marker(marked).unwrap();
            let found = storage.find(None).unwrap();
            assert_eq!((&found.manifest, found.committed, found.reference), (&first, true, marked), "{}", place.name);
            // and each can be named
            assert_eq!(storage.find(Some(CheckpointId(5))).unwrap().manifest, second, "{}", place.name);
            let unknown = storage.find(Some(CheckpointId(6))).unwrap_err();
            assert_eq!(unknown.kind, FailureKind::Fatal, "{}", place.name);
            assert!(unknown.message.contains("no checkpoint 6") && unknown.message.contains("there are 4, 5"), "{unknown}");
            // and when its manifest is missing, no other one is taken in its place
            place.delete("manifests/00000000000000000004.json");
            for wanted in [None, Some(CheckpointId(4))] {
                let missing = storage.find(wanted).unwrap_err();
                assert_eq!(missing.kind, FailureKind::Refused, "{}: {missing}", place.name);
                assert!(missing.message.contains("00000000000000000004.json"), "{missing}");
            }
        }
    }

    #[test]
    fn a_manifest_that_was_changed_is_noticed_by_its_mark_or_by_its_successor() {
        for place in Place::all() {
            let storage = place.attempt("one");
            let mut uploaded = Uploaded::nothing();
            let (mut manifest, first) = checkpoint(&storage, &mut uploaded, 1, None, &place.snapshot("1", FIRST)).unwrap();
            checkpoint(&storage, &mut uploaded, 2, Some(first), &place.snapshot("2", FIRST)).unwrap();
            manifest.group = "another".into();
            place.overwrite("manifests/00000000000000000001.json", &manifest.to_bytes().unwrap());
            let failure = storage.find(Some(CheckpointId(1))).unwrap_err();
            assert!(
                failure.kind == FailureKind::Refused && failure.message.contains("checkpoint 2"),
                "{}: {failure}",
                place.name
            );
            storage.put_marker(first).unwrap();
            let failure = storage.find(Some(CheckpointId(1))).unwrap_err();
            assert!(failure.kind == FailureKind::Refused && failure.message.contains("mark"), "{}: {failure}", place.name);
        }
    }

    #[test]
    fn every_damaged_and_missing_file_is_named() {
        for place in Place::all() {
            let storage = place.attempt("one");
            let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &place.snapshot("1", FIRST)).unwrap();
            let done = AtomicUsize::new(0);
            let count = |progress: RestoreProgress| {
                done.fetch_max(progress.files_done, Ordering::Relaxed);
            };
            assert_eq!(storage.examine(&manifest, MINUTE, &count).unwrap(), [], "{}", place.name);
            assert_eq!(done.into_inner(), 3, "{}", place.name);
            // when one has a wrong byte, one is shorter, and one is gone
            let object = |index: usize| format!("files/{}", manifest.files[index].object_name());
            place.overwrite(&object(0), b"rowz");
            place.overwrite(&object(1), b"more");
            place.delete(&object(2));
            // then all three are named, and what is wrong with each
            let damaged = storage.examine(&manifest, MINUTE, &|_| ()).unwrap();
            let names: Vec<&str> = damaged.iter().map(|damage| damage.file.name.as_str()).collect();
            assert_eq!(names, ["000007.sst", "000008.sst", "CURRENT"], "{}", place.name);
            assert!(damaged.iter().enumerate().all(|(index, damage)| damage.object.ends_with(&object(index))), "{damaged:?}");
            let words = |index: usize| match &damaged[index].problem {
                Problem::Damaged(words) => words.as_str(),
                Problem::Missing => "missing",
            };
            assert!(words(0).contains("its hash is") && words(1).contains("4 bytes, the manifest says 9"), "{damaged:?}");
            assert_eq!(words(2), "missing", "{}", place.name);
        }
    }
}
