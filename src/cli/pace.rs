//! An exact pace: the event after k others is due k / rate after the start, so that lateness of one does not add up.

use std::time::{Duration, Instant};

/// A wait is at least so long, and what is due after it goes at once: a wait for each event took a quarter of a core at 2,000 per
/// second.
const STEP: Duration = Duration::from_millis(5);

/// When each of a row of events is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    started: Instant,
    /// Events per second; none: all at once.
    rate: Option<f64>,
}

impl Pace {
    /// Begins now; `rate` events per second, 0 for as fast as possible.
    pub(super) fn start(rate: f64) -> Self {
        Self { started: Instant::now(), rate: (rate > 0.0).then_some(rate) }
    }

    /// For how long to wait, at `now`, for the event after `sent` others; not at all if it is due.
    pub(super) fn wait(&self, sent: u64, now: Instant) -> Option<Duration> {
        let due = Duration::try_from_secs_f64(sent as f64 / self.rate?).unwrap_or(Duration::MAX);
        let wait = due.checked_sub(now.duration_since(self.started)).filter(|wait| !wait.is_zero());
        wait.map(|wait| wait.max(STEP))
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_is_early_and_a_late_one_delays_no_other() {
        let pace = Pace::start(5000.0);
        let at = |microseconds| pace.started + Duration::from_micros(microseconds);
        assert_eq!(pace.wait(0, at(0)), None);
        assert_eq!(pace.wait(1, at(0)), Some(STEP));
        assert_eq!(pace.wait(1, at(199)), Some(STEP));
        assert_eq!(pace.wait(100, at(0)), Some(Duration::from_millis(20)));
        assert_eq!(pace.wait(1, at(200)), None);
        // The first 300,000 take a minute, whatever held up those before.
        assert_eq!(pace.wait(300_000, at(59_000_000)), Some(Duration::from_secs(1)));
        assert_eq!(pace.wait(300_000, at(61_000_000)), None);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        assert_eq!(Pace::start(0.0).wait(u64::MAX, Instant::now()), None);
    }
}
