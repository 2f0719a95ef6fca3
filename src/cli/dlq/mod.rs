//! `sluicegate dlq`: one file per subcommand, and what they share.
//!
//! ```text
//! dead-letters ──► Letter ──► Choice (--class, --since) ─┬─► list, show
//!                    ▲                                   └─► Fixer (--fix) ──► replay ──┬─► the input, again
//!                    └── Replayed ◄── <dead-letters>-replayed ◄── in one transaction ◄──┘
//! ```

mod choice;
mod fixer;
mod letter;
mod letters;
mod list;
mod replay;
mod replayed;
mod show;
mod topic;

pub(super) use topic::DeadLetters;

use super::{Code, Stop};
use crate::{config::Settings, observe::logging, protocol::Failure};
use letters::Letters;

/// Look at dead letters, and send them back through the input.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Dlq {
    #[command(subcommand)]
    command: Command,
}

// What --help says stands here: at a command's own type, what the settings say that are flattened into it would go over it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the dead letters of the job, with the reason of each, and count them by class.
    ///
    /// They come by partition and offset, up to the end at the start of this command; those of transactions that are still open are not
    /// shown. Nothing is changed.
    List(list::List),
    /// Show everything of one dead letter: where its record came from, why it was refused, key, headers and value.
    ///
    /// Exit code 1 if there is no dead letter at that place.
    Show(show::Show),
    /// Send dead letters back to the topic that they came from, exactly once.
    ///
    /// Each goes to the partition that it came from, with its key, value and headers, and a header replay.of that names the dead letter. The
    /// same transaction records it as replayed, so that another replay leaves it alone, whenever this one is killed. The job may run
    /// meanwhile. Exit code 3 if another replay of the same job runs; what was replayed until then stays so, and is not repeated.
    Replay(replay::Replay),
}

impl Dlq {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        self.run_for(|settings| Ok(DeadLetters::of(settings)))
    }

    /// For the job whose topics of dead letters `topics` gives.
    pub(super) fn run_for(&self, topics: impl FnOnce(&Settings) -> Result<Vec<DeadLetters>, Failure>) -> Result<Code, Stop> {
        let (given, which) = match &self.command {
            Command::List(list) => (&list.given, &list.which),
            Command::Show(show) => (&show.given, &show.which),
            Command::Replay(replay) => (&replay.given, &replay.which),
        };
        let (settings, _) = given.load()?;
        logging::quiet(&settings.log)?;
        let from = which.of(topics(&settings)?)?;
        let letters = Letters::open(&settings, &from)?;
        match &self.command {
            Command::List(list) => list.run(&letters),
            Command::Show(show) => show.run(&letters),
            Command::Replay(replay) => replay.run(&letters),
        }
    }
}
