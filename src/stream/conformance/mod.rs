//! Suites for connectors: whoever writes a source or a sink runs them in his own tests, and is told the first promise that is not kept.
//!
//! | suite | for | how a failure of the job is played |
//! | --- | --- | --- |
//! | [`source`] | [`Source`](super::Source) | a new reader begins at positions that were recorded |
//! | [`two_phase_commit_sink`] | [`TwoPhaseCommitSink`](super::TwoPhaseCommitSink) | a new sink recovers with what was committed |
//! | [`sink`] | [`Sink`](super::Sink) | a new sink goes on |
//!
//! What each of them asks is told by [`Promise`]. The suites take seconds, need no Kafka and start no thread. Exactly-once is the engine's
//! part as long as these promises are kept.
//!
//! A sink that keeps each record as a file of its own, in its tests:
//!
//! ```
//! use sluicegate::stream::{Failure, Outgoing, Owner, SinkTransaction, TwoPhaseCommitSink, conformance};
//! use std::{fs, path::{Path, PathBuf}};
//!
//! /// `<folder>/staged-<job>/<epoch>-<number>` becomes `<folder>/<epoch>-<number>`.
//! struct OneFileEach(PathBuf);
//!
//! impl TwoPhaseCommitSink for OneFileEach {
//!     fn recover(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure> {
//!         self.commit(committed.unwrap_or_default())?;
//!         let staged = self.0.join(format!("staged-{}", owner.job));
//!         fs::create_dir_all(&staged).map_err(failed)?;
//!         for entry in fs::read_dir(staged).map_err(failed)? {
//!             let path = entry.map_err(failed)?.path();
//!             let epoch = path.file_name().and_then(|name| name.to_str()?.split_once('-')?.0.parse::<u64>().ok());
//!             // What a newer epoch has staged is not ours to take away.
//!             if epoch.is_some_and(|epoch| epoch < owner.epoch) { fs::remove_file(path).map_err(failed)? }
//!         }
//!         Ok(())
//!     }
//!
//!     fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure> {
//!         let folder = self.0.join(format!("staged-{}", owner.job));
//!         Ok(Box::new(Staged { folder, epoch: owner.epoch, staged: Vec::new() }))
//!     }
//!
//!     fn commit(&self, staged: &[String]) -> Result<(), Failure> {
//!         for path in staged.iter().map(Path::new).filter(|path| path.exists()) {
//!             fs::rename(path, self.0.join(path.file_name().unwrap_or_default())).map_err(failed)?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn describe(&self) -> String {
//!         format!("one file for each record in {}", self.0.display())
//!     }
//! }
//!
//! struct Staged { folder: PathBuf, epoch: u64, staged: Vec<String> }
//!
//! impl SinkTransaction for Staged {
//!     fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
//!         // Numbered across transactions, so that names sort as they were written.
//!         let number = fs::read_dir(&self.folder).map_err(failed)?.count() + visible_in(&self.folder)?;
//!         let path = self.folder.join(format!("{:08}-{number:08}", self.epoch));
//!         fs::write(&path, record.value.unwrap_or_default()).map_err(failed)?;
//!         self.staged.push(path.display().to_string());
//!         Ok(())
//!     }
//!
//!     fn pre_commit(self: Box<Self>) -> Result<Vec<String>, Failure> {
//!         Ok(self.staged) // A real one calls sync_all first, for files and folder.
//!     }
//! }
//!
//! # fn visible_in(staged: &Path) -> Result<usize, Failure> {
//! #     let parent = staged.parent().unwrap_or(staged);
//! #     Ok(fs::read_dir(parent).map_err(failed)?.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_file())).count())
//! # }
//! # fn failed(why: std::io::Error) -> Failure { Failure::transient(why.to_string()) }
//! /// An empty folder, in which the suite plays one of its cases.
//! struct Folder(tempfile::TempDir);
//!
//! impl conformance::Place for Folder {
//!     type Sink = OneFileEach;
//!
//!     fn sink(&self) -> OneFileEach {
//!         OneFileEach(self.0.path().to_owned())
//!     }
//!
//!     fn visible(&self) -> Result<Vec<String>, Failure> {
//!         let entries = fs::read_dir(self.0.path()).map_err(failed)?.filter_map(Result::ok);
//!         let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
//!         files.sort();
//!         files.iter().map(|path| fs::read_to_string(path).map_err(failed)).collect()
//!     }
//! }
//!
//! conformance::two_phase_commit_sink(|| Folder(tempfile::tempdir().unwrap())).unwrap();
//! ```

mod promise;
mod sink;
#[cfg(test)]
mod sink_tests;
mod source;
#[cfg(test)]
mod source_tests;

pub use promise::{Broken, Promise};
pub use sink::{Place, sink, two_phase_commit_sink};
pub use source::source;

#[cfg(test)]
pub(crate) use source::positions;
