//! Pairs of records of two streams whose times are not further apart than said.

use super::{
    app::Stream,
    connect::{ConnectedKeyedStreams, KeyedCoProcess},
    operator::{Emit, OperatorContext},
    state::MapState,
    timer::{Timer, Timers},
};
use crate::engine::{Halt, OperatorCounter, OperatorEvents, Timestamp};
use crate::state::{Key, StateKey, StateValue};
use std::ops::RangeInclusive;

impl<K, A, B> ConnectedKeyedStreams<K, A, B>
where
    K: StateKey,
    A: StateValue + Clone,
    B: StateValue + Clone,
{
    /// Emits what `join` makes of each pair of records of one key for which the second one's event time minus the first one's lies in
    /// `apart`, in ms and both bounds included: `-1_000..=5_000` is from one second before to five seconds after. A pair is emitted as soon
    /// as both have come, with the later of the two times. Records behind the watermark are counted as late and dropped; a record is kept
    /// until the watermark says that no other one can come for it.
    ///
    /// ```
    /// use sluicegate::stream::{ConnectedKeyedStreams, Failure, Harness, Outputs, Side};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut paid = Harness::<String, Side<String, u64>, _>::new(|_, both| {
    ///     let orders_and_payments = ConnectedKeyedStreams::of(both);
    ///     Outputs::of(&orders_and_payments.interval_join("paid", 0..=60_000, |order, amount| format!("{order}: {amount}")))
    /// })?;
    /// paid.record(1_000, "ann".into(), Side::First("O-1".into()))?;
    /// paid.record(50_000, "ann".into(), Side::Second(20))?;
    /// paid.record(40_000, "ann".into(), Side::First("O-2".into()))?;
    /// paid.record(70_000, "ann".into(), Side::Second(30))?;
    /// let pairs = [(50_000, "O-1: 20"), (50_000, "O-2: 20"), (70_000, "O-2: 30")];
    /// assert_eq!(paid.outputs.take(), pairs.map(|(at, pair)| (at, pair.to_owned())));
    /// # Ok(())
    /// # }
    /// ```
    pub fn interval_join<U: Clone + Send + 'static>(
        &self,
        name: &str,
        apart: RangeInclusive<i64>,
        join: impl Fn(&A, &B) -> U + Clone + Send + Sync + 'static,
    ) -> Stream<U> {
        self.process(name, |declare| {
            let (first, second, timers) = (declare.map("first"), declare.map("second"), declare.timers());
            move |context: &mut OperatorContext<'_, '_>| {
                Ok(IntervalJoin {
                    first: context.state(&first)?,
                    second: context.state(&second)?,
                    timers: context.state(&timers)?,
                    late: context.counter(OperatorEvents::Late),
                    apart: apart.clone(),
                    join: join.clone(),
                })
            }
        })
    }
}

struct IntervalJoin<K, A, B, F> {
    /// By event time, the records that may still find another one.
    first: MapState<K, Timestamp, Vec<A>>,
    second: MapState<K, Timestamp, Vec<B>>,
    timers: Timers<K>,
    late: OperatorCounter,
    apart: RangeInclusive<i64>,
    join: F,
}

impl<K: StateKey, A: StateValue, B: StateValue, F> IntervalJoin<K, A, B, F> {
    /// For how long after its time a first record may find a second one, in ms.
    fn first_waits(&self) -> i64 {
        (*self.apart.end()).max(0)
    }

    fn second_waits(&self) -> i64 {
        self.apart.start().saturating_neg().max(0)
    }

    /// A record at the watermark itself is not late: equal times are nothing special.
    fn is_late(&self, timestamp: Timestamp) -> bool {
        let is_late = timestamp < self.timers.current_watermark();
        self.late.add(u64::from(is_late));
        is_late
    }

    /// The record goes when the watermark is past the last time at which another one may come.
    fn remember(&self, key: &Key<K>, timestamp: Timestamp, waits: i64) -> Result<(), Halt> {
        self.timers.register_event_time_timer(key, timestamp.saturating_add(waits).saturating_add(1))
    }
}

impl<K, A, B, U, F> KeyedCoProcess<K, A, B> for IntervalJoin<K, A, B, F>
where
    K: StateKey,
    A: StateValue + Clone,
    B: StateValue + Clone,
    U: 'static,
    F: Fn(&A, &B) -> U + 'static,
{
    type Out = U;

    fn process1(&mut self, key: &Key<K>, timestamp: Timestamp, value: A, out: &mut Emit<'_, U>) -> Result<(), Halt> {
        if self.is_late(timestamp) {
            return Ok(());
        }
        let (apart, join) = (&self.apart, &self.join);
        self.second.for_each(key, &mut |at, others| match apart.contains(&at.saturating_sub(timestamp)) {
            true => others.iter().try_for_each(|other| out.push_at(timestamp.max(*at), join(&value, other))),
            false => Ok(()),
        })?;
        self.first.update(key, timestamp, Vec::new, |waiting| waiting.push(value))?;
        self.remember(key, timestamp, self.first_waits())
    }

    fn process2(&mut self, key: &Key<K>, timestamp: Timestamp, value: B, out: &mut Emit<'_, U>) -> Result<(), Halt> {
        if self.is_late(timestamp) {
            return Ok(());
        }
        let (apart, join) = (&self.apart, &self.join);
        self.first.for_each(key, &mut |at, others| match apart.contains(&timestamp.saturating_sub(*at)) {
            true => others.iter().try_for_each(|other| out.push_at(timestamp.max(*at), join(other, &value))),
            false => Ok(()),
        })?;
        self.second.update(key, timestamp, Vec::new, |waiting| waiting.push(value))?;
        self.remember(key, timestamp, self.second_waits())
    }

    fn on_timer(&mut self, key: &Key<K>, timer: Timer, _: &mut Emit<'_, U>) -> Result<(), Halt> {
        self.first.remove(key, timer.time.saturating_sub(1).saturating_sub(self.first_waits()))?;
        self.second.remove(key, timer.time.saturating_sub(1).saturating_sub(self.second_waits()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Harness, MIN_WATERMARK, Outputs, Side};
    use proptest::prelude::*;

    type Record = Side<u32, u32>;

    fn start(folder: Option<&std::path::Path>, apart: RangeInclusive<i64>) -> Harness<String, Record, Outputs<(u32, u32)>> {
        let graph = |_: &crate::stream::App, both: &crate::stream::KeyedStream<String, Record>| {
            Outputs::of(&ConnectedKeyedStreams::of(both).interval_join("join", apart, |a, b| (*a, *b)))
        };
        match folder {
            None => Harness::new(graph).unwrap(),
            Some(folder) => Harness::restore(folder, graph).unwrap(),
        }
    }

    proptest! {
        // PROPTEST_CASES widens it, TMPDIR on memory makes it quick.
        #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24), ..ProptestConfig::default() })]
        #[test]
        fn every_pair_comes_once_and_what_can_find_no_other_one_is_forgotten(
            from in -15_i64..15,
            length in 0_i64..15,
            steps in prop::collection::vec((0_u8..12, 0_u8..2, any::<bool>(), -12_i64..12), 1..60),
        ) {
            let apart = from..=from + length;
            let folder = tempfile::tempdir().unwrap();
            let mut run = start(None, apart.clone());
            let (mut now, mut watermark) = (100, MIN_WATERMARK);
            let mut records: Vec<(u8, Timestamp, Record)> = Vec::new();
            for (number, (what, key, is_first, by)) in steps.into_iter().enumerate() {
                now += 2;
                match what {
                    0 => {
                        run.snapshot(folder.path()).unwrap();
                        run = start(Some(folder.path()), apart.clone());
                    }
                    1 | 2 => {
                        watermark = watermark.max(now - 12 + by.abs());
                        run.watermark(watermark).unwrap();
                    }
                    _ => {
                        let (time, number) = (now + by, number as u32);
                        let record = if is_first { Side::First(number) } else { Side::Second(number) };
                        run.record(time, format!("k{key}"), record).unwrap();
                        let mut expected = Vec::new();
                        if time >= watermark {
                            for (_, at, other) in records.iter().filter(|(of, ..)| *of == key) {
                                match (record, *other) {
                                    (Side::First(a), Side::Second(b)) if apart.contains(&(at - time)) => {
                                        expected.push((time.max(*at), (a, b)));
                                    }
                                    (Side::Second(b), Side::First(a)) if apart.contains(&(time - at)) => {
                                        expected.push((time.max(*at), (a, b)));
                                    }
                                    _ => {}
                                }
                            }
                            records.push((key, time, record));
                        }
                        let mut got = run.outputs.take();
                        got.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(got, expected);
                    }
                }
            }
            run.watermark(1_000).unwrap();
            for state in ["first", "second", "timers"] {
                prop_assert!(run.state("join", state).unwrap().is_empty(), "{}", state);
            }
        }
    }
}
