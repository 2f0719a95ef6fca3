//! Event time of one source task: per partition, and the minimum over those that are not idle.

use super::{
    event::PartitionState,
    message::{MIN_WATERMARK, Mark, Timestamp},
    watermark_strategy::{WatermarkGenerator, WatermarkOutput, WatermarkStrategy, Watermarks},
};
use crate::protocol::{Positions, TopicPartition};
use std::time::{Duration, Instant};

struct Partition<T> {
    id: TopicPartition,
    next_offset: i64,
    max_timestamp: Option<Timestamp>,
    /// Set while the broker says that there is nothing more to read.
    dry_since: Option<Instant>,
    /// Reading up to here counts as caught up.
    target: i64,
    /// What makes its watermarks, and the last one, where they are not made out of the largest timestamp.
    generator: Option<(Box<dyn WatermarkGenerator<T>>, WatermarkOutput)>,
}

/// What a source task knows of the partitions that it owns, by partition number.
pub struct Partitions<T> {
    partitions: Vec<Option<Partition<T>>>,
    watermarks: Watermarks<T>,
    /// In ms; what the largest timestamp is ahead of the watermark, unless that is made in another way.
    out_of_orderness: i64,
    idle_timeout: Option<Duration>,
    mark: Mark,
}

impl<T: 'static> Partitions<T> {
    /// No partition yet. Where `strategy` does not say something else, a partition's watermark is its largest timestamp minus
    /// `out_of_orderness`, and one that has had nothing to read for `idle_timeout` does not hold event time back (`None`: it always does).
    pub fn new(strategy: &WatermarkStrategy<T>, out_of_orderness: Duration, idle_timeout: Option<Duration>) -> Self {
        let out_of_orderness = match strategy.watermarks {
            Watermarks::Behind(by) => by,
            _ => i64::try_from(out_of_orderness.as_millis()).unwrap_or(i64::MAX),
        };
        Self {
            partitions: Vec::new(),
            watermarks: strategy.watermarks.clone(),
            out_of_orderness,
            idle_timeout: strategy.idleness.or(idle_timeout),
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
            let generator = match &self.watermarks {
                Watermarks::Generated(make) => Some((make(), WatermarkOutput::default())),
                _ => None,
            };
            *slot = Some(Partition { id, next_offset, max_timestamp, dry_since: None, target, generator });
        }
    }

    fn get(&mut self, partition: i32) -> Option<&mut Partition<T>> {
        usize::try_from(partition).ok().and_then(|index| self.partitions.get_mut(index)).and_then(Option::as_mut)
    }

    fn is_idle(&self, partition: &Partition<T>, now: Instant) -> bool {
        if partition.generator.as_ref().is_some_and(|(_, output)| output.idle) {
            return true;
        }
        match (partition.dry_since, self.idle_timeout) {
            (Some(since), Some(timeout)) => now.saturating_duration_since(since) >= timeout,
            _ => false,
        }
    }

    fn each(&self) -> impl Iterator<Item = &Partition<T>> {
        self.partitions.iter().flatten()
    }

    /// A record at `offset` was read; `event` is none where it could not be decoded.
    #[inline]
    pub fn record(&mut self, partition: i32, offset: i64, event: Option<(Timestamp, &T)>) {
        if let Some(partition) = self.get(partition) {
            partition.next_offset = offset + 1;
            partition.dry_since = None;
            if let Some((timestamp, event)) = event {
                if let Some((generator, output)) = &mut partition.generator {
                    generator.on_event(event, timestamp, output);
                }
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

    /// The task was kept from reading for so long: nobody knows whether there was something to read.
    pub fn not_read_for(&mut self, time: Duration) {
        for since in self.partitions.iter_mut().flatten().filter_map(|partition| partition.dry_since.as_mut()) {
            *since += time;
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
        for (generator, output) in self.partitions.iter_mut().flatten().filter_map(|partition| partition.generator.as_mut()) {
            generator.on_periodic_emit(output);
        }
        let watermark = |partition: &Partition<T>| match (&self.watermarks, &partition.generator) {
            (_, Some((_, output))) => output.watermark,
            (Watermarks::Never, _) => MIN_WATERMARK,
            _ => partition.max_timestamp.map_or(MIN_WATERMARK, |max| max.saturating_sub(self.out_of_orderness)),
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

    fn partitions(count: i32) -> Partitions<()> {
        owning(count, &WatermarkStrategy::from_settings())
    }

    fn owning<T: 'static>(count: i32, strategy: &WatermarkStrategy<T>) -> Partitions<T> {
        let mut all = Partitions::new(strategy, Duration::from_secs(5), Some(Duration::from_secs(30)));
        (0..count).for_each(|number| all.add(TopicPartition::new("orders", number), 0, None, 10));
        all
    }

    #[test]
    fn the_slowest_partition_decides_and_disorder_is_allowed_for() {
        let mut all = partitions(2);
        let now = Instant::now();
        all.record(0, 0, Some((100_000, &())));
        assert_eq!(all.advance(now), None, "partition 1 said nothing yet");
        all.record(1, 0, Some((60_000, &())));
        assert_eq!(all.advance(now), Some(Mark { watermark: 55_000, idle: false }));
        all.record(1, 1, Some((50_000, &())));
        assert_eq!(all.advance(now), None, "an older record does not move event time back");
    }

    #[test]
    fn a_dry_partition_stops_holding_back_only_after_the_idle_timeout() {
        let mut all = partitions(2);
        let start = Instant::now();
        all.record(0, 0, Some((100_000, &())));
        all.record(1, 0, Some((60_000, &())));
        all.advance(start);
        all.dry(1, 1, start);
        assert_eq!(all.advance(start + Duration::from_secs(29)), None);
        assert_eq!(all.advance(start + Duration::from_secs(30)), Some(Mark { watermark: 95_000, idle: false }));
        all.dry(0, 1, start);
        assert_eq!(all.advance(start + Duration::from_secs(60)), Some(Mark { watermark: 95_000, idle: true }));
        all.record(1, 1, Some((61_000, &())));
        assert_eq!(all.advance(start + Duration::from_secs(61)), Some(Mark { watermark: 95_000, idle: false }));
    }

    #[test]
    fn control_records_behind_the_last_record_count_as_read() {
        let mut all = partitions(1);
        all.record(0, 8, Some((1, &())));
        assert!(!all.caught_up());
        all.dry(0, 10, Instant::now());
        assert!(all.caught_up());
        assert_eq!(all.positions().values().copied().collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn timestamps_that_never_go_back_may_come_twice_and_disorder_may_reach_the_bound() {
        let now = Instant::now();
        let mark = |watermark| Some(Mark { watermark, idle: false });
        let mut all = owning(1, &WatermarkStrategy::for_monotonous_timestamps());
        all.record(0, 0, Some((1_000, &())));
        assert_eq!(all.advance(now), mark(999), "another one at 1000 is on time");
        let mut all = owning(1, &WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(200)));
        all.record(0, 0, Some((1_000, &())));
        assert_eq!(all.advance(now), mark(799));
        let mut all = owning(1, &WatermarkStrategy::no_watermarks());
        all.record(0, 0, Some((1_000, &())));
        assert_eq!(all.advance(now), None);
    }

    /// A negative number says that nothing older than its amount will come; with `rests`, the partition rests until the next record.
    struct Punctuated {
        rests: bool,
        periods: i64,
    }

    impl WatermarkGenerator<i64> for Punctuated {
        fn on_event(&mut self, event: &i64, _: Timestamp, output: &mut WatermarkOutput) {
            output.mark_active();
            if *event < 0 {
                output.emit_watermark(-event);
            }
        }

        fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
            self.periods += 1;
            if self.rests && self.periods == 3 {
                output.mark_idle();
            }
        }
    }

    #[test]
    fn an_own_generator_decides_for_its_partition_with_events_and_periodically() {
        let now = Instant::now();
        let mut all = owning(2, &WatermarkStrategy::for_generator(|| Punctuated { rests: false, periods: 0 }));
        all.record(0, 0, Some((1, &-700)));
        assert_eq!(all.advance(now), None, "the other one said nothing");
        all.record(1, 0, Some((2, &900)));
        all.record(1, 1, Some((3, &-600)));
        assert_eq!(all.advance(now), Some(Mark { watermark: 600, idle: false }));
        all.record(1, 2, Some((4, &-500)));
        assert_eq!(all.advance(now), None, "a watermark does not go back");

        let mut all = owning(1, &WatermarkStrategy::for_generator(|| Punctuated { rests: true, periods: 0 }));
        all.record(0, 0, Some((1, &-700)));
        assert_eq!(all.advance(now), Some(Mark { watermark: 700, idle: false }));
        assert_eq!(all.advance(now), None);
        assert_eq!(all.advance(now), Some(Mark { watermark: 700, idle: true }), "the third time it rests");
        all.record(0, 1, Some((2, &5)));
        assert_eq!(all.advance(now), Some(Mark { watermark: 700, idle: false }));
    }

    #[test]
    fn idleness_can_be_the_strategys_and_does_not_grow_while_nothing_is_read() {
        let strategy = WatermarkStrategy::from_settings().with_idleness(Duration::from_secs(2));
        let (mut all, start) = (owning::<()>(1, &strategy), Instant::now());
        all.dry(0, 0, start);
        assert_eq!(all.advance(start + Duration::from_secs(1)), None);
        all.not_read_for(Duration::from_secs(10));
        assert_eq!(all.advance(start + Duration::from_secs(11)), None);
        assert_eq!(all.advance(start + Duration::from_secs(12)), Some(Mark { watermark: MIN_WATERMARK, idle: true }));
    }
}
