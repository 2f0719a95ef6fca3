//! The triggers that there are: at the end of a window, with every so many records, again and again; and what windows have that are given
//! none.

use super::{Trigger, TriggerContext, TriggerResult, Window, millis};
use crate::engine::Timestamp;
use std::time::Duration;

/// Fires when the watermark passes the window's end, and again for each late record after that: the default of windows of event time.
/// ```
/// use sluicegate::stream::{EventTimeTrigger, Failure, Harness, Outputs, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(10))).trigger(EventTimeTrigger);
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// sums.record(1, "a".into(), 1)?;
/// sums.record(2, "a".into(), 2)?;
/// sums.watermark(9_998)?;
/// assert!(sums.outputs.take().is_empty());
/// sums.watermark(9_999)?;
/// assert_eq!(sums.outputs.take(), [(9_999, 3)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimeTrigger;

impl<T> Trigger<T> for EventTimeTrigger {
    type State = ();

    fn on_element(&self, _: &T, _: Timestamp, window: Window, (): &mut (), context: &mut TriggerContext) -> TriggerResult {
        if window.max_timestamp() <= context.current_watermark() {
            return TriggerResult::Fire;
        }
        context.register_event_time_timer(window.max_timestamp());
        TriggerResult::Continue
    }

    fn on_event_time(&self, time: Timestamp, window: Window, (): &mut (), _: &mut TriggerContext) -> TriggerResult {
        if time == window.max_timestamp() { TriggerResult::Fire } else { TriggerResult::Continue }
    }

    fn on_merge(&self, window: Window, (): &mut (), context: &mut TriggerContext) {
        if window.max_timestamp() > context.current_watermark() {
            context.register_event_time_timer(window.max_timestamp());
        }
    }

    fn clear(&self, window: Window, (): &(), context: &mut TriggerContext) {
        context.delete_event_time_timer(window.max_timestamp());
    }
}

/// Fires when the clock passes the window's end: the default of windows of processing time.
/// ```
/// use sluicegate::stream::{Failure, Harness, Outputs, ProcessingTimeTrigger, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(10)).processing_time()).trigger(ProcessingTimeTrigger);
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// sums.record(1, "a".into(), 1)?;
/// sums.record(2, "a".into(), 2)?;
/// sums.processing_time(10_000)?;
/// assert_eq!(sums.outputs.take().iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [3]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingTimeTrigger;

impl<T> Trigger<T> for ProcessingTimeTrigger {
    type State = ();

    fn on_element(&self, _: &T, _: Timestamp, window: Window, (): &mut (), context: &mut TriggerContext) -> TriggerResult {
        context.register_processing_time_timer(window.max_timestamp());
        TriggerResult::Continue
    }

    fn on_processing_time(&self, time: Timestamp, window: Window, (): &mut (), _: &mut TriggerContext) -> TriggerResult {
        if time == window.max_timestamp() { TriggerResult::Fire } else { TriggerResult::Continue }
    }

    fn on_merge(&self, window: Window, (): &mut (), context: &mut TriggerContext) {
        if window.max_timestamp() > context.current_processing_time() {
            context.register_processing_time_timer(window.max_timestamp());
        }
    }

    fn clear(&self, window: Window, (): &(), context: &mut TriggerContext) {
        context.delete_processing_time_timer(window.max_timestamp());
    }
}

/// What windows do that were given no trigger.
/// An example is at [`Tumbling`](super::Tumbling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultTrigger {
    /// As [`EventTimeTrigger`].
    EventTime,
    /// As [`ProcessingTimeTrigger`].
    ProcessingTime,
    /// Never fires.
    Never,
}

impl<T> Trigger<T> for DefaultTrigger {
    type State = ();

    fn on_element(&self, value: &T, at: Timestamp, window: Window, s: &mut (), context: &mut TriggerContext) -> TriggerResult {
        match self {
            Self::EventTime => EventTimeTrigger.on_element(value, at, window, s, context),
            Self::ProcessingTime => ProcessingTimeTrigger.on_element(value, at, window, s, context),
            Self::Never => TriggerResult::Continue,
        }
    }

    fn on_event_time(&self, time: Timestamp, window: Window, s: &mut (), context: &mut TriggerContext) -> TriggerResult {
        match self {
            Self::EventTime => Trigger::<T>::on_event_time(&EventTimeTrigger, time, window, s, context),
            _ => TriggerResult::Continue,
        }
    }

    fn on_processing_time(&self, time: Timestamp, window: Window, s: &mut (), context: &mut TriggerContext) -> TriggerResult {
        match self {
            Self::ProcessingTime => Trigger::<T>::on_processing_time(&ProcessingTimeTrigger, time, window, s, context),
            _ => TriggerResult::Continue,
        }
    }

    fn on_merge(&self, window: Window, s: &mut (), context: &mut TriggerContext) {
        match self {
            Self::EventTime => Trigger::<T>::on_merge(&EventTimeTrigger, window, s, context),
            Self::ProcessingTime => Trigger::<T>::on_merge(&ProcessingTimeTrigger, window, s, context),
            Self::Never => {}
        }
    }

    fn clear(&self, window: Window, s: &(), context: &mut TriggerContext) {
        match self {
            Self::EventTime => Trigger::<T>::clear(&EventTimeTrigger, window, s, context),
            Self::ProcessingTime => Trigger::<T>::clear(&ProcessingTimeTrigger, window, s, context),
            Self::Never => {}
        }
    }
}

/// Fires with every so many records. With [`PurgingTrigger`] around it, each record is in one result; without, in all after it.
/// ```
/// use sluicegate::stream::{CountTrigger, Failure, Harness, Outputs, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(10))).trigger(CountTrigger::of(2));
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// (1..=5).try_for_each(|number| sums.record(1, "a".into(), number))?;
/// assert_eq!(sums.outputs.take().iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [1 + 2, 1 + 2 + 3 + 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountTrigger(u64);

impl CountTrigger {
    /// With every `count` records, at least 1.
    #[must_use]
    pub fn of(count: u64) -> Self {
        Self(count.max(1))
    }
}

impl<T> Trigger<T> for CountTrigger {
    type State = u64;

    fn on_element(&self, _: &T, _: Timestamp, _: Window, count: &mut u64, _: &mut TriggerContext) -> TriggerResult {
        *count += 1;
        if *count < self.0 {
            return TriggerResult::Continue;
        }
        *count = 0;
        TriggerResult::Fire
    }

    fn merge(&self, into: &mut u64, from: u64) {
        *into += from;
    }
}

/// Fires again and again while event time passes through the window, and at its end.
/// ```
/// use sluicegate::stream::{ContinuousEventTimeTrigger, Failure, Harness, Outputs, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(10))).trigger(ContinuousEventTimeTrigger::of(Duration::from_secs(4)));
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// sums.record(1_000, "a".into(), 1)?;
/// sums.watermark(4_000)?;
/// sums.record(5_000, "a".into(), 2)?;
/// sums.watermark(10_000)?;
/// assert_eq!(sums.outputs.take().iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [1, 3, 3]); // at 4 s, at 8 s, at the end
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuousEventTimeTrigger(i64);

impl ContinuousEventTimeTrigger {
    /// At every multiple of `interval` (at least a millisecond) since the epoch after a record has come.
    #[must_use]
    pub fn of(interval: Duration) -> Self {
        Self(millis(interval).max(1))
    }
}

/// The first multiple of `interval` after `time`, or the window's end.
fn next_multiple(time: Timestamp, interval: i64, window: Window) -> Timestamp {
    time.saturating_sub(time.rem_euclid(interval)).saturating_add(interval).min(window.max_timestamp())
}

/// The earlier one.
fn keep_earlier(into: &mut Option<Timestamp>, from: Option<Timestamp>) {
    *into = match (*into, from) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

impl<T> Trigger<T> for ContinuousEventTimeTrigger {
    /// When it fires next.
    type State = Option<Timestamp>;

    fn on_element(
        &self,
        _: &T,
        timestamp: Timestamp,
        window: Window,
        next: &mut Option<Timestamp>,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        if window.max_timestamp() <= context.current_watermark() {
            return TriggerResult::Fire;
        }
        context.register_event_time_timer(window.max_timestamp());
        if next.is_none() {
            let time = next_multiple(timestamp, self.0, window);
            *next = Some(time);
            context.register_event_time_timer(time);
        }
        TriggerResult::Continue
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: Window,
        next: &mut Option<Timestamp>,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        if time == window.max_timestamp() {
            return TriggerResult::Fire;
        }
        if *next != Some(time) {
            return TriggerResult::Continue;
        }
        let time = next_multiple(time, self.0, window);
        *next = Some(time);
        context.register_event_time_timer(time);
        TriggerResult::Fire
    }

    fn merge(&self, into: &mut Option<Timestamp>, from: Option<Timestamp>) {
        keep_earlier(into, from);
    }

    fn on_merge(&self, window: Window, next: &mut Option<Timestamp>, context: &mut TriggerContext) {
        if window.max_timestamp() > context.current_watermark() {
            context.register_event_time_timer(window.max_timestamp());
        }
        if let Some(next) = next {
            context.register_event_time_timer(*next);
        }
    }

    fn clear(&self, window: Window, next: &Option<Timestamp>, context: &mut TriggerContext) {
        context.delete_event_time_timer(window.max_timestamp());
        if let Some(next) = next {
            context.delete_event_time_timer(*next);
        }
    }
}

/// Fires again and again while the clock goes on, as long as the window is there. Around windows of event time it shows what they hold so
/// far; they give out nothing at their end by it.
/// ```
/// use sluicegate::stream::{ContinuousProcessingTimeTrigger, Failure, Harness, Outputs, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(10))).trigger(ContinuousProcessingTimeTrigger::of(Duration::from_secs(4)));
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// sums.record(1_000, "a".into(), 1)?;
/// sums.processing_time(4_000)?;
/// assert_eq!(sums.outputs.take().iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuousProcessingTimeTrigger(i64);

impl ContinuousProcessingTimeTrigger {
    /// At every multiple of `interval` (at least a millisecond) since the epoch after a record has come.
    #[must_use]
    pub fn of(interval: Duration) -> Self {
        Self(millis(interval).max(1))
    }
}

impl<T> Trigger<T> for ContinuousProcessingTimeTrigger {
    /// When it fires next.
    type State = Option<Timestamp>;

    fn on_element(
        &self,
        _: &T,
        _: Timestamp,
        window: Window,
        next: &mut Option<Timestamp>,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        if next.is_none() {
            let time = next_multiple(context.current_processing_time(), self.0, window);
            *next = Some(time);
            context.register_processing_time_timer(time);
        }
        TriggerResult::Continue
    }

    fn on_processing_time(
        &self,
        time: Timestamp,
        window: Window,
        next: &mut Option<Timestamp>,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        if *next != Some(time) {
            return TriggerResult::Continue;
        }
        *next = Some(next_multiple(time, self.0, window)).filter(|next| *next > time);
        if let Some(next) = *next {
            context.register_processing_time_timer(next);
        }
        TriggerResult::Fire
    }

    fn merge(&self, into: &mut Option<Timestamp>, from: Option<Timestamp>) {
        keep_earlier(into, from);
    }

    fn on_merge(&self, _: Window, next: &mut Option<Timestamp>, context: &mut TriggerContext) {
        if let Some(next) = next {
            context.register_processing_time_timer(*next);
        }
    }

    fn clear(&self, _: Window, next: &Option<Timestamp>, context: &mut TriggerContext) {
        if let Some(next) = next {
            context.delete_processing_time_timer(*next);
        }
    }
}

/// Lets a window forget what it holds whenever another trigger fires it.
/// ```
/// use sluicegate::stream::{CountTrigger, Failure, Harness, Outputs, PurgingTrigger, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(10))).trigger(PurgingTrigger::of(CountTrigger::of(2)));
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// (1..=5).try_for_each(|number| sums.record(1, "a".into(), number))?;
/// assert_eq!(sums.outputs.take().iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [1 + 2, 3 + 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgingTrigger<G>(G);

impl<G> PurgingTrigger<G> {
    /// Fires when `trigger` does.
    #[must_use]
    pub fn of(trigger: G) -> Self {
        Self(trigger)
    }

    fn purging(result: TriggerResult) -> TriggerResult {
        if result.fires() { TriggerResult::FireAndPurge } else { result }
    }
}

impl<T, G: Trigger<T>> Trigger<T> for PurgingTrigger<G> {
    type State = G::State;

    fn on_element(
        &self,
        value: &T,
        timestamp: Timestamp,
        window: Window,
        state: &mut G::State,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        Self::purging(self.0.on_element(value, timestamp, window, state, context))
    }

    fn on_event_time(&self, at: Timestamp, window: Window, state: &mut G::State, context: &mut TriggerContext) -> TriggerResult {
        Self::purging(self.0.on_event_time(at, window, state, context))
    }

    fn on_processing_time(
        &self,
        time: Timestamp,
        window: Window,
        state: &mut G::State,
        context: &mut TriggerContext,
    ) -> TriggerResult {
        Self::purging(self.0.on_processing_time(time, window, state, context))
    }

    fn merge(&self, into: &mut G::State, from: G::State) {
        self.0.merge(into, from);
    }

    fn on_merge(&self, window: Window, state: &mut G::State, context: &mut TriggerContext) {
        self.0.on_merge(window, state, context);
    }

    fn clear(&self, window: Window, state: &G::State, context: &mut TriggerContext) {
        self.0.clear(window, state, context);
    }
}
