//! The average temperature of each device: aggregating state.
//!
//! Readings are added to an accumulator for each device, which is read as an average. The job fails in between; the averages are those of a
//! plain recomputation. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example iot_average

use serde::{Deserialize, Serialize};
use sluicegate::{
    connectors::{Collected, Generator, Random},
    stream::{
        Accumulate, AggregatingState, App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, RestartStrategy,
        StateValue, Timestamp,
    },
};
use std::{path::Path, time::Duration};

const SEED: u64 = 7;
const READINGS: u64 = 1_000;
const DEVICES: [&str; 4] = ["boiler", "cellar", "hall", "roof"];

#[derive(Clone)]
struct Reading {
    device: String,
    millidegrees: i64,
}

fn reading(random: &mut Random, _: u64) -> Reading {
    let device = random.choose(&DEVICES).map_or_else(String::new, |device| (*device).to_owned());
    Reading { device, millidegrees: 15_000 + random.below(10_000) as i64 }
}

#[derive(Serialize, Deserialize)]
struct Sum {
    readings: i64,
    millidegrees: i64,
}

impl StateValue for Sum {}

/// The average, rounded down.
#[derive(Clone)]
struct Average;

impl Accumulate for Average {
    type In = i64;
    type Accumulator = Sum;
    type Out = i64;

    fn create(&self) -> Sum {
        Sum { readings: 0, millidegrees: 0 }
    }

    fn add(&self, sum: &mut Sum, millidegrees: i64) {
        sum.readings += 1;
        sum.millidegrees += millidegrees;
    }

    fn result(&self, sum: &Sum) -> i64 {
        sum.millidegrees.div_euclid(sum.readings.max(1))
    }
}

struct Averages(AggregatingState<String, Average>);

impl KeyedProcess<String, Reading> for Averages {
    type Out = String;

    fn process(&mut self, device: &Key<String>, _: Timestamp, reading: Reading, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        self.0.add(device, reading.millidegrees)?;
        let average = self.0.get(device)?.unwrap_or_default();
        out.push(format!("{}: {average} m°C", device.value))
    }
}

/// Runs the job in `folder`, and returns the average after each reading.
fn run(folder: &Path) -> Result<Vec<String>, Failure> {
    let (app, output) = (App::new(), Collected::new());
    app.read("readings", Generator::new(SEED, reading).count(READINGS).rate(5_000.0))
        .fail_once_at("average", 600)
        .key_by(|reading| reading.device.clone())
        .process("average", |declare| {
            let average = declare.aggregating::<String, Average>("average", Average);
            move |context: &mut OperatorContext<'_, '_>| Ok(Averages(context.state(&average)?))
        })
        .write_lines("averages", output.clone());
    Execution::new("iot-average", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) })
        .run(app)?;
    Ok(output.lines())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let lines = run(folder.path()).map_err(|failure| failure.message)?;
    for device in DEVICES {
        let last = lines.iter().rev().find(|line| line.starts_with(device));
        println!("after {READINGS} readings of all devices, {}", last.map_or("none of this one", |line| line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn averages_are_those_of_a_plain_recomputation() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        let expected: Vec<String> = (0..READINGS)
            .map(|number| {
                let Reading { device, millidegrees } = reading(&mut Random::new(SEED, number), number);
                let all = seen.entry(device.clone()).or_default();
                all.push(millidegrees);
                format!("{device}: {} m°C", all.iter().sum::<i64>() / all.len() as i64)
            })
            .collect();
        assert_eq!(seen.len(), DEVICES.len());
        assert_eq!(run(folder.path()).unwrap(), expected);
    }
}
