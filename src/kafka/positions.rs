//! Offsets of the log: its bounds, and start positions resolved to numbers.
//!
//! A position is always a number. "earliest", "latest" and timestamps are resolved once, before checkpoint 0 is written, so that a
//! job that dies before its first checkpoint begins at the same records again.

use super::{
    cluster::{ANSWER, Cluster},
    failure, native,
};
use crate::protocol::{Failure, FailureKind, Positions, TopicPartition};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer};
use std::collections::{BTreeMap, BTreeSet};

/// Where a job without a checkpoint begins to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The first record that the log still holds.
    Earliest,
    /// What is committed from now on.
    Latest,
    /// The first record with this timestamp or a later one, in milliseconds since 1970; the end if there is none.
    Timestamp(i64),
    /// The next offset to read, by partition number; partitions that are not named begin at the first record.
    Offsets(BTreeMap<i32, i64>),
}

/// Per partition, the first offset that the log holds and the one behind the last record that a `read_committed` consumer sees.
pub type LogBounds = BTreeMap<TopicPartition, (i64, i64)>;

impl Cluster {
    /// Asks the brokers for the bounds of the log. The upper one is the last stable offset: behind it may lie records of
    /// transactions that are still open.
    ///
    /// # Errors
    ///
    /// Transient if a leader does not answer; fatal for partitions that do not exist or may not be read.
    pub fn log_bounds(&self, partitions: &[TopicPartition]) -> Result<LogBounds, Failure> {
        let bounds = partitions.iter().map(|partition| {
            let asked = self.asking.fetch_watermarks(&partition.topic, partition.partition, ANSWER);
            let bounds = asked.map_err(|error| failure::failure(format_args!("log bounds of partition {partition}"), &error))?;
            Ok((partition.clone(), bounds))
        });
        bounds.collect()
    }

    /// Start positions as numbers inside the log.
    ///
    /// # Errors
    ///
    /// Refused if a given offset lies outside the log or names a partition that does not exist; else as
    /// [`Cluster::log_bounds`].
    pub fn resolve(&self, start: &Start, partitions: &[TopicPartition]) -> Result<Positions, Failure> {
        let bounds = self.log_bounds(partitions)?;
        match start {
            Start::Earliest => Ok(bounds.into_iter().map(|(partition, (low, _))| (partition, low)).collect()),
            Start::Latest => Ok(bounds.into_iter().map(|(partition, (_, high))| (partition, high)).collect()),
            Start::Timestamp(milliseconds) => self.at_timestamp(*milliseconds, bounds),
            Start::Offsets(offsets) => given(offsets, bounds),
        }
    }

    fn at_timestamp(&self, milliseconds: i64, bounds: LogBounds) -> Result<Positions, Failure> {
        let doing = || format!("offsets at timestamp {milliseconds}");
        let mut asked = TopicPartitionList::with_capacity(bounds.len());
        for partition in bounds.keys() {
            asked
                .add_partition_offset(&partition.topic, partition.partition, Offset::Offset(milliseconds))
                .map_err(|_| Failure::refused(format!("{}: a timestamp is not negative", doing())))?;
        }
        let answer = self.asking.offsets_for_times(asked, ANSWER).map_err(|error| failure::failure(doing(), &error))?;
        let mut positions = Positions::new();
        for element in native::elements(&answer) {
            let partition = TopicPartition::new(element.topic, element.partition);
            if let Some(code) = element.error {
                return Err(failure::of_code(format_args!("{} of partition {partition}", doing()), code));
            }
            let (low, high) = bounds.get(&partition).copied().unwrap_or_default();
            // Negative: no record is that young, so the end.
            let offset = if element.offset < 0 { high } else { element.offset.clamp(low, high.max(low)) };
            positions.insert(partition, offset);
        }
        match bounds.keys().find(|partition| !positions.contains_key(partition)) {
            None => Ok(positions),
            Some(partition) => Err(Failure::attempt(format!("{}: no answer for partition {partition}", doing()))),
        }
    }
}

fn given(offsets: &BTreeMap<i32, i64>, bounds: LogBounds) -> Result<Positions, Failure> {
    let known: BTreeSet<i32> = bounds.keys().map(|partition| partition.partition).collect();
    let unknown: Vec<String> = offsets.keys().filter(|number| !known.contains(number)).map(ToString::to_string).collect();
    if !unknown.is_empty() {
        let topic = bounds.keys().next().map_or("", |partition| &partition.topic);
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let (unknown, known) = (unknown.join(", "), known.join(", "));
        return Err(Failure::refused(format!("source.start names partition {unknown}; topic {topic} has partitions {known}")));
    }
    let resolved = bounds.into_iter().map(|(partition, (low, high))| {
        let offset = offsets.get(&partition.partition).copied().unwrap_or(low);
        if (low..=high).contains(&offset) { Ok((partition, offset)) } else { Err(outside(&partition, offset, low, high)) }
    });
    resolved.collect()
}

/// The refusal of an offset that the log does not hold.
pub(super) fn outside(partition: &TopicPartition, offset: i64, low: i64, high: i64) -> Failure {
    let why = if offset < low {
        "the records before were deleted (retention, or delete-records)"
    } else {
        "the topic was created anew, or has lost records"
    };
    Failure::new(
        FailureKind::Refused,
        format!("partition {partition}: offset {offset} lies outside the log, which holds {low} to {high}: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> LogBounds {
        [(TopicPartition::new("orders", 0), (10, 20)), (TopicPartition::new("orders", 1), (0, 5))].into()
    }

    #[test]
    fn given_offsets_are_numbers_inside_the_log_and_the_rest_begins_at_the_first_record() {
        let positions = given(&[(1, 5)].into(), bounds()).unwrap();
        assert_eq!(positions.into_values().collect::<Vec<_>>(), [10, 5]);
    }

    #[test]
    fn offsets_outside_the_log_and_unknown_partitions_are_refused_with_the_facts() {
        for (offsets, parts) in [
            ([(0, 9)], ["orders-0", "offset 9", "10 to 20", "deleted"]),
            ([(0, 21)], ["orders-0", "offset 21", "10 to 20", "created anew"]),
            ([(7, 0)], ["partition 7", "orders", "0, 1", "source.start"]),
        ] {
            let failure = given(&offsets.into(), bounds()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Refused);
            for part in parts {
                assert!(failure.message.contains(part), "{part:?} is not in: {failure}");
            }
        }
    }
}
