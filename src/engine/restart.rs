//! Restart strategies: whether and when a failed attempt is followed by another.

use crate::protocol::{Failure, FailureBudget, FailureKind};
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// As Flink's strategies of the same names.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// Any number of restarts, with pauses that grow.
    ExponentialDelay(ExponentialDelay),
    /// Restarts as long as failures are rare.
    FailureRate {
        /// Failures within `interval` that are followed by a restart; one more ends the job.
        failures: u32,
        /// What they are counted over.
        interval: Duration,
        /// Pause before each restart.
        delay: Duration,
    },
}

/// Pauses that grow from failure to failure. The defaults are Flink's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExponentialDelay {
    /// The first pause.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
    /// Each pause is that many times as long as the one before.
    pub multiplier: f64,
    /// After so long without a failure, counted from when the last pause was over, pauses begin anew.
    pub reset_after: Duration,
    /// Each pause is longer or shorter by up to that part of it, so that jobs which failed together do not come back together.
    pub jitter: f64,
}

impl Default for ExponentialDelay {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 1.5,
            reset_after: Duration::from_secs(3600),
            jitter: 0.1,
        }
    }
}

impl ExponentialDelay {
    fn following(&self, pause: Duration) -> Duration {
        Duration::try_from_secs_f64(pause.as_secs_f64() * self.multiplier).map_or(self.max, |next| next.min(self.max))
    }

    /// `chance`: from -1 to 1.
    fn jittered(&self, pause: Duration, chance: f64) -> Duration {
        let moved = pause.as_secs_f64() * (1.0 + self.jitter * chance);
        let moved = Duration::try_from_secs_f64(moved).unwrap_or(pause);
        moved.clamp(self.initial.min(self.max), self.max)
    }
}

/// Counts failures against a strategy.
#[derive(Debug)]
pub struct Restarts {
    strategy: RestartStrategy,
    used: u32,
    /// The last failure, and the pause that followed it, without jitter.
    last: Option<(Instant, Duration)>,
    failures: VecDeque<Instant>,
}

impl Restarts {
    /// No failure yet.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, used: 0, last: None, failures: VecDeque::new() }
    }

    /// An attempt made progress: it committed a checkpoint. Only a fixed delay counts by that, the others by time.
    pub fn progress(&mut self) {
        if matches!(self.strategy, RestartStrategy::FixedDelay { .. }) {
            self.used = 0;
        }
    }

    /// An attempt failed at `now`: the pause before the next, or none if there is to be no next. `chance`: from -1 to 1.
    pub fn next(&mut self, now: Instant, chance: f64) -> Option<Duration> {
        let delay = match self.strategy {
            RestartStrategy::None => return None,
            RestartStrategy::FixedDelay { attempts, delay } => (self.used < attempts).then_some(delay)?,
            RestartStrategy::ExponentialDelay(growing) => {
                let quiet = |(at, pause): (Instant, Duration)| now.saturating_duration_since(at) >= growing.reset_after + pause;
                let pause = match self.last {
                    Some(last) if !quiet(last) => growing.following(last.1),
                    _ => {
                        self.used = 0;
                        growing.initial.min(growing.max)
                    }
                };
                self.last = Some((now, pause));
                growing.jittered(pause, chance)
            }
            RestartStrategy::FailureRate { failures, interval, delay } => {
                self.failures.push_back(now);
                self.failures.retain(|at| now.saturating_duration_since(*at) < interval);
                self.used = u32::try_from(self.failures.len()).unwrap_or(u32::MAX).saturating_sub(1);
                (self.used < failures).then_some(delay)?
            }
        };
        self.used += 1;
        Some(delay)
    }

    /// Restarts that count, and how many are allowed; none: any number.
    pub fn used(&self) -> (u32, Option<u32>) {
        let allowed = match self.strategy {
            RestartStrategy::None => Some(0),
            RestartStrategy::FixedDelay { attempts, .. } => Some(attempts),
            RestartStrategy::ExponentialDelay(_) => None,
            RestartStrategy::FailureRate { failures, .. } => Some(failures),
        };
        (self.used, allowed)
    }
}

/// What may still go wrong before the job is given up.
pub struct Patience {
    restarts: Restarts,
    checkpoints: FailureBudget,
}

/// The next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The pause before it.
    pub delay: Duration,
    /// Restarts that count.
    pub used: u32,
    /// How many of them are allowed; none: any number.
    pub allowed: Option<u32>,
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

    /// What follows a failure; none if there is to be no other attempt.
    pub fn after(&mut self, failure: &Failure, of_checkpoint: bool) -> Option<Next> {
        if !matches!(failure.kind, FailureKind::Transient | FailureKind::Attempt) {
            return None;
        }
        let tolerated = of_checkpoint && self.checkpoints.tolerates_another();
        let delay = if tolerated { Duration::ZERO } else { self.restarts.next(Instant::now(), chance())? };
        let (used, allowed) = self.restarts.used();
        Some(Next { delay, used, allowed })
    }
}

/// From -1 to 1.
fn chance() -> f64 {
    RandomState::new().hash_one(std::process::id()) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fixed_delay_gives_up_after_its_attempts_unless_there_was_progress() {
        let (delay, now) = (Duration::from_millis(10), Instant::now());
        let mut restarts = Restarts::new(RestartStrategy::FixedDelay { attempts: 2, delay });
        assert_eq!([0; 3].map(|_| restarts.next(now, 0.0)), [Some(delay), Some(delay), None]);
        restarts.progress();
        assert_eq!(restarts.next(now, 0.0), Some(delay));
        assert_eq!(restarts.used(), (1, Some(2)));
        assert_eq!(Restarts::new(RestartStrategy::None).next(now, 0.0), None);
    }

    #[test]
    fn exponential_delays_grow_to_the_longest_and_begin_anew_after_a_quiet_time() {
        let growing =
            ExponentialDelay { multiplier: 2.0, max: 5 * SECOND, reset_after: 60 * SECOND, ..ExponentialDelay::default() };
        let mut restarts = Restarts::new(RestartStrategy::ExponentialDelay(growing));
        let mut now = Instant::now();
        let delays = [1, 2, 4, 5, 5].map(|expected| {
            now += 10 * SECOND;
            // Progress does not matter, time does.
            restarts.progress();
            (restarts.next(now, 0.0), Some(expected * SECOND))
        });
        delays.iter().for_each(|(delay, expected)| assert_eq!(delay, expected));
        assert_eq!(restarts.used(), (5, None));
        // the quiet time counts from the end of the last pause
        now += 64 * SECOND;
        assert_eq!(restarts.next(now, 0.0), Some(5 * SECOND));
        now += 65 * SECOND;
        assert_eq!(restarts.next(now, 0.0), Some(SECOND));
        assert_eq!(restarts.used(), (1, None));
    }

    #[test]
    fn jitter_moves_a_delay_within_its_part_and_not_out_of_its_bounds() {
        let growing = ExponentialDelay::default();
        assert_eq!(growing.following(SECOND), Duration::from_millis(1500));
        assert_eq!(growing.jittered(10 * SECOND, 1.0), 11 * SECOND);
        assert_eq!(growing.jittered(10 * SECOND, -0.5), Duration::from_millis(9500));
        assert_eq!(growing.jittered(60 * SECOND, 1.0), 60 * SECOND);
        assert_eq!(growing.jittered(SECOND, -1.0), SECOND);
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (-1.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance < 0.0) && chances.iter().any(|chance| *chance > 0.0));
    }

    #[test]
    fn failure_rate_gives_up_when_too_many_failures_fall_into_one_interval() {
        let strategy = RestartStrategy::FailureRate { failures: 2, interval: 10 * SECOND, delay: SECOND };
        let begin = Instant::now();
        let at = |restarts: &mut Restarts, seconds: u32| restarts.next(begin + seconds * SECOND, 0.0);
        // never three within ten seconds
        let mut rare = Restarts::new(strategy);
        for seconds in [0, 9, 10, 19, 20, 100] {
            assert_eq!(at(&mut rare, seconds), Some(SECOND), "{seconds}");
        }
        assert_eq!(rare.used(), (1, Some(2)));
        let mut often = Restarts::new(strategy);
        assert_eq!([0, 5, 9].map(|seconds| at(&mut often, seconds)), [Some(SECOND), Some(SECOND), None]);
    }

    #[test]
    fn only_failures_that_another_attempt_may_mend_are_followed_by_one() {
        let mut patience = Patience::new(RestartStrategy::FixedDelay { attempts: 5, delay: SECOND }, 1);
        for failure in [Failure::fatal("x"), Failure::refused("x"), Failure::fenced("x")] {
            assert_eq!(patience.after(&failure, false), None);
        }
        let next = |delay, used| Some(Next { delay, used, allowed: Some(5) });
        assert_eq!(patience.after(&Failure::attempt("x"), false), next(SECOND, 1));
        // a checkpoint that fails is tolerated once
        assert_eq!(patience.after(&Failure::transient("x"), true), next(Duration::ZERO, 1));
        assert_eq!(patience.after(&Failure::transient("x"), true), next(SECOND, 2));
    }
}
