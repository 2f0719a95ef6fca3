//! A state that grows: one run of the order job over a load that lies ready, until it tracks millions of orders.

use super::{
    Recovery,
    document::{mebibytes, milliseconds, thousands},
};
use crate::{
    Context, Result,
    broker::Broker,
    deadline::wait_for,
    ensure,
    job::{Job, Load, OUTPUTS, PARTITIONS},
    metrics::Samples,
    progress::Progress,
    service::Service,
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What the floor is stated for.
const STATE_MEMORY: &str = "256MiB";
/// As long as no order of the largest load is old enough to be forgotten: it would be measured with less state than it says.
const TIME_TO_LIVE: &str = "365d";
/// Orders from which the smallest state counts.
const SMALL: u64 = 100_000;
/// Events of the standard load for one order (a test of the load fixes its bytes), a little more than there are: 3.65 steps and 2 %
/// copies.
const EVENTS_PER_ORDER: f64 = 3.73;
/// Events over which a speed is taken: some ten checkpoints at full speed.
const STRETCH: u64 = 2_000_000;
/// Bytes that a partition of an output keeps: nobody reads them, and 37 million events leave 18 GB behind.
const KEPT: &str = "67108864";
/// For what takes long and can be told from what hangs: a million events, at a tenth of the usual speed.
const PER_MILLION: Duration = Duration::from_secs(60);

/// A job whose state was grown.
pub struct Growth {
    job: Job,
    /// Events that were sent so far.
    sent: u64,
    /// What was measured on the way.
    pub steps: Vec<Step>,
    /// Largest resident memory of the process, in bytes.
    pub peak_memory: u64,
    /// Orders in the state after that, counted in the files of the last checkpoint.
    pub orders: u64,
    /// Bytes of the state now.
    pub bytes: u64,
}

/// A stretch of events, while the state had about the same size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Orders in the state at its beginning.
    pub orders: u64,
    /// Events per second, from commit to commit.
    pub events_per_second: f64,
    /// Median of the durations of checkpoints, in seconds.
    pub checkpoint: f64,
    /// The longest.
    pub checkpoint_longest: f64,
    /// Median of what a checkpoint had to upload, in bytes.
    pub new_bytes: f64,
    /// The most.
    pub new_bytes_most: f64,
    /// 99 of 100 times that an operator's task could not process because of a barrier were shorter than this so far, in seconds.
    pub stall_p99: Option<f64>,
}

/// What was seen at a moment of the run.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    committed: u64,
    duration: f64,
    new_bytes: f64,
    stall_p99: Option<f64>,
}

impl Growth {
    /// Sends as many events as make so many orders and one stretch more, and works them off.
    pub fn to(broker: &Broker, orders: u64) -> Result<Self> {
        let mut job = Job::new(broker.bootstrap())?;
        job.set("checkpoint.interval", "1s").set("state.memory", STATE_MEMORY);
        job.set("orders.deduplication_ttl", TIME_TO_LIVE).set("orders.tracking_ttl", TIME_TO_LIVE);
        // A failed attempt would be measured as a slow one.
        job.set("restart.strategy", "none");
        let cluster = job.cluster()?;
        cluster.create(&job.input(), PARTITIONS, &[])?;
        for output in OUTPUTS {
            cluster.create(&job.output(output), PARTITIONS, &[("retention.bytes", KEPT), ("segment.bytes", KEPT)])?;
        }
        let stretch = STRETCH.min(events(orders) / 4).max(1);
        let all = events(orders) + stretch;
        let mut growth = Self { job, sent: 0, steps: Vec::new(), peak_memory: 0, orders: 0, bytes: 0 };
        growth.send(all)?;
        let looks = growth.work_off(all)?;
        growth.steps = places(orders).into_iter().filter_map(|size| step(&looks, size, stretch)).collect();
        ensure!(!growth.steps.is_empty(), "{orders} orders are worked off between two checkpoints: too few to measure anything");
        (growth.orders, growth.bytes) = growth.count()?;
        ensure!(growth.orders >= orders, "the state has {} orders instead of {orders}", growth.orders);
        Ok(growth)
    }

    /// More orders of the same kind, until the state has at least so many bytes.
    pub fn to_bytes(&mut self, wanted: u64) -> Result<()> {
        while self.bytes < wanted {
            let lacking = (wanted - self.bytes) as f64 / self.bytes.max(1) as f64;
            let more = (self.sent as f64 * lacking * 1.05) as u64 + 10_000;
            eprintln!("bench: the state has {}, {more} events more", mebibytes(self.bytes as f64));
            self.send(more)?;
            self.job.catch_up_within(patience(more))?;
            self.bytes = self.count()?.1;
        }
        Ok(())
    }

    /// `kill -9` to the next visible output, with this state.
    pub fn recovery(&mut self, kills: u32) -> Result<Recovery> {
        self.job.unset("restart.strategy");
        let load = self.more(0);
        Recovery::of(&mut self.job, kills, load)
    }

    fn send(&mut self, events: u64) -> Result<()> {
        let began = Instant::now();
        let exit = self.job.start_generating(self.more(events))?.wait(patience(events))?;
        ensure!(exit.code() == Some(0), "sluicegate generate ended with {}", exit.status);
        eprintln!("bench: {events} events sent in {:.1?}", began.elapsed());
        self.sent += events;
        Ok(())
    }

    /// Events of other orders than those before, of which there are fewer than events.
    fn more(&self, events: u64) -> Load {
        Load { first_order: self.sent + 1, seed: 42 + self.sent, ..Load::of(events) }
    }

    fn work_off(&mut self, events: u64) -> Result<Vec<Look>> {
        let progress = Progress::of(&self.job)?;
        let mut service = self.job.start_with(["run", "--until-caught-up"], &[])?;
        let mut looks: Vec<Look> = Vec::new();
        let exit = wait_for("the end of the run", patience(events), || {
            if let Some(exit) = service.try_exit()? {
                return Ok(Some(exit));
            }
            // All fail while the process starts or has just ended.
            self.peak_memory = service.process().peak_memory().unwrap_or(0).max(self.peak_memory);
            let committed = progress.committed().ok().flatten();
            if let Some(committed) = committed.filter(|now| looks.last().is_none_or(|last| *now > last.committed)) {
                let look = look(&service, committed);
                if look.committed / (events / 20).max(1) > looks.last().map_or(0, |last| last.committed / (events / 20).max(1)) {
                    eprintln!("bench: {committed} of {events} events, {} MiB of memory at most", self.peak_memory >> 20);
                }
                looks.push(look);
            }
            Ok(None)
        })?;
        ensure!(exit.code() == Some(0), "the job ended with {}; {}", exit.status, service.last_lines(40));
        let committed = progress.committed()?.unwrap_or_default();
        ensure!(committed == events, "{committed} of {events} records are committed");
        // The last commit may be seen only after the process has ended; it covers less than an interval.
        if let Some(last) = looks.last().copied().filter(|last| last.committed < committed) {
            looks.push(Look { at: Instant::now(), committed, ..last });
        }
        Ok(looks)
    }

    /// Orders in the last checkpoint, and its bytes, as the program itself says.
    fn count(&self) -> Result<(u64, u64)> {
        let within = patience(self.sent);
        let list: Value = serde_json::from_str(&self.job.succeed(["state", "list", "--json"], within)?)?;
        let states = list["states"].as_array().context("no states")?;
        let track = states.iter().find(|state| state["operator"] == "track" && state["state"] == "order");
        let orders = track.and_then(|state| state["entries"].as_u64()).context("no state track/order")?;
        let shown: Value = serde_json::from_str(&self.job.succeed(["checkpoint", "show", "--json"], within)?)?;
        let bytes = shown.pointer("/manifest/total_bytes").and_then(Value::as_u64).context("no total_bytes")?;
        Ok((orders, bytes))
    }

    /// All figures, in Markdown.
    pub fn table(&self, machine: &str, recovery: &Recovery) -> String {
        let mut text = format!(
            "Machine: {machine}. One run of the order job over the standard load in 4 partitions, sent before; interval 1 s, \
             `state.memory` {STATE_MEMORY}, nothing is forgotten.\n\n"
        );
        text += "| orders in the state | events per second | checkpoint, trigger to commit: median / longest | uploaded: median / most | barrier stall of an operator's task so far, at most: p99 |\n";
        text += "| ---: | ---: | ---: | ---: | ---: |\n";
        for step in &self.steps {
            text += &format!(
                "| {} | {} | {} / {} | {} / {} | {} |\n",
                thousands(step.orders as f64),
                thousands(step.events_per_second),
                milliseconds(step.checkpoint),
                milliseconds(step.checkpoint_longest),
                mebibytes(step.new_bytes),
                mebibytes(step.new_bytes_most),
                step.stall_p99.map_or_else(|| "-".to_owned(), milliseconds)
            );
        }
        let share = self.steps.first().zip(self.steps.last()).map(|(a, b)| 100.0 * b.events_per_second / a.events_per_second);
        text += &format!(
            "\nAt the end: {} orders, counted by `state list`; {:.0} % of the speed at the beginning; peak memory of the process {}.\n",
            self.orders,
            share.unwrap_or_default(),
            mebibytes(self.peak_memory as f64)
        );
        let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), |time| milliseconds(time.as_secs_f64()));
        text += &format!(
            "\n`kill -9` to the next visible output with {} of state, 5,000 events/s live, interval 1 s, {} kills: median {}, worst {}.\n",
            mebibytes(self.bytes as f64),
            recovery.kills(),
            time(recovery.median()),
            time(recovery.worst())
        );
        text
    }
}

fn events(orders: u64) -> u64 {
    (orders as f64 * EVENTS_PER_ORDER).ceil() as u64
}

fn patience(events: u64) -> Duration {
    Duration::from_secs(180) + PER_MILLION * u32::try_from(events / 1_000_000).unwrap_or(u32::MAX / 60)
}

/// Sizes of the state at which speeds are taken, up to `orders`.
fn places(orders: u64) -> Vec<u64> {
    let mut places: Vec<u64> = [SMALL, 1_000_000, 2_500_000, 5_000_000, 7_500_000].into_iter().filter(|p| *p < orders).collect();
    places.push(orders);
    places
}

fn look(service: &Service, committed: u64) -> Look {
    let at = Instant::now();
    let samples = service.metrics().unwrap_or_default();
    let sum = |name: &str| samples.sum(name, &[]);
    Look {
        at,
        committed,
        duration: sum("sluicegate_checkpoint_last_duration_seconds"),
        new_bytes: sum("sluicegate_checkpoint_last_new_bytes"),
        stall_p99: of_operators(&samples).quantile("sluicegate_barrier_stall_seconds", 0.99),
    }
}

/// Without the sink, which waits for the brokers.
fn of_operators(samples: &Samples) -> Samples {
    samples.split("stage", "sink").1
}

/// The stretch that begins with the first commit at which the state had `orders`.
fn step(looks: &[Look], orders: u64, stretch: u64) -> Option<Step> {
    let from = looks.iter().position(|look| look.committed >= events(orders))?;
    let begin = looks.get(from)?;
    // The last one has a little less behind it.
    let reached = |look: &&Look| look.committed >= begin.committed + stretch;
    let end = looks.iter().skip(from).find(reached).or(looks.last()).filter(|end| end.committed > begin.committed)?;
    let within: Vec<&Look> = looks.iter().skip(from + 1).take_while(|look| look.committed <= end.committed).collect();
    let sorted = |of: fn(&Look) -> f64| {
        let mut values: Vec<f64> = within.iter().map(|look| of(look)).collect();
        values.sort_by(f64::total_cmp);
        (values.get(values.len() / 2).copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
    };
    let (durations, new) = (sorted(|look| look.duration), sorted(|look| look.new_bytes));
    Some(Step {
        orders,
        events_per_second: (end.committed - begin.committed) as f64 / (end.at - begin.at).as_secs_f64(),
        checkpoint: durations.0,
        checkpoint_longest: durations.1,
        new_bytes: new.0,
        new_bytes_most: new.1,
        stall_p99: end.stall_p99,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begins_with_the_size_and_ends_after_its_stretch() {
        let began = Instant::now();
        // given a commit of a thousand events in each second, and slower ones from the fifth on
        let look = |second: u64| Look {
            at: began + Duration::from_secs(second + second.saturating_sub(5)),
            committed: second * 1000,
            duration: second as f64,
            new_bytes: 100.0 - second as f64,
            stall_p99: None,
        };
        let looks: Vec<Look> = (0..10).map(look).collect();
        // when a stretch of two thousand events is asked for from 500 orders on, which 1865 events make
        let early = step(&looks, 500, 2000).unwrap();
        // then it lasts from the commit of 2000 to that of 4000
        assert_eq!((early.orders, early.events_per_second), (500, 1000.0));
        assert_eq!((early.checkpoint, early.checkpoint_longest, early.new_bytes_most), (4.0, 4.0, 97.0));
        // and a late one is slower, and a later one is cut off at the end
        assert_eq!(step(&looks, 1500, 2000).unwrap().events_per_second, 500.0);
        assert_eq!(step(&looks, 2144, 2000).unwrap().events_per_second, 500.0);
        assert_eq!(step(&looks, 5000, 2000), None);
    }

    #[test]
    fn the_last_place_is_the_size_that_was_asked_for() {
        assert_eq!(places(10_000_000), [100_000, 1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000]);
        assert_eq!(places(20_000), [20_000]);
    }
}
