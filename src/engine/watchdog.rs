//! Looks after the tasks: one that is at the same thing for too long has stalled, and fails the attempt.
//!
//! A task cannot be asked while it is stuck, so it is looked at from outside: see [`super::pulse`]. Only time in which the watchdog itself
//! was awake counts, or a process that was paused, or a machine that slept, would be taken for a stall of every task.
//! One that has stalled is interrupted once, to store its stack: see [`super::stack`].

use super::{event::TaskEvent, halt::Halt, pulse::Pulse, stop::Stop};
use crate::protocol::Failure;
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// From one look to the next, at most.
const SELDOM: Duration = Duration::from_secs(1);

/// From one look to the next, at least.
const OFTEN: Duration = Duration::from_millis(5);

struct Watched {
    /// Name of its thread: vertex and subtask.
    name: String,
    pulse: Arc<Pulse>,
    beats: u64,
    /// For so long it has not moved.
    still: Duration,
}

impl Watched {
    /// Takes a look, `passed` after the last one.
    fn look(&mut self, passed: Duration) {
        let (beats, waiting) = self.pulse.look();
        if waiting || beats != self.beats {
            (self.beats, self.still) = (beats, Duration::ZERO);
        } else {
            self.still += passed;
        }
    }
}

impl Watched {
    /// Where its thread is, for the failure; all of it goes to the log.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn stack(&self) -> String {
        match self.pulse.number().map(super::stack::Stack::of) {
            None => String::new(),
            Some(Err(why)) => format!("; {why}"),
            Some(Ok(stack)) => {
                tracing::error!(task = self.name, stack = format!("{stack:#}"), "a task has stalled");
                format!("; stack: {}", stack.of_the_job())
            }
        }
    }

    /// Other systems do not tell.
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    fn stack(&self) -> String {
        String::new()
    }
}

/// Watches the tasks of one attempt.
pub struct Watchdog {
    timeout: Duration,
    tasks: Vec<Watched>,
}

impl Watchdog {
    /// A task that is at the same thing for `timeout` has stalled.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, tasks: Vec::new() }
    }

    /// One more task.
    pub fn watch(&mut self, name: String, pulse: Arc<Pulse>) {
        self.tasks.push(Watched { name, pulse, beats: 0, still: Duration::ZERO });
    }

    fn interval(&self) -> Duration {
        (self.timeout / 10).clamp(OFTEN, SELDOM)
    }

    /// Runs until a task stalls, or the attempt ends.
    pub fn run(mut self, events: &Sender<TaskEvent>, stop: &Stop) -> Result<(), Halt> {
        let interval = self.interval();
        let mut last = Instant::now();
        loop {
            if stop.signal().recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                return Err(Halt::Stopped);
            }
            let now = Instant::now();
            let passed = now.duration_since(last);
            last = now;
            if let Some((thread, failure)) = self.round(passed) {
                return Ok(stop.send(events, TaskEvent::Failed { thread, failure })?);
            }
        }
    }

    /// One look at all tasks, `passed` after the last one: the first that has stalled, and why the attempt fails.
    fn round(&mut self, passed: Duration) -> Option<(String, Failure)> {
        let counted = passed.min(self.interval() * 2);
        self.tasks.iter_mut().for_each(|task| task.look(counted));
        let stalled = self.tasks.iter().find(|task| task.still >= self.timeout)?;
        // Where it is now comes last: it may get on while it is asked.
        let doing = stalled.pulse.describe();
        let thread = stalled.pulse.thread().map_or_else(String::new, |thread| format!("; {thread}"));
        let failure = Failure::attempt(format!(
            "stalled: {doing} for {:.1?}, and job.task_timeout is {:.1?}{thread}{}",
            stalled.still,
            self.timeout,
            stalled.stack()
        ));
        Some((stalled.name.clone(), failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pulse::Phase;

    const TIMEOUT: Duration = Duration::from_secs(5);
    const LOOK: Duration = Duration::from_millis(500);

    fn watchdog() -> (Arc<Pulse>, Watchdog) {
        let pulse = Arc::new(Pulse::default());
        let mut watchdog = Watchdog::new(TIMEOUT);
        watchdog.watch("track-1".into(), Arc::clone(&pulse));
        (pulse, watchdog)
    }

    #[test]
    fn a_task_that_does_not_move_for_the_timeout_is_named_with_what_it_is_at() {
        let (pulse, mut watchdog) = watchdog();
        let operator = pulse.operator("sleeper");
        pulse.turn_to(Phase::Record);
        pulse.enter(operator);
        // the first look finds it here, ten more find it here still
        for look in 0..10 {
            assert_eq!(watchdog.round(LOOK), None, "look {look}");
        }
        let (thread, failure) = watchdog.round(LOOK).unwrap();
        assert_eq!(thread, "track-1");
        assert_eq!(
            failure.message,
            "stalled: processing a record in operator \"sleeper\" for 5.0s, and job.task_timeout is 5.0s"
        );
    }

    #[test]
    fn a_task_that_waits_or_gets_on_is_left_alone_and_so_is_one_of_a_process_that_was_paused() {
        let (pulse, mut watchdog) = watchdog();
        pulse.turn_to(Phase::Waiting);
        for _ in 0..100 {
            assert_eq!(watchdog.round(LOOK), None, "it waits");
        }
        pulse.turn_to(Phase::Record);
        for _ in 0..100 {
            pulse.beat();
            assert_eq!(watchdog.round(LOOK), None, "it gets on");
        }
        // an hour in which nothing ran
        assert_eq!(watchdog.round(Duration::from_secs(3600)), None);
        assert_eq!(watchdog.round(LOOK), None);
    }
}
