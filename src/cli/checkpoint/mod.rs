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

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the checkpoints in the storage, the newest last
    List(list::List),
    /// Show what is in a checkpoint
    Show(show::Show),
    /// Read every file of a checkpoint and say whether it can be restored
    Verify(verify::Verify),
    /// Compare two checkpoints
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("no runtime for the checkpoint storage: {error}")))?;
    Storage::inspect(&settings.checkpoint.storage, &settings.job.name, Executor::Own(Arc::new(runtime)))
}
