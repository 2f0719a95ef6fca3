//! Lines in files, which get their names when the checkpoint commits.
//!
//! ```text
//! .part-<job>-<epoch>-<number>.jsonl.staged  ──commit──►  part-<job>-<epoch>-<number>.jsonl
//! ```
//!
//! Names sort in the order in which they were committed. Readers take files that begin with `part-`; each of them is complete.

use crate::engine::local::sync_folder;
use crate::stream::{Failure, Outgoing, Owner, SinkTransaction, TwoPhaseCommitSink};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const STAGED: &str = ".staged";

/// Writes each record as a line. A checkpoint begins a new file; within one, files are closed when they are large or old enough.
#[derive(Debug, Clone)]
pub struct FileSink {
    folder: PathBuf,
    suffix: String,
    roll_at_bytes: u64,
    roll_after: Duration,
    number: Arc<AtomicU64>,
}

impl FileSink {
    /// Files in `folder`, which is made if it is not there. Unless told otherwise they are closed at 128 MiB or with the checkpoint,
    /// whatever comes first.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            suffix: String::new(),
            roll_at_bytes: 128 << 20,
            roll_after: Duration::MAX,
            number: Arc::default(),
        }
    }

    /// What the names of files end with, such as `.jsonl`.
    #[must_use]
    pub fn suffix(mut self, suffix: &str) -> Self {
        suffix.clone_into(&mut self.suffix);
        self
    }

    /// A file that has so many bytes is closed.
    #[must_use]
    pub fn roll_at_bytes(mut self, bytes: u64) -> Self {
        self.roll_at_bytes = bytes;
        self
    }

    /// A file that was begun so long ago is closed before the next record.
    #[must_use]
    pub fn roll_after(mut self, age: Duration) -> Self {
        self.roll_after = age;
        self
    }

    /// The lines of all published files in `folder`, in the order in which they were committed.
    ///
    /// # Errors
    /// Transient: the folder or a file cannot be read.
    pub fn read(folder: &Path) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        for name in names(folder)?.into_iter().filter(|name| name.starts_with("part-")) {
            let text = fs::read_to_string(folder.join(name)).map_err(failed(folder, "read"))?;
            lines.extend(text.lines().map(str::to_owned));
        }
        Ok(lines)
    }

    fn prefix(owner: &Owner) -> String {
        format!("part-{}-", owner.job)
    }

    /// Whether the name is that of an output file with this prefix. The files of job `a-1` begin with the prefix of job `a`, too: behind
    /// it stand epoch and number, and no third one.
    fn is_output(&self, name: &str, prefix: &str) -> bool {
        let after_number = |text: &str| -> Option<usize> {
            let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < text.len()).then_some(text.len() - rest.len())
        };
        let Some(rest) = name.strip_prefix(prefix) else { return false };
        let number = after_number(rest).and_then(|at| rest.get(at..)).and_then(|rest| rest.strip_prefix('-'));
        let Some(end) = number.and_then(|number| number.get(after_number(number)?..)) else { return false };
        let own = end.strip_suffix(STAGED).unwrap_or(end) == self.suffix;
        own || end.strip_prefix('-').and_then(after_number).is_none()
    }
}

impl TwoPhaseCommitSink for FileSink {
    fn recover(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder)
            .map_err(|why| Failure::fatal(format!("{}: cannot be made: {why}", self.folder.display())))?;
        let prefix = Self::prefix(owner);
        let there = names(&self.folder)?;
        if committed.is_none()
            && let Some(older) = there.iter().find(|name| self.is_output(name, &prefix))
        {
            return Err(Failure::refused(format!(
                "{} holds output of job {} ({older}), which has never committed with this checkpoint.storage: beginning anew would give \
                 out everything a second time. Give the storage that belongs to it, or move its files away",
                self.folder.display(),
                owner.job
            )));
        }
        self.commit(committed.unwrap_or_default())?;
        // What is committed has its name by now; the rest was staged by attempts that did not come so far. What has a newer epoch is
        // that of whoever has taken the job over since.
        for name in names(&self.folder)? {
            let Some(staged) = name.strip_prefix('.').filter(|name| self.is_output(name, &prefix) && name.ends_with(STAGED))
            else {
                continue;
            };
            if epoch(staged, &prefix).is_none_or(|epoch| epoch < owner.epoch) {
                match fs::remove_file(self.folder.join(&name)) {
                    Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                    done => done.map_err(failed(&self.folder, "cleared"))?,
                }
            }
        }
        self.number.store(0, Ordering::Relaxed);
        sync_folder(&self.folder)
    }

    fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure> {
        let folder = std::path::absolute(&self.folder).map_err(failed(&self.folder, "found"))?;
        let sink = Self { folder, ..self.clone() };
        Ok(Box::new(Staged {
            prefix: format!("{}{:08}", Self::prefix(owner), owner.epoch),
            sink,
            open: None,
            staged: Vec::new(),
        }))
    }

    fn commit(&self, staged: &[String]) -> Result<(), Failure> {
        let mut folders: Vec<&Path> = Vec::new();
        for path in staged.iter().map(Path::new) {
            let published = published(path)?;
            if !path.exists() {
                // Published before; perhaps taken away by its reader since.
                continue;
            }
            // Whoever took the job over, or was overtaken, may be doing the same: then the one has gone, and the other is there.
            if published.exists() && path.exists() {
                return Err(Failure::refused(format!(
                    "{}: there is such a file, and {} is to get this name: move one of them away",
                    published.display(),
                    path.display()
                )));
            }
            match fs::rename(path, &published) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                done => done.map_err(failed(path, "renamed"))?,
            }
            folders.extend(path.parent());
        }
        folders.dedup();
        folders.into_iter().try_for_each(sync_folder)
    }

    fn describe(&self) -> String {
        format!("files in {}", self.folder.display())
    }
}

/// The epoch in the name of an output file with this prefix.
fn epoch(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}

/// The name that a staged file gets.
fn published(staged: &Path) -> Result<PathBuf, Failure> {
    let name = staged.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_prefix('.')?.strip_suffix(STAGED));
    let name = name.ok_or_else(|| Failure::refused(format!("{}: not the name of a staged file", staged.display())))?;
    Ok(staged.with_file_name(name))
}

/// The names of the files in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let listed = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let listed = listed.map_err(failed(folder, "listed"))?;
    let mut names: Vec<String> = listed.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    let path = path.display().to_string();
    move |why| Failure::transient(format!("{path}: cannot be {what}: {why}"))
}

/// The files of one checkpoint.
struct Staged {
    sink: FileSink,
    prefix: String,
    open: Option<OpenFile>,
    staged: Vec<PathBuf>,
}

struct OpenFile {
    file: BufWriter<File>,
    bytes: u64,
    since: Instant,
}

impl Staged {
    fn open(&mut self) -> Result<OpenFile, Failure> {
        loop {
            let number = self.sink.number.fetch_add(1, Ordering::Relaxed);
            let path = self.sink.folder.join(format!(".{}-{number:08}{}{STAGED}", self.prefix, self.sink.suffix));
            let file = match File::create_new(&path) {
                // Left over from a storage that was lost, and with it the epochs.
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(failed(&path, "made"))?,
            };
            self.staged.push(path);
            return Ok(OpenFile { file: BufWriter::with_capacity(64 << 10, file), bytes: 0, since: Instant::now() });
        }
    }

    fn close(&mut self) -> Result<(), Failure> {
        let (Some(open), Some(path)) = (self.open.take(), self.staged.last()) else { return Ok(()) };
        let file = open.file.into_inner().map_err(|why| failed(path, "written")(why.into_error()))?;
        file.sync_all().map_err(failed(path, "synchronised"))
    }
}

impl SinkTransaction for Staged {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let Some(line) = record.value else { return Ok(()) };
        let full = |open: &OpenFile| open.bytes >= self.sink.roll_at_bytes || open.since.elapsed() >= self.sink.roll_after;
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let written = open.file.write_all(line).and_then(|()| open.file.write_all(b"\n"));
        written.map_err(failed(&self.sink.folder, "written to"))?;
        open.bytes += line.len() as u64 + 1;
        self.open = Some(open);
        Ok(())
    }

    fn pre_commit(mut self: Box<Self>) -> Result<Vec<String>, Failure> {
        self.close()?;
        if !self.staged.is_empty() {
            sync_folder(&self.sink.folder)?;
        }
        let text = |path: &PathBuf| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| {
                Failure::fatal(format!("{}: a folder whose name is no UTF-8 cannot be written to", path.display()))
            })
        };
        self.staged.iter().map(text).collect()
    }
}
