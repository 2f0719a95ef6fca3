//! Reads several partitions in turn, at a limited rate if wanted.

use crate::stream::{Failure, LazyHeaders, Positions, RawRecord, Round, SplitReader};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// What is read of one partition.
pub(super) trait Split: Send {
    /// Gives up to `max` records that are there, each with its position and its bytes. The one after a record at `n` is not before
    /// `n + 1`.
    fn read(&mut self, max: usize, each: &mut dyn FnMut(i64, &[u8])) -> Result<usize, Failure>;

    /// Position of the next record.
    fn position(&self) -> i64;

    /// What there is behind the last record, as far as that is known.
    fn lag(&self) -> Option<i64>;
}

type Open = dyn Fn(i32, i64) -> Result<Box<dyn Split>, Failure> + Send;

/// The partitions of one source that one task reads.
pub(super) struct Splits {
    topic: Arc<str>,
    open: Box<Open>,
    splits: Vec<(i32, Box<dyn Split>)>,
    pace: Option<Pace>,
    /// The split that is read first next time.
    turn: usize,
}

impl Splits {
    /// Opens a partition of `topic` at each of `positions` with `open`. `rate`: records per second and partition.
    pub(super) fn new(
        positions: &Positions,
        rate: Option<f64>,
        open: impl Fn(i32, i64) -> Result<Box<dyn Split>, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let topic = positions.keys().next().map_or_else(|| "".into(), |at| Arc::clone(&at.topic));
        let mut splits = Self { topic, open: Box::new(open), splits: Vec::new(), pace: None, turn: 0 };
        splits.add(positions)?;
        splits.pace = rate.map(|rate| Pace::new(rate * positions.len() as f64));
        Ok(splits)
    }
}

impl SplitReader for Splits {
    fn poll(&mut self, patience: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure> {
        let allowed = self.pace.as_ref().map_or(max, |pace| pace.due().min(max));
        let mut round = Round::default();
        let count = self.splits.len();
        for index in 0..count {
            let Some((partition, split)) = self.splits.get_mut((self.turn + index) % count) else { continue };
            let (partition, wanted) = (*partition, allowed - round.records);
            let read = split.read(wanted, &mut |offset, value| {
                let (timestamp, key, headers) = (None, None, LazyHeaders::none());
                each(RawRecord { topic: &self.topic, partition, offset, timestamp, key, value: Some(value), headers });
            })?;
            round.records += read;
            if read < wanted {
                round.dry.push((partition, split.position()));
            }
        }
        self.turn = self.turn.wrapping_add(1);
        if let Some(pace) = &mut self.pace {
            pace.took(round.records);
        }
        if round.records == 0 {
            let soon = self.pace.as_ref().filter(|_| allowed == 0).map_or(patience, |pace| pace.next().min(patience));
            thread::sleep(soon);
        }
        Ok(round)
    }

    fn add(&mut self, positions: &Positions) -> Result<(), Failure> {
        for (at, offset) in positions {
            self.splits.push((at.partition, (self.open)(at.partition, *offset)?));
        }
        Ok(())
    }

    fn lag(&self, _: &Positions) -> Vec<(i32, i64)> {
        self.splits.iter().filter_map(|(partition, split)| Some((*partition, split.lag()?))).collect()
    }
}

/// Holds a source to a rate, from when it was opened.
struct Pace {
    per_second: f64,
    began: Instant,
    taken: u64,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self { per_second, began: Instant::now(), taken: 0 }
    }

    /// Records that may be read now.
    fn due(&self) -> usize {
        let due = self.began.elapsed().as_secs_f64() * self.per_second;
        // Saturates: a float is never too large for that.
        (due as u64).saturating_sub(self.taken) as usize
    }

    /// Until the next one may be read.
    fn next(&self) -> Duration {
        let at = Duration::try_from_secs_f64((self.taken + 1) as f64 / self.per_second).unwrap_or(Duration::MAX);
        at.saturating_sub(self.began.elapsed())
    }

    fn took(&mut self, records: usize) {
        self.taken += records as u64;
    }
}

/// A rate as a user gives it: a number above 0.
pub(super) fn checked_rate(rate: Option<f64>, of: &str) -> Result<(), Failure> {
    match rate {
        Some(rate) if !(rate.is_finite() && rate > 0.0) => {
            Err(Failure::fatal(format!("{of}: a rate of {rate} records per second; allowed is a number above 0")))
        }
        _ => Ok(()),
    }
}
