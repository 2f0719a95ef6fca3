//! Two streams of different types in one operator.

use super::{
    app::{KeyedStream, Stream},
    declare::Declare,
    operator::{Emit, KeyedProcess, OperatorContext},
    timer::Timer,
    union::UnionStream,
    window::{Trigger, WindowContext, WindowedStream, Windows},
};
use crate::engine::{Halt, Timestamp};
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A record of one of two streams.
/// An example is at [`ConnectedKeyedStreams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side<A, B> {
    /// Of the first one.
    First(A),
    /// Of the second one.
    Second(B),
}

impl<A: StateValue, B: StateValue> StateValue for Side<A, B> {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::First(value) => value.heap_bytes(),
            Self::Second(value) => value.heap_bytes(),
        }
    }
}

/// Two streams, made by [`Stream::connect`], before they have a key.
/// An example is at [`ConnectedKeyedStreams`].
pub struct ConnectedStreams<A, B> {
    both: UnionStream<Side<A, B>>,
}

impl<A: Clone + Send + 'static, B: Clone + Send + 'static> ConnectedStreams<A, B> {
    pub(super) fn of(both: UnionStream<Side<A, B>>) -> Self {
        Self { both }
    }

    /// Sends the records of both to the tasks that own their keys. Event time there is the minimum of the two.
    pub fn key_by<K: StateKey>(
        &self,
        first: impl Fn(&A) -> K + Clone + Send + Sync + 'static,
        second: impl Fn(&B) -> K + Clone + Send + Sync + 'static,
    ) -> ConnectedKeyedStreams<K, A, B> {
        let keyed = self.both.key_by(move |side| match side {
            Side::First(value) => first(value),
            Side::Second(value) => second(value),
        });
        ConnectedKeyedStreams { keyed }
    }
}

/// An operator that sees the records of two streams with their keys, and has one state for both: as [`KeyedProcess`] otherwise.
/// An example is at [`ConnectedKeyedStreams`].
pub trait KeyedCoProcess<K, A, B>: 'static {
    /// Records of the main output.
    type Out: 'static;

    /// Takes one record of the first stream.
    fn process1(&mut self, key: &Key<K>, timestamp: Timestamp, value: A, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt>;

    /// Takes one record of the second stream.
    fn process2(&mut self, key: &Key<K>, timestamp: Timestamp, value: B, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt>;

    /// A timer is due, see [`KeyedProcess::on_timer`].
    fn on_timer(&mut self, key: &Key<K>, timer: Timer, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = (key, timer, out);
        Ok(())
    }

    /// Event time of both has reached `watermark`.
    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = (watermark, out);
        Ok(())
    }

    /// No record will follow: give out what is held back.
    fn on_end(&mut self, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = out;
        Ok(())
    }

    /// Elements without a name, see [`KeyedProcess::snapshot`].
    fn snapshot(&mut self) -> Result<Vec<Value>, Halt> {
        Ok(Vec::new())
    }
}

/// Runs such an operator as one of the one stream of both.
struct Both<P>(P);

impl<K, A, B, P: KeyedCoProcess<K, A, B>> KeyedProcess<K, Side<A, B>> for Both<P> {
    type Out = P::Out;

    fn process(&mut self, key: &Key<K>, at: Timestamp, value: Side<A, B>, out: &mut Emit<'_, P::Out>) -> Result<(), Halt> {
        match value {
            Side::First(value) => self.0.process1(key, at, value, out),
            Side::Second(value) => self.0.process2(key, at, value, out),
        }
    }
    fn on_timer(&mut self, key: &Key<K>, timer: Timer, out: &mut Emit<'_, P::Out>) -> Result<(), Halt> {
        self.0.on_timer(key, timer, out)
    }
    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Emit<'_, P::Out>) -> Result<(), Halt> {
        self.0.on_watermark(watermark, out)
    }
    fn on_end(&mut self, out: &mut Emit<'_, P::Out>) -> Result<(), Halt> {
        self.0.on_end(out)
    }
    fn snapshot(&mut self) -> Result<Vec<Value>, Halt> {
        self.0.snapshot()
    }
}

/// Two streams whose records have been sent to the owners of their keys.
///
/// ```
/// use sluicegate::stream::{
///     ConnectedKeyedStreams, Emit, Failure, Halt, Harness, Key, KeyedCoProcess, OperatorContext, Outputs, Side, Timestamp, ValueState,
/// };
///
/// /// Prices of products, and orders, which are given out with the last price.
/// struct Priced(ValueState<String, u64>);
///
/// impl KeyedCoProcess<String, u64, String> for Priced {
///     type Out = String;
///     fn process1(&mut self, product: &Key<String>, _: Timestamp, price: u64, _: &mut Emit<'_, String>) -> Result<(), Halt> {
///         self.0.put(product, price)
///     }
///     fn process2(&mut self, product: &Key<String>, _: Timestamp, order: String, out: &mut Emit<'_, String>) -> Result<(), Halt> {
///         match self.0.get(product)? {
///             Some(price) => out.push(format!("{order}: {price}")),
///             None => Ok(()),
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// // In a job: prices.connect(&orders).key_by(|price| .., |order| ..)
/// let mut priced = Harness::<String, Side<u64, String>, _>::new(|_, both| {
///     let both = ConnectedKeyedStreams::of(both);
///     Outputs::of(&both.process("priced", |declare| {
///         let price = declare.value("price");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Priced(context.state(&price)?))
///     }))
/// })?;
/// priced.record(1, "lamp".into(), Side::First(30))?;
/// priced.record(2, "lamp".into(), Side::Second("O-1".into()))?;
/// priced.record(3, "book".into(), Side::Second("O-2".into()))?;
/// assert_eq!(priced.outputs.take(), [(2, "O-1: 30".into())]);
/// # Ok(())
/// # }
/// ```
pub struct ConnectedKeyedStreams<K, A, B> {
    keyed: KeyedStream<K, Side<A, B>>,
}

impl<K: StateKey, A: Clone + Send + 'static, B: Clone + Send + 'static> ConnectedKeyedStreams<K, A, B> {
    /// The two streams that are one already.
    #[must_use]
    pub fn of(keyed: &KeyedStream<K, Side<A, B>>) -> Self {
        Self { keyed: keyed.clone() }
    }

    /// Runs an operator with keyed state for both, as [`KeyedStream::process`].
    pub fn process<P, F>(&self, name: &str, declare: impl FnOnce(&mut Declare) -> F) -> Stream<P::Out>
    where
        P: KeyedCoProcess<K, A, B>,
        P::Out: Clone + Send,
        F: Fn(&mut OperatorContext<'_, '_>) -> Result<P, Failure> + Send + Sync + 'static,
    {
        self.keyed.process(name, |declared| {
            let make = declare(declared);
            move |context: &mut OperatorContext<'_, '_>| make(context).map(Both)
        })
    }

    /// As [`ConnectedKeyedStreams::process`], for operators whose outputs keep the key of their input.
    pub fn process_keyed<P, F>(&self, name: &str, declare: impl FnOnce(&mut Declare) -> F) -> KeyedStream<K, P::Out>
    where
        P: KeyedCoProcess<K, A, B>,
        P::Out: Clone + Send,
        F: Fn(&mut OperatorContext<'_, '_>) -> Result<P, Failure> + Send + Sync + 'static,
    {
        self.keyed.process_keyed(name, |declared| {
            let make = declare(declared);
            move |context: &mut OperatorContext<'_, '_>| make(context).map(Both)
        })
    }

    /// Puts the records of both into the same windows, as [`KeyedStream::window`]; [`WindowedStream::join`] and
    /// [`WindowedStream::co_group`] bring them together.
    pub fn window(&self, windows: impl Into<Windows>) -> WindowedStream<K, Side<A, B>> {
        self.keyed.window(windows)
    }
}

impl<K, A, B, G> WindowedStream<K, Side<A, B>, G>
where
    K: StateKey,
    A: StateValue + Clone,
    B: StateValue + Clone,
    G: Trigger<Side<A, B>>,
{
    /// Emits what `join` makes of each pair of records, one of each stream, that lie in the same window of the same key.
    ///
    /// ```
    /// use sluicegate::stream::{ConnectedKeyedStreams, Failure, Harness, Outputs, Side, Tumbling};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut pairs = Harness::<String, Side<u64, String>, _>::new(|_, both| {
    ///     let windows = ConnectedKeyedStreams::of(both).window(Tumbling::of(Duration::from_secs(1)));
    ///     Outputs::of(&windows.join("pairs", |number, text| format!("{number}{text}")))
    /// })?;
    /// pairs.record(100, "k".into(), Side::First(1))?;
    /// pairs.record(200, "k".into(), Side::Second("a".into()))?;
    /// pairs.record(300, "k".into(), Side::First(2))?;
    /// pairs.record(1_300, "k".into(), Side::First(3))?; // alone
    /// pairs.watermark(2_000)?;
    /// assert_eq!(pairs.outputs.take(), [(999, "1a".into()), (999, "2a".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn join<U: Clone + Send + 'static>(
        self,
        name: &str,
        join: impl Fn(&A, &B) -> U + Clone + Send + Sync + 'static,
    ) -> Stream<U> {
        self.co_group(name, move |_, _, first, second, out| {
            first.iter().try_for_each(|a| second.iter().try_for_each(|b| out.push(join(a, b))))
        })
    }

    /// Gives a window's records of the first stream and those of the second one to `process`; either may be empty.
    ///
    /// ```
    /// use sluicegate::stream::{ConnectedKeyedStreams, Failure, Harness, Outputs, Side, Tumbling};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut counts = Harness::<String, Side<u64, String>, _>::new(|_, both| {
    ///     let windows = ConnectedKeyedStreams::of(both).window(Tumbling::of(Duration::from_secs(1)));
    ///     Outputs::of(&windows.co_group("counts", |key, _, numbers, texts, out| {
    ///         out.push(format!("{key}: {} and {}", numbers.len(), texts.len()))
    ///     }))
    /// })?;
    /// counts.record(100, "k".into(), Side::First(1))?;
    /// counts.record(1_200, "k".into(), Side::Second("a".into()))?;
    /// counts.watermark(2_000)?;
    /// assert_eq!(counts.outputs.take(), [(999, "k: 1 and 0".into()), (1_999, "k: 0 and 1".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn co_group<U, P>(self, name: &str, process: P) -> Stream<U>
    where
        U: Clone + Send + 'static,
        P: Fn(&K, &WindowContext, &[&A], &[&B], &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    {
        self.process(name, move |key, context, records, out| {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for record in records {
                match record {
                    Side::First(value) => first.push(value),
                    Side::Second(value) => second.push(value),
                }
            }
            process(key, context, &first, &second, out)
        })
    }
}
