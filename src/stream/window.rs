//! Tumbling windows of event time.
//!
//! State is keyed by (window, key) rather than (key, window): firing a window reads one contiguous range per key group, and
//! no timer has to be kept per key.

use super::{
    app::{KeyedStream, SideStream, Stream},
    operator::{Emit, KeyedProcess, OperatorContext, Output},
    state::ValueState,
};
use crate::engine::{Halt, MIN_WATERMARK, OperatorCounter, OperatorEvents, Timestamp, snapshot::Redistribution};
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// A span of event time, `start` inclusive, `end` exclusive, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First millisecond.
    pub start: Timestamp,
    /// First millisecond of the next window.
    pub end: Timestamp,
}

/// Windows of one size, side by side, aligned to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TumblingWindows {
    size: i64,
    lateness: i64,
}

impl TumblingWindows {
    /// Windows of `size`, at least a millisecond long.
    #[must_use]
    pub fn of(size: Duration) -> Self {
        Self { size: millis(size).max(1), lateness: 0 }
    }

    /// Keeps a window for `lateness` after it fired; a late record within that time emits an updated result.
    #[must_use]
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { lateness: millis(lateness), ..self }
    }

    /// The window that `timestamp` falls into.
    #[must_use]
    pub fn window(&self, timestamp: Timestamp) -> Window {
        let start = timestamp - timestamp.rem_euclid(self.size);
        Window { start, end: start.saturating_add(self.size) }
    }

    fn starting_at(&self, start: Timestamp) -> Window {
        Window { start, end: start.saturating_add(self.size) }
    }

    fn fired(&self, window: Window, watermark: Timestamp) -> bool {
        window.end - 1 <= watermark
    }

    fn expired(&self, window: Window, watermark: Timestamp) -> bool {
        (window.end - 1).saturating_add(self.lateness) <= watermark
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a window adds up to.
pub trait Aggregate<K, T>: Clone + Send + Sync + 'static {
    /// The sum so far.
    type Accumulator: StateValue;
    /// What a window emits for each key.
    type Out: Clone + Send + 'static;
    /// Nothing added yet.
    fn create(&self) -> Self::Accumulator;
    /// Adds one record.
    fn add(&self, accumulator: &mut Self::Accumulator, value: &T);
    /// The window's result for `key`.
    fn result(&self, key: &K, window: Window, accumulator: &Self::Accumulator) -> Self::Out;
}

/// A record whose window is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late<T> {
    /// The record.
    pub value: T,
    /// Event time when it came.
    pub watermark: Timestamp,
}

impl<K: StateKey, T: Clone + Send + 'static> KeyedStream<K, T> {
    /// Aggregates each key's records per window; a window emits when the watermark passes its last millisecond. Records whose
    /// window is gone go to `late`.
    pub fn aggregate<A: Aggregate<K, T>>(
        &self,
        name: &str,
        windows: TumblingWindows,
        aggregate: A,
        late: &SideStream<Late<T>>,
    ) -> Stream<A::Out> {
        let late = late.clone();
        self.process(name, |declare| {
            let handle = declare.value::<(i64, K), A::Accumulator>("windows");
            move |context: &mut OperatorContext<'_, '_>| {
                let restored = context.restored(Redistribution::Union);
                Ok(WindowOperator {
                    windows,
                    aggregate: aggregate.clone(),
                    state: context.state(&handle)?,
                    late: context.output(&late)?,
                    late_records: context.counter(OperatorEvents::Late),
                    watermark: context.restored_watermark().unwrap_or(MIN_WATERMARK),
                    open: restored.iter().map(open_window).collect::<Result<_, _>>()?,
                })
            }
        })
    }
}

fn open_window(element: &Value) -> Result<Timestamp, Failure> {
    element.as_i64().ok_or_else(|| Failure::refused(format!("manifest: open window {element} is not a time in milliseconds")))
}

struct WindowOperator<K, T, A: Aggregate<K, T>> {
    windows: TumblingWindows,
    aggregate: A,
    state: ValueState<(i64, K), A::Accumulator>,
    late: Output<Late<T>>,
    late_records: OperatorCounter,
    watermark: Timestamp,
    /// Starts of the windows that may have state; those behind the watermark have fired.
    open: BTreeSet<Timestamp>,
}

impl<K: StateKey, T: Clone + Send + 'static, A: Aggregate<K, T>> KeyedProcess<K, T> for WindowOperator<K, T, A> {
    type Out = A::Out;

    fn process(&mut self, key: &Key<K>, timestamp: Timestamp, value: T, out: &mut Emit<'_, A::Out>) -> Result<(), Halt> {
        let window = self.windows.window(timestamp);
        if self.windows.expired(window, self.watermark) {
            self.late_records.add(1);
            return self.late.push(timestamp, Late { value, watermark: self.watermark });
        }
        self.open.insert(window.start);
        let fired = self.windows.fired(window, self.watermark);
        let aggregate = &self.aggregate;
        let slot = Key::under(key.hash, (window.start, key.value.clone()));
        let updated = self.state.update(
            &slot,
            || aggregate.create(),
            |sum| {
                aggregate.add(sum, &value);
                fired.then(|| aggregate.result(&key.value, window, sum))
            },
        )?;
        updated.map_or(Ok(()), |result| out.push_at(window.end - 1, result))
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Emit<'_, A::Out>) -> Result<(), Halt> {
        let before = std::mem::replace(&mut self.watermark, watermark);
        let due: Vec<Window> = self.open.iter().map(|start| self.windows.starting_at(*start)).collect();
        for window in due.into_iter().take_while(|window| self.windows.fired(*window, watermark)) {
            let first = !self.windows.fired(window, before);
            let last = self.windows.expired(window, watermark);
            let aggregate = &self.aggregate;
            let mut emit = |(_, key): &(i64, K), sum: &A::Accumulator| match first {
                true => out.push_at(window.end - 1, aggregate.result(key, window, sum)),
                false => Ok(()),
            };
            let mut prefix = Vec::with_capacity(8);
            window.start.encode(&mut prefix);
            if last {
                self.state.drain(&prefix, &mut emit)?;
                self.open.remove(&window.start);
            } else if first {
                self.state.scan(&prefix, &mut emit)?;
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Value>, Halt> {
        Ok(self.open.iter().copied().map(Value::from).collect())
    }
}
