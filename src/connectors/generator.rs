//! Records that a function makes out of a seed and a number.

use super::{
    collection::Numbers,
    random::Random,
    splits::{Split, Splits, checked_rate},
};
use crate::stream::{Decode, Failure, LocalSource, Positions, RawRecord, Source, SplitReader, Timestamp, Undecodable};
use std::{collections::BTreeSet, sync::Arc};

type Make<T> = Arc<dyn Fn(&mut Random, u64) -> T + Send + Sync>;
type Time<T> = Arc<dyn Fn(&T) -> Timestamp + Send + Sync>;

/// Makes records: the `n`-th (from 0) follows from the seed and `n`, so that what is read again is the same.
///
/// ```
/// use sluicegate::connectors::Generator;
///
/// let source = Generator::new(42, |random, number| (number, random.below(100))).count(1_000).rate(500.0);
/// ```
pub struct Generator<T> {
    seed: u64,
    make: Make<T>,
    time: Option<Time<T>>,
    count: Option<u64>,
    rate: Option<f64>,
    partitions: i32,
}

impl<T: Clone + Send + 'static> Generator<T> {
    /// Records without end, as fast as they are taken, in one partition, all of them at event time 0.
    pub fn new(seed: u64, make: impl Fn(&mut Random, u64) -> T + Send + Sync + 'static) -> Self {
        Self { seed, make: Arc::new(make), time: None, count: None, rate: None, partitions: 1 }
    }

    /// Ends after so many records.
    #[must_use]
    pub fn count(mut self, records: u64) -> Self {
        self.count = Some(records);
        self
    }

    /// At most so many records per second, all partitions together.
    #[must_use]
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// Several partitions, so that several tasks can make records: partition `p` has every record whose number leaves the remainder `p`.
    /// Fixed for the life of a job.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = i32::from(partitions.max(1));
        self
    }

    /// The event time of each record, in ms.
    #[must_use]
    pub fn timestamps(mut self, time: impl Fn(&T) -> Timestamp + Send + Sync + 'static) -> Self {
        self.time = Some(Arc::new(time));
        self
    }
}

impl<T: Clone + Send + 'static> Source for Generator<T> {
    type Out = T;
    type Decoder = GeneratorDecoder<T>;

    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static) {
        let Self { seed, make, time, count, rate, partitions } = self;
        let numbers = Sequence { count, rate, partitions };
        let decoder = move || GeneratorDecoder { seed, partitions, make: Arc::clone(&make), time: time.clone() };
        (Arc::new(numbers), decoder)
    }
}

/// Makes the record of a number.
pub struct GeneratorDecoder<T> {
    seed: u64,
    partitions: i32,
    make: Make<T>,
    time: Option<Time<T>>,
}

impl<T: 'static> Decode for GeneratorDecoder<T> {
    type Out = T;

    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, T), Undecodable> {
        let number = record.offset * i64::from(self.partitions) + i64::from(record.partition);
        let number = u64::try_from(number).unwrap_or(0);
        let made = (self.make)(&mut Random::new(self.seed, number), number);
        Ok((self.time.as_ref().map_or(0, |time| time(&made)), made))
    }
}

/// The numbers of each partition: positions count its own records.
struct Sequence {
    count: Option<u64>,
    rate: Option<f64>,
    partitions: i32,
}

impl Sequence {
    /// How many numbers below `count` leave the remainder `partition`.
    fn end(&self, partition: i32) -> i64 {
        let Some(count) = self.count else { return i64::MAX };
        let (partition, partitions) = (u64::from(partition.unsigned_abs()), u64::from(self.partitions.unsigned_abs()));
        i64::try_from(count.saturating_sub(partition).div_ceil(partitions)).unwrap_or(i64::MAX)
    }
}

impl LocalSource for Sequence {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        checked_rate(self.rate, "a generator")?;
        Ok((0..self.partitions).collect())
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), Failure> {
        Ok((0, self.end(partition)))
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let ends: Vec<i64> = (0..self.partitions).map(|partition| self.end(partition)).collect();
        let rate = self.rate.map(|rate| rate / f64::from(self.partitions));
        let open = move |partition: i32, next: i64| {
            let end = usize::try_from(partition).ok().and_then(|partition| ends.get(partition)).copied();
            let end = end.ok_or_else(|| Failure::fatal(format!("the generator has no partition {partition}")))?;
            Ok(Box::new(Numbers { next, end }) as Box<dyn Split>)
        };
        Ok(Box::new(Splits::new(positions, rate, open)?))
    }

    fn bounded(&self) -> bool {
        self.count.is_some()
    }

    fn describe(&self) -> String {
        self.count.map_or_else(|| "a generator without end".to_owned(), |count| format!("a generator of {count} records"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::LazyHeaders;

    #[test]
    fn partitions_share_the_numbers_without_gap_or_overlap() {
        for (count, partitions) in [(10, 3), (9, 3), (2, 3), (0, 2), (7, 1)] {
            let sequence = Sequence { count: Some(count), rate: None, partitions };
            let mut decoder = GeneratorDecoder { seed: 1, partitions, make: Arc::new(|_, number| number), time: None };
            let mut numbers = Vec::new();
            for partition in 0..partitions {
                for offset in 0..sequence.end(partition) {
                    let headers = LazyHeaders::none();
                    let record = RawRecord { topic: "", partition, offset, timestamp: None, key: None, value: None, headers };
                    numbers.push(decoder.decode(&record).unwrap().1);
                }
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{count} records in {partitions} partitions");
        }
    }
}
