//! Uploading the files of a state snapshot: only those that the newest manifest does not name yet.

use super::{
    explain::{Access, Class, Trouble},
    manifest::{Manifest, StateFile, is_immutable},
    multipart::Unfinished,
    retry::{Tries, retry},
    storage::Storage,
};
use crate::failpoint;
use crate::protocol::{CheckpointId, Failure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as ObjectPath;
use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Files on their way at a time: enough to hide the latency of a request or an fsync, few enough to leave the job its cores.
const FILES_AT_A_TIME: usize = 4;
/// Files up to this size are read once, hashed and put in one request; larger ones go in parts of this size. Object stores
/// want at least 5 MiB per part, and take 10,000 parts: 78 GiB, far more than RocksDB puts into a file.
const PART: usize = 8 << 20;
/// Parts in memory at a time, over all files: 32 MiB at most.
const PARTS_AT_A_TIME: usize = 4;
/// Hashing runs on one core at a time: the other ones belong to the job, whose records flow meanwhile.
const HASHERS_AT_A_TIME: usize = 1;

/// What this attempt knows to be whole in storage, by RocksDB's name: the files of the manifest that it restored (their
/// hashes were verified then) and those that it uploaded itself. Nothing else is ever reused.
#[derive(Debug, Default)]
pub struct Uploaded {
    files: HashMap<String, StateFile>,
}

impl Uploaded {
    /// An attempt that starts with empty state: nothing can be reused.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// An attempt that restored `manifest` from the same storage, with [`Storage::restore`].
    #[must_use]
    pub fn restored(manifest: &Manifest) -> Self {
        Self { files: manifest.files.iter().map(|file| (file.name.clone(), file.clone())).collect() }
    }

    /// The file of this name that can stand for one of this size without being read again. RocksDB never gives a table's
    /// number twice within one attempt, and never changes a table.
    fn same_table(&self, name: &str, size: u64) -> Option<&StateFile> {
        self.files.get(name).filter(|known| is_immutable(name) && known.size == size)
    }

    fn same_content(&self, name: &str, hash: blake3::Hash) -> Option<&StateFile> {
        self.files.get(name).filter(|known| known.hash == hash)
    }
}

/// What an upload did. `files`, `new_bytes` and `total_bytes` go into the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadReport {
    /// All files of the snapshot, by name.
    pub files: Vec<StateFile>,
    /// Files that were uploaded now.
    pub new_files: usize,
    /// Their bytes.
    pub new_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl Storage {
    /// Uploads what is new in a snapshot of the state: the files `names` in the folder `snapshot`. When it returns, every file
    /// in the report is durable and whole. `uploaded` is the attempt's, the same one for all its checkpoints; calls for one
    /// attempt come one after the other.
    ///
    /// # Errors
    /// Transient: storage away, full, or not done `within` the time. Fatal: not permitted. Attempt: a file of the snapshot is
    /// gone or changes.
    pub fn upload(
        &self,
        checkpoint: CheckpointId,
        snapshot: &Path,
        names: &[String],
        uploaded: &mut Uploaded,
        within: Duration,
    ) -> Result<UploadReport, Failure> {
        let started = Instant::now();
        let mut found = HashMap::with_capacity(names.len());
        let mut unknown = Vec::new();
        for name in names {
            let path = snapshot.join(name);
            let size = std::fs::metadata(&path).map_err(|why| vanished(&path, &why))?.len();
            match uploaded.same_table(name, size) {
                Some(known) => drop(found.insert(name.clone(), known.clone())),
                None => unknown.push(Candidate { name: name.clone(), path }),
            }
        }
        let written_by = format!("{checkpoint}-{}", self.attempt());
        let job = Job {
            storage: self,
            known: uploaded,
            written_by: &written_by,
            parts: Semaphore::new(PARTS_AT_A_TIME),
            hashers: Semaphore::new(HASHERS_AT_A_TIME),
        };
        let timed = async {
            let deadline = tokio::time::Instant::now() + within;
            let all = stream::iter(unknown).map(|file| job.file(file, deadline)).buffer_unordered(FILES_AT_A_TIME).try_collect();
            match tokio::time::timeout_at(deadline, all).await {
                Ok(done) => done,
                Err(_) => Err(Failure::transient(format!(
                    "checkpoint {checkpoint}: the upload to {} was not done within {within:?} (checkpoint.timeout)",
                    self.show(&self.layout().files())
                ))),
            }
        };
        let done: Vec<Done> = self.block_on(timed, || Failure::attempt("upload given up: the attempt has ended"))?;
        let (mut new_files, mut new_bytes) = (0, 0);
        for Done { file, new } in done {
            if new {
                new_files += 1;
                new_bytes += file.size;
            }
            found.insert(file.name.clone(), file);
        }
        let mut files: Vec<_> = found.values().cloned().collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let total_bytes = files.iter().map(|file| file.size).sum();
        // Only this snapshot's files are remembered. So a later checkpoint reuses a file only if the newest manifest names it
        // or this attempt wrote it since, and neither is ever deleted under it.
        uploaded.files = found;
        Ok(UploadReport { files, new_files, new_bytes, total_bytes, took: started.elapsed() })
    }
}

struct Candidate {
    name: String,
    path: PathBuf,
}

struct Done {
    file: StateFile,
    new: bool,
}

/// One upload under way.
struct Job<'a> {
    storage: &'a Storage,
    known: &'a Uploaded,
    written_by: &'a str,
    parts: Semaphore,
    hashers: Semaphore,
}

impl Job<'_> {
    async fn file(&self, candidate: Candidate, deadline: tokio::time::Instant) -> Result<Done, Failure> {
        let Candidate { name, path } = candidate;
        let mut reader = Reader::open(&path)?;
        // One part ahead: a short first part is the whole file, read once.
        let buffer = permit(&self.parts).await?;
        let (first, mut hasher) = self.read(&mut reader, blake3::Hasher::new(), &path).await?;
        if first.len() < PART {
            let file = self.describe(name, first.len() as u64, &hasher);
            if let Some(known) = self.known.same_content(&file.name, file.hash) {
                return Ok(Done { file: known.clone(), new: false });
            }
            let target = self.storage.layout().file(&file.object_name());
            let put = self.storage.put_once(&target, first, Tries::until(deadline));
            put.await.map_err(|trouble| self.storage.failed(trouble, Access::Write, &target))?;
            drop(buffer);
            failpoint::hit("during-upload")?;
            return Ok(Done { file, new: true });
        }
        let mut size = first.len() as u64;
        drop(first);
        loop {
            let (part, next) = self.read(&mut reader, hasher, &path).await?;
            hasher = next;
            size += part.len() as u64;
            if part.len() < PART {
                break;
            }
        }
        drop(buffer);
        let file = self.describe(name, size, &hasher);
        if let Some(known) = self.known.same_content(&file.name, file.hash) {
            return Ok(Done { file: known.clone(), new: false });
        }
        let target = self.storage.layout().file(&file.object_name());
        retry(Tries::until(deadline), || self.in_parts(&path, &file, &target))
            .await
            .map_err(|trouble| self.storage.failed(trouble, Access::Write, &target))?;
        Ok(Done { file, new: true })
    }

    fn describe(&self, name: String, size: u64, hasher: &blake3::Hasher) -> StateFile {
        StateFile { name, size, hash: hasher.finalize(), written_by: self.written_by.to_owned() }
    }

    /// Uploads a large file. It is hashed again on the way: only the bytes that the name promises become visible under it, and they
    /// are the same whoever puts them there, so that no condition is needed.
    async fn in_parts(&self, path: &Path, file: &StateFile, target: &ObjectPath) -> Result<(), Trouble> {
        let mut upload = Unfinished::begin(self.storage.store(), target).await?;
        if let Err(trouble) = self.send_parts(path, file, &mut upload).await {
            upload.abandon().await;
            return Err(trouble);
        }
        upload.complete().await
    }

    async fn send_parts(&self, path: &Path, file: &StateFile, upload: &mut Unfinished) -> Result<(), Trouble> {
        let local = |why: Failure| Trouble::new(Class::Local, why.message);
        let mut reader = Reader::open(path).map_err(local)?;
        let mut hasher = blake3::Hasher::new();
        loop {
            let buffer = permit(&self.parts).await.map_err(local)?;
            let (part, next) = self.read(&mut reader, hasher, path).await.map_err(local)?;
            hasher = next;
            let last = part.len() < PART;
            if !part.is_empty() {
                upload.put_part(part).await?;
                failpoint::hit("during-upload").map_err(local)?;
            }
            drop(buffer);
            if last {
                break;
            }
        }
        if hasher.finalize() == file.hash {
            return Ok(());
        }
        Err(Trouble::new(Class::Local, format!("{} changed while it was uploaded", path.display())))
    }

    /// Reads and hashes the next part, on a thread that may block.
    async fn read(
        &self,
        reader: &mut Reader,
        mut hasher: blake3::Hasher,
        path: &Path,
    ) -> Result<(Bytes, blake3::Hasher), Failure> {
        let turn = permit(&self.hashers).await?;
        let mut file = reader.take(path)?;
        let (read, file) = tokio::task::spawn_blocking(move || {
            let mut part = Vec::new();
            let read = (&mut file).take(PART as u64).read_to_end(&mut part).map(|_| {
                hasher.update(&part);
                (Bytes::from(part), hasher)
            });
            (read, file)
        })
        .await
        .map_err(|why| Failure::attempt(format!("reading {}: {why}", path.display())))?;
        reader.0 = Some(file);
        drop(turn);
        read.map_err(|why| Failure::attempt(format!("reading {}: {why}", path.display())))
    }
}

/// A file that goes to a blocking thread and comes back.
struct Reader(Option<File>);

impl Reader {
    fn open(path: &Path) -> Result<Self, Failure> {
        File::open(path).map(|file| Self(Some(file))).map_err(|why| vanished(path, &why))
    }

    fn take(&mut self, path: &Path) -> Result<File, Failure> {
        self.0.take().ok_or_else(|| Failure::attempt(format!("reading {}: after a failure", path.display())))
    }
}

async fn permit(semaphore: &Semaphore) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
    semaphore.acquire().await.map_err(|_| Failure::attempt("upload given up"))
}

fn vanished(path: &Path, why: &std::io::Error) -> Failure {
    Failure::attempt(format!("state snapshot: {} cannot be read: {why}", path.display()))
}
