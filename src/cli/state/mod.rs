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

// What --help says stands here: at a command's own type, what the settings say that are flattened into it would go over it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the states of a checkpoint: operators, kinds, keys, values, entries and sizes.
    ///
    /// Entries and bytes are counted, so all of the state is read. What values look like is learned from the first entry of each
    /// key group: a field with a question mark is not in all of those. Exit code 1 if there is no such checkpoint, 4 if it cannot
    /// be restored.
    List(list::List),
    /// Show the value of a key, as JSON.
    ///
    /// A key is written as the state's keys are (`state list` shows it): a text as it is, a number in digits, a pair as a JSON
    /// array like '[1767225600000,"U-00017"]'. Exit code 1 if there is no such key, state, operator or checkpoint, or the key is
    /// of another kind; 4 if the checkpoint cannot be restored.
    Get(get::Get),
    /// Show the entries of a state, one per line: the key, a tab, the value as JSON.
    ///
    /// They come by key group, and within a group in the order of the keys. A prefix is written as a key is: the beginning of a
    /// text; of a pair, a JSON array that may end early, and whose last part, if it is a text, may be a beginning:
    /// '[1767225600000]', '[1767225600000,"U-0"]'. Exit codes are those of `state get`; a state without entries is no error.
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
