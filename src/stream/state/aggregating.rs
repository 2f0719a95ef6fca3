//! One accumulator per key.

use super::{State, StateHandle, entries::Entries};
use crate::engine::Halt;
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue};
use crate::stream::operator::OperatorContext;

/// What an [`AggregatingState`] adds up to.
/// An example is at [`AggregatingState`].
pub trait Accumulate: Clone + Send + Sync + 'static {
    /// What is added.
    type In;
    /// What is kept.
    type Accumulator: StateValue;
    /// What comes out.
    type Out;
    /// Nothing added yet.
    fn create(&self) -> Self::Accumulator;
    /// Adds one value.
    fn add(&self, accumulator: &mut Self::Accumulator, value: Self::In);
    /// What was added so far amounts to.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// One accumulator per key, to which values of another type are added, and which is read as a third one.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sluicegate::stream::{Accumulate, AggregatingState, Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Outputs, StateValue, Timestamp};
///
/// // The mean of each key's values so far: 3, 5, 7 becomes 3, 4, 5.
/// #[derive(Serialize, Deserialize)]
/// struct Sum {
///     sum: u64,
///     count: u64,
/// }
/// impl StateValue for Sum {}
///
/// #[derive(Clone)]
/// struct Mean;
///
/// impl Accumulate for Mean {
///     type In = u64;
///     type Accumulator = Sum;
///     type Out = u64;
///     fn create(&self) -> Sum {
///         Sum { sum: 0, count: 0 }
///     }
///     fn add(&self, sum: &mut Sum, value: u64) {
///         sum.sum += value;
///         sum.count += 1;
///     }
///     fn result(&self, sum: &Sum) -> u64 {
///         sum.sum / sum.count
///     }
/// }
///
/// struct Means {
///     mean: AggregatingState<String, Mean>,
/// }
///
/// impl KeyedProcess<String, u64> for Means {
///     type Out = u64;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: u64, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         self.mean.add(key, value)?;
///         self.mean.get(key)?.map_or(Ok(()), |mean| out.push(mean))
///     }
/// }
/// # fn main() -> Result<(), Failure> {
/// let mut means = Harness::<String, u64, _>::new(|_, values| {
///     Outputs::of(&values.process("means", |declare| {
///         let mean = declare.aggregating::<String, Mean>("mean", Mean);
///         move |context: &mut OperatorContext<'_, '_>| Ok(Means { mean: context.state(&mean)? })
///     }))
/// })?;
/// [3, 5, 7].into_iter().try_for_each(|value| means.record(0, "key".into(), value))?;
/// assert_eq!(means.outputs.take(), [(0, 3), (0, 4), (0, 5)]);
/// # Ok(())
/// # }
/// ```
pub struct AggregatingState<K, A: Accumulate> {
    entries: Entries<K, A::Accumulator>,
    aggregate: A,
}

impl<K: StateKey, A: Accumulate> State for AggregatingState<K, A> {
    type Given = A;

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        Ok(Self { entries: Entries::open(context, handle)?, aggregate: handle.given.clone() })
    }
}

impl<K: StateKey, A: Accumulate> AggregatingState<K, A> {
    /// Adds a value to the accumulator of `key`.
    pub fn add(&self, key: &Key<K>, value: A::In) -> Result<(), Halt> {
        self.entries.update(key, || self.aggregate.create(), |accumulator| self.aggregate.add(accumulator, value))
    }

    /// The result for `key`; none where nothing was added.
    pub fn get(&self, key: &Key<K>) -> Result<Option<A::Out>, Halt> {
        self.entries.read(key, |accumulator| accumulator.map(|accumulator| self.aggregate.result(accumulator)))
    }

    /// Forgets what was added for `key`.
    pub fn clear(&self, key: &Key<K>) -> Result<(), Halt> {
        self.entries.remove(key).map(|_| ())
    }
}
