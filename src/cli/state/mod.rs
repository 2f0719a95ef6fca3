//! `sluicegate state`: one file per subcommand.

mod get;
mod list;
mod looking;
mod scan;

use super::{Code, Stop};

/// Look into the state of a checkpoint.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct State {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the states with their keys, values, entries and sizes
    List(list::List),
    /// Show the value of a key
    Get(get::Get),
    /// Show the entries of a state
    Scan(scan::Scan),
}

impl State {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        match &self.command {
            Command::List(list) => list.run(),
            Command::Get(get) => get.run(),
            Command::Scan(scan) => scan.run(),
        }
    }
}
