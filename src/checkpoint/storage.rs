//! The checkpoint storage of one job: manifests and markers. Files are in `upload.rs` and `restore.rs`.

use super::{
    explain::{Access, Class, Trouble},
    layout::Layout,
    location::{Connected, Location},
    manifest::{Manifest, parse_manifest_hash},
    owner::Ownership,
    retry::{Tries, retry},
};
use crate::protocol::{CheckpointId, Failure, JobName, ManifestHash, ManifestRef, Pointer};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, path::Path as ObjectPath};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{runtime, sync::watch};

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
        match storage.ownership()? {
            Ownership::Ours => Ok(storage),
            Ownership::Free | Ownership::Torn => Err(Failure::refused(format!(
                "no checkpoints of job {job} in {}: check job.name and checkpoint.storage",
                storage.folder()
            ))),
        }
    }

    /// Looks for the storage of `job` as [`Storage::inspect`] does; none if the job has never run with it.
    ///
    /// # Errors
    /// Refused: a foreign folder. Fatal, Transient: it cannot be read.
    pub fn inspect_if_there(location: &Location, job: &JobName, executor: impl Into<Executor>) -> Result<Option<Self>, Failure> {
        let storage = Self::over(location.connect(false)?, job, executor.into(), attempt_name());
        Ok((storage.ownership()? == Ownership::Ours).then_some(storage))
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
        let listed = executor.block_on(async {
            retry(Tries::of_small_requests(), || async { store.list_with_delimiter(Some(&prefix)).await.map_err(Trouble::of) })
                .await
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

    /// [`Storage::markers`] by number.
    ///
    /// # Errors
    /// Transient: no answer.
    pub fn marks(&self) -> Result<BTreeMap<CheckpointId, ManifestHash>, Failure> {
        Ok(self.markers()?.into_iter().map(|ManifestRef { checkpoint, hash }| (checkpoint, hash)).collect())
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

    /// Puts what no other attempt may put under this name, in time.
    fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), Failure> {
        let put = async { self.put_once(path, bytes, Tries::of_small_requests()).await };
        self.block_on(put, Trouble::cancelled).map_err(|trouble| self.failed(trouble, Access::Write, path))
    }

    /// Conditional put that counts what lies there already as done when it is the same: a try whose answer was lost.
    pub(super) async fn put_once(&self, path: &ObjectPath, bytes: Bytes, tries: Tries) -> Result<(), Trouble> {
        let store = self.store();
        let put = || async { store.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await.map_err(Trouble::of) };
        let taken = match retry(tries, put).await {
            Err(trouble) if trouble.class == Class::Taken => trouble,
            done => return done.map(drop),
        };
        match retry(tries, || self.get(path)).await {
            Ok(there) if there == bytes => self.sync_parent(path).map_err(|failure| Trouble::new(Class::Local, failure.message)),
            Ok(_) => Err(taken),
            Err(trouble) if trouble.class == Class::Missing => Err(Trouble::new(Class::Gone, "")),
            Err(trouble) => Err(trouble),
        }
    }

    /// An entry that somebody else made visible, or that a try made which then failed, may not be on disk yet.
    pub(super) fn sync_parent(&self, path: &ObjectPath) -> Result<(), Failure> {
        let Some(folder) = self.local_path(path).and_then(|path| path.parent().map(PathBuf::from)) else { return Ok(()) };
        std::fs::File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|why| Trouble::of_io(why).into_failure(Access::Write, &folder.display().to_string()))
    }

    pub(super) fn put(&self, path: &ObjectPath, bytes: Bytes, mode: PutMode) -> Result<(), Trouble> {
        let store = self.store();
        self.run(|| async {
            store.put_opts(path, bytes.clone().into(), mode.clone().into()).await.map(drop).map_err(Trouble::of)
        })
    }

    async fn get(&self, path: &ObjectPath) -> Result<Bytes, Trouble> {
        self.store().get(path).await.map_err(Trouble::of)?.bytes().await.map_err(Trouble::of)
    }

    pub(super) fn get_if_present(&self, path: &ObjectPath) -> Result<Option<Bytes>, Failure> {
        match self.run(|| self.get(path)) {
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
        match self.run(|| async { store.list(Some(folder)).try_collect().await.map_err(Trouble::of) }) {
            Err(trouble) if trouble.class == Class::Missing => Ok(Vec::new()),
            other => other.map_err(|trouble| self.failed(trouble, Access::List, folder)),
        }
    }

    /// Deletes objects, several at a time, and says for each whether it is gone; one that was not there is.
    pub(super) fn delete_all(&self, paths: &[ObjectPath]) -> Vec<Result<(), Failure>> {
        let store = self.store();
        let one = |path| async move {
            let delete = || async { store.delete(path).await.map_err(Trouble::of) };
            match retry(Tries::of_small_requests(), delete).await {
                Err(trouble) if trouble.class != Class::Missing => Err(self.failed(trouble, Access::Delete, path)),
                _ => Ok(()),
            }
        };
        let all = async { Ok(stream::iter(paths).map(one).buffered(DELETES_AT_A_TIME).collect().await) };
        match self.block_on(all, || Failure::attempt("checkpoint storage: deleting was given up, the attempt has ended")) {
            Ok(done) => done,
            Err(failure) => paths.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    /// Runs a small `operation` with retries on the executor.
    pub(super) fn run<T, F>(&self, operation: impl FnMut() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        // The deadline is made inside, where a simulation's clock rules.
        self.block_on(async { retry(Tries::of_small_requests(), operation).await }, Trouble::cancelled)
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

    /// Whether the storage is a folder of this machine.
    pub(super) fn is_folder(&self) -> bool {
        self.inner.folder.is_some()
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
