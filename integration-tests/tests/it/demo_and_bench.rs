//! `make demo`, `make bench`, `make bench-state` and `make bench-days` work. No speed is asserted here: it depends on what else the machine does.

use crate::harness::{LIMIT, says, within};
use integration_tests::{Result, ensure, process, registry::Registry};
use std::process::Command;

fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    command.env("SLUICEGATE_BIN", integration_tests::job::program()?).envs(variables.iter().copied());
    let finished = process::run(&mut command, LIMIT)?;
    ensure!(finished.status.success(), "{}:\n{}\n{}", finished.status, finished.stdout, finished.stderr);
    Ok(finished.stdout)
}

#[test]
fn a_short_demo_ends_with_a_clean_audit() {
    within(LIMIT, || {
        let variables = [("EVENTS", "20000"), ("KILLS", "2"), ("SEED", "7"), ("RATE", "2500"), ("DIRTY", "20")];
        says(&run(env!("CARGO_BIN_EXE_demo"), &[], &variables)?, &["kill -9   no. 2", "nothing is lost, nothing is doubled"])
    });
}

#[test]
fn a_short_demo_in_avro_ends_with_a_clean_audit() {
    within(LIMIT, || {
        let variables =
            [("EVENTS", "20000"), ("KILLS", "1"), ("SEED", "7"), ("RATE", "2500"), ("DIRTY", "20"), ("FORMAT", "avro")];
        if let Err(why) = Registry::start()? {
            eprintln!("skipped: no schema registry: {why}");
            return Ok(());
        }
        says(
            &run(env!("CARGO_BIN_EXE_demo"), &[], &variables)?,
            &["Apicurio", "kill -9   no. 1", "nothing is lost, nothing is doubled"],
        )
    });
}

#[test]
fn a_short_bench_prints_every_figure() {
    within(LIMIT, || {
        let table = run(env!("CARGO_BIN_EXE_bench"), &[], &[("EVENTS", "20000"), ("RUNS", "1"), ("KILLS", "1")])?;
        says(
            &table,
            &[
                "interval 5s, parallelism 1 | interval 1s, parallelism 1",
                "reference work",
                "events per second",
                "CPU-seconds",
                "peak memory",
                "barrier stall",
                "kill -9",
            ],
        )?;
        ensure!(!table.contains("NaN") && !table.contains("inf"), "{table}");
        Ok(())
    });
}

#[test]
fn a_short_bench_of_a_large_state_prints_every_figure() {
    within(LIMIT, || {
        let variables = [("ORDERS", "200000"), ("BYTES", "25000000"), ("KILLS", "1")];
        let table = run(env!("CARGO_BIN_EXE_bench"), &["--state"], &variables)?;
        says(&table, &["orders in the state", "| 200,000 |", "counted by `state list`", "peak memory", "kill -9"])?;
        ensure!(!table.contains("NaN") && !table.contains("inf"), "{table}");
        Ok(())
    });
}

/// How large the state stays is not asserted: RocksDB leaves out what is expired every few checkpoints, and how many of them there are in an
/// event-day depends on what else the machine does.
#[test]
fn a_short_bench_of_many_days_prints_every_day() {
    within(LIMIT, || {
        let variables = [("DAYS", "6"), ("ORDERS", "1500"), ("RATE", "1500")];
        let table = run(env!("CARGO_BIN_EXE_bench"), &["--days"], &variables)?;
        says(
            &table,
            &["1,500 orders per day", "entries of `track/order`", "on average over the last 2 days, either has at most"],
        )?;
        ensure!(!table.contains("NaN") && !table.contains("inf"), "{table}");
        Ok(())
    });
}
