//! From `kill -9` to the next output that a reader sees, under a live load.

use crate::{
    Context, Result,
    broker::Broker,
    deadline::wait_for,
    job::{Job, Load},
    service::Service,
    topics::Tail,
};
use std::time::{Duration, Instant};

/// Events per second.
const RATE: u64 = 5_000;
/// What becomes visible this shortly after the kill, or without a pause after such, was committed by the killed process: the next one
/// cannot even have connected.
const SETTLED: Duration = Duration::from_millis(50);
/// Between two kills, so that each finds a job in its stride.
const STRIDE: u32 = 3;

/// How long it took, each time, in order of length.
#[derive(Debug, Clone)]
pub struct Recovery(Vec<Duration>);

impl Recovery {
    /// Kills a new job under a live load so many times, each time at another moment of its interval of one second.
    pub fn measure(broker: &Broker, kills: u32) -> Result<Self> {
        let mut job = Job::new(broker.bootstrap())?;
        job.set("state.memory", "128MiB");
        job.create_topics()?;
        Self::of(&mut job, kills, Load::of(0))
    }

    /// The same with a job that has its topics, and may have a state. The live load has the seed and the first order of `like`.
    pub fn of(job: &mut Job, kills: u32, like: Load) -> Result<Self> {
        job.set("checkpoint.interval", "1s");
        let output = job.output("order-status");
        Self::under_load(job, kills, like, &output, &mut Ours { job, service: None })
    }

    /// Kills `victim`, which works off the input of `job` with an interval of one second and writes to `output`.
    pub fn under_load(job: &Job, kills: u32, like: Load, output: &str, victim: &mut dyn Victim) -> Result<Self> {
        let seconds = u64::from(kills) * 20 + 20;
        let mut load = job.start_generating(Load { events: RATE * seconds, ..like.at(RATE) })?;
        let tail = job.cluster()?.tail(output)?;
        victim.start()?;
        let mut times = Vec::new();
        for number in 0..kills {
            victim.await_commits(STRIDE)?;
            // Spread over the interval, which began with the last commit.
            read_for(&tail, Duration::from_secs(1) * number / kills)?;
            victim.kill()?;
            let killed = Instant::now();
            victim.start()?;
            while tail.next(SETTLED)?.is_some() {}
            wait_for("the next visible output", Duration::from_secs(120), || tail.next(Duration::from_millis(5)))?;
            times.push(killed.elapsed());
            eprintln!("bench: kill -9 no. {}: the next output was visible {:.0?} later", number + 1, killed.elapsed());
        }
        load.kill()?;
        victim.stop()?;
        times.sort();
        Ok(Self(times))
    }

    /// The one in the middle.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        self.0.get(self.0.len() / 2).copied()
    }

    /// The longest.
    #[must_use]
    pub fn worst(&self) -> Option<Duration> {
        self.0.last().copied()
    }

    /// How many.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.0.len()
    }
}

/// What is killed and started again.
pub trait Victim {
    /// Starts it, for the first time or after a kill; does not wait.
    fn start(&mut self) -> Result<()>;
    /// Waits until it has committed so many times from now on.
    fn await_commits(&mut self, count: u32) -> Result<()>;
    /// `kill -9`.
    fn kill(&mut self) -> Result<()>;
    /// Ends it in order.
    fn stop(&mut self) -> Result<()>;
}

/// The order job here.
struct Ours<'a> {
    job: &'a Job,
    service: Option<Service>,
}

impl Ours<'_> {
    fn service(&mut self) -> Result<&mut Service> {
        self.service.as_mut().context("the job does not run")
    }
}

impl Victim for Ours<'_> {
    fn start(&mut self) -> Result<()> {
        self.service = Some(self.job.start()?);
        Ok(())
    }

    fn await_commits(&mut self, count: u32) -> Result<()> {
        let service = self.service()?;
        service.wait_ready()?;
        service.wait_checkpoints(count)
    }

    fn kill(&mut self) -> Result<()> {
        self.service()?.kill().map(drop)
    }

    fn stop(&mut self) -> Result<()> {
        self.service()?.finish().map(drop)
    }
}

fn read_for(tail: &Tail, time: Duration) -> Result<()> {
    let until = Instant::now().checked_add(time).context("a time that overflows")?;
    while Instant::now() < until {
        tail.next(Duration::from_millis(5))?;
    }
    Ok(())
}
