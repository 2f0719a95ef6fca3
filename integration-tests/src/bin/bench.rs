//! `make bench`: throughput, processor time, memory, checkpoints and recovery of the order job on the standard load, as a table on
//! standard output and, with `--write FILE`, between the markers of that file.
//!
//! Variables: `EVENTS` (2000000), `RUNS` (3, of which the median counts), `KILLS` (5), `KAFKA` (host:port of a broker to use).

use clap::Parser;
use integration_tests::{
    Context, Result,
    bench::{Recovery, Throughput, document, machine},
    broker::{Broker, Options},
    ensure,
    variables::variable,
};
use std::{path::PathBuf, process::ExitCode};

/// Measures the order job on the standard load, on a Kafka on the same machine.
#[derive(Parser)]
struct Arguments {
    /// The document to write the table into, between its markers.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let events = variable("EVENTS")?.unwrap_or(2_000_000);
    let runs: usize = variable("RUNS")?.unwrap_or(3);
    let kills = variable("KILLS")?.unwrap_or(5);
    ensure!(runs > 0, "RUNS=0: at least one run is needed");
    integration_tests::job::program()?;
    if let Some(path) = &arguments.write {
        document::check(path)?;
    }
    // Each run leaves a gigabyte of outputs behind, which are deleted after it.
    let broker = Broker::start(&Options::measured().with("log.segment.delete.delay.ms", 1_000)).context("no Kafka")?;
    eprintln!("bench: {}", broker.describe());
    let input = Throughput::load(&broker, events)?;
    // Not counted: the broker's compiler works on the other half of the machine until it has seen the load once.
    eprintln!("bench: to warm up the broker: {}", input.measure(&broker, "1s", 1)?);
    let mut columns = Vec::new();
    for (interval, parallelism) in [("5s", 1), ("1s", 1), ("1s", 2)] {
        let head = format!("interval {interval}, parallelism {parallelism}");
        let mut measured = Vec::new();
        for run in 1..=runs {
            let one = input.measure(&broker, interval, parallelism)?;
            eprintln!("bench: {head}, run {run} of {runs}: {one}");
            measured.push(one);
        }
        columns.push((head, Throughput::median(measured)?));
    }
    drop(input);
    let recovery = Recovery::measure(&broker, kills)?;
    let table = document::table(&machine::describe(&broker), events, runs, &columns, &recovery);
    println!("{table}");
    match &arguments.write {
        Some(path) => document::write(path, &table),
        None => Ok(()),
    }
}
