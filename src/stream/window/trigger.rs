//! When a window gives out its result.

use super::Window;
use crate::engine::Timestamp;
use crate::state::StateValue;
use crate::stream::timer::TimeDomain;

/// What becomes of a window.
/// An example is at [`Trigger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing yet.
    Continue,
    /// It gives out its result, and keeps what it holds.
    Fire,
    /// It forgets what it holds.
    Purge,
    /// It gives out its result, then forgets what it holds.
    FireAndPurge,
}

impl TriggerResult {
    /// Whether the window gives out its result.
    #[must_use]
    pub fn fires(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    /// Whether it forgets what it holds.
    #[must_use]
    pub fn purges(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }
}

/// Decides when the window of a key gives out its result. It is asked at each record, and at the timers that it registers; what it has to
/// remember of a window is its [`Trigger::State`], which lies in the window's state.
///
/// A window with an own trigger gives out nothing at its end, unless the trigger says so.
///
/// ```
/// use sluicegate::stream::{Failure, Harness, Outputs, Trigger, TriggerContext, TriggerResult, Tumbling, Timestamp, Window};
/// use std::time::Duration;
///
/// /// Fires for every value above a limit, and at the end.
/// #[derive(Clone)]
/// struct Above(u64);
///
/// impl Trigger<u64> for Above {
///     type State = ();
///     fn on_element(&self, value: &u64, _: Timestamp, window: Window, (): &mut (), context: &mut TriggerContext) -> TriggerResult {
///         context.register_event_time_timer(window.max_timestamp());
///         if *value > self.0 { TriggerResult::Fire } else { TriggerResult::Continue }
///     }
///     fn on_event_time(&self, _: Timestamp, _: Window, (): &mut (), _: &mut TriggerContext) -> TriggerResult {
///         TriggerResult::Fire
///     }
///     fn clear(&self, window: Window, (): &(), context: &mut TriggerContext) {
///         context.delete_event_time_timer(window.max_timestamp());
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, values| {
///     let windows = values.window(Tumbling::of(Duration::from_secs(1))).trigger(Above(10));
///     Outputs::of(&windows.reduce("sums", |sum, value| *sum += value))
/// })?;
/// for value in [1, 20, 3] {
///     sums.record(500, "a".into(), value)?;
/// }
/// sums.watermark(1_000)?;
/// assert_eq!(sums.outputs.take(), [(999, 21), (999, 24)]);
/// # Ok(())
/// # }
/// ```
pub trait Trigger<T>: Clone + Send + Sync + 'static {
    /// What it remembers of one window of one key.
    type State: StateValue + Default;

    /// A record has come into the window.
    fn on_element(
        &self,
        value: &T,
        timestamp: Timestamp,
        window: Window,
        state: &mut Self::State,
        context: &mut TriggerContext,
    ) -> TriggerResult;

    /// A timer of event time that it registered for this window is due.
    fn on_event_time(
        &self,
        time: Timestamp,
        window: Window,
        state: &mut Self::State,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        let _ = (time, window, state, context);
        TriggerResult::Continue
    }

    /// A timer of processing time that it registered for this window is due.
    fn on_processing_time(
        &self,
        time: Timestamp,
        window: Window,
        state: &mut Self::State,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        let _ = (time, window, state, context);
        TriggerResult::Continue
    }

    /// Another session goes up in this one: what it remembered of the other one is `from`. Without it, that is forgotten.
    fn merge(&self, into: &mut Self::State, from: Self::State) {
        let _ = (into, from);
    }

    /// Sessions have become `window`, and their states one. Timers that it had registered for them are to be registered anew.
    fn on_merge(&self, window: Window, state: &mut Self::State, context: &mut TriggerContext) {
        let _ = (window, state, context);
    }

    /// The window goes, at its end or into a larger session: timers are to be deleted.
    fn clear(&self, window: Window, state: &Self::State, context: &mut TriggerContext) {
        let _ = (window, state, context);
    }
}

/// What a trigger can see and do beside its answer.
/// An example is at [`Trigger`].
#[derive(Debug)]
pub struct TriggerContext {
    watermark: Timestamp,
    processing_time: Timestamp,
    pub(super) timers: Vec<(Change, TimeDomain, Timestamp)>,
}

/// What is to be done with a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Register,
    Delete,
}

impl TriggerContext {
    pub(super) fn at(watermark: Timestamp, processing_time: Timestamp) -> Self {
        Self { watermark, processing_time, timers: Vec::new() }
    }

    /// The event time that all inputs have reached, in ms.
    #[must_use]
    pub fn current_watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time on the clock, in ms since the epoch.
    #[must_use]
    pub fn current_processing_time(&self) -> Timestamp {
        self.processing_time
    }

    /// [`Trigger::on_event_time`] is called for this window and key when the watermark reaches `time`.
    pub fn register_event_time_timer(&mut self, time: Timestamp) {
        self.timers.push((Change::Register, TimeDomain::EventTime, time));
    }

    /// Takes it back.
    pub fn delete_event_time_timer(&mut self, time: Timestamp) {
        self.timers.push((Change::Delete, TimeDomain::EventTime, time));
    }

    /// [`Trigger::on_processing_time`] is called for this window and key when the clock reaches `time`.
    pub fn register_processing_time_timer(&mut self, time: Timestamp) {
        self.timers.push((Change::Register, TimeDomain::ProcessingTime, time));
    }

    /// Takes it back.
    pub fn delete_processing_time_timer(&mut self, time: Timestamp) {
        self.timers.push((Change::Delete, TimeDomain::ProcessingTime, time));
    }
}
