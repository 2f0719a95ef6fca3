//! Standard output: seen at once, and again after a failure.

use crate::stream::{Failure, Outgoing, Owner, Sink, SinkWriter};
use std::io::{self, Write};

/// Prints each record as a line when it is made. What was printed cannot be taken back: after a failure, records since the last checkpoint
/// are printed again.
///
/// ```
/// use sluicegate::{connectors::{Collection, Stdout}, stream::{App, Execution}};
///
/// # fn main() -> Result<(), sluicegate::stream::Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let app = App::new();
/// app.read("words", Collection::of(["to", "be"])).write_lines("shown", Stdout);
/// Execution::new("show", folder.path()).run(app)?; // prints to, be
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn open(&self, _: &Owner) -> Result<Box<dyn SinkWriter>, Failure> {
        Ok(Box::new(Self))
    }

    fn describe(&self) -> String {
        "standard output".to_owned()
    }
}

impl SinkWriter for Stdout {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let Some(value) = record.value else { return Ok(()) };
        let mut out = io::stdout().lock();
        out.write_all(value).and_then(|()| out.write_all(b"\n")).map_err(closed)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        io::stdout().flush().map_err(closed)
    }
}

fn closed(why: io::Error) -> Failure {
    Failure::fatal(format!("standard output: {why}"))
}
