//! Records that cannot be decoded yet: what their decoder needs is somewhere that does not answer.
//!
//! ```text
//!   poll ─► decode decode decode ?─ not ready: it and the rest of the round are held, and nothing more is polled (back-pressure)
//!                                │
//!   barriers go on: their offsets are those before the first held record, so nothing is lost when the attempt ends here
//! ```

use super::{
    meter::Meter,
    output::Header,
    source::{LazyHeaders, RawRecord},
};
use std::collections::VecDeque;

struct HeldRecord {
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

/// The records of one source task that wait, in the order in which they were read.
pub(super) struct HeldBack {
    topic: String,
    meter: Meter,
    records: VecDeque<HeldRecord>,
    /// Partitions whose end the round found: behind the held records, so not to be told before them.
    dry: Vec<(i32, i64)>,
}

impl HeldBack {
    pub(super) fn new(topic: &str, meter: &Meter) -> Self {
        Self { topic: topic.to_owned(), meter: meter.clone(), records: VecDeque::new(), dry: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn push(&mut self, record: &RawRecord<'_>) {
        self.meter.held(&self.topic, 1);
        self.records.push_back(HeldRecord {
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.all(),
        });
    }

    /// Keeps what the round in which records were held found besides.
    pub(super) fn keep_dry(&mut self, dry: Vec<(i32, i64)>) {
        self.dry = dry;
    }

    /// What was kept, once nothing is held any more.
    pub(super) fn take_dry(&mut self) -> Vec<(i32, i64)> {
        if self.is_empty() { std::mem::take(&mut self.dry) } else { Vec::new() }
    }

    /// Gives the records to `each` as long as it takes them.
    pub(super) fn release<E>(&mut self, mut each: impl FnMut(&RawRecord<'_>) -> Result<bool, E>) -> Result<(), E> {
        while let Some(held) = self.records.front() {
            let headers = || held.headers.clone();
            let record = RawRecord {
                topic: &self.topic,
                partition: held.partition,
                offset: held.offset,
                timestamp: held.timestamp,
                key: held.key.as_deref(),
                value: held.value.as_deref(),
                headers: LazyHeaders::of(&headers),
            };
            if !each(&record)? {
                break;
            }
            self.records.pop_front();
            self.meter.held(&self.topic, -1);
        }
        Ok(())
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        // The next attempt reads them again.
        self.meter.held(&self.topic, -(self.records.len() as i64));
    }
}
