//! Several streams as one.

use super::{
    app::{KeyedStream, Stream, key_all},
    connect::{ConnectedStreams, Side},
    operator::Emit,
};
use crate::engine::{Halt, output::RecordWriter};
use crate::state::StateKey;

/// Records of several streams of one type. Nothing is said of the order between two of them. Event time behind the next `key_by` is the minimum
/// of theirs; one that is idle does not hold it back.
///
/// ```
/// use sluicegate::stream::{App, Decode, Failure, RawRecord, Timestamp, Undecodable};
///
/// /// Takes the text as it is.
/// struct Text;
///
/// impl Decode for Text {
///     type Out = String;
///     fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, String), Undecodable> {
///         let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
///         Ok((record.timestamp.unwrap_or_default(), text))
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let app = App::new();
/// let (web, _) = app.source("web", "web-orders", || Text);
/// let (shop, _) = app.source("shop", "shop-orders", || Text);
/// // web-orders: a, b; shop-orders: a; becomes orders: 1, 2, 1 or 1, 1, 2
/// let orders = web.union(&shop).key_by(|order| order.clone());
/// orders.sum("counts", |_| 1_u64).values().sink("orders", |count, record| {
///     record.value().extend_from_slice(count.to_string().as_bytes());
/// });
/// let plan = app.into_plan()?;
/// assert_eq!(plan.edges.len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct UnionStream<T> {
    parts: Vec<Stream<T>>,
}

impl<T> Clone for UnionStream<T> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone() }
    }
}

impl<T: Clone + Send + 'static> Stream<T> {
    /// The records of both.
    /// ```
    /// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution}};
    ///
    /// # fn main() -> Result<(), sluicegate::stream::Failure> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let (app, output) = (App::new(), Collected::new());
    /// let numbers = app.read("numbers", Collection::of(1..=6));
    /// let (even, large) = (numbers.filter(|number| number % 2 == 0), numbers.filter(|number| *number > 4));
    /// even.union(&large).key_by(|number| *number as u64).sum("times", |_| 1_u64).values().write_lines("times", output.clone());
    /// Execution::new("union", folder.path()).run(app)?;
    /// // 2, 4, 6 and 5, 6: the 6 is there twice.
    /// let mut times = output.lines();
    /// times.sort();
    /// assert_eq!(times, ["1", "1", "1", "1", "2"]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn union(&self, other: &Stream<T>) -> UnionStream<T> {
        UnionStream { parts: vec![self.clone(), other.clone()] }
    }

    /// Both, for operators that treat them differently and share state: see [`ConnectedStreams`].
    #[must_use]
    pub fn connect<U: Clone + Send + 'static>(&self, other: &Stream<U>) -> ConnectedStreams<T, U> {
        ConnectedStreams::of(self.map(Side::First).union(&other.map(Side::Second)))
    }
}

impl<T: Clone + Send + 'static> UnionStream<T> {
    /// One more.
    #[must_use]
    pub fn union(mut self, other: &Stream<T>) -> Self {
        self.parts.push(other.clone());
        self
    }

    /// Sends each record to the task that owns its key.
    pub fn key_by<K: StateKey>(&self, select: impl Fn(&T) -> K + Clone + Send + Sync + 'static) -> KeyedStream<K, T> {
        key_all(&self.parts, select)
    }

    /// Keeps the records for which `keep` says yes.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&T) -> bool + Clone + Send + Sync + 'static) -> Self {
        Self { parts: self.parts.iter().map(|part| part.filter(keep.clone())).collect() }
    }

    /// One record for each.
    pub fn map<U: Clone + Send + 'static>(&self, map: impl Fn(T) -> U + Clone + Send + Sync + 'static) -> UnionStream<U> {
        UnionStream { parts: self.parts.iter().map(|part| part.map(map.clone())).collect() }
    }

    /// Any number of records for each.
    pub fn flat_map<U: Clone + Send + 'static>(
        &self,
        map: impl Fn(T, &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    ) -> UnionStream<U> {
        UnionStream { parts: self.parts.iter().map(|part| part.flat_map(map.clone())).collect() }
    }

    /// Writes each record to `topic`, as [`Stream::sink`].
    pub fn sink(&self, topic: &str, encode: impl Fn(&T, &mut RecordWriter<'_>) + Clone + Send + Sync + 'static) {
        self.parts.iter().for_each(|part| part.sink(topic, encode.clone()));
    }
}
