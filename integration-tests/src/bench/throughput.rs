//! Full speed: a load that lies ready in the input is worked off.

use super::machine::Reference;
use crate::{
    Context, Result,
    broker::Broker,
    deadline::wait_for,
    ensure,
    job::{Job, Load, OUTPUTS},
    metrics::Samples,
    progress::Progress,
};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// As a share of the memory floor: 350 MiB for the whole process.
const STATE_MEMORY: &str = "128MiB";

/// Each scrape costs the measured process something.
const SCRAPE_EVERY: Duration = Duration::from_millis(200);

/// A load in an input topic, which every run reads from its beginning.
pub struct Throughput {
    events: u64,
    /// Owns the topic; never runs.
    loader: Job,
    reference: Reference,
}

/// What one run has shown.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How long the reference work took, on the mean of before and after the run.
    pub reference: Duration,
    /// Events per second, from the first commit (of the checkpoint that a job writes before it reads anything) to all committed.
    pub events_per_second: f64,
    /// Processor seconds per million events: of the process, from its start to its end.
    pub process_cpu: f64,
    /// The same of the broker, if it is ours.
    pub broker_cpu: Option<f64>,
    /// Largest resident memory of the process, in bytes.
    pub peak_memory: u64,
    /// From the start of the process to the first commit.
    pub start: Duration,
    /// Committed checkpoints.
    pub checkpoints: f64,
    /// Mean duration of a checkpoint, trigger to commit, in seconds.
    pub checkpoint_mean: f64,
    /// The longest that was seen, in seconds.
    pub checkpoint_worst: f64,
    /// State in the last checkpoint that was seen, in bytes.
    pub checkpoint_size: f64,
    /// Largest upload for one checkpoint that was seen, in bytes.
    pub checkpoint_new: f64,
    /// 99 of 100 times that an operator's task could not process because of a barrier were shorter than this, in seconds.
    pub stall_p99: Option<f64>,
    /// The longest of these.
    pub stall_longest: Option<f64>,
    /// The longest that the sink's task waited for the brokers to confirm a checkpoint's records, in seconds.
    pub flush_longest: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broker = self.broker_cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
        write!(
            f,
            "{:.0} events/s, {:.2} + {broker} CPU-s/M, {} MiB, {:.0} checkpoints of {:.0} ms; reference work {} ms",
            self.events_per_second,
            self.process_cpu,
            self.peak_memory >> 20,
            self.checkpoints,
            self.checkpoint_mean * 1000.0,
            self.reference.as_millis()
        )
    }
}

impl Throughput {
    /// Sends the standard load to a new topic.
    pub fn load(broker: &Broker, events: u64) -> Result<Self> {
        let loader = Job::new(broker.bootstrap())?;
        loader.create_topics()?;
        let began = Instant::now();
        loader.generate(Load::of(events))?;
        eprintln!("bench: {events} events sent in {:.1?}", began.elapsed());
        Ok(Self { events, loader, reference: Reference::new() })
    }

    /// Runs the job over the load once, with a state of its own.
    pub fn measure(&self, broker: &Broker, interval: &str, parallelism: usize) -> Result<Figures> {
        let before = self.reference.measure();
        let figures = self.run(broker, interval, parallelism)?;
        Ok(Figures { reference: (before + self.reference.measure()) / 2, ..figures })
    }

    fn run(&self, broker: &Broker, interval: &str, parallelism: usize) -> Result<Figures> {
        let mut job = Job::new(broker.bootstrap())?;
        job.set("job.parallelism", parallelism);
        job.set("checkpoint.interval", interval).set("state.memory", STATE_MEMORY).set("source.topic", self.loader.input());
        // A failed attempt would be measured as a slow one.
        job.set("restart.strategy", "none");
        job.create_topics()?;
        let progress = Progress::of(&job)?;
        let broker_before = broker.cpu()?;
        let began = Instant::now();
        let mut service = job.start_with(["run", "--until-caught-up"], &[])?;
        let (mut first, mut all, mut peak) = (None, None, 0);
        let (mut seen, mut scraped) = (Seen::default(), began);
        let within = Duration::from_secs(120 + self.events / 10_000);
        let exit = wait_for("the end of the run", within, || {
            if let Some(exit) = service.try_exit()? {
                return Ok(Some(exit));
            }
            // All three fail while the process starts or has just ended.
            peak = service.process().peak_memory().unwrap_or(0).max(peak);
            let committed = progress.committed().ok().flatten();
            if committed.is_some() {
                first.get_or_insert_with(Instant::now);
            }
            if committed >= Some(self.events) {
                all.get_or_insert_with(Instant::now);
            }
            if scraped.elapsed() >= SCRAPE_EVERY {
                scraped = Instant::now();
                seen.add(service.metrics().ok().filter(|samples| !samples.is_empty()));
            }
            Ok(None)
        })?;
        // The last commit may be seen only after the process has ended: that is at most one look later than it was.
        let all = all.unwrap_or_else(Instant::now);
        ensure!(exit.code() == Some(0), "the job ended with {}; {}", exit.status, service.last_lines(40));
        let committed = progress.committed()?.unwrap_or_default();
        ensure!(committed == self.events, "{committed} of {} records are committed", self.events);
        let first = first.context("no commit was seen")?;
        let broker_cpu = broker.cpu()?.zip(broker_before).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        for output in OUTPUTS {
            job.cluster()?.delete(&job.output(output))?;
        }
        let million = self.events as f64 / 1e6;
        Ok(Figures {
            events_per_second: self.events as f64 / (all - first).as_secs_f64(),
            process_cpu: exit.cpu.as_secs_f64() / million,
            broker_cpu: broker_cpu.map(|cpu| cpu / million),
            peak_memory: peak,
            start: first - began,
            ..seen.figures()
        })
    }

    /// The run in the middle, by speed.
    pub fn median(mut runs: Vec<Figures>) -> Result<Figures> {
        runs.sort_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second));
        let middle = runs.len() / 2;
        runs.into_iter().nth(middle).context("no runs")
    }
}

impl Drop for Throughput {
    fn drop(&mut self) {
        // A broker of ours is removed anyway; on a given one the topics of a failed bench stay.
        for topic in OUTPUTS.map(|name| self.loader.output(name)).into_iter().chain([self.loader.input()]) {
            let _ = self.loader.cluster().and_then(|cluster| cluster.delete(&topic));
        }
    }
}

/// What the scrapes have shown together.
#[derive(Debug, Default)]
struct Seen {
    last: Samples,
    longest: f64,
    largest: f64,
}

impl Seen {
    fn add(&mut self, scrape: Option<Samples>) {
        let Some(samples) = scrape else { return };
        self.longest = self.longest.max(samples.sum("sluicegate_checkpoint_last_duration_seconds", &[]));
        self.largest = self.largest.max(samples.sum("sluicegate_checkpoint_last_new_bytes", &[]));
        self.last = samples;
    }

    fn figures(&self) -> Figures {
        let sum = |name: &str| self.last.sum(name, &[]);
        let count = sum("sluicegate_checkpoint_duration_seconds_count");
        let (sink, operators) = self.last.split("stage", "sink");
        let stall = |samples: &Samples, q| samples.quantile("sluicegate_barrier_stall_seconds", q);
        Figures {
            reference: Duration::ZERO,
            events_per_second: 0.0,
            process_cpu: 0.0,
            broker_cpu: None,
            peak_memory: 0,
            start: Duration::ZERO,
            checkpoints: count,
            checkpoint_mean: sum("sluicegate_checkpoint_duration_seconds_sum") / count.max(1.0),
            checkpoint_worst: self.longest,
            checkpoint_size: sum("sluicegate_checkpoint_last_size_bytes"),
            checkpoint_new: self.largest,
            stall_p99: stall(&operators, 0.99),
            stall_longest: stall(&operators, 1.0),
            flush_longest: stall(&sink, 1.0),
        }
    }
}
