//! Blocking calls in slices: each has an end, and notices when the attempt is over.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The longest time for which a blocking call does not look at its cancel flag.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// A point in time, and a flag that ends the wait before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait<'a> {
    started: Instant,
    patience: Duration,
    cancel: &'a AtomicBool,
}

impl<'a> Wait<'a> {
    pub(super) fn new(patience: Duration, cancel: &'a AtomicBool) -> Self {
        Self { started: Instant::now(), patience, cancel }
    }

    pub(super) fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Acquire)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    pub(super) fn left(&self) -> Duration {
        self.patience.saturating_sub(self.started.elapsed())
    }

    /// At least 1 ms, so that a call is made even at the very end.
    pub(super) fn slice(&self, longest: Duration) -> Duration {
        self.left().min(longest).max(Duration::from_millis(1))
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }
}
