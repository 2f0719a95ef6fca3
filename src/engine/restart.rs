//! Restart strategies: whether and when a failed attempt is followed by another.

use crate::protocol::{Failure, FailureBudget, FailureKind};
use std::time::Duration;

/// As Flink's strategies of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartStrategy {
    /// The first failure ends the job.
    None,
    /// Up to `attempts` restarts, `delay` apart. A job that has made
    /// progress since starts counting anew.
    FixedDelay {
        /// Restarts, at most.
        attempts: u32,
        /// Pause before each.
        delay: Duration,
    },
}

/// Counts failures against a strategy.
#[derive(Debug)]
pub struct Restarts {
    strategy: RestartStrategy,
    used: u32,
}

impl Restarts {
    /// No failure yet.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, used: 0 }
    }

    /// An attempt made progress: it committed a checkpoint.
    pub fn progress(&mut self) {
        self.used = 0;
    }

    /// An attempt failed: the pause before the next, or none if there is to be no next.
    pub fn next(&mut self) -> Option<Duration> {
        match self.strategy {
            RestartStrategy::FixedDelay { attempts, delay } if self.used < attempts => {
                self.used += 1;
                Some(delay)
            }
            RestartStrategy::None | RestartStrategy::FixedDelay { .. } => None,
        }
    }

    /// Restarts used since the last progress, and how many are allowed.
    pub fn used(&self) -> (u32, u32) {
        match self.strategy {
            RestartStrategy::None => (self.used, 0),
            RestartStrategy::FixedDelay { attempts, .. } => (self.used, attempts),
        }
    }
}

/// What may still go wrong before the job is given up.
pub struct Patience {
    restarts: Restarts,
    checkpoints: FailureBudget,
}

impl Patience {
    /// Nothing has gone wrong yet. `tolerable_failures`: failed checkpoints in a row that do not use up a restart.
    pub fn new(strategy: RestartStrategy, tolerable_failures: u32) -> Self {
        Self { restarts: Restarts::new(strategy), checkpoints: FailureBudget::new(tolerable_failures) }
    }

    /// A checkpoint was committed.
    pub fn committed(&mut self) {
        self.restarts.progress();
        self.checkpoints.checkpoint_completed();
    }

    /// The pause before the next attempt, restarts used and allowed; none if there is to be no next.
    pub fn after(&mut self, failure: &Failure, of_checkpoint: bool) -> Option<(Duration, u32, u32)> {
        if !matches!(failure.kind, FailureKind::Transient | FailureKind::Attempt) {
            return None;
        }
        let tolerated = of_checkpoint && self.checkpoints.tolerates_another();
        let delay = if tolerated { Duration::ZERO } else { self.restarts.next()? };
        let (used, allowed) = self.restarts.used();
        Some((delay, used, allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_delay_gives_up_after_its_attempts_unless_there_was_progress() {
        let delay = Duration::from_millis(10);
        let mut restarts = Restarts::new(RestartStrategy::FixedDelay { attempts: 2, delay });
        assert_eq!([restarts.next(), restarts.next(), restarts.next()], [Some(delay), Some(delay), None]);
        restarts.progress();
        assert_eq!(restarts.next(), Some(delay));
        assert_eq!(Restarts::new(RestartStrategy::None).next(), None);
    }
}
