//! Reads a bounded part of a topic once, for the audit and for tools: every visible record, then the end.
//!
//! A range ends where the partition's position has reached it, control records counted (see [`Reader`]): a range whose last
//! offsets hold no visible record ends all the same, and an end that moves meanwhile does not matter.

use super::{
    Connection, Isolation, Reader, ReaderSettings, cluster::ANSWER, failure, positions::outside, reader::Polled, waiting::SLICE,
};
use crate::protocol::{Failure, Positions, TopicPartition};
use rdkafka::consumer::Consumer;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Records taken in one go.
const ROUND: usize = 4096;

/// A scan that finds neither a record nor an end for so long fails.
const STANDSTILL: Duration = Duration::from_secs(60);

/// A commit is visible a moment after it has succeeded, when the brokers have written its markers; a scan waits so long for them.
const SETTLE: Duration = Duration::from_secs(3);

/// What is to be read.
#[derive(Debug, Clone)]
pub struct TopicScan {
    /// Per partition, the offsets to read.
    ranges: BTreeMap<i32, Range<i64>>,
    topic: String,
    group: String,
    isolation: Isolation,
    connection: Connection,
}

impl TopicScan {
    /// All that the log of `partitions`, which are of one topic, holds now and `isolation` shows. `group` is only a name that the
    /// brokers check rights for; nothing is committed.
    ///
    /// As `read_committed` the end is the first open transaction. Transactions that were committed a moment ago are waited for; one
    /// that stays open is not.
    ///
    /// # Errors
    ///
    /// As [`super::Cluster::log_bounds`].
    pub fn whole(
        connection: &Connection,
        group: &str,
        isolation: Isolation,
        partitions: &[TopicPartition],
    ) -> Result<Self, Failure> {
        Ok(Self::settled(connection, group, isolation, partitions)?.0)
    }

    /// All that the log of `partitions` holds, as `read_committed` shows it, and surely all: nothing may be open there.
    ///
    /// # Errors
    ///
    /// Transient if a transaction stays open in one of them; else as [`TopicScan::whole`].
    pub fn complete(connection: &Connection, group: &str, partitions: &[TopicPartition]) -> Result<Self, Failure> {
        let (scan, settled) = Self::settled(connection, group, Isolation::ReadCommitted, partitions)?;
        if settled {
            return Ok(scan);
        }
        Err(Failure::transient(format!("a transaction is open in topic {}: wait until it has ended, and try again", scan.topic)))
    }

    /// The scan of all that is visible, and whether that is all there is.
    fn settled(
        connection: &Connection,
        group: &str,
        isolation: Isolation,
        partitions: &[TopicPartition],
    ) -> Result<(Self, bool), Failure> {
        let log = Self::bounds(connection, Isolation::ReadUncommitted, partitions)?;
        let started = Instant::now();
        let (bounds, settled) = loop {
            let visible = Self::bounds(connection, isolation, partitions)?;
            let settled = log.iter().all(|(number, (_, high))| visible.get(number).is_some_and(|(_, end)| end >= high));
            if settled || started.elapsed() > SETTLE {
                break (visible, settled);
            }
            thread::sleep(Duration::from_millis(20));
        };
        let ranges = bounds.into_iter().map(|(number, (low, high))| (number, low..high)).collect();
        Ok((Self::new(connection, group, isolation, partitions, ranges), settled))
    }

    /// The same without what lies before these offsets.
    #[must_use]
    pub fn starting_at(mut self, offsets: &BTreeMap<i32, i64>) -> Self {
        for (number, range) in &mut self.ranges {
            let start = offsets.get(number).copied().unwrap_or(range.start);
            range.start = start.clamp(range.start, range.end);
        }
        self
    }

    /// These offsets of `topic`.
    ///
    /// # Errors
    ///
    /// Refused if the log does not hold all of them; else as [`super::Cluster::log_bounds`].
    pub fn of(
        connection: &Connection,
        group: &str,
        isolation: Isolation,
        topic: &str,
        ranges: &BTreeMap<i32, Range<i64>>,
    ) -> Result<Self, Failure> {
        let partitions: Vec<_> = ranges.keys().map(|number| TopicPartition::new(topic, *number)).collect();
        let bounds = Self::bounds(connection, isolation, &partitions)?;
        for partition in &partitions {
            let (Some(range), Some((low, high))) = (ranges.get(&partition.partition), bounds.get(&partition.partition)) else {
                continue;
            };
            if let Some(offset) = [range.start, range.end].into_iter().find(|offset| offset < low || offset > high) {
                return Err(outside(partition, offset, *low, *high));
            }
        }
        Ok(Self::new(connection, group, isolation, &partitions, ranges.clone()))
    }

    fn new(
        connection: &Connection,
        group: &str,
        isolation: Isolation,
        partitions: &[TopicPartition],
        ranges: BTreeMap<i32, Range<i64>>,
    ) -> Self {
        let topic = partitions.first().map_or_else(String::new, |partition| partition.topic.to_string());
        Self { ranges, topic, group: group.to_owned(), isolation, connection: connection.clone() }
    }

    fn bounds(
        connection: &Connection,
        isolation: Isolation,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<i32, (i64, i64)>, Failure> {
        let asking: rdkafka::consumer::BaseConsumer =
            connection.asking_config(isolation).create().map_err(|error| failure::failure("Kafka client", &error))?;
        let bounds = partitions.iter().map(|partition| {
            let asked = asking.fetch_watermarks(&partition.topic, partition.partition, ANSWER);
            let bounds = asked.map_err(|error| failure::failure(format_args!("log bounds of partition {partition}"), &error))?;
            Ok((partition.partition, bounds))
        });
        bounds.collect()
    }

    /// The offsets that will be read, per partition.
    #[must_use]
    pub fn ranges(&self) -> &BTreeMap<i32, Range<i64>> {
        &self.ranges
    }

    /// Number of offsets in all ranges: at most so many records come.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        self.ranges.values().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum()
    }

    /// Hands every visible record to `each`, in order of offsets per partition; returns their number.
    ///
    /// # Errors
    ///
    /// Of `each`, which ends the scan; of [`Reader::poll`]; transient if nothing moves for a minute; attempt if `cancel` is raised.
    pub fn run(&self, cancel: &AtomicBool, each: &mut dyn FnMut(&Polled<'_>) -> Result<(), Failure>) -> Result<u64, Failure> {
        let mut open: BTreeMap<i32, i64> =
            self.ranges.iter().filter(|(_, range)| range.start < range.end).map(|(number, range)| (*number, range.end)).collect();
        let positions: Positions = open
            .keys()
            .filter_map(|number| Some((TopicPartition::new(self.topic.as_str(), *number), self.ranges.get(number)?.start)))
            .collect();
        if positions.is_empty() {
            return Ok(0);
        }
        let settings = ReaderSettings { isolation: self.isolation, ..ReaderSettings::default() };
        let mut reader = Reader::open(&self.connection, &self.group, settings, &positions)?;
        let (mut count, mut moved) = (0, Instant::now());
        while !open.is_empty() {
            let mut outcome = Ok(());
            let mut done = Vec::new();
            let polled = reader.poll(SLICE.min(Duration::from_millis(100)), ROUND, &mut |record| {
                let Some(end) = open.get(&record.partition) else { return };
                if record.offset < *end && outcome.is_ok() {
                    count += 1;
                    outcome = each(&record);
                }
                if record.offset + 1 >= *end {
                    done.push(record.partition);
                }
            })?;
            outcome?;
            done.extend(
                polled
                    .ends
                    .iter()
                    .filter(|(number, at)| open.get(number).is_some_and(|end| at >= end))
                    .map(|(number, _)| *number),
            );
            for number in done {
                if open.remove(&number).is_some() {
                    reader.remove(number)?;
                }
            }
            if polled.records > 0 || !polled.ends.is_empty() {
                moved = Instant::now();
            }
            if cancel.load(Ordering::Acquire) {
                return Err(failure::cancelled(format_args!("scan of topic {}", self.topic)));
            }
            if moved.elapsed() > STANDSTILL {
                let left: Vec<String> = open.iter().map(|(number, end)| format!("{}-{number} up to {end}", self.topic)).collect();
                return Err(Failure::transient(format!(
                    "nothing more came for {STANDSTILL:?}, wanted still: {}; a transaction may be open there",
                    left.join(", ")
                )));
            }
        }
        Ok(count)
    }
}
