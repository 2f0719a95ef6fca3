//! Says in the log how far a restore is, for those who wait for it.

use crate::checkpoint::RestoreProgress;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// From one line to the next. A restore that is done sooner says nothing before its end.
const PAUSE: Duration = Duration::from_secs(5);

/// A restore under way.
pub struct Restoring {
    began: Instant,
    last: Mutex<Instant>,
}

impl Restoring {
    /// It begins now.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, last: Mutex::new(now) }
    }

    /// Logs a line when the last one is long enough ago.
    pub fn tell(&self, progress: RestoreProgress) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(*last) < PAUSE {
            return;
        }
        *last = now;
        let RestoreProgress { files_done, files, bytes_done, bytes } = progress;
        tracing::info!(files_done, files, bytes_done, bytes, took = ?self.began.elapsed(), "restoring the state");
    }
}
