//! `make bench`: throughput, processor time, memory, checkpoints and recovery of the order job on the standard load, as a table on
//! standard output and, with `--write FILE`, between the markers of that file.
//!
//! Variables: `EVENTS` (2000000), `RUNS` (3, of which the median counts), `KILLS` (5), `KAFKA` (host:port of a broker to use).
//!
//! `make bench-peers`, which is `--peers`: the same job here and on the systems that one would take instead, in turns.
//!
//! Variables: `PEERS` (all: names of folders in `benches/peers`, with commas), `EVENTS` (2000000), `RUNS` (2: turns of each), `KILLS` (3), `INTERVALS`
//! (1,5: seconds), `DIRTY` (bad records in a thousand, 0), `KAFKA`.
//!
//! `make bench-state`, which is `--state`: the same of a state that grows to many orders, and recovery with a large one.
//!
//! Variables: `ORDERS` (10000000), `BYTES` (1073741824: of state, when it is killed), `KILLS` (5), `KAFKA`.

//!
//! `make bench-days`, which is `--days`: a load of many days of event time, and what is in the state after each of them.
//!
//! Variables: `DAYS` (10), `ORDERS` (86400: of a day), `RATE` (20000: events per second of the clock), `GROWTH` (none: how many times as many
//! entries there may be on the last days as on the first ones on which orders were forgotten, or it fails), `KAFKA`.

use clap::Parser;
use integration_tests::{
    Context, Result,
    bench::{
        Days, Growth, Recovery, Throughput, document, machine,
        peers::{self, Contest, Peer, Program},
    },
    broker::{Broker, Options},
    ensure,
    variables::variable,
};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Measures the order job on the standard load, on a Kafka on the same machine.
#[derive(Parser)]
struct Arguments {
    /// The document to write the table into, between its markers.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Measure a large state
    #[arg(long)]
    state: bool,
    /// Measure the state over many days of event time
    #[arg(long, conflicts_with = "state")]
    days: bool,
    /// Measure the job on other systems beside this one
    #[arg(long, conflicts_with_all = ["state", "days"])]
    peers: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.state, arguments.days, arguments.peers) {
        (true, ..) => large_state(&arguments),
        (_, true, _) => event_days(&arguments),
        (_, _, true) => others(&arguments),
        _ => order_job(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What all of them write down, and where.
fn publish(arguments: &Arguments, place: document::Markers, measure: impl FnOnce() -> Result<String>) -> Result<()> {
    integration_tests::job::program()?;
    if let Some(path) = &arguments.write {
        place.check(path)?;
    }
    let table = measure()?;
    println!("{table}");
    match &arguments.write {
        Some(path) => place.write(path, &table),
        None => Ok(()),
    }
}

fn broker(options: Options) -> Result<Broker> {
    let broker = Broker::start(&options.with("log.segment.delete.delay.ms", 1_000)).context("no Kafka")?;
    eprintln!("bench: {}", broker.describe());
    Ok(broker)
}

fn order_job(arguments: &Arguments) -> Result<()> {
    let events = variable("EVENTS")?.unwrap_or(2_000_000);
    let runs: usize = variable("RUNS")?.unwrap_or(3);
    let kills = variable("KILLS")?.unwrap_or(5);
    ensure!(runs > 0, "RUNS=0: at least one run is needed");
    publish(arguments, document::ORDER_JOB, || {
        // Each run leaves a gigabyte of outputs behind, which are deleted after it.
        let broker = broker(Options::measured())?;
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
        Ok(document::table(&machine::describe(&broker), events, runs, &columns, &recovery))
    })
}

fn others(arguments: &Arguments) -> Result<()> {
    let events = variable("EVENTS")?.unwrap_or(2_000_000);
    let runs: usize = variable("RUNS")?.unwrap_or(2);
    let kills: u32 = variable("KILLS")?.unwrap_or(3);
    let dirty = variable("DIRTY")?.unwrap_or(0);
    let intervals: String = variable("INTERVALS")?.unwrap_or_else(|| "1,5".to_owned());
    let intervals = intervals.split(',').map(|seconds| -> Result<_> { Ok(Duration::from_secs(seconds.parse()?)) });
    let intervals: Vec<Duration> = intervals.collect::<Result<_>>().context("INTERVALS: whole seconds with commas")?;
    let named: Option<String> = variable("PEERS")?;
    let peers: Vec<Peer> = match &named {
        None => Peer::ALL.to_vec(),
        Some(names) => names.split(',').map(str::parse).collect::<Result<_>>().context("PEERS")?,
    };
    ensure!(events > 0 && runs > 0, "EVENTS={events}, RUNS={runs}: at least one is needed");
    publish(arguments, document::PEERS, || {
        let programs: Vec<Program> = peers.into_iter().map(Program::build).collect::<Result<_>>()?;
        let broker = broker(Options::measured())?;
        let contest = Contest::new(&broker, events, dirty)?;
        let mut text = format!(
            "Machine: {}. Load: {events} events of the standard load in 4 partitions, sent before; turns of each: {runs}, one system after the \
             other. Ratios are of the means.\n",
            machine::describe(&broker)
        );
        for (number, interval) in intervals.into_iter().enumerate() {
            let mut columns = vec![peers::Column { name: "sluicegate".to_owned(), turns: Vec::new() }];
            columns
                .extend(programs.iter().map(|program| peers::Column { name: program.peer.name().to_owned(), turns: Vec::new() }));
            for turn in 1..=runs {
                for (index, column) in columns.iter_mut().enumerate() {
                    let one = match index.checked_sub(1).and_then(|index| programs.get(index)) {
                        None => contest.ours(interval)?,
                        Some(program) => contest.theirs(program, interval)?,
                    };
                    eprintln!("bench: interval {interval:?}, {}, turn {turn} of {runs}: {one}", column.name);
                    column.turns.push(one);
                }
            }
            let mut recoveries = Vec::new();
            if number == 0 && kills > 0 && interval == Duration::from_secs(1) {
                recoveries.push(Recovery::measure(&broker, kills)?);
                for program in &programs {
                    recoveries.push(contest.their_recovery(program, kills)?);
                }
            }
            text += &format!("\n{}", peers::table(interval, &columns, &recoveries));
        }
        Ok(text)
    })
}

fn large_state(arguments: &Arguments) -> Result<()> {
    let orders = variable("ORDERS")?.unwrap_or(10_000_000);
    let bytes = variable("BYTES")?.unwrap_or(1 << 30);
    let kills = variable("KILLS")?.unwrap_or(5);
    ensure!(orders > 0 && kills > 0, "ORDERS={orders}, KILLS={kills}: at least one is needed");
    publish(arguments, document::LARGE_STATE, || {
        // The outputs are deleted while they are written.
        let broker = broker(Options::measured().with("log.retention.check.interval.ms", 2_000))?;
        let mut growth = Growth::to(&broker, orders)?;
        growth.steps.iter().for_each(|step| eprintln!("bench: {step:?}"));
        growth.to_bytes(bytes)?;
        let recovery = growth.recovery(kills)?;
        Ok(growth.table(&machine::describe(&broker), &recovery))
    })
}

fn event_days(arguments: &Arguments) -> Result<()> {
    let days = variable("DAYS")?.unwrap_or(10);
    let orders = variable("ORDERS")?.unwrap_or(86_400);
    let rate = variable("RATE")?.unwrap_or(20_000);
    let most: Option<f64> = variable("GROWTH")?;
    ensure!(orders > 0 && rate > 0, "ORDERS={orders}, RATE={rate}: at least one is needed");
    publish(arguments, document::EVENT_DAYS, || {
        // The outputs are deleted while they are written.
        let broker = broker(Options::measured().with("log.retention.check.interval.ms", 2_000))?;
        let run = Days::of(&broker, days, orders, rate)?;
        let (table, growth) = (run.table(&machine::describe(&broker)), run.growth().context("no day to compare with")?);
        let most = most.unwrap_or(f64::INFINITY);
        ensure!(growth <= most, "the state has grown to {growth:.2} times of what it was, allowed is {most}:\n{table}");
        Ok(table)
    })
}
