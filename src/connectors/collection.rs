//! Records out of memory: for tests and examples.

use super::splits::{Split, Splits, checked_rate};
use crate::stream::{Decode, Failure, LocalSource, Positions, RawRecord, Source, SplitReader, Timestamp, Undecodable};
use std::{collections::BTreeSet, sync::Arc};

type Time<T> = Arc<dyn Fn(&T) -> Timestamp + Send + Sync>;

/// A list of records, read from the first to the last. The position is the index: whoever runs the job again must give the same records,
/// or more of them.
///
/// ```
/// use sluicegate::connectors::Collection;
///
/// let source = Collection::of([("a", 1_000), ("b", 2_000)]).timestamps(|(_, at)| *at);
/// ```
pub struct Collection<T> {
    records: Arc<[T]>,
    time: Option<Time<T>>,
    rate: Option<f64>,
}

impl<T: Clone + Send + Sync + 'static> Collection<T> {
    /// These records, all of them at event time 0.
    pub fn of(records: impl IntoIterator<Item = T>) -> Self {
        Self { records: records.into_iter().collect(), time: None, rate: None }
    }

    /// The event time of each record, in ms.
    #[must_use]
    pub fn timestamps(mut self, time: impl Fn(&T) -> Timestamp + Send + Sync + 'static) -> Self {
        self.time = Some(Arc::new(time));
        self
    }

    /// At most so many records per second.
    #[must_use]
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }
}

impl<T: Clone + Send + Sync + 'static> Source for Collection<T> {
    type Out = T;
    type Decoder = CollectionDecoder<T>;

    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static) {
        let Self { records, time, rate } = self;
        let local = Counted { records: records.len() as i64, rate };
        (Arc::new(local), move || CollectionDecoder { records: Arc::clone(&records), time: time.clone() })
    }
}

/// Finds the record of a position.
pub struct CollectionDecoder<T> {
    records: Arc<[T]>,
    time: Option<Time<T>>,
}

impl<T: Clone + 'static> Decode for CollectionDecoder<T> {
    type Out = T;

    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, T), Undecodable> {
        let found = usize::try_from(record.offset).ok().and_then(|index| self.records.get(index));
        let found = found.ok_or_else(|| Undecodable { class: "missing", message: "the collection has no such record".into() })?;
        Ok((self.time.as_ref().map_or(0, |time| time(found)), found.clone()))
    }
}

/// The positions of a collection.
struct Counted {
    records: i64,
    rate: Option<f64>,
}

impl LocalSource for Counted {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        checked_rate(self.rate, "a collection")?;
        Ok(BTreeSet::from([0]))
    }

    fn bounds(&self, _: i32) -> Result<(i64, i64), Failure> {
        Ok((0, self.records))
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let end = self.records;
        Ok(Box::new(Splits::new(positions, self.rate, move |_, next| Ok(Box::new(Numbers { next, end })))?))
    }

    fn bounded(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("a collection of {} records", self.records)
    }
}

/// Positions without bytes, up to an end.
pub(super) struct Numbers {
    pub(super) next: i64,
    pub(super) end: i64,
}

impl Split for Numbers {
    fn read(&mut self, max: usize, each: &mut dyn FnMut(i64, &[u8])) -> Result<usize, Failure> {
        let mut read = 0;
        while read < max && self.next < self.end {
            each(self.next, &[]);
            self.next += 1;
            read += 1;
        }
        Ok(read)
    }

    fn position(&self) -> i64 {
        self.next
    }

    fn lag(&self) -> Option<i64> {
        (self.end != i64::MAX).then(|| self.end - self.next)
    }
}
