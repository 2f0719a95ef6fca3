//! One value per key, into which values of the same type are reduced.

use super::{State, StateHandle, entries::Entries};
use crate::engine::Halt;
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue};
use crate::stream::operator::OperatorContext;
use std::sync::Arc;

/// Brings a value into the one that is there.
pub(in crate::stream) type Reduce<V> = Arc<dyn Fn(&mut V, V) + Send + Sync>;

/// One value per key: the first that was added, into which the function of the declaration has brought every later one.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, Outputs, ReducingState, Timestamp};
///
/// // The highest value of each key so far: 3, 5, 4 becomes 3, 5, 5.
/// struct Highest {
///     highest: ReducingState<String, u64>,
/// }
///
/// impl KeyedProcess<String, u64> for Highest {
///     type Out = u64;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: u64, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         self.highest.add(key, value)?;
///         self.highest.get(key)?.map_or(Ok(()), |highest| out.push(highest))
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut highest = Harness::<String, u64, _>::new(|_, values| {
///     Outputs::of(&values.process("highest", |declare| {
///         let highest = declare.reducing::<String, u64>("highest", |highest, value| *highest = value.max(*highest));
///         move |context: &mut OperatorContext<'_, '_>| Ok(Highest { highest: context.state(&highest)? })
///     }))
/// })?;
/// [3, 5, 4].into_iter().try_for_each(|value| highest.record(0, "key".into(), value))?;
/// assert_eq!(highest.outputs.take(), [(0, 3), (0, 5), (0, 5)]);
/// # Ok(())
/// # }
/// ```
pub struct ReducingState<K, V> {
    entries: Entries<K, V>,
    reduce: Reduce<V>,
}

impl<K: StateKey, V: StateValue> State for ReducingState<K, V> {
    type Given = Reduce<V>;

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        Ok(Self { entries: Entries::open(context, handle)?, reduce: Arc::clone(&handle.given) })
    }
}

impl<K: StateKey, V: StateValue> ReducingState<K, V> {
    /// Adds a value to that of `key`.
    pub fn add(&self, key: &Key<K>, value: V) -> Result<(), Halt> {
        self.entries.merge(key, value, |there, value| (self.reduce)(there, value))
    }

    /// Reads the value of `key`.
    pub fn read<R>(&self, key: &Key<K>, read: impl FnOnce(Option<&V>) -> R) -> Result<R, Halt> {
        self.entries.read(key, read)
    }

    /// A copy of the value of `key`.
    pub fn get(&self, key: &Key<K>) -> Result<Option<V>, Halt>
    where
        V: Clone,
    {
        self.read(key, |value| value.cloned())
    }

    /// Forgets what was added for `key`.
    pub fn clear(&self, key: &Key<K>) -> Result<(), Halt> {
        self.entries.remove(key).map(|_| ())
    }
}
