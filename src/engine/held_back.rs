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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;

    #[test]
    fn records_come_out_as_they_went_in_and_the_end_of_a_partition_after_them() {
        // given two records, of which the first is a tombstone with a header, and the end of their partition
        let metrics = Metrics::new();
        let gauge = metrics.source.held("orders");
        let mut held = HeldBack::new("orders", &Meter::new(&metrics, "orders", 0));
        let headers = || vec![("a".into(), Some(b"b".to_vec()))];
        for (offset, value) in [(7, None), (8, Some(b"x".as_slice()))] {
            let (topic, partition, timestamp, key) = ("orders", 3, Some(5), Some(b"k".as_slice()));
            held.push(&RawRecord { topic, partition, offset, timestamp, key, value, headers: LazyHeaders::of(&headers) });
        }
        held.keep_dry(vec![(3, 10)]);
        assert_eq!((gauge.get(), held.take_dry()), (2, vec![]));
        // when only the first can be decoded
        let mut seen = Vec::new();
        let mut take = |held: &mut HeldBack, up_to: i64| {
            held.release(|record| {
                if record.offset > up_to {
                    return Ok::<_, ()>(false);
                }
                seen.push((record.partition, record.offset, record.value.map(<[u8]>::to_vec), record.headers.all().len()));
                Ok(true)
            })
        };
        take(&mut held, 7).unwrap();
        assert_eq!((gauge.get(), held.take_dry()), (1, vec![]));
        // then the second one comes later, and the end behind it
        take(&mut held, 8).unwrap();
        assert_eq!((gauge.get(), held.take_dry()), (0, vec![(3, 10)]));
        assert_eq!(seen, [(3, 7, None, 1), (3, 8, Some(b"x".to_vec()), 1)]);
    }

    #[test]
    fn what_is_held_at_the_end_of_an_attempt_is_not_counted_any_more() {
        let metrics = Metrics::new();
        let mut held = HeldBack::new("orders", &Meter::new(&metrics, "orders", 0));
        let (partition, timestamp, key, value) = (0, None, None, None);
        held.push(&RawRecord { topic: "orders", partition, offset: 1, timestamp, key, value, headers: LazyHeaders::none() });
        drop(held);
        assert_eq!(metrics.source.held("orders").get(), 0);
    }
}
