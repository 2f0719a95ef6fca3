//! `make demo`: orders on a real Kafka, a job that is killed with -9 at random moments, and an audit of everything that came out.
//!
//! Variables: `EVENTS` (300000), `KILLS` (3), `SEED` (a new one each time), `RATE` (records per second; by default so that each kill
//! has 4 s and all of them 20), `DIRTY` (bad records in a thousand, 0), `FORMAT` (of the input and of all outputs: json, avro with a schema registry,
//! which is started for it, or avro-single-object), `KAFKA` (host:port of a broker to use).

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use integration_tests::{
    Context, Result,
    broker::{Broker, Options},
    deadline::wait_until,
    ensure,
    job::{Job, Load, OUTPUTS, PARTITIONS},
    process::Process,
    progress::Progress,
    registry::Registry,
    service::Service,
    variables::variable,
};
use rand::{RngExt, SeedableRng};
use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Committing again after a kill takes a second or two. What takes longer than this is a failure, not slowness.
const NEXT_COMMIT: Duration = Duration::from_secs(120);
/// Without a terminal there is no bar, but a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What topics can be written in.
const FORMATS: [&str; 3] = ["json", "avro", "avro-single-object"];

struct Plan {
    events: u64,
    seed: u64,
    rate: u64,
    dirty: u32,
    format: String,
    /// When the job is killed, counted from the first record; in order.
    kills: Vec<Duration>,
}

impl Plan {
    fn from_variables() -> Result<Self> {
        let events: u64 = variable("EVENTS")?.unwrap_or(300_000);
        let kills: u32 = variable("KILLS")?.unwrap_or(3);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let seed = variable("SEED")?.unwrap_or(now % 1_000_000);
        let seconds = u64::from(kills).saturating_mul(4).max(20);
        let rate = variable("RATE")?.unwrap_or(events.div_ceil(seconds)).max(1);
        let length = Duration::from_secs_f64(events as f64 / rate as f64);
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut kills: Vec<_> = (0..kills).map(|_| length.mul_f64(random.random_range(0.05..0.95))).collect();
        kills.sort();
        let format: String = variable("FORMAT")?.unwrap_or_else(|| "json".to_owned());
        ensure!(FORMATS.contains(&format.as_str()), "FORMAT={format}: allowed are {}", FORMATS.join(", "));
        Ok(Self { events, seed, rate, dirty: variable("DIRTY")?.unwrap_or(0), format, kills })
    }

    fn load(&self) -> Load {
        Load { rate: Some(self.rate), seed: self.seed, dirty: self.dirty, ..Load::of(self.events) }
    }

    /// Generous: a slow machine only takes longer.
    fn end_within(&self) -> Duration {
        Duration::from_secs(120 + self.events / 5_000)
    }
}

fn main() -> ExitCode {
    match Plan::from_variables().and_then(|plan| run(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(plan: &Plan) -> Result<()> {
    let since = Instant::now();
    // A program that is not there must be told before a broker is started for it.
    integration_tests::job::program()?;
    let broker = Broker::start(&Options::default()).context("no Kafka")?;
    println!("broker    {} after {:.1?}", broker.describe(), since.elapsed());
    let mut job = Job::new(broker.bootstrap())?;
    // The default pause of 30 s after a failed attempt would hide in a demo what it is to show.
    job.set("restart.delay", "1s").set("state.memory", "128MiB");
    job.speak(&plan.format);
    let _registry = match plan.format.as_str() {
        "avro" => Some(registry_for(&mut job)?),
        _ => None,
    };
    let result = show(plan, &job);
    if result.is_err() {
        eprintln!("demo: logs, state and checkpoints are kept in {}", job.keep().display());
    }
    result
}

fn registry_for(job: &mut Job) -> Result<Registry> {
    let since = Instant::now();
    let registry = Registry::start()?.map_err(|why| integration_tests::anyhow!("FORMAT=avro wants a schema registry: {why}"))?;
    println!("registry  {} after {:.1?}", registry.describe(), since.elapsed());
    job.set("registry.url", registry.url());
    Ok(registry)
}

fn show(plan: &Plan, job: &Job) -> Result<()> {
    job.create_topics()?;
    println!("topics    {} with {PARTITIONS} partitions, and {} outputs, in {}", job.input(), OUTPUTS.len(), plan.format);
    println!(
        "load      {} records, {} per second, seed {} (SEED={} repeats it){}",
        HumanCount(plan.events),
        HumanCount(plan.rate),
        plan.seed,
        plan.seed,
        if plan.dirty > 0 { format!(", {} in a thousand bad", plan.dirty) } else { String::new() }
    );
    let mut stage = Stage::new(plan, job)?;
    stage.generate_and_kill()?;
    stage.finish()?;
    drop(stage);
    let table = job.run_within(["audit"], plan.end_within())?;
    println!("\n{}", table.stdout.trim_end());
    ensure!(table.status.code() == Some(0), "the audit ended with {}: {}", table.status, table.stderr.trim());
    println!(
        "\nKilled {} times with kill -9 while {} records went through a real Kafka: nothing is lost, nothing is doubled.",
        plan.kills.len(),
        HumanCount(plan.events)
    );
    Ok(())
}

/// The running part: the load, the job, the bar.
struct Stage<'a> {
    plan: &'a Plan,
    job: &'a Job,
    progress: Progress,
    generator: Process,
    service: Service,
    bar: ProgressBar,
    began: Instant,
    told: Instant,
}

impl<'a> Stage<'a> {
    fn new(plan: &'a Plan, job: &'a Job) -> Result<Self> {
        let service = job.start()?;
        let generator = job.start_generating(plan.load())?;
        let bar = ProgressBar::with_draw_target(Some(plan.events), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(
            "{msg:<10}{bar:40.cyan/blue} {human_pos} of {human_len} committed  {elapsed}",
        )?);
        bar.set_message("orders");
        let now = Instant::now();
        Ok(Self { plan, job, progress: Progress::of(job)?, generator, service, bar, began: now, told: now })
    }

    /// Kills and starts the job again at its moments, until all records are sent.
    fn generate_and_kill(&mut self) -> Result<()> {
        let mut due = self.plan.kills.iter().copied().enumerate();
        let mut next = due.next();
        loop {
            let committed = self.tell();
            if let Some((index, at)) = next
                && self.began.elapsed() >= at
            {
                self.kill(index + 1, committed)?;
                next = due.next();
                continue;
            }
            if let Some(exit) = self.service.try_exit()? {
                integration_tests::bail!("the job ended by itself with {}; {}", exit.status, self.service.last_lines(40));
            }
            match self.generator.try_exit()? {
                Some(exit) if exit.code() == Some(0) && next.is_none() => return Ok(()),
                Some(exit) if exit.code() == Some(0) => {}
                Some(exit) => integration_tests::bail!("generate ended with {}; {}", exit.status, self.generator.last_lines(20)),
                None => {}
            }
            // Nothing but the drawing waits for this.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self, number: usize, committed: u64) -> Result<()> {
        self.service.kill()?;
        let killed = Instant::now();
        let after = killed - self.began;
        // What was committed in the moment before the kill is not what is waited for.
        let committed = self.committed().unwrap_or(committed);
        self.service = self.job.start()?;
        if committed >= self.plan.events {
            // On a slow machine the recovery from the last kill may have outlasted the load.
            self.service.wait_ready()?;
            let again = killed.elapsed();
            self.line(&format!(
                "kill -9   no. {number} after {after:.1?}, with nothing left to commit; ready again {again:.2?} later"
            ));
            return Ok(());
        }
        wait_until("the next commit", NEXT_COMMIT, || {
            if let Some(exit) = self.service.try_exit()? {
                integration_tests::bail!("the job ended with {} after kill -9; {}", exit.status, self.service.last_lines(40));
            }
            let now = self.committed().unwrap_or(committed);
            Ok(now > committed)
        })?;
        let again = killed.elapsed();
        self.line(&format!(
            "kill -9   no. {number} after {after:.1?} at {} committed records; the next commit came {again:.2?} later",
            HumanCount(committed)
        ));
        Ok(())
    }

    /// Ends the job in order, and lets it work off what is left.
    fn finish(&mut self) -> Result<()> {
        let exit = self.service.finish()?;
        ensure!(exit.code() == Some(0), "SIGTERM ended the job with {}; {}", exit.status, self.service.last_lines(40));
        self.service = self.job.start_with(["run", "--until-caught-up", "--drain"], &[])?;
        let within = self.plan.end_within();
        wait_until("the end of the input", within, || {
            self.tell();
            Ok(self.service.try_exit()?.is_some())
        })?;
        let exit = self.service.wait(Duration::ZERO)?;
        ensure!(exit.code() == Some(0), "run --until-caught-up ended with {}; {}", exit.status, self.service.last_lines(40));
        let committed = self.tell();
        self.bar.finish_and_clear();
        println!("run       {} records committed after {:.1?}", HumanCount(committed), self.began.elapsed());
        Ok(())
    }

    /// Draws the bar; says how far the job is.
    fn tell(&mut self) -> u64 {
        // While the job is away its group may not be there yet.
        let committed = self.committed().unwrap_or(self.bar.position());
        self.bar.set_position(committed);
        if !std::io::stderr().is_terminal() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            println!("          {} of {} committed", HumanCount(committed), HumanCount(self.plan.events));
        }
        committed
    }

    /// None before the first commit, and while the broker does not answer.
    fn committed(&self) -> Option<u64> {
        self.progress.committed().ok().flatten()
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}
