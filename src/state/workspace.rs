//! The local directory of one attempt: `<state.dir>/<job>/attempt-<pid>-<time>-<n>/`.
//!
//! Local state is a cache of a checkpoint. Nothing in it outlives its attempt: the directory is removed when the attempt ends,
//! and what a killed process left is removed when the next one starts. A live attempt holds a lock on the file `lock` in its
//! directory; making and clearing directories happens under a lock of the job's directory, so that nobody takes a directory
//! that is just being made for a dead one.

use crate::protocol::{Failure, JobName};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

/// The folder of the snapshots in that of an attempt.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// A fresh directory of this attempt, locked while this lives, removed when it is dropped.
#[derive(Debug)]
pub struct Workspace {
    dir: PathBuf,
    _lock: File,
}

static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

fn failed(doing: &str, path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::fatal(format!("state.dir: cannot {doing} {}: {error}", path.display()))
}

fn open_lock(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed("open lock file", path))
}

impl Workspace {
    /// Makes the directory of a new attempt of `job` under `state_dir`, after removing those of dead processes.
    pub fn create(state_dir: &Path, job: &JobName) -> Result<Self, Failure> {
        let parent = state_dir.join(job.as_str());
        fs::create_dir_all(&parent).map_err(failed("create directory", &parent))?;
        let gate_path = parent.join("attempts.lock");
        let gate = open_lock(&gate_path)?;
        gate.lock().map_err(failed("lock", &gate_path))?;
        remove_dead(&parent)?;

        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let dir = parent.join(format!("attempt-{}-{time}-{}", std::process::id(), ATTEMPTS.fetch_add(1, Relaxed)));
        fs::create_dir(&dir).map_err(failed("create directory", &dir))?;
        let lock_path = dir.join("lock");
        let lock = open_lock(&lock_path)?;
        lock.lock().map_err(failed("lock", &lock_path))?;
        for part in ["sorted", SNAPSHOTS] {
            let path = dir.join(part);
            fs::create_dir(&path).map_err(failed("create directory", &path))?;
        }
        Ok(Self { dir, _lock: lock })
    }

    /// The attempt's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where RocksDB lives. Does not exist yet: a restore makes it and puts the checkpoint's files there, or
    /// [`super::Store::create`] makes it empty.
    #[must_use]
    pub fn db_dir(&self) -> PathBuf {
        self.dir.join("db")
    }

    /// Where sorted files are written before RocksDB takes them over.
    pub(super) fn sorted_dir(&self) -> PathBuf {
        self.dir.join("sorted")
    }

    /// Where a snapshot of this name goes.
    pub(super) fn snapshot_dir(&self, name: &str) -> PathBuf {
        self.dir.join(SNAPSHOTS).join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove local state; the next start will try again");
        }
    }
}

/// Removes the directories of attempts whose process is gone. The caller holds the lock of `parent`.
fn remove_dead(parent: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(parent).map_err(failed("list", parent))? {
        let path = entry.map_err(failed("list", parent))?.path();
        let is_attempt = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("attempt-"));
        if !is_attempt || !path.is_dir() {
            continue;
        }
        let lock_path = path.join("lock");
        match OpenOptions::new().write(true).open(&lock_path).map(|lock| lock.try_lock()) {
            Ok(Ok(())) => {
                tracing::info!(dir = %path.display(), "removing local state that a dead process left");
                remove(&path).map_err(failed("remove", &path))?;
            }
            Ok(Err(TryLockError::WouldBlock)) => {}
            Ok(Err(TryLockError::Error(error))) => return Err(failed("lock", &lock_path)(error)),
            // Nobody is making it, since the caller holds the lock for that: whoever did was killed before it had its lock, or removes
            // it just now, because its attempt has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&path).map_err(failed("remove", &path))?,
            Err(error) => return Err(failed("open lock file", &lock_path)(error)),
        }
    }
    Ok(())
}

/// Removes a directory that another process may be removing, too.
fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobName {
        "orders".parse().unwrap()
    }

    #[test]
    fn a_new_attempt_removes_what_the_dead_left_and_leaves_the_living_alone() {
        // given a living attempt, a directory that a dead process left, and somebody's file
        let state = tempfile::tempdir().unwrap();
        let living = Workspace::create(state.path(), &job()).unwrap();
        let dead = state.path().join("orders/attempt-1-2-3");
        fs::create_dir_all(dead.join("db")).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let foreign = state.path().join("orders/notes.txt");
        fs::write(&foreign, "mine").unwrap();
        // when another attempt starts
        let second = Workspace::create(state.path(), &job()).unwrap();
        // then only the dead one's is gone
        assert!(!dead.exists() && living.dir().exists() && foreign.exists());
        assert_ne!(living.dir(), second.dir());
        // and each removes its own
        let dir = living.dir().to_owned();
        drop(living);
        assert!(!dir.exists() && second.dir().exists());
    }

    #[test]
    fn attempts_that_come_and_go_at_once_do_each_other_no_harm() {
        // given what a process left that was killed before it had its lock
        let state = tempfile::tempdir().unwrap();
        let unlocked = state.path().join("orders/attempt-1-2-3");
        fs::create_dir_all(&unlocked).unwrap();
        // when several begin, look at what others have left, and end, again and again
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let workspace = Workspace::create(state.path(), &job()).unwrap();
                        for number in 0..8 {
                            fs::write(workspace.sorted_dir().join(number.to_string()), "rows").unwrap();
                        }
                    }
                });
            }
        });
        // then none has failed, and none is left
        let left: Vec<_> = fs::read_dir(state.path().join("orders")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [state.path().join("orders/attempts.lock")]);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Workspace::create(&file, &job()).unwrap_err();
        assert!(error.message.contains("state.dir") && error.message.contains("file/orders"), "{error}");
    }
}
