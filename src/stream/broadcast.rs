//! A stream whose records reach every task, beside one by key.

use super::{
    app::{KeyedStream, Stream, shared},
    connect::Side,
    declare::Declare,
    operator::{Emit, KeyedProcess, OperatorContext},
    timer::Timer,
};
use crate::engine::{
    Halt, Timestamp,
    exchange::{Broadcast, KeyBy},
};
use crate::protocol::Failure;
use crate::state::{Key, StateKey};
use serde_json::Value;

/// A stream and one that is broadcast to it, made by [`Stream::connect_broadcast`], before the first one has a key.
/// An example is at [`KeyedBroadcastStream`].
pub struct BroadcastConnectedStream<T, B> {
    records: Stream<T>,
    broadcast: Stream<B>,
}

impl<T: Clone + Send + 'static> Stream<T> {
    /// This stream, and `broadcast`, each of whose records every task gets: rules, limits, prices for all keys. What is to be remembered of
    /// them lies in a [`super::BroadcastState`].
    #[must_use]
    pub fn connect_broadcast<B: Clone + Send + 'static>(&self, broadcast: &Stream<B>) -> BroadcastConnectedStream<T, B> {
        BroadcastConnectedStream { records: self.clone(), broadcast: broadcast.clone() }
    }
}

impl<T: Clone + Send + 'static, B: Clone + Send + 'static> BroadcastConnectedStream<T, B> {
    /// Sends each record of the first stream to the task that owns its key, and each of the other one to all tasks. Event time there is the
    /// minimum of the two. (A record that is broadcast travels under the default key, which no operator sees.)
    pub fn key_by<K: StateKey + Default>(
        &self,
        select: impl Fn(&T) -> K + Clone + Send + Sync + 'static,
    ) -> KeyedBroadcastStream<K, T, B> {
        let keyed = KeyedStream::behind(&self.records.app);
        let select = move |side: &Side<T, B>| match side {
            Side::First(value) => select(value),
            Side::Second(_) => K::default(),
        };
        keyed.takes(&self.records.map(Side::First), move |port, groups| shared(KeyBy::new(port, select.clone(), groups)));
        keyed.takes(&self.broadcast, |port, _| shared(Broadcast::new(port, Side::Second)));
        KeyedBroadcastStream { keyed }
    }
}

/// An operator that sees the records of one stream with their keys, and, in every task, all those of another one: as [`KeyedProcess`]
/// otherwise.
///
/// Every task must make the same of a broadcast record, so that their broadcast states stay the same. Where that stream comes from several
/// tasks, theirs may arrive in another order in each.
/// An example is at [`KeyedBroadcastStream`].
pub trait KeyedBroadcastProcess<K, T, B>: 'static {
    /// Records of the output.
    type Out: 'static;

    /// Takes one record of the keyed stream.
    fn process(&mut self, key: &Key<K>, timestamp: Timestamp, value: T, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt>;

    /// Takes one record that every task takes. What it emits is emitted by each of them.
    fn process_broadcast(&mut self, timestamp: Timestamp, value: B, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt>;

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

/// Runs such an operator as one of one stream.
struct WithBroadcast<P>(P);

impl<K, T, B, P: KeyedBroadcastProcess<K, T, B>> KeyedProcess<K, Side<T, B>> for WithBroadcast<P> {
    type Out = P::Out;

    fn process(&mut self, key: &Key<K>, at: Timestamp, value: Side<T, B>, out: &mut Emit<'_, P::Out>) -> Result<(), Halt> {
        match value {
            Side::First(value) => self.0.process(key, at, value, out),
            Side::Second(value) => self.0.process_broadcast(at, value, out),
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

/// A keyed stream with one that is broadcast to all of its tasks.
///
/// ```
/// use sluicegate::stream::{
///     BroadcastState, Emit, Failure, Halt, Harness, Key, KeyedBroadcastProcess, KeyedBroadcastStream, OperatorContext, Outputs, Side,
///     Timestamp,
/// };
///
/// /// Lets pass what is within the limit, which may change while the job runs.
/// struct Limited(BroadcastState<String, u64>);
///
/// impl KeyedBroadcastProcess<String, u64, u64> for Limited {
///     type Out = u64;
///     fn process(&mut self, _: &Key<String>, _: Timestamp, value: u64, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         let within = self.0.read(&"limit".to_owned(), |limit| limit.is_none_or(|limit| value <= *limit));
///         if within { out.push(value) } else { Ok(()) }
///     }
///     fn process_broadcast(&mut self, _: Timestamp, limit: u64, _: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         self.0.put("limit".to_owned(), limit);
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// // In a job: values.connect_broadcast(&limits).key_by(|value| ..)
/// let mut limited = Harness::<String, Side<u64, u64>, _>::new(|_, both| {
///     Outputs::of(&KeyedBroadcastStream::of(both).process("limited", |declare| {
///         let limits = declare.broadcast("limits");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Limited(context.state(&limits)?))
///     }))
/// })?;
/// limited.record(1, "a".into(), Side::First(70))?;
/// limited.record(2, "".into(), Side::Second(50))?;
/// limited.record(3, "a".into(), Side::First(70))?;
/// limited.record(4, "b".into(), Side::First(40))?;
/// assert_eq!(limited.outputs.take(), [(1, 70), (4, 40)]);
/// # Ok(())
/// # }
/// ```
pub struct KeyedBroadcastStream<K, T, B> {
    keyed: KeyedStream<K, Side<T, B>>,
}

impl<K: StateKey, T: Clone + Send + 'static, B: Clone + Send + 'static> KeyedBroadcastStream<K, T, B> {
    /// The two streams that are one already: in a [`super::Harness`], whose one task is all tasks.
    #[must_use]
    pub fn of(keyed: &KeyedStream<K, Side<T, B>>) -> Self {
        Self { keyed: keyed.clone() }
    }

    /// Runs an operator for both, as [`KeyedStream::process`].
    pub fn process<P, F>(&self, name: &str, declare: impl FnOnce(&mut Declare) -> F) -> Stream<P::Out>
    where
        P: KeyedBroadcastProcess<K, T, B>,
        P::Out: Clone + Send,
        F: Fn(&mut OperatorContext<'_, '_>) -> Result<P, Failure> + Send + Sync + 'static,
    {
        self.keyed.process(name, |declared| {
            let make = declare(declared);
            move |context: &mut OperatorContext<'_, '_>| make(context).map(WithBroadcast)
        })
    }
}
