//! The command line of a program that has a job of its own.

use super::{
    Code, Given, Stop, arguments,
    audit::OwnAudit,
    checkpoint,
    dlq::{self, DeadLetters},
    picture, run, savepoint, screen, state, stop,
    topics::{self, Names},
    validate::{self, Check},
};
use crate::{
    config::Settings,
    engine::{
        LocalCluster,
        plan::{Ends, Plan},
    },
    protocol::Failure,
    stream::App,
};
use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::{NonEmptyStringValueParser, StyledStr},
};
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
    /// Check the settings, the graph, the folders, and what the job reads and writes. Nothing is changed
    Validate(Validate),
    /// Create the topics of Kafka that the job reads and writes
    Topics(topics::Topics),
    /// Recompute the outputs from the input, as the job's own audit does it, and compare.
    ///
    /// The audit is handed what the job has committed of its input, then what readers of committed records see of its outputs. Stop the job
    /// first, or run it with --until-caught-up: what it commits meanwhile would be a difference. Exit code 5 if anything is missing, doubled
    /// or wrong; 2 if the job has no audit.
    Audit(OwnAudit),
    /// Look at dead letters, and send them back through the input
    Dlq(dlq::Dlq),
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
#[command(after_help = "Example:\n  sluicegate validate --offline")]
struct Validate {
    /// Check the settings and the graph only
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate graph --dot | dot -Tsvg > graph.svg")]
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
        let command = in_words_of(name, Arguments::command().name(name).about(format!("The job {name}, exactly once")));
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
        let built = || {
            let app = App::new();
            build(&app)?;
            Ok(app)
        };
        arguments.command.run(built).unwrap_or_else(Stop::tell).into()
    }
}

/// Examples and places in the help are those of the program itself.
fn in_words_of(name: &'static str, command: clap::Command) -> clap::Command {
    let own = |text: &StyledStr| {
        let text = text.to_string().replace("config/orders.toml", &format!("config/{name}.toml"));
        text.replace("  sluicegate ", &format!("  {name} "))
    };
    let after = command.get_after_help().map(own);
    let command = command.mut_args(|argument| {
        let help = argument.get_help().map(own);
        let argument = if let Some(help) = help { argument.help(help) } else { argument };
        // The classes of errors are those that the job's decoders name.
        if argument.get_id() == "class" { argument.value_parser(NonEmptyStringValueParser::new()) } else { argument }
    });
    let command = command.mut_subcommands(|command| in_words_of(name, command));
    if let Some(after) = after { command.after_help(after) } else { command }
}

impl Command {
    fn run(&self, built: impl Fn() -> Result<App, Failure>) -> Result<Code, Stop> {
        let plan = || built()?.into_plan();
        match self {
            Self::Audit(command) => {
                let app = built()?;
                let audit = app.registered_audit();
                command.run(&app.into_plan()?, audit)
            }
            Self::Dlq(command) => command.run_for(|_| DeadLetters::of_graph(&plan()?)),
            Self::Run(command) => command.run_graph(|_, _, _| plan()),
            Self::Validate(command) => command.run(plan),
            Self::Topics(command) => command.run_for(|_| {
                let names = Names::of_graph(&plan()?)?;
                names.ok_or_else(|| Failure::fatal("the job reads and writes no topic of Kafka: there is nothing to create"))
            }),
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
        let mut checks = vec![Check { what: "settings", found: Ok(file) }];
        let plan = plan();
        let shown = plan.as_ref().map_err(Failure::clone);
        let shown = shown.and_then(|plan| Ok(format!("reads {}, writes {}", plan.inputs()?.join(", "), plan.topics.join(", "))));
        checks.push(Check { what: "graph", found: shown });
        if !self.offline {
            checks.push(Check { what: "state.dir", found: validate::writable(&settings.state.dir) });
            checks.push(Check { what: "checkpoint.storage", found: validate::storage(&settings) });
            if let Ok(plan) = &plan {
                match Names::of_graph(plan) {
                    Ok(Some(names)) => {
                        checks.extend(validate::brokers(&settings, &names));
                        if plan.ends().is_ok_and(|ends| ends == Ends::Both) {
                            checks.push(Check { what: "other sources and sinks", found: ends_of(plan) });
                        }
                    }
                    Ok(None) => checks.push(Check { what: "sources and sinks", found: ends(&settings, plan) }),
                    // The graph has said so.
                    Err(_) => {}
                }
            }
        }
        Check::show(&checks)
    }
}

/// Whether a job without Kafka has all that it needs.
fn ends(settings: &Settings, plan: &Plan) -> Result<String, Failure> {
    LocalCluster::new(&settings.job.name, &settings.checkpoint.storage, plan)?;
    ends_of(plan)
}

/// Whether what is not Kafka is there.
fn ends_of(plan: &Plan) -> Result<String, Failure> {
    for source in plan.sources.values() {
        for partition in source.partitions()? {
            source.bounds(partition)?;
        }
    }
    let sources = plan.sources.values().map(|source| source.describe());
    let sinks = plan.sinks.values().map(|sink| sink.describe());
    Ok(sources.chain(sinks).collect::<Vec<_>>().join(", "))
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
            "job validate --offline",
            "job topics create --partitions 3",
            "job graph --dot",
            "job checkpoint list",
            "job state list",
            "job savepoint list",
            "job audit --json --differences 3",
            "job dlq list --since 1h",
            "job dlq show 3:812 --raw",
            "job dlq replay --dry-run --topic dead-letters",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        assert!(Arguments::try_parse_from(["job", "graph", "--dot", "--mermaid"]).is_err());
        let mut command = in_words_of("shop", Arguments::command().name("shop"));
        let help = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        assert!(help.contains("shop run --config config/shop.toml") && !help.contains("orders.toml"), "{help}");
        // what only the order job has
        assert!(Arguments::try_parse_from(["job", "generate"]).is_err());
        assert!(Arguments::try_parse_from(["job", "audit", "--temp-dir", "."]).is_err());
        // classes of errors are its own
        let named = ["shop", "dlq", "list", "--class", "no_number"];
        assert!(command.try_get_matches_from_mut(named).is_ok());
        assert!(command.try_get_matches_from_mut(["shop", "dlq", "list", "--class", ""]).is_err());
    }
}
