//! Event time of one source task: per partition, and the minimum over those that are not idle.

use super::event::PartitionState;
use super::message::{MIN_WATERMARK, Mark, Timestamp};
use crate::protocol::{Positions, TopicPartition};
use std::time::{Duration, Instant};

struct Partition {
    id: TopicPartition,
    next_offset: i64,
    max_timestamp: Option<Timestamp>,
    /// Set while the broker says that there is nothing more to read.
    dry_since: Option<Instant>,
    /// Reading up to here counts as caught up.
    target: i64,
}

/// What a source task knows of the partitions that it owns, by partition number.
pub struct Partitions {
    partitions: Vec<Option<Partition>>,
    out_of_orderness: i64,
    idle_timeout: Option<Duration>,
    mark: Mark,
}

impl Partitions {
    /// No partition yet. A partition's watermark is its largest timestamp minus `out_of_orderness`; one that has had nothing
    /// to read for `idle_timeout` does not hold event time back (`None`: it always does).
    pub fn new(out_of_orderness: Duration, idle_timeout: Option<Duration>) -> Self {
        Self {
            partitions: Vec::new(),
            out_of_orderness: i64::try_from(out_of_orderness.as_millis()).unwrap_or(i64::MAX),
            idle_timeout,
            mark: Mark::START,
        }
    }

    /// Owns a partition from now on. `target`: the offset at which it counts as caught up.
    pub fn add(&mut self, id: TopicPartition, next_offset: i64, max_timestamp: Option<Timestamp>, target: i64) {
        let Ok(index) = usize::try_from(id.partition) else { return };
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.partitions.get_mut(index) {
            *slot = Some(Partition { id, next_offset, max_timestamp, dry_since: None, target });
        }
    }

    fn get(&mut self, partition: i32) -> Option<&mut Partition> {
        usize::try_from(partition).ok().and_then(|index| self.partitions.get_mut(index)).and_then(Option::as_mut)
    }

    fn is_idle(&self, partition: &Partition, now: Instant) -> bool {
        match (partition.dry_since, self.idle_timeout) {
            (Some(since), Some(timeout)) => now.saturating_duration_since(since) >= timeout,
            _ => false,
        }
    }

    fn each(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().flatten()
    }

    /// A record at `offset` was read; `timestamp` is none where it could not be decoded.
    #[inline]
    pub fn record(&mut self, partition: i32, offset: i64, timestamp: Option<Timestamp>) {
        if let Some(partition) = self.get(partition) {
            partition.next_offset = offset + 1;
            partition.dry_since = None;
            if let Some(timestamp) = timestamp {
                partition.max_timestamp = Some(partition.max_timestamp.map_or(timestamp, |max| max.max(timestamp)));
            }
        }
    }

    /// The broker has nothing behind `offset`, which may lie behind the last record: markers of transactions take offsets too.
    pub fn dry(&mut self, partition: i32, offset: i64, now: Instant) {
        if let Some(partition) = self.get(partition) {
            partition.next_offset = partition.next_offset.max(offset);
            partition.dry_since.get_or_insert(now);
        }
    }

    /// Whether all that was there at the start has been read.
    pub fn caught_up(&self) -> bool {
        self.each().all(|partition| partition.next_offset >= partition.target)
    }

    /// The partitions as a barrier finds them.
    pub fn states(&self, now: Instant) -> Vec<PartitionState> {
        self.each()
            .map(|p| PartitionState {
                partition: p.id.clone(),
                offset: p.next_offset,
                max_timestamp: p.max_timestamp,
                idle: self.is_idle(p, now),
            })
            .collect()
    }

    /// Offsets of the next records.
    pub fn positions(&self) -> Positions {
        self.each().map(|p| (p.id.clone(), p.next_offset)).collect()
    }

    /// Event time now, if it moved since the last call.
    pub fn advance(&mut self, now: Instant) -> Option<Mark> {
        let watermark = |partition: &Partition| {
            partition.max_timestamp.map_or(MIN_WATERMARK, |max| max.saturating_sub(self.out_of_orderness))
        };
        let active = self.each().filter(|partition| !self.is_idle(partition, now)).map(watermark).min();
        let before = self.mark;
        self.mark = match active {
            Some(watermark) => Mark { watermark: watermark.max(before.watermark), idle: false },
            None => Mark { watermark: before.watermark, idle: true },
        };
        (self.mark != before).then_some(self.mark)
    }

    /// The last mark given out.
    pub fn mark(&self) -> Mark {
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(count: i32) -> Partitions {
        let mut all = Partitions::new(Duration::from_secs(5), Some(Duration::from_secs(30)));
        (0..count).for_each(|number| all.add(TopicPartition::new("orders", number), 0, None, 10));
        all
    }

    #[test]
    fn the_slowest_partition_decides_and_disorder_is_allowed_for() {
        let mut all = partitions(2);
        let now = Instant::now();
        all.record(0, 0, Some(100_000));
        assert_eq!(all.advance(now), None, "partition 1 said nothing yet");
        all.record(1, 0, Some(60_000));
        assert_eq!(all.advance(now), Some(Mark { watermark: 55_000, idle: false }));
        all.record(1, 1, Some(50_000));
        assert_eq!(all.advance(now), None, "an older record does not move event time back");
    }

    #[test]
    fn a_dry_partition_stops_holding_back_only_after_the_idle_timeout() {
        let mut all = partitions(2);
        let start = Instant::now();
        all.record(0, 0, Some(100_000));
        all.record(1, 0, Some(60_000));
        all.advance(start);
        all.dry(1, 1, start);
        assert_eq!(all.advance(start + Duration::from_secs(29)), None);
        assert_eq!(all.advance(start + Duration::from_secs(30)), Some(Mark { watermark: 95_000, idle: false }));
        all.dry(0, 1, start);
        assert_eq!(all.advance(start + Duration::from_secs(60)), Some(Mark { watermark: 95_000, idle: true }));
        all.record(1, 1, Some(61_000));
        assert_eq!(all.advance(start + Duration::from_secs(61)), Some(Mark { watermark: 95_000, idle: false }));
    }

    #[test]
    fn control_records_behind_the_last_record_count_as_read() {
        let mut all = partitions(1);
        all.record(0, 8, Some(1));
        assert!(!all.caught_up());
        all.dry(0, 10, Instant::now());
        assert!(all.caught_up());
        assert_eq!(all.positions().values().copied().collect::<Vec<_>>(), [10]);
    }
}
