//! Who owns the job, and what it has committed: two files that are replaced under a lock.

use super::durable::replace;
use crate::engine::{sink::CommitOutcome, stop::Stop};
use crate::protocol::{Failure, JobName};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const FORMAT: u32 = 1;

/// The lock is held for a few milliseconds; one that is held for so long is held by a process that is paused.
const PATIENCE: Duration = Duration::from_secs(30);

/// One committed position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Offset {
    topic: String,
    partition: i32,
    offset: i64,
}

/// What is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Per source and partition, the position of the next record.
    pub offsets: BTreeMap<(String, i32), i64>,
    /// The pointer to the checkpoint, as text.
    pub pointer: String,
    /// Per sink, the names of what was staged.
    pub outputs: BTreeMap<String, Vec<String>>,
}

/// `committed.json`
#[derive(Serialize, Deserialize)]
struct CommittedFile {
    format: u32,
    epoch: u64,
    pointer: String,
    offsets: Vec<Offset>,
    outputs: BTreeMap<String, Vec<String>>,
}

/// `owner.json`
#[derive(Serialize, Deserialize)]
struct OwnerFile {
    format: u32,
    epoch: u64,
    pid: u32,
}

/// Makes committed output visible.
pub type Publication<'a> = &'a mut dyn FnMut() -> Result<(), Failure>;

/// The commit log of one job.
#[derive(Debug, Clone)]
pub struct CommitLog {
    folder: PathBuf,
}

impl CommitLog {
    /// The log in `folder`, which is made when the job is taken over for the first time.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The log of `job` in the folder of its checkpoint storage.
    pub fn of(storage: &Path, job: &JobName) -> Self {
        Self::new(storage.join(job.as_str()).join("local"))
    }

    fn owner(&self) -> PathBuf {
        self.folder.join("owner.json")
    }

    /// The file that says what is committed.
    pub fn committed(&self) -> PathBuf {
        self.folder.join("committed.json")
    }

    /// The epoch of the instance that took the job over last; 0 before the first.
    ///
    /// # Errors
    /// Refused: a damaged file, or one of a newer format.
    pub fn epoch(&self) -> Result<u64, Failure> {
        Ok(read::<OwnerFile>(&self.owner(), |owner| owner.format)?.map_or(0, |owner| owner.epoch))
    }

    /// What is committed; none before the first commit.
    ///
    /// # Errors
    /// Refused: a damaged file, or one of a newer format.
    pub fn read(&self) -> Result<Option<Committed>, Failure> {
        let file = read::<CommittedFile>(&self.committed(), |file| file.format)?;
        Ok(file.map(|file| Committed {
            offsets: file.offsets.into_iter().map(|at| ((at.topic, at.partition), at.offset)).collect(),
            pointer: file.pointer,
            outputs: file.outputs,
        }))
    }

    /// Takes the job over: from here on nobody with an older epoch can commit. `finish` is given the new epoch and what is committed,
    /// and publishes what may not have been published yet.
    ///
    /// # Errors
    /// Transient: the lock is held, or the disk fails.
    pub fn take_over(
        &self,
        stop: &Stop,
        finish: impl FnOnce(u64, Option<&Committed>) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        fs::create_dir_all(&self.folder)
            .map_err(|why| Failure::fatal(format!("{}: cannot be made: {why}", self.folder.display())))?;
        let _locked = self.lock(stop)?;
        let epoch = self.epoch()? + 1;
        replace(&self.owner(), &json(&OwnerFile { format: FORMAT, epoch, pid: std::process::id() })?)?;
        finish(epoch, self.read()?.as_ref())?;
        Ok(epoch)
    }

    /// Fenced, if the job was taken over after `epoch`.
    pub fn still_ours(&self, epoch: u64) -> Result<(), Failure> {
        let now = self.epoch()?;
        if now == epoch {
            return Ok(());
        }
        Err(Failure::fenced(format!("{}: epoch {now} has taken over, this is epoch {epoch}", self.owner().display())))
    }

    /// Commits `committed` for the owner of `epoch`, and publishes.
    pub fn commit(&self, epoch: u64, committed: Committed, publish: Publication<'_>) -> CommitOutcome {
        let unknown = |failure: Failure| CommitOutcome::Unknown(failure.message);
        let locked = match self.lock(&Stop::new()) {
            Ok(locked) => locked,
            Err(failure) => return unknown(failure),
        };
        match self.epoch() {
            Ok(now) if now == epoch => {}
            Ok(now) => return CommitOutcome::Fenced(format!("epoch {now} has taken over, this is epoch {epoch}")),
            Err(failure) => return unknown(failure),
        }
        let Committed { offsets, pointer, outputs } = committed;
        let offsets = offsets.into_iter().map(|((topic, partition), offset)| Offset { topic, partition, offset });
        let file = CommittedFile { format: FORMAT, epoch, pointer, offsets: offsets.collect(), outputs };
        // Under the lock: whoever takes over next finds what is committed published, or publishes it alone.
        let done = json(&file).and_then(|bytes| replace(&self.committed(), &bytes)).and_then(|()| publish());
        drop(locked);
        done.map_or_else(unknown, |()| CommitOutcome::Committed)
    }

    /// Waits for the lock. It is released when the file is closed, also by the end of the process.
    fn lock(&self, stop: &Stop) -> Result<File, Failure> {
        let path = self.folder.join("lock");
        let shown = path.display();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|why| Failure::transient(format!("{shown}: cannot be opened: {why}")))?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(why)) => {
                    return Err(Failure::fatal(format!("{shown}: cannot be locked: {why}; this needs a file system with locks")));
                }
                Err(TryLockError::WouldBlock) if since.elapsed() > PATIENCE => {
                    return Err(Failure::transient(format!(
                        "{shown}: another process has held the lock for {PATIENCE:?}: is an instance of the job paused? End it"
                    )));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            stop.check().map_err(|_| Failure::attempt("the attempt has ended"))?;
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec_pretty(value).map_err(|why| Failure::fatal(format!("no JSON form: {why}")))
}

/// None if there is no such file.
fn read<T: DeserializeOwned>(path: &Path, format: impl FnOnce(&T) -> u32) -> Result<Option<T>, Failure> {
    let shown = path.display();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(Failure::transient(format!("{shown}: cannot be read: {why}"))),
    };
    let file: T = serde_json::from_slice(&bytes)
        .map_err(|why| Failure::refused(format!("{shown}: damaged ({why}); bring it back from a copy of the storage")))?;
    let found = format(&file);
    if found > FORMAT {
        return Err(Failure::refused(format!(
            "{shown}: has format {found}, this program reads formats up to {FORMAT}: use a newer sluicegate"
        )));
    }
    Ok(Some(file))
}
