//! Logs on standard error, as text for people or JSON for machines.

use crate::{
    config::{Log, LogFormat},
    protocol::Failure,
};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins to log for a command whose result is on standard output: nothing below a warning, unless `log.level` was raised.
///
/// # Errors
/// As [`init`].
pub fn quiet(log: &Log) -> Result<(), Failure> {
    let level = if log.level == "info" { "warn".to_owned() } else { log.level.clone() };
    init(&Log { level, format: log.format })
}

/// Begins to log, for the rest of the process. A second call is a failure.
///
/// # Errors
/// Fatal if the level is not one, or if something logs already.
pub fn init(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| Failure::fatal(format!("log.level {:?}: {error}", log.level)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| Failure::fatal(format!("logging was begun twice: {error}")))
}
