//! One running `sluicegate`: it can be killed, frozen, asked, and waited for.

use crate::{
    Context, Result, bail,
    deadline::{wait_for, wait_until},
    ensure, http,
    metrics::Samples,
    process::{Exit, Process, Signal},
};
use std::{fs, path::Path, process::Command, time::Duration};

/// Start, fencing of what a dead predecessor left open, restore: well under a second, on a machine with nothing else to do. Tests run side
/// by side on two cores.
const READY: Duration = Duration::from_secs(120);
/// One answer of the program's own HTTP server.
const ANSWER: Duration = Duration::from_secs(20);

/// A running program. Killed when dropped.
pub struct Service {
    process: Process,
    http: String,
}

impl Service {
    /// Starts `command`, which serves HTTP at `http`.
    pub(crate) fn start(command: &mut Command, http: String, log: &Path) -> Result<Self> {
        Ok(Self { process: Process::spawn("sluicegate", command, log)?, http })
    }

    /// Waits until it processes records.
    pub fn wait_ready(&mut self) -> Result<()> {
        let start = wait_for("the service is ready", READY, || {
            if let Some(exit) = self.process.try_exit()? {
                bail!("sluicegate ended with {} instead of getting ready", exit.status);
            }
            Ok(self.get("/readyz").is_ok_and(|(status, _)| status == 200).then_some(()))
        });
        start.with_context(|| self.last_lines(40))
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.http
    }

    /// Status and body of `GET path`.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = http::ask(&self.http, ("GET", path), ("text/plain", ""), ANSWER)?;
        Ok((answer.status, answer.body))
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Result<Samples> {
        let (status, body) = self.get("/metrics")?;
        ensure!(status == 200, "/metrics answered {status}: {body}");
        Ok(Samples::parse(&body))
    }

    /// Waits until a metric, summed over its labels, is at least `least`.
    pub fn wait_metric(&mut self, name: &str, least: f64, within: Duration) -> Result<()> {
        let waited = wait_until(format!("{name} is {least} or more"), within, || {
            if let Some(exit) = self.process.try_exit()? {
                bail!("sluicegate ended with {}", exit.status);
            }
            Ok(self.metrics().is_ok_and(|samples| samples.sum(name, &[]) >= least))
        });
        waited.with_context(|| self.last_lines(40))
    }

    /// Waits until `count` more checkpoints are committed than now; at a start, than when it answers for the first time.
    pub fn wait_checkpoints(&mut self, count: u32) -> Result<()> {
        let mut before = None;
        let waited = wait_until(format!("{count} more checkpoints"), READY, || {
            if let Some(exit) = self.process.try_exit()? {
                bail!("sluicegate ended with {}", exit.status);
            }
            let Ok(committed) = self.checkpoints() else { return Ok(false) };
            Ok(committed >= *before.get_or_insert(committed) + f64::from(count))
        });
        waited.with_context(|| self.last_lines(40))
    }

    /// How many checkpoints it has committed since it was started.
    pub fn checkpoints(&self) -> Result<f64> {
        Ok(self.metrics()?.sum("sluicegate_checkpoints_total", &[("result", "completed")]))
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<Exit> {
        self.process.kill()
    }

    /// SIGSTOP.
    pub fn pause(&mut self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<()> {
        self.process.signal(Signal::Continue)
    }

    /// SIGTERM; does not wait.
    pub fn terminate(&mut self) -> Result<()> {
        self.process.signal(Signal::Terminate)
    }

    /// SIGINT; does not wait.
    pub fn interrupt(&mut self) -> Result<()> {
        self.process.signal(Signal::Interrupt)
    }

    /// SIGTERM, and how it ended.
    pub fn finish(&mut self) -> Result<Exit> {
        self.terminate()?;
        self.wait(READY)
    }

    /// Waits until it ends; it is not ended by the deadline.
    pub fn wait(&mut self, within: Duration) -> Result<Exit> {
        self.process.wait(within)
    }

    /// How it ended, if it has.
    pub fn try_exit(&mut self) -> Result<Option<Exit>> {
        self.process.try_exit()
    }

    /// Waits until a fail point has killed it. An error if it ended in another way, or the point was never reached.
    pub fn wait_killed(&mut self, within: Duration) -> Result<()> {
        use std::os::unix::process::ExitStatusExt;
        let exit = self.process.wait(within).context("the fail point was never reached")?;
        ensure!(exit.status.signal() == Some(9), "ended with {} instead of being killed; {}", exit.status, self.last_lines(40));
        Ok(())
    }

    /// Waits until it has logged `text`; an error if it ends before.
    pub fn wait_says(&mut self, text: &str, within: Duration) -> Result<()> {
        let waited = wait_until(format!("{text:?} in the log"), within, || {
            if self.log()?.contains(text) {
                return Ok(true);
            }
            if let Some(exit) = self.process.try_exit()? {
                bail!("sluicegate ended with {}", exit.status);
            }
            Ok(false)
        });
        waited.with_context(|| self.last_lines(40))
    }

    /// Waits until a fail point that makes it sleep is reached.
    pub fn wait_at_point(&mut self) -> Result<()> {
        self.wait_says("fail point reached", READY)
    }

    /// The process, for measurements.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// All that it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.process.log())?).into_owned())
    }

    /// The end of its log, for messages.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> String {
        self.process.last_lines(count)
    }
}
