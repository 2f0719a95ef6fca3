//! Standard output: seen at once, and again after a failure.

use crate::stream::{Failure, LocalSink, Outgoing, Owner, StagedOutput};
use std::io::{self, Write};

/// Prints each record as a line when it is made. What was printed cannot be taken back: after a failure, records since the last checkpoint
/// are printed again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdout;

impl LocalSink for Stdout {
    fn take_over(&self, _: &Owner, _: Option<&[String]>) -> Result<(), Failure> {
        Ok(())
    }

    fn begin(&self, _: &Owner) -> Result<Box<dyn StagedOutput>, Failure> {
        Ok(Box::new(Self))
    }

    fn publish(&self, _: &[String]) -> Result<(), Failure> {
        Ok(())
    }

    fn describe(&self) -> String {
        "standard output".to_owned()
    }

    fn warning(&self) -> Option<String> {
        Some("standard output is at-least-once: after a failure, lines since the last checkpoint are printed again".to_owned())
    }
}

impl StagedOutput for Stdout {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let Some(value) = record.value else { return Ok(()) };
        let mut out = io::stdout().lock();
        out.write_all(value).and_then(|()| out.write_all(b"\n")).map_err(closed)
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, Failure> {
        io::stdout().flush().map_err(closed)?;
        Ok(Vec::new())
    }
}

fn closed(why: io::Error) -> Failure {
    Failure::fatal(format!("standard output: {why}"))
}
