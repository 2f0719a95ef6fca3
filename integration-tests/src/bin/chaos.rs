//! `make chaos`: random faults under a live load, a reader that checks all the time, and the audit at the end; then a table, on standard
//! output and in the file that `--write` names.
//!
//! Variables: `MINUTES` (10), `SEED` (a new one each time), `RATE` (events per second, 5000), `FAULTS` (all, or names with commas),
//! `INTERVAL` (of checkpoints, 1s), `DIRTY` (bad records in a thousand, 5).

use clap::Parser;
use integration_tests::{
    Context, Result,
    chaos::{self, Campaign, Kind, Plan},
    ensure,
    variables::variable,
};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Runs the order job under random faults and proves that nothing is lost and nothing doubled.
#[derive(Parser)]
struct Arguments {
    /// The file to write the table to.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Only reads: a broker's address, then partitions as topic:partition:offset. The campaign starts itself again with this.
    #[arg(long, num_args = 2.., hide = true)]
    read: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some((bootstrap, from)) = arguments.read.split_first() {
        return chaos::read(bootstrap, from);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let minutes: f64 = variable("MINUTES")?.unwrap_or(10.0);
    let plan = Plan {
        lasts: Duration::from_secs_f64(minutes * 60.0),
        faults: 1,
        seed: variable("SEED")?.unwrap_or(now % 1_000_000),
        rate: variable("RATE")?.unwrap_or(5_000),
        dirty: variable("DIRTY")?.unwrap_or(5),
        kinds: Kind::list(&variable("FAULTS")?.unwrap_or_else(|| "all".to_owned()))?,
        interval: variable("INTERVAL")?.unwrap_or_else(|| "1s".to_owned()),
        reader: std::env::current_exe()?,
    };
    integration_tests::job::program()?;
    eprintln!("chaos: {minutes} minutes, {} events/s, SEED={} repeats it", plan.rate, plan.seed);
    let report = Campaign::run(&plan, |line| eprintln!("chaos: {line}"))?;
    println!("{report}");
    if let Some(path) = &arguments.write {
        std::fs::write(path, report.to_string()).with_context(|| path.display().to_string())?;
    }
    ensure!(report.is_clean(), "records were lost, doubled or out of step");
    Ok(())
}
