//! For how long of event time something is remembered.

use crate::stream::{MAX_WATERMARK, MIN_WATERMARK, OperatorContext, Timestamp};
use std::time::Duration;

/// A time to live, and how far event time has come.
#[derive(Debug)]
pub(super) struct Lifetime {
    ttl: i64,
    watermark: Timestamp,
}

impl Lifetime {
    /// Event time goes on where the task's checkpoint has left it.
    pub(super) fn of(ttl: Duration, context: &OperatorContext<'_, '_>) -> Self {
        let watermark = context.restored_watermark().filter(|time| *time != MAX_WATERMARK);
        Self { ttl: i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX), watermark: watermark.unwrap_or(MIN_WATERMARK) }
    }

    /// Whether the time to live of what happened at `time` has not ended yet.
    pub(super) fn covers(&self, time: Timestamp) -> bool {
        time.saturating_add(self.ttl) > self.watermark
    }

    /// Event time has reached `watermark`. Draining moves it to its end; nothing is forgotten by that, or what comes after it would
    /// be taken for new.
    pub(super) fn advance(&mut self, watermark: Timestamp) {
        if watermark != MAX_WATERMARK {
            self.watermark = watermark;
        }
    }
}
