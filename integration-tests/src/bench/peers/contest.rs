//! Turns: each works off the same load once, with a state of its own.

use super::{Program, peer::PeerJob};
use crate::{
    Context, Result, bail,
    bench::{Recovery, Victim, machine::Reference},
    broker::Broker,
    deadline::wait_for,
    ensure,
    job::{Audit, COMMAND, Job, Load, OUTPUTS},
    process::{self, Process},
    progress::Progress,
    service::Service,
    topics::Tail,
};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// The same as in `make bench`.
const STATE_MEMORY: &str = "128MiB";

/// Tasks of each stage, and threads of a peer: what all of them are told to do on two cores unless one says otherwise.
pub(super) const PARALLELISM: usize = 2;

/// A load in an input topic, and somebody who can judge what comes out of it.
pub struct Contest<'a> {
    broker: &'a Broker,
    events: u64,
    /// Owns the topic, and has worked it off to its end: its committed offsets say to the audit what has to be in the outputs.
    judge: Job,
    reference: Reference,
}

/// What one turn has shown.
#[derive(Debug, Clone)]
pub struct Turn {
    /// How long the reference work took, on the mean of before and after the turn.
    pub reference: Duration,
    /// Events per second from the first commit to all committed, those of the first commit not counted; none if there was only one.
    pub events_per_second: Option<f64>,
    /// From the start of the process until all is committed.
    pub whole: Duration,
    /// From the start of the process until a `read_committed` reader sees a record of `order-status`.
    pub first_output: Duration,
    /// Processor seconds per million events: of the process, from its start until all is committed.
    pub process_cpu: f64,
    /// The same of the broker, if it is ours.
    pub broker_cpu: Option<f64>,
    /// Largest resident memory of the process until then, in bytes.
    pub peak_memory: u64,
    /// What the audit says of the outputs.
    pub verdict: Verdict,
}

/// What the audit says of the outputs of one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Events that came after their window, and are in `late-orders`.
    pub late: u64,
    /// The first difference, if there is any.
    pub difference: Option<String>,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.2}"));
        write!(
            f,
            "{:.0} events/s, {:.1?} from start to all committed, {:.2} + {} CPU-s/M, {} MiB; reference work {} ms; {} late; {}",
            self.events_per_second.unwrap_or_default(),
            self.whole,
            self.process_cpu,
            number(self.broker_cpu),
            self.peak_memory >> 20,
            self.reference.as_millis(),
            self.verdict.late,
            self.verdict.difference.as_deref().unwrap_or("no difference")
        )
    }
}

/// One of those who take turns, while it runs.
trait Running {
    /// An error if it has ended.
    fn process(&mut self) -> Result<&Process>;
    /// Asked once all input is committed: whether everything that came of it is.
    fn is_all_committed(&mut self) -> Result<bool>;
}

impl<'a> Contest<'a> {
    /// Sends the standard load to a new topic, and has it worked off once: for the audit, and so that the broker's compiler has seen it.
    pub fn new(broker: &'a Broker, events: u64, dirty: u32) -> Result<Self> {
        let mut judge = Job::new(broker.bootstrap())?;
        judge.set("state.memory", STATE_MEMORY).set("restart.strategy", "none");
        judge.create_topics()?;
        judge.generate(Load::of(events).dirty(dirty))?;
        eprintln!("bench: {events} events sent");
        let contest = Self { broker, events, judge, reference: Reference::new() };
        drain(&contest.judge, contest.within())?;
        let own = contest.judge.output("");
        let verdict = contest.audit(&own)?;
        ensure!(verdict.difference.is_none(), "sluicegate's own outputs differ: {verdict:?}");
        for output in OUTPUTS {
            contest.judge.cluster()?.delete(&contest.judge.output(output))?;
        }
        Ok(contest)
    }

    /// The order job here.
    pub fn ours(&self, interval: Duration) -> Result<Turn> {
        let mut job = Job::new(self.broker.bootstrap())?;
        job.set("job.parallelism", PARALLELISM).set("checkpoint.interval", format!("{}ms", interval.as_millis()));
        job.set("state.memory", STATE_MEMORY).set("source.topic", self.judge.input()).set("restart.strategy", "none");
        job.create_topics()?;
        let (progress, outputs) = (Progress::of(&job)?, job.cluster()?.tail(&job.output("order-status"))?);
        let reference = self.reference.measure();
        let began = (Instant::now(), self.broker.cpu()?);
        let mut service = job.start()?;
        let turn = self.watch(&mut Here(&mut service), began, &progress, outputs);
        let turn = turn.with_context(|| service.last_lines(40))?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "the job ended with {}; {}", exit.status, service.last_lines(40));
        let reference = (reference + self.reference.measure()) / 2;
        drain(&job, self.within())?;
        let verdict = self.audit(&job.output(""))?;
        for output in OUTPUTS {
            job.cluster()?.delete(&job.output(output))?;
        }
        Ok(Turn { reference, verdict, ..turn })
    }

    /// The order job there.
    pub fn theirs(&self, program: &Program, interval: Duration) -> Result<Turn> {
        let mut job = PeerJob::new(program, self.broker.bootstrap(), &self.judge.input(), interval)?;
        let (progress, outputs) = (job.progress()?, self.judge.cluster()?.tail(&job.output("order-status"))?);
        let reference = self.reference.measure();
        let began = (Instant::now(), self.broker.cpu()?);
        job.start()?;
        let turn = self.watch(&mut There { job: &mut job, between: Vec::new() }, began, &progress, outputs);
        let turn = turn.with_context(|| job.last_lines())?;
        let reference = (reference + self.reference.measure()) / 2;
        job.drain()?;
        let verdict = self.audit(&job.prefix())?;
        if verdict.difference.is_some() {
            eprintln!("bench: {}: its outputs differ; its log is in {}", program.peer.name(), job.keep());
        }
        job.remove()?;
        Ok(Turn { reference, verdict, ..turn })
    }

    /// Kills it under a live load so many times.
    pub fn their_recovery(&self, program: &Program, kills: u32) -> Result<Recovery> {
        // Only for its input.
        let load = Job::new(self.broker.bootstrap())?;
        load.create_topics()?;
        let mut job = PeerJob::new(program, self.broker.bootstrap(), &load.input(), Duration::from_secs(1))?;
        let recovery = Recovery::under_load(&load, kills, Load::of(0), &job.output("order-status"), &mut job)?;
        job.remove()?;
        Ok(recovery)
    }

    fn within(&self) -> Duration {
        Duration::from_secs(120 + self.events / 5_000)
    }

    fn watch(
        &self,
        running: &mut dyn Running,
        (began, broker_before): (Instant, Option<Duration>),
        progress: &Progress,
        outputs: Tail,
    ) -> Result<Turn> {
        let (mut first, mut first_output, mut peak) = (None, None, 0);
        let mut outputs = Some(outputs);
        let (all, cpu) = wait_for("all events are committed", self.within(), || {
            // What is found at the end was so at the beginning of the last look, about.
            let now = Instant::now();
            let process = running.process()?;
            peak = process.peak_memory().unwrap_or(0).max(peak);
            let cpu = process.cpu()?;
            // Reading the rest would take from the same cores.
            if let Some(tail) = &outputs
                && tail.next(Duration::from_millis(1))?.is_some()
            {
                first_output = Some(began.elapsed());
                outputs = None;
            }
            // It fails while the process starts.
            let committed = progress.committed().ok().flatten();
            if let Some(events) = committed {
                first.get_or_insert((now, events));
            }
            let all = committed >= Some(self.events) && running.is_all_committed()?;
            Ok(all.then_some((now, cpu)))
        })?;
        let (since, before) = first.context("no commit was seen")?;
        let million = self.events as f64 / 1e6;
        let broker_cpu = self.broker.cpu()?.zip(broker_before).map(|(after, before)| after.saturating_sub(before));
        let rest = self.events.saturating_sub(before);
        Ok(Turn {
            reference: Duration::ZERO,
            events_per_second: (rest > 0).then(|| rest as f64 / (all - since).as_secs_f64()),
            whole: all - began,
            first_output: first_output.unwrap_or_else(|| began.elapsed()),
            process_cpu: cpu.as_secs_f64() / million,
            broker_cpu: broker_cpu.map(|cpu| cpu.as_secs_f64() / million),
            peak_memory: peak,
            verdict: Verdict { late: 0, difference: None },
        })
    }

    /// Judges the outputs whose names begin with `prefix`, of whoever has written them.
    fn audit(&self, prefix: &str) -> Result<Verdict> {
        let mut command = self.judge.command(["audit", "--json"])?;
        command.arg("--set").arg(format!("topics.prefix={prefix}"));
        let audit = Audit::of(&process::run(&mut command, self.within())?)?;
        Ok(Verdict { late: audit.number("/late")?, difference: audit.first_difference() })
    }
}

impl Drop for Contest<'_> {
    fn drop(&mut self) {
        // A broker of ours is removed anyway; on a given one the topics of a failed bench stay.
        let _ = self.judge.cluster().and_then(|cluster| cluster.delete(&self.judge.input()));
    }
}

/// Ends the job's input: what waits in windows and for batches is written.
fn drain(job: &Job, within: Duration) -> Result<()> {
    let mut service = job.start_with(["run", "--until-caught-up", "--drain"], &[])?;
    let exit = service.wait(within.max(COMMAND))?;
    ensure!(exit.code() == Some(0), "run --drain ended with {}; {}", exit.status, service.last_lines(40));
    Ok(())
}

struct Here<'a>(&'a mut Service);

impl Running for Here<'_> {
    fn process(&mut self) -> Result<&Process> {
        match self.0.try_exit()? {
            Some(exit) => bail!("the job ended by itself ({})", exit.status),
            None => Ok(self.0.process()),
        }
    }

    /// All outputs of a checkpoint are visible with its offsets.
    fn is_all_committed(&mut self) -> Result<bool> {
        Ok(true)
    }
}

struct There<'a> {
    job: &'a mut PeerJob,
    between: Vec<Progress>,
}

impl Running for There<'_> {
    fn process(&mut self) -> Result<&Process> {
        self.job.process().map(|process| &*process)
    }

    fn is_all_committed(&mut self) -> Result<bool> {
        if self.between.is_empty() {
            self.between = self.job.between()?;
        }
        // Asking fails now and then while the broker is busy.
        let read = self.between.iter().all(|topic| topic.is_at_end().unwrap_or(false));
        Ok(read && !self.job.has_open_transaction().unwrap_or(true))
    }
}
