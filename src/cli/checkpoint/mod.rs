//! `sluicegate checkpoint`: one file per subcommand.

mod diff;
mod list;
mod show;
mod verify;

use super::{Code, Stop};
use crate::{
    checkpoint::{Executor, Storage},
    config::Settings,
    protocol::Failure,
};
use std::sync::Arc;

/// Look at the checkpoints of the job.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Checkpoint {
    #[command(subcommand)]
    command: Command,
}

// What --help says stands here: at a command's own type, what the settings say that are flattened into it would go over it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the checkpoints in the storage, the newest last.
    ///
    /// "committed" says whether the checkpoint is marked as committed. Kafka decides that, the mark follows shortly after; the
    /// newest one may be committed without it.
    List(list::List),
    /// Show what is in a checkpoint: input, watermarks, states and files.
    ///
    /// Without a number, it is the newest one that is marked as committed; where none is marked, the newest. Only the manifest is
    /// read: no broker, no file of the state, no code of the job. Exit code 1 if there is no such checkpoint, 4 if its manifest
    /// is damaged, missing, or of a newer format.
    Show(show::Show),
    /// Read every file of a checkpoint and say whether it can be restored.
    ///
    /// Size and hash of every file are compared with the manifest, and the manifest with its mark as committed. Without a number,
    /// it is the newest one that is marked; where none is marked, the newest. Nothing is changed, no broker is asked. Exit code 4
    /// if the checkpoint cannot be restored: what is damaged or missing is named. Exit code 1 if there is no such checkpoint, or
    /// the storage cannot be read.
    Verify(verify::Verify),
    /// Compare two checkpoints: files, offsets, operators and states.
    ///
    /// Only the two manifests are read: no broker, no file of the state, no code of the job. Exit code 1 if there is no such
    /// checkpoint, 4 if a manifest is damaged, missing, or of a newer format.
    Diff(diff::Diff),
}

impl Checkpoint {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        match &self.command {
            Command::List(list) => list.run(),
            Command::Show(show) => show.run(),
            Command::Verify(verify) => verify.run(),
            Command::Diff(diff) => diff.run(),
        }
    }
}

/// The job's storage, for reading.
pub(super) fn open(settings: &Settings) -> Result<Storage, Failure> {
    Storage::inspect(&settings.checkpoint.storage, &settings.job.name, executor()?)
}

/// The same, if there is one.
pub(super) fn open_if_there(settings: &Settings) -> Result<Option<Storage>, Failure> {
    Storage::inspect_if_there(&settings.checkpoint.storage, &settings.job.name, executor()?)
}

/// For commands, which are threads of their own.
pub(super) fn executor() -> Result<Executor, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("no runtime for the checkpoint storage: {error}")))?;
    Ok(Executor::Own(Arc::new(runtime)))
}
