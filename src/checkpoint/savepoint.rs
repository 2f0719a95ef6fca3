//! Savepoints: copies of committed checkpoints that belong to nobody but the person who asked for them.
//!
//! A savepoint is a checkpoint storage of its own with one checkpoint in it, so that whatever reads checkpoints reads savepoints:
//!
//! ```text
//! <parent>/<id>/<job>/job.json, manifests/<N>.json, files/…, committed/<N>      <id> = <N>-<eight hexadecimal digits>
//! ```
//!
//! It shares no file with the job's storage, so that the job's garbage collection has nothing to do with it, and can be copied with any
//! tool to any other storage. The marker is written last: without it a savepoint is not whole.

use super::{
    location::Location,
    manifest::{Manifest, Reason},
    restore::RestoreProgress,
    storage::{Executor, Storage, attempt_name},
    upload::Uploaded,
};
use crate::protocol::{CheckpointId, Failure, FailureKind, JobName, ManifestRef};
use std::{path::Path, time::Duration};

/// A committed checkpoint may be replaced by a newer one, and cleared away, while it is copied. So often the copy begins anew.
const TRIES: usize = 10;

/// A savepoint that is whole, opened for reading.
#[derive(Debug, Clone)]
pub struct Savepoint {
    /// Where it lies.
    pub location: Location,
    /// Its storage.
    pub storage: Storage,
    /// What it holds.
    pub manifest: Manifest,
    /// Its number and the hash of its manifest.
    pub reference: ManifestRef,
}

/// What a name in the folder of savepoints turned out to be.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub id: String,
    /// The savepoint, or why it is none.
    pub savepoint: Result<Savepoint, Failure>,
}

impl Savepoint {
    /// Where the savepoints of `job` lie unless another place is named.
    #[must_use]
    pub fn folder(storage: &Location, job: &JobName) -> Location {
        storage.below(job.as_str()).below("savepoints")
    }

    /// Copies a committed checkpoint of `from` (the newest one unless `wanted` names another) into a new place below `parent`. `staging` is an
    /// empty folder of this machine, where the files are brought together.
    ///
    /// # Errors
    /// Refused: nothing is committed, `wanted` is not there or not committed, or its files are damaged. Transient: a storage is away or
    /// full, or it was not done `within` the time for either half.
    pub fn create(
        from: &Storage,
        wanted: Option<CheckpointId>,
        parent: &Location,
        staging: &Path,
        within: Duration,
        executor: &Executor,
        progress: &(dyn Fn(RestoreProgress) + Sync),
    ) -> Result<Self, Failure> {
        let mut tried = 0;
        let (manifest, files) = loop {
            tried += 1;
            let manifest = committed(from, wanted)?;
            let files = staging.join(tried.to_string());
            match from.restore(&manifest, &files, within, progress) {
                Ok(_) => break (manifest, files),
                // Cleared away meanwhile by the job that runs: there is a newer one then.
                Err(failure) if failure.kind == FailureKind::Refused && wanted.is_none() && tried < TRIES => {
                    if committed(from, None)?.checkpoint == manifest.checkpoint {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
        };
        let location = parent.below(&format!("{}-{}", manifest.checkpoint, attempt_name()));
        let storage = Storage::open(&location, from.job(), executor.clone())?;
        let names: Vec<String> = manifest.files.iter().map(|file| file.name.clone()).collect();
        let report = storage.upload(manifest.checkpoint, &files, &names, &mut Uploaded::nothing(), within)?;
        let manifest = Manifest {
            base: None,
            reason: Reason::Savepoint,
            files: report.files,
            new_bytes: report.total_bytes,
            total_bytes: report.total_bytes,
            ..manifest
        };
        let reference = storage.put_manifest(&manifest)?;
        storage.put_marker(reference)?;
        Ok(Self { location, storage, manifest, reference })
    }

    /// Opens the savepoint at `location`.
    ///
    /// # Errors
    /// Refused: there is none, it is not whole, or of a newer format.
    pub fn open(location: &Location, executor: &Executor) -> Result<Self, Failure> {
        let jobs = Storage::jobs_in(location, executor)?;
        let [job] = jobs.as_slice() else {
            return Err(Failure::refused(format!(
                "{location} is no savepoint: it holds {} folders with a job.json, a savepoint holds one",
                jobs.len()
            )));
        };
        let storage = Storage::inspect(location, job, executor.clone())?;
        let markers = storage.markers()?;
        let [marked] = markers.as_slice() else {
            return Err(Failure::refused(match markers.len() {
                0 => format!("savepoint {location} is not whole: whoever made it was interrupted; delete it"),
                many => format!("{location} is no savepoint: {many} checkpoints are marked in it, a savepoint has one"),
            }));
        };
        let (manifest, reference) = storage.read_manifest(marked.checkpoint)?;
        if manifest.reason != Reason::Savepoint {
            return Err(Failure::refused(format!(
                "{location} is the checkpoint storage of job {job}, no savepoint; to make one: sluicegate savepoint create"
            )));
        }
        if reference != *marked {
            return Err(Failure::refused(format!(
                "savepoint {location}: its manifest has the hash {}, but {} is marked: it was changed",
                reference.hash.short(),
                marked.hash.short()
            )));
        }
        Ok(Self { location: location.clone(), storage, manifest, reference })
    }

    /// All below `parent`, the oldest checkpoint first.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn list(parent: &Location, executor: &Executor) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        for id in Storage::folders_in(parent, executor)? {
            let savepoint = Self::open(&parent.below(&id), executor);
            found.push(Found { id, savepoint });
        }
        found.sort_by_key(|found| (checkpoint_of(&found.id), found.id.clone()));
        Ok(found)
    }

    /// Deletes what lies at `location`, whole or not: the marker first, so that half of it is no savepoint. Says how many objects went.
    ///
    /// # Errors
    /// Refused: it is no savepoint. Others as any write; then it may be there in part, and can be deleted again.
    pub fn delete(location: &Location, executor: &Executor) -> Result<usize, Failure> {
        let jobs = Storage::jobs_in(location, executor)?;
        let [job] = jobs.as_slice() else {
            return Err(Failure::refused(format!("{location} is no savepoint: nothing is deleted")));
        };
        let storage = Storage::inspect(location, job, executor.clone())?;
        // A job's own storage looks much the same, and before its first commit like a savepoint that is not whole.
        let manifests = storage.list_manifests()?;
        let is_savepoint = match manifests.as_slice() {
            [] => Self::is_id(&location.name()),
            [only] => storage
                .read_manifest(*only)
                .map_or_else(|_| Self::is_id(&location.name()), |(manifest, _)| manifest.reason == Reason::Savepoint),
            _ => false,
        };
        if !is_savepoint {
            return Err(Failure::refused(format!(
                "{location} is the checkpoint storage of job {job}, no savepoint: nothing is deleted"
            )));
        }
        storage.delete_everything()
    }

    /// Its name: the last part of its place.
    #[must_use]
    pub fn id(&self) -> String {
        self.location.name()
    }

    /// Whether `text` reads as the name of a savepoint rather than as a place.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        let Some((number, suffix)) = text.split_once('-') else { return false };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits && suffix.len() == 8 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

fn checkpoint_of(id: &str) -> Option<u64> {
    id.split_once('-').and_then(|(number, _)| number.parse().ok())
}

/// The newest committed checkpoint, or the committed one of this number.
fn committed(storage: &Storage, wanted: Option<CheckpointId>) -> Result<Manifest, Failure> {
    let markers = storage.markers()?;
    let marked = match wanted {
        Some(wanted) => markers.iter().find(|marked| marked.checkpoint == wanted),
        None => markers.last(),
    };
    let Some(marked) = marked else {
        let there: Vec<String> = markers.iter().map(|marked| marked.checkpoint.to_string()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        return Err(Failure::refused(match wanted {
            Some(wanted) => format!("checkpoint {wanted} is not there, or not marked as committed (those that are: {there})"),
            None => format!("{}: no checkpoint is marked as committed", storage.folder()),
        }));
    };
    let (manifest, found) = storage.read_manifest(marked.checkpoint)?;
    if found != *marked {
        return Err(Failure::refused(format!(
            "checkpoint {}: its manifest has the hash {}, but {} was committed: it was changed",
            marked.checkpoint,
            found.hash.short(),
            marked.hash.short()
        )));
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::InputPosition;
    use std::{fs, path::PathBuf, sync::Arc};

    fn executor() -> Executor {
        Executor::Own(Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()))
    }

    struct Ground {
        folder: tempfile::TempDir,
        location: Location,
        storage: Storage,
        uploaded: Uploaded,
    }

    impl Ground {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let location = Location::folder(folder.path().join("storage")).unwrap();
            let storage = Storage::open(&location, &"shop".parse().unwrap(), executor()).unwrap();
            Self { folder, location, storage, uploaded: Uploaded::nothing() }
        }

        /// A committed checkpoint with two files, one of them over the size of a part.
        fn checkpoint(&mut self, number: u64) -> ManifestRef {
            let snapshot = self.folder.path().join(format!("snapshot-{number}"));
            fs::create_dir_all(&snapshot).unwrap();
            // RocksDB never gives a table's number twice.
            let table = format!("{number:06}.sst");
            fs::write(snapshot.join(&table), vec![u8::try_from(number).unwrap(); 9 << 20]).unwrap();
            fs::write(snapshot.join("CURRENT"), b"MANIFEST-000005\n").unwrap();
            let names = [table, "CURRENT".to_owned()];
            let within = Duration::from_secs(60);
            let report = self.storage.upload(CheckpointId(number), &snapshot, &names, &mut self.uploaded, within).unwrap();
            let mut manifest = Manifest::new("shop".parse().unwrap(), CheckpointId(number), None, Reason::Interval);
            let position = InputPosition {
                topic: "orders".into(),
                partition: 0,
                offset: 5,
                began: 0,
                timestamp_seen: None,
                idle: false,
                only_here: false,
            };
            manifest.input.push(position);
            (manifest.files, manifest.total_bytes) = (report.files, report.total_bytes);
            let reference = self.storage.put_manifest(&manifest).unwrap();
            self.storage.put_marker(reference).unwrap();
            reference
        }

        fn savepoints(&self) -> Location {
            Savepoint::folder(&self.location, self.storage.job())
        }

        fn create(&self, wanted: Option<u64>) -> Result<Savepoint, Failure> {
            let staging = tempfile::tempdir().unwrap();
            let (wanted, within) = (wanted.map(CheckpointId), Duration::from_secs(60));
            Savepoint::create(&self.storage, wanted, &self.savepoints(), staging.path(), within, &executor(), &|_| ())
        }
    }

    fn files_of(storage: &Path) -> Vec<PathBuf> {
        fs::read_dir(storage.join("files")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_savepoint_stands_for_itself_when_the_job_s_storage_is_gone() {
        let mut ground = Ground::new();
        ground.checkpoint(6);
        ground.checkpoint(7);
        let made = ground.create(None).unwrap();
        assert!(Savepoint::is_id(&made.id()) && made.id().starts_with("7-"), "{}", made.id());
        // It is moved somewhere else, and nothing else is left.
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("moved");
        fs::rename(made.location.as_folder().unwrap(), &moved).unwrap();
        fs::remove_dir_all(ground.location.as_folder().unwrap()).unwrap();
        let opened = Savepoint::open(&Location::folder(&moved).unwrap(), &executor()).unwrap();
        assert_eq!((opened.manifest.checkpoint, opened.manifest.reason), (CheckpointId(7), Reason::Savepoint));
        assert_eq!(opened.manifest.positions().values().copied().collect::<Vec<_>>(), [5]);
        let target = elsewhere.path().join("restored");
        opened.storage.restore(&opened.manifest, &target, Duration::from_secs(60), &|_| ()).unwrap();
        assert!(fs::read(target.join("000007.sst")).unwrap() == vec![7; 9 << 20]);
        assert_eq!(fs::read(target.join("CURRENT")).unwrap(), b"MANIFEST-000005\n");
    }

    #[test]
    fn an_older_committed_checkpoint_can_be_named_and_no_other() {
        let mut ground = Ground::new();
        assert!(ground.create(None).unwrap_err().message.contains("no checkpoint is marked"));
        ground.checkpoint(6);
        ground.checkpoint(7);
        assert_eq!(ground.create(Some(6)).unwrap().manifest.checkpoint, CheckpointId(6));
        let message = ground.create(Some(5)).unwrap_err().message;
        assert!(message.contains('5') && message.contains("6, 7"), "{message}");
        let listed: Vec<_> = Savepoint::list(&ground.savepoints(), &executor()).unwrap();
        assert_eq!(listed.len(), 1);
    }

    #[test]
    fn what_is_not_whole_is_listed_so_and_can_be_deleted() {
        let mut ground = Ground::new();
        ground.checkpoint(6);
        let (first, second) = (ground.create(None).unwrap(), ground.create(None).unwrap());
        fs::remove_dir_all(second.location.as_folder().unwrap().join("shop/committed")).unwrap();
        let listed = Savepoint::list(&ground.savepoints(), &executor()).unwrap();
        let broken: Vec<_> = listed.iter().filter_map(|found| found.savepoint.as_ref().err()).collect();
        assert!(matches!(broken.as_slice(), [one] if one.message.contains("not whole")), "{broken:?}");
        assert!(Savepoint::delete(&second.location, &executor()).unwrap() > 2);
        assert!(Savepoint::delete(&first.location, &executor()).unwrap() > 2);
        assert!(Savepoint::list(&ground.savepoints(), &executor()).unwrap().is_empty());
        assert_eq!(Savepoint::open(&first.location, &executor()).unwrap_err().kind, FailureKind::Refused);
        // The job's own storage has lost nothing by it, and cannot be deleted as a savepoint.
        assert_eq!(files_of(&ground.location.as_folder().unwrap().join("shop")).len(), 2);
        assert!(Savepoint::open(&ground.location, &executor()).unwrap_err().message.contains("no savepoint"));
        assert!(Savepoint::delete(&ground.location, &executor()).unwrap_err().message.contains("nothing is deleted"));
    }

    #[test]
    fn a_damaged_checkpoint_makes_no_savepoint() {
        let mut ground = Ground::new();
        ground.checkpoint(6);
        let job = ground.location.as_folder().unwrap().join("shop");
        let table = files_of(&job).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = fs::read(&table).unwrap();
        bytes[4711] ^= 1;
        fs::write(&table, bytes).unwrap();
        let failure = ground.create(None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains(table.to_str().unwrap()) && failure.message.contains("damaged"), "{failure}");
        assert!(Savepoint::list(&ground.savepoints(), &executor()).unwrap().is_empty());
    }

    #[test]
    fn names_are_told_from_places() {
        assert!(Savepoint::is_id("42-0badcafe"));
        for place in ["42", "./42-0badcafe", "s3://bucket/42-0badcafe", "x-0badcafe", "42-0badcaf", "42-0badcafg"] {
            assert!(!Savepoint::is_id(place), "{place}");
        }
    }
}
