//! A failure on purpose: the job fails when it processes its 100th record, recovers, and processes every record once.
//!
//! Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example fault_simulation

use sluicegate::{
    connectors::{Collected, Generator},
    stream::{App, Execution, Failure, RestartStrategy},
};
use std::{path::Path, time::Duration};

const RECORDS: u64 = 200;
const FAILS_AT: u64 = 100;

/// Runs the job in `folder`, and returns what it has committed.
fn run(folder: &Path, restart_delay: Duration) -> Result<Vec<String>, Failure> {
    let (app, output) = (App::new(), Collected::new());
    app.read("records", Generator::new(1, |_, number| number + 1).count(RECORDS).rate(2_000.0))
        .fail_once_at("process", FAILS_AT)
        .map(|number| format!("processed {number}"))
        .write_lines("processed", output.clone());
    Execution::new("fault-simulation", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: restart_delay })
        .run(app)?;
    Ok(output.lines())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let lines = run(folder.path(), Duration::from_secs(1)).map_err(|failure| failure.message)?;
    println!("failed at record {FAILS_AT} and recovered: {} of {RECORDS} records processed", lines.len());
    println!("first: {}, last: {}", lines.first().map_or("none", |line| line), lines.last().map_or("none", |line| line));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_processed_once_though_the_job_fails_at_the_100th() {
        let folder = tempfile::tempdir().unwrap();
        let lines = run(folder.path(), Duration::from_millis(5)).unwrap();
        assert_eq!(lines, (1..=RECORDS).map(|number| format!("processed {number}")).collect::<Vec<_>>());
    }
}
