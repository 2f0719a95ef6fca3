//! The age of entries: what time it is, and what that means for one.

use super::Ttl;
use crate::engine::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};
use std::{cell::Cell, rc::Rc};

/// Event time as an operator sees it.
#[derive(Debug)]
pub(in crate::stream) struct EventTime {
    watermark: Cell<Timestamp>,
    record: Cell<Timestamp>,
}

impl EventTime {
    /// It begins at `watermark`.
    pub(in crate::stream) fn at(watermark: Timestamp) -> Self {
        Self { watermark: Cell::new(watermark), record: Cell::new(MIN_WATERMARK) }
    }

    /// A record with this event time is processed.
    pub(in crate::stream) fn record(&self, timestamp: Timestamp) {
        self.record.set(timestamp);
    }

    /// No record is processed, and the watermark is here. The end of time is not a time at which anything expires: otherwise a
    /// job that is drained and started again would have forgotten everything.
    pub(in crate::stream) fn advance(&self, watermark: Timestamp) {
        self.record.set(MIN_WATERMARK);
        if watermark != MAX_WATERMARK {
            self.watermark.set(watermark.max(self.watermark.get()));
        }
    }

    /// By which expiry is judged.
    pub(in crate::stream) fn watermark(&self) -> Timestamp {
        self.watermark.get()
    }

    /// The time of what is written now. A record behind the watermark would otherwise write what is expired at once.
    fn now(&self) -> Timestamp {
        self.record.get().max(self.watermark.get())
    }
}

/// A time to live, and the time.
#[derive(Clone)]
pub(super) struct Aging {
    ttl: Ttl,
    time: Rc<EventTime>,
}

/// What a read does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is returned.
    Return,
    /// It is returned, and its time is now this.
    Update(Timestamp),
    /// It has expired: removed after it was returned.
    ReturnLast,
    /// It has expired: removed and not returned.
    Hide,
}

impl Aging {
    pub(super) fn new(ttl: Ttl, time: Rc<EventTime>) -> Self {
        Self { ttl, time }
    }

    pub(super) fn look(&self, written_at: Timestamp) -> Look {
        if self.has_expired(written_at) {
            return if self.ttl.returns_expired() { Look::ReturnLast } else { Look::Hide };
        }
        let now = self.time.now();
        if self.ttl.reads_update() && written_at < now { Look::Update(now) } else { Look::Return }
    }

    pub(super) fn has_expired(&self, written_at: Timestamp) -> bool {
        self.ttl.is_over(written_at, self.time.watermark())
    }

    /// Whether a reader is not to see it.
    pub(super) fn hides(&self, written_at: Timestamp) -> bool {
        !self.ttl.returns_expired() && self.has_expired(written_at)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(super) fn watermark(&self) -> Timestamp {
        self.time.watermark()
    }

    pub(super) fn ttl(&self) -> &Ttl {
        &self.ttl
    }
}
