//! Runs a job without Kafka in this process.

use super::app::App;
use crate::checkpoint::{Location, Retention};
use crate::engine::{Ask, Bounds, JobSettings, LocalCluster, RestartStrategy, Schedule, Supervisor, plan::Plan};
use crate::observe::{Health, Metrics};
use crate::protocol::{Failure, JobName};
use crate::state::{KeyGroups, Settings as StateSettings};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How a job without Kafka is run: checkpoints, state and restarts, for a program that brings no settings of its own. Everything is kept
/// in one folder: a job that is run again with the same name and folder goes on where it has committed.
/// ```
/// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution, RestartStrategy}};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), sluicegate::stream::Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let (app, output) = (App::new(), Collected::new());
/// app.read("numbers", Collection::of(1..=5)).fail_once_at("numbers", 3).write_lines("out", output.clone());
/// Execution::new("numbers", folder.path())
///     .checkpoint_every(Duration::from_millis(20))
///     .restart(RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_millis(5) })
///     .run(app)?;
/// // It has failed at the third one, and each is there once.
/// assert_eq!(output.lines(), ["1", "2", "3", "4", "5"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Execution {
    job: String,
    folder: PathBuf,
    parallelism: usize,
    interval: Duration,
    out_of_orderness: Duration,
    restart: RestartStrategy,
    task_timeout: Duration,
}

impl Execution {
    /// The job `job` (1 to 24 of a-z, 0-9, - and _) with its checkpoints and its state below `folder`: one task per stage, a checkpoint
    /// each second, no restart, events in order, five minutes for a task before it counts as stalled.
    pub fn new(job: &str, folder: impl AsRef<Path>) -> Self {
        Self {
            job: job.to_owned(),
            folder: folder.as_ref().to_owned(),
            parallelism: 1,
            interval: Duration::from_secs(1),
            out_of_orderness: Duration::ZERO,
            restart: RestartStrategy::None,
            task_timeout: Duration::from_secs(300),
        }
    }

    /// Tasks per stage; may change from one run to the next.
    #[must_use]
    pub fn parallelism(mut self, tasks: usize) -> Self {
        self.parallelism = tasks.max(1);
        self
    }

    /// From one checkpoint to the next: output becomes visible so often.
    #[must_use]
    pub fn checkpoint_every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// What follows a failure.
    #[must_use]
    pub fn restart(mut self, strategy: RestartStrategy) -> Self {
        self.restart = strategy;
        self
    }

    /// A task that is busy with one record, or whatever else it is at, for longer has stalled, and fails the attempt; zero: it may take as
    /// long as it takes. What a task waits for, input or room further down, does not count.
    #[must_use]
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.task_timeout = timeout;
        self
    }

    /// Events may be that much out of order.
    #[must_use]
    pub fn max_out_of_orderness(mut self, by: Duration) -> Self {
        self.out_of_orderness = by;
        self
    }

    /// Runs the job until it ends: when all that a bounded source holds is committed.
    ///
    /// # Errors
    /// The failure that the restart strategy has no answer to; fatal if the graph is wrong; refused if going on would be a guess.
    pub fn run(&self, app: App) -> Result<(), Failure> {
        // Nobody asks; without the other end, pauses between attempts would end at once.
        let (_ask, asked) = unbounded();
        self.supervise(app.into_plan()?, &asked)
    }

    /// Runs the job on a thread of its own.
    ///
    /// # Errors
    /// Fatal if the graph is wrong.
    pub fn start(&self, app: App) -> Result<Running, Failure> {
        let (plan, (ask, asked), this) = (app.into_plan()?, unbounded(), self.clone());
        let thread = thread::Builder::new().name(self.job.clone()).spawn(move || this.supervise(plan, &asked));
        let thread = thread.map_err(|why| Failure::fatal(format!("cannot start a thread: {why}")))?;
        Ok(Running { ask, thread })
    }

    fn supervise(&self, plan: Plan, asked: &Receiver<Ask>) -> Result<(), Failure> {
        let job: JobName = self.job.parse().map_err(|why| Failure::fatal(format!("job {:?}: {why}", self.job)))?;
        let location = Location::folder(self.folder.join("checkpoints"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("io").enable_all().build();
        let runtime = runtime.map_err(|why| Failure::fatal(format!("cannot start the I/O threads: {why}")))?;
        let ends = plan.sources.values().all(|source| source.bounded());
        let cluster = Arc::new(LocalCluster::new(&job, &location, &plan)?);
        let settings = JobSettings {
            group: job.to_string(),
            job,
            parallelism: self.parallelism,
            groups: KeyGroups::default(),
            producers: 1,
            out_of_orderness: self.out_of_orderness,
            idle_timeout: None,
            discovery: None,
            schedule: Schedule { interval: self.interval, min_pause: Duration::ZERO, timeout: Duration::from_secs(600) },
            location,
            retention: Retention { retained: NonZeroU32::MIN, grace: Duration::from_secs(60) },
            state: StateSettings::new(self.folder.join("state"), StateSettings::DEFAULT_MEMORY),
            tolerable_failures: 0,
            restart: self.restart,
            task_timeout: (!self.task_timeout.is_zero()).then_some(self.task_timeout),
            bounds: Bounds { until_caught_up: ends, drain: ends },
            restore: None,
            from: None,
        };
        let supervisor =
            Supervisor::new(settings, cluster, plan, runtime.handle().clone(), Metrics::new(), Arc::new(Health::default()));
        supervisor.run(asked)
    }
}

/// A job that runs on a thread of this process.
/// ```
/// use sluicegate::{connectors::{Collected, Generator}, stream::{App, Execution}};
/// use std::{thread, time::Duration};
///
/// # fn main() -> Result<(), sluicegate::stream::Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let (app, output) = (App::new(), Collected::new());
/// app.read("numbers", Generator::new(1, |_, number| number)).write_lines("out", output.clone());
/// let running = Execution::new("endless", folder.path()).checkpoint_every(Duration::from_millis(20)).start(app)?;
/// while output.lines().is_empty() {
///     thread::sleep(Duration::from_millis(5));
/// }
/// running.stop();
/// running.wait()?;
/// assert_eq!(output.lines()[..3], ["0", "1", "2"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Running {
    ask: Sender<Ask>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Running {
    /// Asks the job to take a last checkpoint, commit it and end.
    pub fn stop(&self) {
        // One that has ended already has nobody who listens.
        let _ = self.ask.send(Ask::Stop { drain: false });
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As [`Execution::run`].
    pub fn wait(self) -> Result<(), Failure> {
        self.thread.join().unwrap_or_else(|_| Err(Failure::fatal("the job's thread panicked")))
    }
}

#[cfg(test)]
#[path = "execution_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod runtime_tests;
