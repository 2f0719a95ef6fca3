//! The checkpoint storage of one job: manifests and markers. Files are in `upload.rs` and `restore.rs`.

use super::{
    explain::{Access, Class, Trouble},
    layout::Layout,
    location::{Connected, Location},
    manifest::{Manifest, now_as_text, parse_manifest_hash},
    retry::retry,
};
use crate::protocol::{CheckpointId, Failure, JobName, ManifestRef, Pointer};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, path::Path as ObjectPath};
use serde::{Deserialize, Serialize};
use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{runtime, sync::watch, time::Instant};

/// How long one small request (a manifest, a marker, a list) may take, tries and pauses together.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request for each file that goes: on a remote store, one after the other would take seconds.
const DELETES_AT_A_TIME: usize = 8;

/// Drives the asynchronous storage for callers that are threads.
#[derive(Debug, Clone)]
pub enum Executor {
    /// A multi-thread runtime that is driven by its own threads.
    Shared(runtime::Handle),
    /// A runtime that is driven by the calls themselves; with a paused clock, a simulation's.
    Own(Arc<runtime::Runtime>),
}

impl From<runtime::Handle> for Executor {
    fn from(handle: runtime::Handle) -> Self {
        Self::Shared(handle)
    }
}

impl Executor {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Shared(handle) => handle.block_on(future),
            Self::Own(runtime) => runtime.block_on(future),
        }
    }
}

/// The storage of one job, opened by one attempt. Clones share one connection; [`Storage::cancel`] ends the calls of all.
///
/// Calls block, and must therefore come from a thread outside of the runtime. Storage that is away is tried again inside;
/// what comes out is a [`Failure`] that names the path or URL.
#[derive(Debug, Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    layout: Layout,
    job: JobName,
    attempt: String,
    folder: Option<PathBuf>,
    shown: String,
    executor: Executor,
    cancelled: watch::Sender<bool>,
    opened: SystemTime,
}

/// `job.json`: whose folder this is.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    format: u32,
    job: String,
    created_at: String,
    sluicegate: String,
}

/// What `job.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// This job.
    Ours,
    /// Nothing is there yet.
    Free,
    /// It was never written to the end, and nothing was built on it.
    Torn,
}

/// `started.json`: who opened the storage last, for a word to the one who was fenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The attempt, as in the names of the files that it writes.
    pub attempt: String,
    /// When, RFC 3339.
    pub at: String,
    /// On which machine.
    pub host: String,
    /// Process id there.
    pub pid: u32,
    /// Version of the program.
    pub sluicegate: String,
}

impl Storage {
    /// Opens the storage of `job` for an attempt that will write: makes the folder of a new job, refuses one of another job
    /// or of a newer format, and writes `started.json`, so that a storage that cannot be written is found now.
    ///
    /// # Errors
    /// Fatal: not writable. Refused: a foreign folder. Transient: no space, or no answer.
    pub fn open(location: &Location, job: &JobName, executor: impl Into<Executor>) -> Result<Self, Failure> {
        Self::over(location.connect(true)?, job, executor.into(), attempt_name()).claim()
    }

    /// Opens the storage of `job` for reading only; nothing is written or made.
    ///
    /// # Errors
    /// Refused: absent, or a foreign folder.
    pub fn inspect(location: &Location, job: &JobName, executor: impl Into<Executor>) -> Result<Self, Failure> {
        let storage = Self::over(location.connect(false)?, job, executor.into(), attempt_name());
        if storage.ownership()? == Ownership::Ours {
            return Ok(storage);
        }
        let folder = storage.show(storage.layout().root());
        Err(Failure::refused(format!("no checkpoints of job {job} in {folder}: check job.name and checkpoint.storage")))
    }

    /// The names of the folders at `location`; none if it is not there.
    ///
    /// # Errors
    /// Transient: no answer.
    pub(super) fn folders_in(location: &Location, executor: &Executor) -> Result<Vec<String>, Failure> {
        if location.as_folder().is_some_and(|folder| !folder.exists()) {
            return Ok(Vec::new());
        }
        let Connected { store, prefix, shown, .. } = location.connect(false)?;
        let deadline = || Instant::now() + PATIENCE;
        let listed = executor.block_on(async {
            retry(deadline(), || async { store.list_with_delimiter(Some(&prefix)).await.map_err(Trouble::of) }).await
        });
        let listed = listed.map_err(|trouble| trouble.into_failure(Access::Read, &shown))?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// The jobs that have a folder at `location`.
    ///
    /// # Errors
    /// Transient: no answer.
    pub(super) fn jobs_in(location: &Location, executor: &Executor) -> Result<Vec<JobName>, Failure> {
        let mut jobs = Vec::new();
        for name in Self::folders_in(location, executor)? {
            let Ok(job) = name.parse::<JobName>() else { continue };
            let storage = Self::over(location.connect(false)?, &job, executor.clone(), attempt_name());
            if storage.get_if_present(&storage.layout().owner())?.is_some() {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }

    /// Deletes every object of the job, the markers first, and says how many there were.
    ///
    /// # Errors
    /// As any write; then some are left.
    pub(super) fn delete_everything(&self) -> Result<usize, Failure> {
        let root = self.layout().root();
        let (markers, all) = (self.list(&self.layout().markers())?, self.list(root)?);
        let paths = |metas: &[ObjectMeta]| metas.iter().map(|meta| meta.location.clone()).collect::<Vec<_>>();
        for paths in [paths(&markers), paths(&all)] {
            self.delete_all(&paths).into_iter().collect::<Result<(), Failure>>()?;
        }
        // A file system keeps empty folders; a bucket knows none.
        if let Some(folder) = self.local_path(root) {
            let place = folder.parent().map(PathBuf::from).unwrap_or_default();
            std::fs::remove_dir_all(&folder)
                .map_err(|why| Trouble::of_io(why).into_failure(Access::Write, &folder.display().to_string()))?;
            // Somebody may keep something else there.
            let _ = std::fs::remove_dir(place);
        }
        Ok(all.len())
    }

    /// A storage over any store; `attempt` goes into the names of files.
    pub(crate) fn over(connected: Connected, job: &JobName, executor: Executor, attempt: String) -> Self {
        let Connected { store, prefix, folder, shown } = connected;
        let layout = Layout::new(&prefix, job);
        let (cancelled, _) = watch::channel(false);
        let (job, opened) = (job.clone(), SystemTime::now());
        Self { inner: Arc::new(Inner { store, layout, job, attempt, folder, shown, executor, cancelled, opened }) }
    }

    /// Makes the folder ours and shows that it can be written.
    pub(crate) fn claim(self) -> Result<Self, Failure> {
        let owner = Owner {
            format: Manifest::FORMAT,
            job: self.job().to_string(),
            created_at: now_as_text(),
            sluicegate: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let owner = json(&owner)?;
        let write = |mode| self.put(&self.layout().owner(), owner.clone(), mode);
        let done = match self.ownership()? {
            Ownership::Ours => Ok(()),
            Ownership::Free => match write(PutMode::Create) {
                // Two first starts at once: whoever came first wrote it.
                Err(trouble) if trouble.class == Class::Taken && self.ownership()? == Ownership::Ours => Ok(()),
                done => done,
            },
            Ownership::Torn => write(PutMode::Overwrite),
        };
        done.map_err(|trouble| self.failed(trouble, Access::Write, &self.layout().owner()))?;
        let started = Started {
            attempt: self.attempt().to_owned(),
            at: now_as_text(),
            host: host_name(),
            pid: std::process::id(),
            sluicegate: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let path = self.layout().started();
        self.put(&path, json(&started)?, PutMode::Overwrite).map_err(|trouble| self.failed(trouble, Access::Write, &path))?;
        Ok(self)
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobName {
        &self.inner.job
    }

    /// The folder of the job, for messages.
    #[must_use]
    pub fn folder(&self) -> String {
        self.show(self.layout().root())
    }

    /// This attempt, as in the names of the files that it writes.
    #[must_use]
    pub fn attempt(&self) -> &str {
        &self.inner.attempt
    }

    /// Ends all calls that are under way, and all that come, with a failure of kind Attempt.
    pub fn cancel(&self) {
        self.inner.cancelled.send_replace(true);
    }

    /// Who opened the storage for writing last.
    ///
    /// # Errors
    /// As any read; a damaged file reads as none.
    pub fn last_started(&self) -> Result<Option<Started>, Failure> {
        let bytes = self.get_if_present(&self.layout().started())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Numbers of all manifests, committed or not, ascending.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn list_manifests(&self) -> Result<Vec<CheckpointId>, Failure> {
        let mut found: Vec<_> =
            self.list(&self.layout().manifests())?.iter().filter_map(|meta| Layout::manifest_number(&meta.location)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Manifest `checkpoint`, checked, with the hash of its bytes. Whether that is the right hash, only Kafka's offsets, a
    /// marker or the manifest that builds on it can say: see [`Storage::read_committed`].
    ///
    /// # Errors
    /// Refused: missing, damaged, newer format, another job.
    pub fn read_manifest(&self, checkpoint: CheckpointId) -> Result<(Manifest, ManifestRef), Failure> {
        let path = self.layout().manifest(checkpoint);
        let shown = self.show(&path);
        let bytes = self.get_if_present(&path)?.ok_or_else(|| {
            Failure::refused(format!(
                "manifest {shown} of checkpoint {checkpoint} is missing: check checkpoint.storage and job.name"
            ))
        })?;
        let manifest = Manifest::from_bytes(&bytes, self.job(), checkpoint, &shown)?;
        Ok((manifest, Manifest::reference(checkpoint, &bytes)))
    }

    /// Whether only the beginning of manifest `checkpoint` is there: a put that was cut off.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn is_torn(&self, checkpoint: CheckpointId) -> Result<bool, Failure> {
        let bytes = self.get_if_present(&self.layout().manifest(checkpoint))?;
        let parsed = bytes.map(|bytes| serde_json::from_slice::<serde::de::IgnoredAny>(&bytes));
        Ok(matches!(parsed, Some(Err(why)) if why.is_eof()))
    }

    /// The manifest that committed offsets point to; its hash is compared before anything in it is believed.
    ///
    /// # Errors
    /// Refused: missing, another hash, damaged, newer format, another job. No other checkpoint is ever used in its place.
    pub fn read_committed(&self, pointer: &Pointer) -> Result<(Manifest, ManifestRef), Failure> {
        let path = self.layout().manifest(pointer.checkpoint);
        let shown = self.show(&path);
        if pointer.job != *self.job() {
            return Err(Failure::refused(format!("the committed offsets belong to job {}, not to {}", pointer.job, self.job())));
        }
        let bytes = self.get_if_present(&path)?.ok_or_else(|| {
            Failure::refused(format!(
                "the committed offsets name checkpoint {}, but {shown} is missing: check checkpoint.storage; nothing was changed",
                pointer.checkpoint
            ))
        })?;
        let found = Manifest::reference(pointer.checkpoint, &bytes);
        Manifest::check_pointer(&found, pointer, &shown)?;
        Ok((Manifest::from_bytes(&bytes, self.job(), pointer.checkpoint, &shown)?, found))
    }

    /// Makes a checkpoint durable. All its files must have been uploaded before. The put is conditional: a manifest of this
    /// number that says something else is never replaced.
    ///
    /// # Errors
    /// Attempt: the number is taken by another attempt. Transient, Fatal: as any write.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<ManifestRef, Failure> {
        let bytes = Bytes::from(manifest.to_bytes()?);
        let path = self.layout().manifest(manifest.checkpoint);
        let reference = Manifest::reference(manifest.checkpoint, &bytes);
        // What cannot be read back must not become the truth.
        Manifest::from_bytes(&bytes, self.job(), manifest.checkpoint, &self.show(&path))
            .map_err(|why| Failure::attempt(why.message))?;
        self.create(&path, bytes)?;
        Ok(reference)
    }

    /// Marks a checkpoint as committed. The same marker again is fine; the same number with another hash is not.
    ///
    /// # Errors
    /// Attempt: marked with another hash. Transient, Fatal: as any write.
    pub fn put_marker(&self, manifest: ManifestRef) -> Result<(), Failure> {
        self.create(&self.layout().marker(manifest.checkpoint), Bytes::from(format!("{}\n", manifest.hash)))
    }

    /// All checkpoints that are marked as committed, ascending. Marking is best effort: one without a marker may be committed
    /// all the same. A damaged marker is left out, with a warning.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn markers(&self) -> Result<Vec<ManifestRef>, Failure> {
        let mut found = Vec::new();
        for meta in self.list(&self.layout().markers())? {
            let Some(checkpoint) = Layout::marker_number(&meta.location) else { continue };
            let Some(bytes) = self.get_if_present(&meta.location)? else { continue };
            match parse_manifest_hash(String::from_utf8_lossy(&bytes).trim_end()) {
                Ok(hash) => found.push(ManifestRef { checkpoint, hash }),
                Err(why) => tracing::warn!(marker = self.show(&meta.location), why, "damaged marker of a committed checkpoint"),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Whose folder this is. One with other things in it and no `job.json` is nobody's to write into.
    fn ownership(&self) -> Result<Ownership, Failure> {
        let path = self.layout().owner();
        let shown = self.show(&path);
        let bytes = match self.get_if_present(&path)? {
            Some(bytes) => bytes,
            None if self.is_empty()? => return Ok(Ownership::Free),
            // Whoever makes the folder writes job.json first: it may have done so between the two questions.
            None => self.get_if_present(&path)?.ok_or_else(|| {
                Failure::refused(format!(
                    "{} holds files but no job.json: not a checkpoint folder of sluicegate; point checkpoint.storage elsewhere",
                    self.show(self.layout().root())
                ))
            })?,
        };
        let refuse = |why: String| Failure::refused(format!("{shown}: {why}"));
        let owner: Owner = match serde_json::from_slice(&bytes) {
            Ok(owner) => owner,
            Err(_) if self.list_manifests()?.is_empty() => return Ok(Ownership::Torn),
            Err(why) => return Err(refuse(format!("damaged: {why}"))),
        };
        if owner.format > Manifest::FORMAT {
            return Err(refuse(format!(
                "has format {}, this program reads formats up to {}: use a newer sluicegate",
                owner.format,
                Manifest::FORMAT
            )));
        }
        if owner.job != self.job().as_str() {
            return Err(refuse(format!(
                "the folder belongs to job {:?}, not to {:?}: every job needs a folder of its own",
                owner.job,
                self.job().as_str()
            )));
        }
        Ok(Ownership::Ours)
    }

    /// Whether the folder holds nothing at all.
    fn is_empty(&self) -> Result<bool, Failure> {
        let (root, store) = (self.layout().root(), self.store());
        let inside = self.run(PATIENCE, || async { store.list_with_delimiter(Some(root)).await.map_err(Trouble::of) });
        let inside = inside.map_err(|trouble| self.failed(trouble, Access::Read, root))?;
        Ok(inside.objects.is_empty() && inside.common_prefixes.is_empty())
    }

    /// Conditional put that counts what lies there already as done when it is the same: a try whose answer was lost.
    fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), Failure> {
        let Err(trouble) = self.put(path, bytes.clone(), PutMode::Create) else { return Ok(()) };
        if trouble.class != Class::Taken {
            return Err(self.failed(trouble, Access::Write, path));
        }
        match self.get_if_present(path)? {
            Some(there) if there == bytes => self.sync_parent(path),
            Some(_) => Err(self.failed(trouble, Access::Write, path)),
            None => Err(Failure::attempt(format!(
                "checkpoint storage: {} was there and is gone: somebody else deletes here",
                self.show(path)
            ))),
        }
    }

    /// An entry that somebody else made visible, or that a try made which then failed, may not be on disk yet.
    pub(super) fn sync_parent(&self, path: &ObjectPath) -> Result<(), Failure> {
        let Some(folder) = self.local_path(path).and_then(|path| path.parent().map(PathBuf::from)) else { return Ok(()) };
        std::fs::File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|why| Trouble::of_io(why).into_failure(Access::Write, &folder.display().to_string()))
    }

    fn put(&self, path: &ObjectPath, bytes: Bytes, mode: PutMode) -> Result<(), Trouble> {
        let store = self.store();
        self.run(PATIENCE, || async {
            store.put_opts(path, bytes.clone().into(), mode.clone().into()).await.map(drop).map_err(Trouble::of)
        })
    }

    pub(super) fn get_if_present(&self, path: &ObjectPath) -> Result<Option<Bytes>, Failure> {
        let store = self.store();
        let got = self.run(PATIENCE, || async { store.get(path).await.map_err(Trouble::of)?.bytes().await.map_err(Trouble::of) });
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(trouble) if trouble.class == Class::Missing => Ok(None),
            Err(trouble) => Err(self.failed(trouble, Access::Read, path)),
        }
    }

    /// Whether anything lies under the name of manifest `checkpoint`.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn has_manifest(&self, checkpoint: CheckpointId) -> Result<bool, Failure> {
        Ok(self.get_if_present(&self.layout().manifest(checkpoint))?.is_some())
    }

    /// Uploads into a folder of this machine that were never finished, older than this attempt and than `grace`. A store of
    /// files gives them names like `<name>#1` and does not list them; remote stores have rules of their own for them.
    pub(super) fn torn_uploads(&self, grace: Duration) -> Vec<PathBuf> {
        let layout = self.layout();
        let before = self.inner.opened.checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let folders = [layout.root().clone(), layout.files(), layout.manifests(), layout.markers()];
        let entries = folders.iter().filter_map(|folder| std::fs::read_dir(self.local_path(folder)?).ok()).flatten().flatten();
        let torn = entries.filter(|entry| {
            let name = entry.file_name();
            let staged = name.to_str().and_then(|name| name.rsplit_once('#'));
            let staged = staged.is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
            staged && entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|modified| modified < before)
        });
        torn.map(|entry| entry.path()).collect()
    }

    pub(super) fn list(&self, folder: &ObjectPath) -> Result<Vec<ObjectMeta>, Failure> {
        let store = self.store();
        match self.run(PATIENCE, || async { store.list(Some(folder)).try_collect().await.map_err(Trouble::of) }) {
            Err(trouble) if trouble.class == Class::Missing => Ok(Vec::new()),
            other => other.map_err(|trouble| self.failed(trouble, Access::Read, folder)),
        }
    }

    /// Deletes objects, several at a time, and says for each whether it is gone; one that was not there is.
    pub(super) fn delete_all(&self, paths: &[ObjectPath]) -> Vec<Result<(), Failure>> {
        let store = self.store();
        let one = |path| async move {
            let delete = || async { store.delete(path).await.map_err(Trouble::of) };
            match retry(Instant::now() + PATIENCE, delete).await {
                Err(trouble) if trouble.class != Class::Missing => Err(self.failed(trouble, Access::Write, path)),
                _ => Ok(()),
            }
        };
        let all = async { Ok(stream::iter(paths).map(one).buffered(DELETES_AT_A_TIME).collect().await) };
        match self.block_on(all, || Failure::attempt("checkpoint storage: deleting was given up, the attempt has ended")) {
            Ok(done) => done,
            Err(failure) => paths.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    /// Runs `operation` with retries on the executor.
    fn run<T, F>(&self, within: Duration, operation: impl FnMut() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        // The deadline is made inside, where a simulation's clock rules.
        self.block_on(async { retry(Instant::now() + within, operation).await }, Trouble::cancelled)
    }

    /// Runs `future` on the executor until it is done or the storage is cancelled.
    pub(super) fn block_on<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
        cancelled: impl FnOnce() -> E,
    ) -> Result<T, E> {
        let mut over = self.inner.cancelled.subscribe();
        self.inner.executor.block_on(async {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => Err(cancelled()),
                result = future => result,
            }
        })
    }

    pub(super) fn failed(&self, trouble: Trouble, access: Access, path: &ObjectPath) -> Failure {
        trouble.into_failure(access, &self.show(path))
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        self.inner.store.as_ref()
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// The object's path on this machine, if it has one.
    pub(super) fn local_path(&self, path: &ObjectPath) -> Option<PathBuf> {
        self.inner.folder.as_ref().map(|folder| path.parts().fold(folder.clone(), |all, part| all.join(part.as_ref())))
    }

    /// The object as a person finds it.
    pub(super) fn show(&self, path: &ObjectPath) -> String {
        match self.local_path(path) {
            Some(local) => local.display().to_string(),
            None => {
                let prefix = self.inner.layout.root().parts().count() - 1;
                let below: Vec<_> = path.parts().skip(prefix).map(|part| part.as_ref().to_owned()).collect();
                format!("{}/{}", self.inner.shown.strip_suffix('/').unwrap_or(&self.inner.shown), below.join("/"))
            }
        }
    }
}

/// Eight hexadecimal digits, new for every attempt: out of the clock, the process, and the keys that the standard library
/// draws at random.
pub(super) fn attempt_name() -> String {
    format!("{:08x}", RandomState::new().hash_one((SystemTime::now(), std::process::id())) >> 32)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn json(value: &impl Serialize) -> Result<Bytes, Failure> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|why| Failure::fatal(format!("no JSON form: {why}")))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}
