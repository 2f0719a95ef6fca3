//! Windows of event time on a grid, which fire by the watermark: without a timer.
//!
//! State is keyed by (window, key) rather than (key, window): firing a window reads one contiguous range per key group, and
//! no timer has to be kept per key.

use super::{Late, Window, WindowContext, assigner::Grid, contents::Contents};
use crate::engine::{Halt, OperatorCounter, Timestamp};
use crate::protocol::Failure;
use crate::state::{Key, StateKey};
use crate::stream::{
    operator::{Emit, KeyedProcess, Output},
    state::ValueState,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// An open window, as a manifest has it: when it begins.
pub(super) fn open_window(element: &Value) -> Result<Timestamp, Failure> {
    element.as_i64().ok_or_else(|| Failure::refused(format!("manifest: open window {element} is not a time in milliseconds")))
}

pub(super) struct Aligned<K, T, C: Contents<K, T>> {
    pub(super) grid: Grid,
    pub(super) lateness: i64,
    pub(super) contents: C,
    pub(super) state: ValueState<(i64, K), C::Held>,
    pub(super) late: Option<Output<Late<T>>>,
    pub(super) late_records: OperatorCounter,
    pub(super) watermark: Timestamp,
    /// Starts of the windows that may have state; those behind the watermark have fired.
    pub(super) open: BTreeSet<Timestamp>,
}

impl<K: StateKey, T: Clone + Send + 'static, C: Contents<K, T>> Aligned<K, T, C> {
    fn has_fired(window: Window, watermark: Timestamp) -> bool {
        window.max_timestamp() <= watermark
    }

    fn has_expired(&self, window: Window, watermark: Timestamp) -> bool {
        window.max_timestamp().saturating_add(self.lateness) <= watermark
    }

    fn add(&mut self, key: &Key<K>, window: Window, value: T, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        self.open.insert(window.start);
        let context = WindowContext { window, watermark: self.watermark };
        let has_fired = Self::has_fired(window, self.watermark);
        let slot = Key::under(key.hash, (window.start, key.value.clone()));
        let contents = &self.contents;
        self.state.update(
            &slot,
            || contents.create(),
            |held| {
                contents.add(held, value);
                match has_fired {
                    true => contents.emit(&key.value, &context, held, &mut out.at(window.max_timestamp())),
                    false => Ok(()),
                }
            },
        )?
    }
}

impl<K: StateKey, T: Clone + Send + 'static, C: Contents<K, T>> KeyedProcess<K, T> for Aligned<K, T, C> {
    type Out = C::Out;

    fn process(&mut self, key: &Key<K>, timestamp: Timestamp, value: T, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        let mut windows = self.grid.windows(timestamp);
        // By their start, hence by their end: if the last one has expired, all have.
        let Some(last) = windows.next_back() else { return Ok(()) };
        for window in windows {
            if !self.has_expired(window, self.watermark) {
                self.add(key, window, value.clone(), out)?;
            }
        }
        if !self.has_expired(last, self.watermark) {
            return self.add(key, last, value, out);
        }
        self.late_records.add(1);
        match &self.late {
            Some(late) => late.push(timestamp, Late { value, watermark: self.watermark }),
            None => Ok(()),
        }
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        let before = std::mem::replace(&mut self.watermark, watermark);
        let due: Vec<Window> = self.open.iter().map(|start| self.grid.starting_at(*start)).collect();
        for window in due.into_iter().take_while(|window| Self::has_fired(*window, watermark)) {
            let first = !Self::has_fired(window, before);
            let last = self.has_expired(window, watermark);
            let (contents, context) = (&self.contents, WindowContext { window, watermark });
            let mut emit = |(_, key): &(i64, K), held: &C::Held| match first {
                true => contents.emit(key, &context, held, &mut out.at(window.max_timestamp())),
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
