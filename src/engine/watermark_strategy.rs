//! How a source comes by its watermarks.

use super::{
    alignment::Aligned,
    message::{MIN_WATERMARK, Timestamp},
    source::{Decode, RawRecord, Undecodable},
};
use std::{fmt, sync::Arc, time::Duration};

/// Makes the watermarks of one partition out of its records. Each partition of each source task has one of its own; the watermark of the
/// task is the smallest of those that are not idle. It begins anew with each attempt.
pub trait WatermarkGenerator<T>: 'static {
    /// A record of the partition was read.
    fn on_event(&mut self, event: &T, timestamp: Timestamp, output: &mut WatermarkOutput);

    /// Called after each round of reading: every few milliseconds, also while there is nothing to read.
    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        let _ = output;
    }
}

/// Where a [`WatermarkGenerator`] says how far event time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkOutput {
    pub(super) watermark: Timestamp,
    pub(super) idle: bool,
}

impl Default for WatermarkOutput {
    fn default() -> Self {
        Self { watermark: MIN_WATERMARK, idle: false }
    }
}

impl WatermarkOutput {
    /// No record with this timestamp (in ms) or an older one is expected any more. A watermark never goes back: an older one than before
    /// changes nothing. The partition is active again if it was idle.
    pub fn emit_watermark(&mut self, watermark: Timestamp) {
        self.watermark = self.watermark.max(watermark);
        self.idle = false;
    }

    /// The partition does not hold event time back, until the next watermark.
    pub fn mark_idle(&mut self) {
        self.idle = true;
    }

    /// The partition holds event time back again.
    pub fn mark_active(&mut self) {
        self.idle = false;
    }
}

pub(super) type MakeGenerator<T> = Arc<dyn Fn() -> Box<dyn WatermarkGenerator<T>> + Send + Sync>;

/// Where watermarks come from.
pub(super) enum Watermarks<T> {
    /// The largest timestamp minus what the settings say.
    Settings,
    /// The largest timestamp minus this, in ms.
    Behind(i64),
    /// Nowhere: event time does not move until the input has ended.
    Never,
    /// A generator for each partition.
    Generated(MakeGenerator<T>),
}

impl<T> Clone for Watermarks<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Settings => Self::Settings,
            Self::Behind(by) => Self::Behind(*by),
            Self::Never => Self::Never,
            Self::Generated(make) => Self::Generated(Arc::clone(make)),
        }
    }
}

/// How a source comes by its watermarks, when a partition of it counts as idle, and for which other sources it waits. Timestamps are the
/// decoder's; a watermark is made for each partition, and the smallest one counts.
///
/// ```
/// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution, Source, WatermarkStrategy}};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), sluicegate::stream::Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5))
///     .with_idleness(Duration::from_secs(60))
///     .with_watermark_alignment("orders", Duration::from_secs(30));
/// let orders = Collection::of([("a", 1_000), ("b", 2_000)]).timestamps(|(_, at)| *at).with_watermarks(strategy);
/// let (app, output) = (App::new(), Collected::new());
/// app.read("orders", orders).map(|(id, _)| id).write_lines("out", output.clone());
/// Execution::new("orders", folder.path()).run(app)?;
/// assert_eq!(output.lines(), ["a", "b"]);
/// # Ok(())
/// # }
/// ```
pub struct WatermarkStrategy<T> {
    pub(super) watermarks: Watermarks<T>,
    /// None: as the settings say.
    pub(super) idleness: Option<Duration>,
    pub(super) aligned: Option<Aligned>,
}

impl<T> Clone for WatermarkStrategy<T> {
    fn clone(&self) -> Self {
        Self { watermarks: self.watermarks.clone(), idleness: self.idleness, aligned: self.aligned.clone() }
    }
}

impl<T> fmt::Debug for WatermarkStrategy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watermarks = match &self.watermarks {
            Watermarks::Settings => "as the settings say".to_owned(),
            Watermarks::Behind(by) => format!("{by} ms behind"),
            Watermarks::Never => "none".to_owned(),
            Watermarks::Generated(_) => "generated".to_owned(),
        };
        let mut text = f.debug_struct("WatermarkStrategy");
        text.field("watermarks", &watermarks).field("idleness", &self.idleness).field("aligned", &self.aligned).finish()
    }
}

impl<T> WatermarkStrategy<T> {
    fn of(watermarks: Watermarks<T>) -> Self {
        Self { watermarks, idleness: None, aligned: None }
    }

    /// As `source.max_out_of_orderness` says: what a source does that is told nothing else.
    #[must_use]
    pub fn from_settings() -> Self {
        Self::of(Watermarks::Settings)
    }

    /// Timestamps of a partition never go back; several records may have the same one.
    #[must_use]
    pub fn for_monotonous_timestamps() -> Self {
        Self::for_bounded_out_of_orderness(Duration::ZERO)
    }

    /// A record is on time if its timestamp is not older than the partition's newest by more than `by`.
    #[must_use]
    pub fn for_bounded_out_of_orderness(by: Duration) -> Self {
        // One more: a watermark says that nothing *at* it will come.
        Self::of(Watermarks::Behind(i64::try_from(by.as_millis()).unwrap_or(i64::MAX).saturating_add(1)))
    }

    /// An own generator for each partition.
    ///
    /// ```
    /// use sluicegate::stream::{Timestamp, WatermarkGenerator, WatermarkOutput, WatermarkStrategy};
    ///
    /// /// A record says itself that nothing older will come.
    /// struct Punctuated;
    ///
    /// impl WatermarkGenerator<(bool, String)> for Punctuated {
    ///     fn on_event(&mut self, (complete, _): &(bool, String), timestamp: Timestamp, output: &mut WatermarkOutput) {
    ///         if *complete {
    ///             output.emit_watermark(timestamp);
    ///         }
    ///     }
    /// }
    ///
    /// let strategy = WatermarkStrategy::for_generator(|| Punctuated);
    /// ```
    #[must_use]
    pub fn for_generator<G: WatermarkGenerator<T>>(make: impl Fn() -> G + Send + Sync + 'static) -> Self {
        Self::of(Watermarks::Generated(Arc::new(move || Box::new(make()))))
    }

    /// No watermarks: event time moves when the input has ended, and not before.
    #[must_use]
    pub fn no_watermarks() -> Self {
        Self::of(Watermarks::Never)
    }

    /// A partition with nothing to read for so long does not hold event time back, instead of what `source.idle_timeout` says.
    #[must_use]
    pub fn with_idleness(mut self, timeout: Duration) -> Self {
        self.idleness = Some(timeout);
        self
    }

    /// Each task of the source waits as long as its event time is more than `max_drift` ahead of the slowest task of all sources of the same
    /// group: what the faster ones have read meanwhile would only lie in the state of joins and windows. It gets ahead by up to one round
    /// of reading, 1024 records. Nobody waits for a task that is idle, or whose input has ended.
    #[must_use]
    pub fn with_watermark_alignment(mut self, group: &str, max_drift: Duration) -> Self {
        self.aligned = Some(Aligned { group: group.to_owned(), max_drift });
        self
    }
}

/// A decoder with a [`WatermarkStrategy`].
pub struct WithWatermarks<D: Decode> {
    decoder: D,
    strategy: WatermarkStrategy<D::Out>,
}

impl<D: Decode> WithWatermarks<D> {
    pub(super) fn of(decoder: D, strategy: WatermarkStrategy<D::Out>) -> Self {
        Self { decoder, strategy }
    }
}

impl<D: Decode> Decode for WithWatermarks<D> {
    type Out = D::Out;

    #[inline]
    fn is_ready(&mut self, record: &RawRecord<'_>) -> bool {
        self.decoder.is_ready(record)
    }

    #[inline]
    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, D::Out), Undecodable> {
        self.decoder.decode(record)
    }

    fn watermarks(&self) -> WatermarkStrategy<D::Out> {
        self.strategy.clone()
    }
}
