//! The checkpoint that a command looks into: the one that was named, or the newest.

use crate::{
    checkpoint::{Found, Storage},
    protocol::{CheckpointId, Failure, FailureKind},
};

/// A job that keeps one checkpoint clears the one before away each second. Files in a folder are opened within milliseconds;
/// downloads can lose that race, but not for ever.
const TRIES: usize = 10;

/// Gives `work` the checkpoint `at`, or without a number the newest that is marked as committed. Where a running job clears that
/// away while it is read, the next one.
pub(super) fn with<T>(
    storage: &Storage,
    at: Option<u64>,
    mut work: impl FnMut(&Found) -> Result<T, Failure>,
) -> Result<T, Failure> {
    for _ in 0..TRIES {
        let found = storage.find(at.map(CheckpointId))?;
        let number = found.manifest.checkpoint;
        match work(&found) {
            Err(failure) if failure.kind == FailureKind::Refused && !storage.has_manifest(number)? => {
                if at.is_some() {
                    return Err(Failure::fatal(format!(
                        "checkpoint {number} was cleared away while it was read: the running job keeps checkpoint.retained of them; \
                         without a number the newest is taken"
                    )));
                }
            }
            done => return done,
        }
    }
    Err(Failure::transient(format!(
        "{TRIES} checkpoints were cleared away while they were read, one after the other: raise checkpoint.retained of the running job"
    )))
}

/// Whether a checkpoint is marked as committed, in words.
pub(super) fn mark(found: &Found) -> &'static str {
    if found.committed { "committed" } else { "not marked as committed" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Executor, Location, Manifest, Reason};
    use std::{path::Path, sync::Arc};

    fn storage(folder: &Path) -> Storage {
        let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let job = "shop".parse().unwrap();
        Storage::open(&Location::folder(folder).unwrap(), &job, Executor::Own(runtime)).unwrap()
    }

    fn put(storage: &Storage, number: u64) {
        let manifest = Manifest::new("shop".parse().unwrap(), CheckpointId(number), None, Reason::Interval);
        storage.put_marker(storage.put_manifest(&manifest).unwrap()).unwrap();
    }

    #[test]
    fn what_the_job_clears_away_is_taken_from_its_next_checkpoint_unless_it_was_named() {
        // given a job that goes on to its next checkpoint whenever somebody looks at one, and clears that away
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(folder.path());
        put(&storage, 1);
        let look = |found: &Found| {
            let number = found.manifest.checkpoint.0;
            if number == 4 {
                return Ok(number);
            }
            put(&storage, number + 1);
            let name = format!("{number:020}");
            std::fs::remove_file(folder.path().join(format!("shop/manifests/{name}.json"))).unwrap();
            std::fs::remove_file(folder.path().join(format!("shop/committed/{name}"))).unwrap();
            Err(Failure::refused("a file is missing"))
        };
        // then the newest is tried again
        assert_eq!(with(&storage, None, look).unwrap(), 4);
        // and a named one is said to be gone
        let look = |found: &Found| {
            let name = format!("{:020}", found.manifest.checkpoint.0);
            std::fs::remove_file(folder.path().join(format!("shop/manifests/{name}.json"))).unwrap();
            Err::<u64, _>(Failure::refused("a file is missing"))
        };
        let gone = with(&storage, Some(4), look).unwrap_err();
        assert!(gone.kind == FailureKind::Fatal && gone.message.contains("checkpoint 4 was cleared away"), "{gone}");
        // and what is missing from a checkpoint that is still there is damage
        put(&storage, 5);
        let missing = with(&storage, None, |_| Err::<u64, _>(Failure::refused("a file is missing"))).unwrap_err();
        assert_eq!((missing.kind, missing.message.as_str()), (FailureKind::Refused, "a file is missing"));
    }
}
