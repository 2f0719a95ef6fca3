//! The command line as it is written.

use super::{Stop, audit, checkpoint, dlq, exit::Code, generate, run, savepoint, state, stop, topics, validate};
use crate::config::{self, Settings, Sources};
use clap::{Parser, Subcommand};
use std::{path::PathBuf, sync::OnceLock};

/// File that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "config/orders.toml";
/// Environment variable that names the file when `--config` does not.
const FILE_VARIABLE: &str = "SLUICEGATE_CONFIG";

/// The job that this program is made for, if it is not the one with the order job.
static OWN_JOB: OnceLock<&str> = OnceLock::new();

/// Says that this program is made for the job `name`: once, before its command runs.
pub(super) fn is_made_for(name: &'static str) {
    // A second job in one process would be one too many; the first one stands.
    let _ = OWN_JOB.set(name);
}

/// Exactly-once ETL for Kafka: one binary, no cluster to run.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, max_term_width = 110, after_help = after_help())]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where settings come from: the same for every command.
// Not global options of clap: of those, what stands before the command is dropped when the same stands after it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Given {
    /// Settings, as docs/configuration.md lists them. Without it: the file that SLUICEGATE_CONFIG names, else config/orders.toml
    /// if that is there, else the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Sets one setting, over file and environment; may be given many times.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

impl Given {
    /// Reads and checks the settings.
    pub(super) fn load(&self) -> Result<(Settings, Sources), Stop> {
        let sources = self.sources();
        Ok((config::load(&sources)?, sources))
    }

    /// Where the settings come from, for this process.
    fn sources(&self) -> Sources {
        let named = self.config.clone().or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
        let own_job = OWN_JOB.get().map(|name| (*name).to_owned());
        let usual = own_job.as_ref().map_or_else(|| DEFAULT_FILE.to_owned(), |name| format!("config/{name}.toml"));
        let usual = || Some(PathBuf::from(usual)).filter(|path| path.exists());
        Sources { file: named.or_else(usual), environment: std::env::vars_os().collect(), set: self.set.clone(), own_job }
    }
}

// What --help says stands here: at a command's own type, what the settings say that are flattened into it would go over it.
/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the job until it is stopped (SIGTERM, SIGINT: a last checkpoint is committed first).
    ///
    /// Every start, the first one apart, recovers from what Kafka says is committed; a start that would have to guess is refused
    /// with exit code 4. A second instance of the same job takes over: the older one exits with code 3.
    Run(run::Run),
    /// Check the settings and what they name.
    ///
    /// All problems of the settings are told at once, each with its file and line (or variable), its value and what is allowed. Then
    /// the folders, the broker, the topics and the transaction timeout are looked at, unless --offline is given. Nothing is changed.
    Validate(validate::Validate),
    /// Create the topics of the job
    Topics(topics::Topics),
    /// Send a load to the input topic
    Generate(generate::Generate),
    /// Recompute every output from the input and compare.
    ///
    /// The outputs are recomputed from the input up to the offsets that the job has committed, independently of the engine, and compared
    /// with what readers of committed records see. Stop the job first, or run it with --until-caught-up: what it commits meanwhile would be
    /// a difference.
    Audit(audit::Audit),
    /// Look at the checkpoints of the job
    Checkpoint(checkpoint::Checkpoint),
    /// Make, list, show and delete savepoints
    Savepoint(savepoint::SavepointCommand),
    /// Stop the job that runs on this machine, with a savepoint if wanted.
    ///
    /// The job is asked over http.listen; it takes a last checkpoint and commits it. This command waits until it has ended, and says
    /// what was committed.
    Stop(stop::StopCommand),
    /// Look into the state of a checkpoint
    State(state::State),
    /// Look at dead letters, and send them back through the input
    Dlq(dlq::Dlq),
}

fn after_help() -> String {
    let mut help = String::from("Exit codes:\n");
    for (code, meaning) in Code::ALL {
        help.push_str(&format!("  {}  {meaning}\n", code as u8));
    }
    help.push_str("\nEvery setting is also an environment variable: SLUICEGATE__CHECKPOINT__INTERVAL=500ms");
    help
}
