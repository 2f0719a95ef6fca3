//! Which windows a record belongs to.

use super::{Window, millis};
use crate::engine::Timestamp;
use crate::stream::timer::TimeDomain;
use smallvec::SmallVec;
use std::time::Duration;

/// Windows of one size, side by side: each record belongs to one. They are aligned to the epoch.
///
/// ```
/// use sluicegate::stream::{Failure, Harness, Outputs, Tumbling};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Tumbling::of(Duration::from_secs(1)));
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// for (at, key, number) in [(100, "a", 1), (1_300, "a", 2), (900, "a", 3), (200, "b", 4)] {
///     sums.record(at, key.into(), number)?;
/// }
/// sums.watermark(999)?;
/// let mut first = sums.outputs.take();
/// first.sort();
/// assert_eq!(first, [(999, 4), (999, 4)]);
/// sums.watermark(1_999)?;
/// assert_eq!(sums.outputs.take(), [(1_999, 2)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tumbling(Windows);

impl Tumbling {
    /// Windows of `size`, at least a millisecond long, of event time.
    #[must_use]
    pub fn of(size: Duration) -> Self {
        let size = millis(size).max(1);
        Self(Windows { shape: Shape::Grid { size, slide: size, offset: 0 }, domain: TimeDomain::EventTime })
    }

    /// Begins them that much later: days from 3 o'clock on.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Self(self.0.shifted(offset))
    }

    /// By the clock on the wall: a record belongs to the window of the time at which it comes.
    #[must_use]
    pub fn processing_time(self) -> Self {
        Self(self.0.by_the_clock())
    }
}

/// Windows of one size that begin at a distance: a record belongs to as many as overlap.
///
/// ```
/// use sluicegate::stream::{Failure, Harness, Outputs, Sliding};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Sliding::of(Duration::from_secs(10), Duration::from_secs(5)));
///     Outputs::of(&windows.reduce("sums", |sum, number| *sum += number))
/// })?;
/// sums.record(1_000, "a".into(), 1)?;
/// sums.record(6_000, "a".into(), 2)?;
/// sums.watermark(20_000)?;
/// // -5 to 5 s, 0 to 10 s, 5 to 15 s
/// assert_eq!(sums.outputs.take(), [(4_999, 1), (9_999, 3), (14_999, 2)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliding(Windows);

impl Sliding {
    /// Windows of `size`, one of which begins every `slide`; both at least a millisecond long; of event time. Where `slide` is longer than
    /// `size`, records between two windows belong to none.
    #[must_use]
    pub fn of(size: Duration, slide: Duration) -> Self {
        let shape = Shape::Grid { size: millis(size).max(1), slide: millis(slide).max(1), offset: 0 };
        Self(Windows { shape, domain: TimeDomain::EventTime })
    }

    /// Begins them that much later.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Self(self.0.shifted(offset))
    }

    /// By the clock on the wall: a record belongs to the windows of the time at which it comes.
    #[must_use]
    pub fn processing_time(self) -> Self {
        Self(self.0.by_the_clock())
    }
}

/// Windows that end when nothing has come for a gap. A record that lies between two sessions of its key may make one of them.
///
/// ```
/// use sluicegate::stream::{Failure, Harness, Outputs, Session, WindowContext};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Failure> {
/// let mut visits = Harness::<String, String, _>::new(|_, pages| {
///     let windows = pages.window(Session::with_gap(Duration::from_secs(30)));
///     Outputs::of(&windows.process("visits", |user, context: &WindowContext, pages, out| {
///         out.push(format!("{user} from {}: {}", context.window.start, pages.join(" ")))
///     }))
/// })?;
/// visits.record(0, "ann".into(), "home".into())?;
/// visits.record(50_000, "ann".into(), "shop".into())?;
/// visits.record(25_000, "ann".into(), "news".into())?; // brings the two together
/// visits.record(99_000, "ann".into(), "home".into())?;
/// visits.watermark(100_000)?;
/// assert_eq!(visits.outputs.take(), [(79_999, "ann from 0: home shop news".into())]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session(Windows);

impl Session {
    /// Sessions that end `gap` (at least a millisecond) after their last record, in event time.
    #[must_use]
    pub fn with_gap(gap: Duration) -> Self {
        Self(Windows { shape: Shape::Session { gap: millis(gap).max(1) }, domain: TimeDomain::EventTime })
    }

    /// By the clock on the wall.
    #[must_use]
    pub fn processing_time(self) -> Self {
        Self(self.0.by_the_clock())
    }
}

/// One window per key, which never ends: its results are up to a [trigger](super::Trigger), without one there are none.
///
/// ```
/// use sluicegate::stream::{CountTrigger, Failure, Global, Harness, Outputs, PurgingTrigger};
///
/// # fn main() -> Result<(), Failure> {
/// let mut pairs = Harness::<String, u64, _>::new(|_, numbers| {
///     let windows = numbers.window(Global).trigger(PurgingTrigger::of(CountTrigger::of(2)));
///     Outputs::of(&windows.process("pairs", |_, _, pair, out| out.push(pair.to_vec())))
/// })?;
/// for (at, number) in [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)] {
///     pairs.record(at, "a".into(), number)?;
/// }
/// assert_eq!(pairs.outputs.take(), [(2, vec![10, 20]), (4, vec![30, 40])]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Global;

/// Windows of any kind: what [`super::super::KeyedStream::window`] takes, made from [`Tumbling`], [`Sliding`], [`Session`] or [`Global`].
/// An example is at [`Tumbling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    shape: Shape,
    domain: TimeDomain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Grid { size: i64, slide: i64, offset: i64 },
    Session { gap: i64 },
    Global,
}

impl From<Tumbling> for Windows {
    fn from(windows: Tumbling) -> Self {
        windows.0
    }
}

impl From<Sliding> for Windows {
    fn from(windows: Sliding) -> Self {
        windows.0
    }
}

impl From<Session> for Windows {
    fn from(windows: Session) -> Self {
        windows.0
    }
}

impl From<Global> for Windows {
    fn from(_: Global) -> Self {
        Self { shape: Shape::Global, domain: TimeDomain::EventTime }
    }
}

impl Windows {
    fn shifted(self, by: Duration) -> Self {
        let shape = match self.shape {
            Shape::Grid { size, slide, .. } => Shape::Grid { size, slide, offset: millis(by).rem_euclid(slide) },
            other => other,
        };
        Self { shape, ..self }
    }

    fn by_the_clock(self) -> Self {
        Self { domain: TimeDomain::ProcessingTime, ..self }
    }

    /// By which time they begin and end.
    #[must_use]
    pub fn domain(&self) -> TimeDomain {
        self.domain
    }

    /// Where they lie on a grid.
    pub(super) fn grid(&self) -> Option<Grid> {
        match self.shape {
            Shape::Grid { size, slide, offset } => Some(Grid { size, slide, offset }),
            _ => None,
        }
    }

    pub(super) fn merge(&self) -> bool {
        matches!(self.shape, Shape::Session { .. })
    }

    pub(super) fn never_end(&self) -> bool {
        self.shape == Shape::Global
    }

    /// The windows of a record with this time, by their start.
    pub(super) fn of(&self, time: Timestamp) -> SmallVec<[Window; 1]> {
        match self.shape {
            Shape::Grid { size, slide, offset } => Grid { size, slide, offset }.windows(time).collect(),
            Shape::Session { gap } => SmallVec::from_buf([Window { start: time, end: time.saturating_add(gap) }]),
            Shape::Global => SmallVec::from_buf([Window::GLOBAL]),
        }
    }
}

/// Windows that begin every `slide` ms and last `size` ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    size: i64,
    slide: i64,
    offset: i64,
}

impl Grid {
    /// The windows that `time` lies in, by their start.
    pub(super) fn windows(self, time: Timestamp) -> impl DoubleEndedIterator<Item = Window> {
        let last = time.saturating_sub(time.saturating_sub(self.offset).rem_euclid(self.slide));
        // Those that begin at `last`, `last - slide`, ... and have not ended at `time`.
        let into = time.saturating_sub(last);
        let count = if into >= self.size { 0 } else { (self.size - 1 - into) / self.slide + 1 };
        (0..count).rev().map(move |back| self.starting_at(last.saturating_sub(back.saturating_mul(self.slide))))
    }

    pub(super) fn starting_at(self, start: Timestamp) -> Window {
        Window { start, end: start.saturating_add(self.size) }
    }

    /// Whether a record may belong to several.
    pub(super) fn overlaps(self) -> bool {
        self.slide < self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(windows: impl Into<Windows>, time: Timestamp) -> Vec<Timestamp> {
        windows.into().of(time).iter().map(|window| window.start).collect()
    }

    #[test]
    fn a_record_belongs_to_every_window_that_it_lies_in() {
        let ms = Duration::from_millis;
        assert_eq!(starts(Tumbling::of(ms(10)), -1), [-10]);
        assert_eq!(starts(Tumbling::of(ms(10)).offset(ms(3)), 2), [-7]);
        assert_eq!(starts(Tumbling::of(ms(10)).offset(ms(13)), 3), [3]);
        assert_eq!(starts(Sliding::of(ms(10), ms(5)), 12), [5, 10]);
        assert_eq!(starts(Sliding::of(ms(10), ms(4)), 12), [4, 8, 12]);
        assert_eq!(starts(Sliding::of(ms(10), ms(4)), 15), [8, 12]);
        assert_eq!(starts(Sliding::of(ms(2), ms(5)), 11), [10]);
        assert!(starts(Sliding::of(ms(2), ms(5)), 12).is_empty(), "between two windows");
        assert_eq!(Windows::from(Session::with_gap(ms(7))).of(3).as_slice(), [Window { start: 3, end: 10 }]);
        // the ends of time do not overflow
        assert_eq!(Windows::from(Tumbling::of(ms(10))).of(Timestamp::MAX).len(), 1);
        assert_eq!(starts(Sliding::of(ms(10), ms(5)), Timestamp::MIN).len(), 2);
    }
}
