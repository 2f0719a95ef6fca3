//! What an operator's task holds besides keyed state and what its operator says itself: typed operator state, and event time.

use super::state::EventTime;
use crate::engine::{
    MIN_WATERMARK, Timestamp,
    snapshot::{ElementKind, NamedElement},
};
use crate::protocol::Failure;
use serde_json::Value;
use std::{any::Any, rc::Rc};

/// Operator state of one name.
pub(super) trait Kept {
    /// What goes into the manifest, from this subtask.
    fn elements(&self, subtask: usize) -> Result<Vec<Value>, Failure>;
}

/// Timers of processing time.
pub(super) trait Alarm {
    /// None is due before this; none = there is none.
    fn next(&self) -> Option<Timestamp>;
}

/// All of an operator's, in one task.
#[derive(Default)]
pub(super) struct Held {
    subtask: usize,
    /// Timers of the operator, of the type that its keys have.
    timers: Option<Rc<dyn Any>>,
    /// Who says when the next timer of processing time is due.
    alarms: Vec<Rc<dyn Alarm>>,
    /// Only where a state has a time to live that is judged by it.
    time: Option<Rc<EventTime>>,
    kept: Vec<Rc<dyn Kept>>,
}

impl Held {
    /// Nothing yet.
    pub(super) fn of(subtask: usize) -> Self {
        Self { subtask, ..Self::default() }
    }

    /// The event time of the operator, which begins at `restored` when it is asked for first.
    pub(super) fn time(&mut self, restored: impl FnOnce() -> Timestamp) -> Rc<EventTime> {
        Rc::clone(self.time.get_or_insert_with(|| Rc::new(EventTime::at(restored()))))
    }

    /// One more state.
    pub(super) fn keep(&mut self, kept: Rc<dyn Kept>) {
        self.kept.push(kept);
    }

    /// The operator has timers: it is woken for them.
    pub(super) fn alarm(&mut self, alarm: Rc<dyn Alarm>) {
        self.alarms.push(alarm);
    }

    /// Timers that the operator is called for.
    pub(super) fn timers(&mut self, timers: Rc<dyn Any>) {
        self.timers = Some(timers);
    }

    /// The same, in the hands of who calls it.
    pub(super) fn take_timers(&mut self) -> Option<Rc<dyn Any>> {
        self.timers.take()
    }

    /// Whether the operator waits for processing time.
    pub(super) fn has_alarms(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// No timer of processing time is due before this.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.iter().filter_map(|alarm| alarm.next()).min()
    }

    /// A record with this event time is processed.
    #[inline]
    pub(super) fn record(&self, timestamp: Timestamp) {
        if let Some(time) = &self.time {
            time.record(timestamp);
        }
    }

    /// The watermark is here.
    pub(super) fn advance(&self, watermark: Timestamp) {
        if let Some(time) = &self.time {
            time.advance(watermark);
        }
    }

    /// What goes into the manifest. Event time is a part of it, because a drained job's watermark is the end of time, which says nothing
    /// of what had expired before. It is the same in all subtasks at a barrier: one speaks for all.
    pub(super) fn snapshot(&self) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        let time = self.time.as_ref().map(|time| time.watermark()).filter(|time| *time != MIN_WATERMARK && self.subtask == 0);
        if let Some(time) = time {
            all.push(NamedElement::write(ElementKind::EventTime, "", &time)?);
        }
        for kept in &self.kept {
            all.extend(kept.elements(self.subtask)?);
        }
        Ok(all)
    }
}
