//! A load of many days of event time at a steady pace: what the times to live leave in the state after each of them.

use super::document::mebibytes;
use crate::{
    Context, Result, bail,
    broker::Broker,
    deadline::wait_for,
    ensure,
    job::{COMMAND, Job, Load, OUTPUTS, PARTITIONS},
    progress::Progress,
};
use serde_json::Value;
use std::time::Duration;

/// `orders.deduplication_ttl`, in days.
const DEDUPLICATION: u32 = 1;
/// `orders.tracking_ttl`, in days.
const TRACKING: u32 = 2;
/// Event time of the first order of the standard load (a test of the load fixes its bytes).
const BEGIN: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;
/// Events of the standard load for one order, and some more: the last day has to be over.
const EVENTS_PER_ORDER: f64 = 3.8;
/// Days that are compared with as many later ones.
const COMPARED: u32 = 2;
/// Checkpoints of a day that are looked into.
const LOOKS: u32 = 4;
/// Checkpoints of the whole run, about: all of them are kept, of which a thousand can be.
const CHECKPOINTS: u64 = 500;
/// Several times a day in the shortest run.
const SHORTEST_INTERVAL: u64 = 200;
/// Per partition of an output, in bytes: a run of ten days writes some gigabytes of outputs that nobody reads.
const KEPT: &str = "67108864";

/// The state in one checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Event time of the checkpoint, in days since the load began.
    pub at: f64,
    /// Entries of `dedup/seen`.
    pub seen: u64,
    /// Entries of `track/order`.
    pub orders: u64,
    /// All state in the checkpoint.
    pub bytes: u64,
}

/// A run over so many days.
#[derive(Debug, Clone, PartialEq)]
pub struct Days {
    orders_per_day: u64,
    rate: u64,
    events: u64,
    /// So many of each day, the last one at its end.
    looks: Vec<Look>,
}

impl Days {
    /// Runs the job over a load of `days` with `orders_per_day`, that is sent at `rate` events per second while it runs.
    pub fn of(broker: &Broker, days: u32, orders_per_day: u64, rate: u64) -> Result<Self> {
        let least = TRACKING + 2 * COMPARED;
        ensure!(
            days >= least,
            "DAYS={days}: at least {least} are needed, to compare {COMPARED} with {COMPARED} on which orders are forgotten"
        );
        let events = (f64::from(days) * orders_per_day as f64 * EVENTS_PER_ORDER).ceil() as u64;
        let mut job = Job::new(broker.bootstrap())?;
        let interval = (events * 1000 / rate.max(1) / CHECKPOINTS).max(SHORTEST_INTERVAL);
        job.set("checkpoint.interval", format!("{interval}ms")).set("checkpoint.retained", 1000);
        job.set("orders.deduplication_ttl", format!("{DEDUPLICATION}d")).set("orders.tracking_ttl", format!("{TRACKING}d"));
        // A failed attempt would be a gap.
        job.set("restart.strategy", "none");
        let cluster = job.cluster()?;
        cluster.create(&job.input(), PARTITIONS, &[])?;
        for output in OUTPUTS {
            cluster.create(&job.output(output), PARTITIONS, &[("retention.bytes", KEPT), ("segment.bytes", KEPT)])?;
        }
        let load = Load { orders_per_day: Some(orders_per_day), ..Load::of(events).at(rate) };
        work_off(&job, load)?;
        let list: Value = serde_json::from_str(&job.succeed(["checkpoint", "list", "--json"], COMMAND)?)?;
        let committed: Vec<&Value> = list.as_array().context("no list")?.iter().filter(|one| one["committed"] == true).collect();
        // Otherwise the one that is looked for may have been cleared away.
        let whole = committed.first().is_some_and(|oldest| event_time(oldest).is_none_or(|time| time < BEGIN + DAY));
        ensure!(whole, "the checkpoints of the first day are not kept any more: the run has taken too long for this rate");
        let looks = (1..=days * LOOKS).map(|number| look(&job, &committed, number)).collect::<Result<_>>()?;
        Ok(Self { orders_per_day, rate, events, looks })
    }

    /// How many times as many entries there are on the last days as on the first ones on which orders were forgotten, on average: RocksDB
    /// leaves out expired entries now and then, when it merges files, so that their number goes up and down. None without such days.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        let (begin, compared) = ((TRACKING * LOOKS) as usize, (COMPARED * LOOKS) as usize);
        let first = self.looks.get(begin..begin + compared)?;
        let last = self.looks.get(self.looks.len().checked_sub(compared)?..)?;
        let growth = |of: fn(&Look) -> u64| {
            let sum = |looks: &[Look]| looks.iter().map(of).sum::<u64>() as f64;
            sum(last) / sum(first).max(1.0)
        };
        Some(growth(|look| look.seen).max(growth(|look| look.orders)))
    }

    /// All figures, in Markdown.
    #[must_use]
    pub fn table(&self, machine: &str) -> String {
        let Self { orders_per_day, rate, events, looks } = self;
        let mut text = format!(
            "Machine: {machine}. {events} events of the standard load in 4 partitions, sent at {rate} per second while the job runs: {} \
             orders per day of event time; `orders.deduplication_ttl` {DEDUPLICATION}d, `orders.tracking_ttl` {TRACKING}d.\n\n",
            grouped(*orders_per_day)
        );
        text += "| after day | entries of `dedup/seen`: then / most on that day | entries of `track/order`: then / most on that day | state in the checkpoint: then / most on that day |\n";
        text += "| ---: | ---: | ---: | ---: |\n";
        for day in looks.chunks(LOOKS as usize) {
            let Some(end) = day.last() else { continue };
            let most = |of: fn(&Look) -> u64| day.iter().map(of).max().unwrap_or_default();
            text += &format!(
                "| {:.2} | {} / {} | {} / {} | {} / {} |\n",
                end.at,
                grouped(end.seen),
                grouped(most(|look| look.seen)),
                grouped(end.orders),
                grouped(most(|look| look.orders)),
                mebibytes(end.bytes as f64),
                mebibytes(most(|look| look.bytes) as f64)
            );
        }
        if let Some(growth) = self.growth() {
            text += &format!(
                "\nOn average over the last {COMPARED} days, either has at most {growth:.2} times as many entries as over the first {COMPARED} \
                 after day {TRACKING}.\n"
            );
        }
        text
    }
}

/// `12345` as `12,345`: counts are exact.
fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1000), number % 1000) }
}

/// Runs the job until all of the load is committed.
fn work_off(job: &Job, load: Load) -> Result<()> {
    let within = COMMAND + Duration::from_secs(2 * load.events / load.rate.unwrap_or(1).max(1));
    let mut service = job.start()?;
    service.wait_ready()?;
    let mut generator = job.start_generating(load)?;
    let progress = Progress::of(job)?;
    wait_for("all events are committed", within, || {
        if let Some(exit) = service.try_exit()? {
            bail!("the job ended with {}; {}", exit.status, service.last_lines(40));
        }
        // It fails while the broker is busy.
        Ok(progress.committed().ok().flatten().filter(|committed| *committed >= load.events).map(drop))
    })?;
    let sent = generator.wait(COMMAND)?;
    ensure!(sent.code() == Some(0), "sluicegate generate ended with {}", sent.status);
    let exit = service.finish()?;
    ensure!(exit.code() == Some(0), "the job ended with {}; {}", exit.status, service.last_lines(40));
    Ok(())
}

/// The watermark by which the job forgets orders; none before the first event.
fn event_time(checkpoint: &Value) -> Option<i64> {
    checkpoint.pointer("/watermarks/track").and_then(Value::as_i64)
}

/// Looks into the first of `checkpoints` whose watermark has reached the `number`th look.
fn look(job: &Job, checkpoints: &[&Value], number: u32) -> Result<Look> {
    let due = BEGIN + i64::from(number) * DAY / i64::from(LOOKS);
    let found = checkpoints.iter().find(|one| event_time(one).is_some_and(|time| time >= due));
    let found = found.with_context(|| format!("no checkpoint is of day {:.2} or later", f64::from(number) / f64::from(LOOKS)))?;
    let checkpoint = found["checkpoint"].as_u64().context("no number")?.to_string();
    let states: Value = serde_json::from_str(&job.succeed(["state", "list", "--json", "--at", &checkpoint], COMMAND)?)?;
    let entries = |operator: &str, name: &str| {
        let mut states = states["states"].as_array().into_iter().flatten();
        let state = states.find(|state| state["operator"] == operator && state["state"] == name);
        state.and_then(|state| state["entries"].as_u64()).with_context(|| format!("no state {operator}/{name}"))
    };
    Ok(Look {
        at: (event_time(found).unwrap_or(due) - BEGIN) as f64 / DAY as f64,
        seen: entries("dedup", "seen")?,
        orders: entries("track", "order")?,
        bytes: found["totalBytes"].as_u64().context("no totalBytes")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with so many orders in the state on each day, and one more at the end of it.
    fn run(orders: &[u64]) -> Days {
        let look = |day: usize, number: u32, orders: u64| Look {
            at: day as f64 + f64::from(number) / f64::from(LOOKS),
            seen: 5,
            orders: orders + u64::from(number == LOOKS),
            bytes: 70,
        };
        let day = |(day, orders): (usize, &u64)| (1..=LOOKS).map(move |number| look(day, number, *orders)).collect::<Vec<_>>();
        let looks = orders.iter().enumerate().flat_map(day).collect();
        Days { orders_per_day: 1_234_567, rate: 5_000, events: 100, looks }
    }

    #[test]
    fn growth_is_that_of_whatever_grows_most_since_orders_are_forgotten() {
        let growth = |orders: &[u64]| run(orders).growth().map(|growth| (growth * 100.0).round());
        assert_eq!(growth(&[1000, 2000, 1000, 3000, 2000, 2000]), Some(100.0));
        assert_eq!(growth(&[1000, 2000, 2000, 2000, 9000, 2100, 2300]), Some(110.0));
        assert_eq!(growth(&[1000, 2000, 2000, 2000, 1000, 1000]), Some(100.0), "the other one has not become less");
        assert_eq!(growth(&[1000, 2000, 2000]), None);
    }

    #[test]
    fn each_day_is_a_line_with_exact_counts() {
        let table = run(&[86_400, 172_800, 172_900, 172_800, 172_800, 172_800]).table("a machine");
        for part in ["1,234,567 orders per day", "| 2.00 | 5 / 5 | 172,801 / 172,801 | 0.0 MiB / 0.0 MiB |", "at most 1.00 times"]
        {
            assert!(table.contains(part), "{part} is not in {table}");
        }
    }
}
