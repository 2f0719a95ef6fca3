//! Restoring the files of a state snapshot, and verifying them: every byte is hashed, whatever way it took.

use super::{
    explain::{Access, Class, Trouble},
    manifest::{Manifest, StateFile},
    retry::{Tries, retry},
    storage::Storage,
};
use crate::failpoint;
use crate::protocol::Failure;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange, path::Path as ObjectPath};
use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Downloads at a time from a remote storage: nothing else runs during a restore.
const DOWNLOADS_AT_A_TIME: usize = 8;
/// Read, hashed and written at a time.
const CHUNK: usize = 1 << 20;

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Files done.
    pub files_done: usize,
    /// Files in all.
    pub files: usize,
    /// Bytes of the files done.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files restored.
    pub files: usize,
    /// Files of them that are hard links into the storage.
    pub linked: usize,
    /// Bytes verified.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl Storage {
    /// Brings the files of `manifest` into the new folder `target`, under RocksDB's names, with every hash verified. On the
    /// file system of the storage, tables become hard links: RocksDB never changes a table, and asks for the number of links
    /// before it truncates one that it deletes. All other files are copied, since RocksDB appends to them.
    ///
    /// # Errors
    /// Refused: a file is missing or differs from the manifest. Transient: storage away, or not done `within` the time.
    /// After an error the folder is incomplete: delete it.
    pub fn restore(
        &self,
        manifest: &Manifest,
        target: &Path,
        within: Duration,
        progress: &(dyn Fn(RestoreProgress) + Sync),
    ) -> Result<RestoreReport, Failure> {
        let local = |why: std::io::Error| Failure::fatal(format!("state folder {}: {why}", target.display()));
        std::fs::create_dir_all(target).map_err(local)?;
        if std::fs::read_dir(target).map_err(local)?.next().is_some() {
            return Err(Failure::attempt(format!("state folder {} is not empty: nothing is restored into it", target.display())));
        }
        self.read_all(manifest, Some(target), within, progress)
    }

    /// Reads every file of `manifest` and compares its hash; restores nothing.
    ///
    /// # Errors
    /// As [`Storage::restore`].
    pub fn verify(
        &self,
        manifest: &Manifest,
        within: Duration,
        progress: &(dyn Fn(RestoreProgress) + Sync),
    ) -> Result<RestoreReport, Failure> {
        self.read_all(manifest, None, within, progress)
    }

    fn read_all(
        &self,
        manifest: &Manifest,
        target: Option<&Path>,
        within: Duration,
        progress: &(dyn Fn(RestoreProgress) + Sync),
    ) -> Result<RestoreReport, Failure> {
        let started = Instant::now();
        let (files_done, bytes_done, linked) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        let (files, bytes) = (manifest.files.len(), manifest.total_bytes);
        let one = |(file, source): (&StateFile, Source), deadline| {
            let (file, target) = (file.clone(), target.map(|target| target.join(&file.name)));
            let (files_done, bytes_done, linked) = (&files_done, &bytes_done, &linked);
            async move {
                let way = self.read_file(&file, source, target, deadline).await;
                let way = way.map_err(|trouble| self.lost(trouble, manifest, &file))?;
                linked.fetch_add(usize::from(way == Way::Linked), Ordering::Relaxed);
                progress(RestoreProgress {
                    files_done: files_done.fetch_add(1, Ordering::Relaxed) + 1,
                    files,
                    bytes_done: bytes_done.fetch_add(file.size, Ordering::Relaxed) + file.size,
                    bytes,
                });
                Ok::<(), Failure>(())
            }
        };
        let (at_a_time, sources) = (self.files_at_a_time(), self.sources(manifest));
        let timed = async {
            let deadline = tokio::time::Instant::now() + within;
            let all = stream::iter(sources).map(|file| one(file, deadline)).buffer_unordered(at_a_time).try_collect();
            match tokio::time::timeout_at(deadline, all).await {
                Ok(done) => done,
                Err(_) => Err(Failure::transient(format!(
                    "checkpoint {}: reading its files from {} was not done within {within:?}",
                    manifest.checkpoint,
                    self.show(&self.layout().files())
                ))),
            }
        };
        let () = self.block_on(timed, || Failure::attempt("restore given up: the attempt has ended"))?;
        Ok(RestoreReport { files, linked: linked.into_inner(), bytes, took: started.elapsed() })
    }

    /// Files that are read at a time.
    pub(super) fn files_at_a_time(&self) -> usize {
        match self.local_path(self.layout().root()) {
            Some(_) => std::thread::available_parallelism().map_or(2, usize::from),
            None => DOWNLOADS_AT_A_TIME,
        }
    }

    /// The files of `manifest`, and where each is read from. Those in a folder are opened, all of them before the first is read:
    /// whatever a running job clears away meanwhile, because it has gone on to its next checkpoint, stays readable.
    pub(super) fn sources<'m>(&self, manifest: &'m Manifest) -> Vec<(&'m StateFile, Source)> {
        let source = |file: &StateFile| {
            let path = self.layout().file(&file.object_name());
            match self.local_path(&path) {
                // One that cannot be opened now (too many are open, say) is tried again when its turn comes, and says why then.
                Some(path) => Source::Folder { opened: File::open(&path).ok(), path },
                None => Source::Remote(path),
            }
        };
        manifest.files.iter().map(|file| (file, source(file))).collect()
    }

    /// Reads one file to its end, into `target` if there is one, and compares it with what the manifest says of it.
    pub(super) async fn read_file(
        &self,
        file: &StateFile,
        source: Source,
        target: Option<PathBuf>,
        deadline: tokio::time::Instant,
    ) -> Result<Way, Trouble> {
        match source {
            Source::Folder { path, opened } => from_folder(path, opened, target, file.clone()).await,
            Source::Remote(path) => self.download(&path, target.as_deref(), file, deadline).await,
        }
    }

    /// Streams an object through the hash into `target`. A connection that breaks costs only what was on its way.
    async fn download(
        &self,
        path: &ObjectPath,
        target: Option<&Path>,
        file: &StateFile,
        deadline: tokio::time::Instant,
    ) -> Result<Way, Trouble> {
        let sink = Arc::new(Mutex::new(Sink::create(target)?));
        retry(Tries::until(deadline), || self.fetch(path, file, &sink)).await?;
        lock(&sink).check(file)?;
        Ok(Way::Copied)
    }

    /// Brings what the sink does not have yet.
    async fn fetch(&self, path: &ObjectPath, file: &StateFile, sink: &Arc<Mutex<Sink>>) -> Result<(), Trouble> {
        let have = lock(sink).size;
        if have > 0 && have >= file.size {
            return Ok(());
        }
        let options = GetOptions { range: (have > 0).then_some(GetRange::Offset(have)), ..GetOptions::default() };
        let got = self.store().get_opts(path, options).await.map_err(Trouble::of)?;
        let mut chunks = got.into_stream();
        let mut waiting = Vec::new();
        loop {
            let chunk = chunks.try_next().await.map_err(Trouble::of)?;
            let last = chunk.is_none();
            waiting.extend(chunk);
            if last || waiting.iter().map(bytes::Bytes::len).sum::<usize>() >= CHUNK {
                let (ready, sink) = (std::mem::take(&mut waiting), Arc::clone(sink));
                blocking(move || {
                    let mut sink = lock(&sink);
                    ready.iter().try_for_each(|chunk| sink.write(chunk))
                })
                .await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    pub(super) fn lost(&self, trouble: Trouble, manifest: &Manifest, file: &StateFile) -> Failure {
        let which = format!("checkpoint {}, state file {}", manifest.checkpoint, file.name);
        let path = self.layout().file(&file.object_name());
        match trouble.class {
            Class::Missing => Failure::refused(format!("{which}: {} is missing; nothing was changed", self.show(&path))),
            Class::Damaged => {
                Failure::refused(format!("{which}: {} is damaged: {trouble}; nothing was changed", self.show(&path)))
            }
            _ => self.failed(trouble, Access::Read, &path).context(which),
        }
    }
}

/// Where the bytes of a file come from.
pub(super) enum Source {
    /// A file of this machine; once opened it can be read to its end, whatever becomes of its name.
    Folder { path: PathBuf, opened: Option<File> },
    /// An object behind requests.
    Remote(ObjectPath),
}

/// How a file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Linked,
    Copied,
}

/// Links or copies a file of this machine, and hashes it.
async fn from_folder(source: PathBuf, opened: Option<File>, target: Option<PathBuf>, file: StateFile) -> Result<Way, Trouble> {
    blocking(move || {
        // Another file system, a file of another user, one with too many links, or one that is gone since: then it is copied.
        let linked = file.is_immutable() && target.as_ref().is_some_and(|target| std::fs::hard_link(&source, target).is_ok());
        let mut reader = opened.map_or_else(|| File::open(&source).map_err(Trouble::of_io), Ok)?;
        let mut sink = Sink::create(target.as_deref().filter(|_| !linked))?;
        let mut chunk = vec![0; CHUNK.min(usize::try_from(file.size).unwrap_or(CHUNK).max(1))];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => sink.write(chunk.get(..read).unwrap_or_default())?,
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                Err(why) => return Err(Trouble::of_io(why)),
            }
        }
        sink.check(&file)?;
        Ok(if linked { Way::Linked } else { Way::Copied })
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(|why| Trouble::new(Class::Passing, why.to_string()))?
}

/// A panic while it was held leaves no half-written chunk behind that the hash would not find.
fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hashes and counts what passes, and writes it when there is somewhere to write to.
struct Sink {
    file: Option<(File, PathBuf)>,
    hasher: blake3::Hasher,
    size: u64,
}

impl Sink {
    fn create(target: Option<&Path>) -> Result<Self, Trouble> {
        let open = |path: &Path| match File::create(path) {
            Ok(file) => Ok((file, path.to_owned())),
            Err(why) => Err(Self::unwritten(path, &why)),
        };
        Ok(Self { file: target.map(open).transpose()?, hasher: blake3::Hasher::new(), size: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        match &mut self.file {
            Some((file, path)) => file.write_all(bytes).map_err(|why| Self::unwritten(path, &why)),
            None => Ok(()),
        }
    }

    fn unwritten(path: &Path, why: &std::io::Error) -> Trouble {
        Trouble::new(Class::Local, format!("state folder: writing {}: {why}", path.display()))
    }

    fn check(&self, wanted: &StateFile) -> Result<(), Trouble> {
        if failpoint::switched_off("file-hash") {
            return Ok(());
        }
        if self.size != wanted.size {
            return Err(Trouble::new(Class::Damaged, format!("it has {} bytes, the manifest says {}", self.size, wanted.size)));
        }
        let found = self.hasher.finalize();
        if found != wanted.hash {
            return Err(Trouble::new(Class::Damaged, format!("its hash is {found}, the manifest says {}", wanted.hash)));
        }
        Ok(())
    }
}
