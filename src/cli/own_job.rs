//! The command line of a program that has a job of its own.

use super::{Code, Given, Stop, arguments, checkpoint, picture, run, savepoint, screen, state, stop, validate};
use crate::{engine::LocalCluster, engine::plan::Plan, protocol::Failure, stream::App};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// A job of its own, exactly once.
#[derive(Debug, Parser)]
#[command(max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the job until it is stopped, or its input ends (SIGTERM, SIGINT: a last checkpoint is committed first).
    ///
    /// Every start, the first one apart, recovers from what is committed; a start that would have to guess is refused with exit code 4.
    /// A second instance of the same job takes over: the older one exits with code 3.
    Run(run::Run),
    /// Check the settings, the graph and the folders. Nothing is changed
    Validate(Validate),
    /// Print the graph of the job, as text for Mermaid or Graphviz
    Graph(Graph),
    /// Look at the checkpoints of the job
    Checkpoint(checkpoint::Checkpoint),
    /// Make, list, show and delete savepoints
    Savepoint(savepoint::SavepointCommand),
    /// Stop the job that runs on this machine, with a savepoint if wanted
    Stop(stop::StopCommand),
    /// Look into the state of a checkpoint
    State(state::State),
}

#[derive(Debug, clap::Args)]
struct Validate {
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, clap::Args)]
struct Graph {
    /// As Graphviz reads it, instead of Mermaid
    #[arg(long, conflicts_with = "mermaid")]
    dot: bool,
    /// As Mermaid reads it: the default
    #[arg(long)]
    mermaid: bool,
}

impl App {
    /// A program with the job `name` (1 to 24 of a-z, 0-9, - and _): `build` makes its graph, the command line is sluicegate's. Settings
    /// come from `config/<name>.toml`, the environment and `--set`, as `docs/configuration.md` lists them, without those of the order job.
    ///
    /// ```no_run
    /// use sluicegate::{connectors::{FileSource, FileSink}, stream::App};
    ///
    /// fn main() -> std::process::ExitCode {
    ///     App::main("shout", |app| {
    ///         app.read("lines", FileSource::lines("in.txt")).map(|line| line.to_uppercase()).write_lines("out", FileSink::new("out"));
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn main(name: &'static str, build: impl Fn(&App) -> Result<(), Failure>) -> ExitCode {
        let command = Arguments::command().name(name).about(format!("The job {name}, exactly once"));
        let given = command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
        let arguments = match given {
            Ok(arguments) => arguments,
            Err(error) => {
                // Nobody is left to tell if that fails.
                let _ = error.print();
                return if error.use_stderr() { Code::Usage } else { Code::Done }.into();
            }
        };
        arguments::is_made_for(name);
        let plan = || {
            let app = App::new();
            build(&app)?;
            app.into_plan()
        };
        arguments.command.run(plan).unwrap_or_else(Stop::tell).into()
    }
}

impl Command {
    fn run(&self, plan: impl FnOnce() -> Result<Plan, Failure>) -> Result<Code, Stop> {
        match self {
            Self::Run(command) => command.run_graph(|_, _, _| plan()),
            Self::Validate(command) => command.run(plan),
            Self::Graph(command) => {
                let plan = plan()?;
                screen::line(&if command.dot { picture::dot(&plan) } else { picture::mermaid(&plan) })?;
                Ok(Code::Done)
            }
            Self::Checkpoint(command) => command.run(),
            Self::Savepoint(command) => command.run(),
            Self::Stop(command) => command.run(),
            Self::State(command) => command.run(),
        }
    }
}

impl Validate {
    fn run(&self, plan: impl FnOnce() -> Result<Plan, Failure>) -> Result<Code, Stop> {
        let (settings, sources) = self.given.load()?;
        let file = sources.file.map_or_else(|| "no file, defaults".to_owned(), |file| file.display().to_string());
        let graph = plan().and_then(|plan| {
            if !plan.sources.is_empty() || !plan.sinks.is_empty() {
                LocalCluster::new(&settings.job.name, &settings.checkpoint.storage, &plan)?;
                for source in plan.sources.values() {
                    for partition in source.partitions()? {
                        source.bounds(partition)?;
                    }
                }
            }
            Ok(format!("reads {}, writes {}", plan.input()?, plan.topics.join(", ")))
        });
        let checks = [
            ("settings", Ok(file)),
            ("graph", graph),
            ("state.dir", validate::writable(&settings.state.dir)),
            ("checkpoint.storage", validate::storage(&settings)),
        ];
        for (what, found) in &checks {
            let (word, text) = match found {
                Ok(text) => ("ok", text.clone()),
                Err(failure) => ("FAILED", failure.to_string()),
            };
            screen::line(&format!("{what:<25} {word:<7} {text}"))?;
        }
        Ok(if checks.iter().all(|(_, found)| found.is_ok()) { Code::Done } else { Code::Failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_a_job_is_sound_and_takes_settings() {
        Arguments::command().debug_assert();
        for line in [
            "job run --set checkpoint.interval=1s",
            "job validate",
            "job graph --dot",
            "job checkpoint list",
            "job state list",
            "job savepoint list",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        assert!(Arguments::try_parse_from(["job", "graph", "--dot", "--mermaid"]).is_err());
        // what only the order job has
        assert!(Arguments::try_parse_from(["job", "audit"]).is_err());
    }
}
