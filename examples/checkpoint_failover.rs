//! A job fails, starts again, and goes on from its last checkpoint: the state is not lost, and no output comes twice.
//!
//! A file holds the numbers 1 to 20; one value of state holds their running sum. The job takes a checkpoint each second, fails once at the
//! 8th number and is started again after 2 seconds, 3 times at most. The last sum is 210, and each running sum is once in the output
//! files: what was staged and not committed when the job failed was never visible. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example checkpoint_failover

use sluicegate::{
    connectors::{FileSink, FileSource},
    stream::{App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, RestartStrategy, Timestamp, ValueState},
};
use std::{fs, path::Path, time::Duration};

const NUMBERS: u64 = 20;
const FAILS_AT: u64 = 8;

/// Adds up all numbers.
struct RunningSum(ValueState<String, u64>);

impl KeyedProcess<String, u64> for RunningSum {
    type Out = String;

    fn process(&mut self, key: &Key<String>, _: Timestamp, number: u64, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        let sum = self.0.update(
            key,
            || 0,
            |sum| {
                *sum += number;
                *sum
            },
        )?;
        out.push(format!("value={number}, runningSum={sum}"))
    }
}

/// How long things take: seconds for whoever watches, milliseconds for a test.
struct Pace {
    numbers_per_second: f64,
    checkpoint_every: Duration,
    restart_delay: Duration,
}

/// Runs the job in `folder`, and returns the lines of its output files.
fn run(folder: &Path, pace: &Pace) -> Result<Vec<String>, Failure> {
    let (input, output) = (folder.join("checkpoint_numbers.txt"), folder.join("sums"));
    let text: String = (1..=NUMBERS).map(|number| format!("{number}\n")).collect();
    fs::write(&input, text).map_err(|why| Failure::fatal(format!("{}: {why}", input.display())))?;

    let app = App::new();
    let numbers = FileSource::parse(&input, |line| line.trim().parse::<u64>().map_err(|why| why.to_string()));
    app.read("numbers", numbers.rate(pace.numbers_per_second))
        .fail_once_at("sum", FAILS_AT)
        .key_by(|_| "all".to_owned())
        .process("sum", |declare| {
            let sum = declare.value::<String, u64>("sum");
            move |context: &mut OperatorContext<'_, '_>| Ok(RunningSum(context.state(&sum)?))
        })
        .write_lines("sums", FileSink::new(&output).suffix(".txt"));

    Execution::new("checkpoint-failover", folder)
        .checkpoint_every(pace.checkpoint_every)
        .restart(RestartStrategy::FixedDelay { attempts: 3, delay: pace.restart_delay })
        .run(app)?;
    FileSink::read(&output)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    println!("{NUMBERS} numbers, 5 of them each second; the job fails at the {FAILS_AT}th and is started again after 2 s ...");
    let pace = Pace { numbers_per_second: 5.0, checkpoint_every: Duration::from_secs(1), restart_delay: Duration::from_secs(2) };
    for line in run(folder.path(), &pace).map_err(|failure| failure.message)? {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_running_sum_is_there_once_and_the_last_one_is_210() {
        let folder = tempfile::tempdir().unwrap();
        let ms = Duration::from_millis;
        let pace = Pace { numbers_per_second: 100.0, checkpoint_every: ms(20), restart_delay: ms(5) };
        let lines = run(folder.path(), &pace).unwrap();
        let sums: Vec<String> =
            (1..=20_u64).map(|number| format!("value={number}, runningSum={}", number * (number + 1) / 2)).collect();
        assert_eq!(lines, sums);
        assert_eq!(lines.last().unwrap(), "value=20, runningSum=210");
    }
}
