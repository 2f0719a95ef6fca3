//! Exit codes, and what ends a command early.

use crate::{
    config::Problems,
    protocol::{Failure, FailureKind},
};
use std::{io, process::ExitCode};

/// What the program ends with. `docs/commands.md` and `--help` list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// What was asked for is done.
    Done = 0,
    /// It failed; the message says why and what to do.
    Failed = 1,
    /// The command line or the settings are wrong; nothing was begun.
    Usage = 2,
    /// Another instance of the job took over.
    Fenced = 3,
    /// Recovery would have been a guess; nothing was changed.
    Refused = 4,
    /// The audit found a difference.
    Violation = 5,
}

impl Code {
    /// All codes with what they mean, as help and documentation list them.
    pub const ALL: [(Code, &'static str); 6] = [
        (Code::Done, "done"),
        (Code::Failed, "failed: the message says why and what to do"),
        (Code::Usage, "bad usage or settings; nothing was begun"),
        (Code::Fenced, "fenced: another instance of the job took over"),
        (Code::Refused, "recovery refused: going on would have been a guess; nothing was changed"),
        (Code::Violation, "the audit found a violation"),
    ];
}

impl From<FailureKind> for Code {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Fenced => Self::Fenced,
            FailureKind::Refused => Self::Refused,
            FailureKind::Transient | FailureKind::Attempt | FailureKind::Fatal => Self::Failed,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// What ends a command before its end.
#[derive(Debug)]
pub enum Stop {
    /// The settings are wrong.
    Settings(Problems),
    /// The job has not what the command line asks for, and the text says how to give it that.
    Usage(String),
    /// Something failed.
    Failed(Failure),
    /// Whoever reads standard output has seen enough, as `head` has.
    Unread,
}

impl Stop {
    /// Says on standard error what happened, and gives the exit code.
    pub(super) fn tell(self) -> Code {
        match self {
            Self::Unread => Code::Done,
            Self::Usage(why) => {
                eprintln!("sluicegate: {why}");
                Code::Usage
            }
            Self::Failed(failure) => {
                eprintln!("sluicegate: {failure}");
                failure.kind.into()
            }
            Self::Settings(problems) => {
                let count = problems.iter().count();
                eprintln!("sluicegate: {count} {} in the settings", if count == 1 { "problem" } else { "problems" });
                for problem in problems.iter() {
                    eprintln!("  {problem}");
                }
                Code::Usage
            }
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Problems> for Stop {
    fn from(problems: Problems) -> Self {
        Self::Settings(problems)
    }
}

/// Only standard output is written to directly by commands.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(Failure::fatal(format!("standard output: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        for (kind, code) in [
            (FailureKind::Transient, 1),
            (FailureKind::Attempt, 1),
            (FailureKind::Fatal, 1),
            (FailureKind::Fenced, 3),
            (FailureKind::Refused, 4),
        ] {
            assert_eq!(Code::from(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn the_documentation_lists_every_code() {
        let documentation = include_str!("../../docs/commands.md");
        for (code, meaning) in Code::ALL {
            let line = format!("| {} | {meaning} |", code as u8);
            assert!(documentation.contains(&line), "docs/commands.md lacks {line}");
        }
    }
}
