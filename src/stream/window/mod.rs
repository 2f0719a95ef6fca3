//! Windows: the records of each key in spans of time, or in sessions, or all of them.
//!
//! ```text
//! keyed.window(Tumbling::of(hour))            which windows a record belongs to       (assigner)
//!      .trigger(CountTrigger::of(100))        when a window gives out its result      (trigger, default: when its time is over)
//!      .allowed_lateness(minute)              how long it is kept afterwards          (late records: an updated result)
//!      .side_output_late(&late)               where records go that came too late for that
//!      .aggregate("name", Sums)               what it holds and gives out             (contents)
//! ```
//!
//! Two operators do this. Windows of event time that lie on a grid and fire by the watermark need no timers: one entry per (window,
//! key), so that all keys of a window lie together, and a list of open windows (`aligned`). All others have a pane per window and key,
//! and timers (`triggered`); for sessions, the panes of a key that grow and merge.

mod aligned;
mod assigner;
mod built_in_triggers;
mod contents;
mod pane;
mod stream;
mod trigger;
mod triggered;

pub use assigner::{Global, Session, Sliding, Tumbling, Windows};
pub use built_in_triggers::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DefaultTrigger, EventTimeTrigger,
    ProcessingTimeTrigger, PurgingTrigger,
};
pub use contents::Aggregate;
pub use stream::WindowedStream;
pub use trigger::{Trigger, TriggerContext, TriggerResult};

use crate::engine::Timestamp;
use std::time::Duration;

/// A span of time, `start` inclusive, `end` exclusive, in milliseconds since the epoch.
/// An example is at [`Aggregate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// First millisecond.
    pub start: Timestamp,
    /// First millisecond after it.
    pub end: Timestamp,
}

impl Window {
    /// The one window of [`Global`].
    pub const GLOBAL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The last millisecond that belongs to it.
    ///
    /// ```
    /// use sluicegate::stream::Window;
    ///
    /// assert_eq!(Window { start: 0, end: 60_000 }.max_timestamp(), 59_999);
    /// ```
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        self.end.saturating_sub(1)
    }

    /// Whether the two have a millisecond in common, or one ends where the other one begins.
    fn touches(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The smallest window that both lie in.
    fn cover(&self, other: &Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// What a function that sees a whole window knows beside its contents.
/// An example is at [`WindowedStream::process`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowContext {
    /// The window.
    pub window: Window,
    /// The event time that all inputs have reached, in ms.
    pub watermark: Timestamp,
}

/// A record whose window is gone.
/// An example is at [`KeyedStream::window`](super::KeyedStream::window).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late<T> {
    /// The record.
    pub value: T,
    /// Event time when it came.
    pub watermark: Timestamp,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
