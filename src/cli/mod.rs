//! The command line: one file per command.
//!
//! `main` is [`run`]: arguments to a command, settings to what they mean ([`crate::config`]), the command to an exit code. A command
//! writes its result to standard output and everything else to standard error.

mod arguments;
mod audit;
mod checkpoint;
mod chosen;
mod committed;
mod dlq;
mod exit;
mod formats;
mod generate;
mod graph;
mod own_job;
mod pace;
mod picture;
mod progress;
mod run;
mod savepoint;
mod screen;
mod state;
mod stop;
mod topics;
mod validate;

pub use arguments::{Arguments, Command, Given};
pub use exit::{Code, Stop};

use clap::Parser;
use std::{ffi::OsString, process::ExitCode};

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output, the rest to standard error; nobody is left to tell if that fails.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage } else { Code::Done }.into();
        }
    };
    arguments.command.run().unwrap_or_else(Stop::tell).into()
}

impl Command {
    fn run(&self) -> Result<Code, Stop> {
        match self {
            Self::Run(command) => command.run(),
            Self::Topics(command) => command.run(),
            Self::Generate(command) => command.run(),
            Self::Audit(command) => command.run(),
            Self::Validate(command) => command.run(),
            Self::Checkpoint(command) => command.run(),
            Self::Savepoint(command) => command.run(),
            Self::Stop(command) => command.run(),
            Self::State(command) => command.run(),
            Self::Dlq(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests;
