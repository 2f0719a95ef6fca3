//! One value per key.

use super::{State, StateHandle, entries::Entries};
use crate::engine::Halt;
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue};
use crate::stream::operator::OperatorContext;

/// One value per key. Reads and writes go to the task's table; RocksDB sees a value at most once per checkpoint.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Outputs, Timestamp, ValueState};
///
/// // Numbers the records of each key: a, a, b becomes 1, 2, 1.
/// struct Number {
///     count: ValueState<String, u64>,
/// }
///
/// impl KeyedProcess<String, String> for Number {
///     type Out = u64;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, _: String, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         let number = self.count.update(key, || 0, |count| {
///             *count += 1;
///             *count
///         })?;
///         out.push(number)
///     }
/// }
/// # fn main() -> Result<(), Failure> {
/// let mut numbers = Harness::<String, String, _>::new(|_, records| {
///     Outputs::of(&records.process("number", |declare| {
///         let count = declare.value("count");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Number { count: context.state(&count)? })
///     }))
/// })?;
/// ["a", "a", "b"].into_iter().try_for_each(|key| numbers.record(0, key.into(), String::new()))?;
/// assert_eq!(numbers.outputs.take(), [(0, 1), (0, 2), (0, 1)]);
/// # Ok(())
/// # }
/// ```
pub struct ValueState<K, V> {
    entries: Entries<K, V>,
}

impl<K: StateKey, V: StateValue> State for ValueState<K, V> {
    type Given = ();

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        Ok(Self { entries: Entries::open(context, handle)? })
    }
}

impl<K: StateKey, V: StateValue> ValueState<K, V> {
    /// Reads the value of `key`.
    #[inline]
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

    /// Changes the value of `key`; `default` makes it where there is none.
    #[inline]
    pub fn update<R>(&self, key: &Key<K>, default: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> R) -> Result<R, Halt> {
        self.entries.update(key, default, change)
    }

    /// Sets the value of `key`.
    pub fn put(&self, key: &Key<K>, value: V) -> Result<(), Halt> {
        self.entries.put(key, value)
    }

    /// Removes the value of `key`; whether there was one.
    pub fn remove(&self, key: &Key<K>) -> Result<bool, Halt> {
        self.entries.remove(key)
    }

    /// Every (key, value) of this task's key groups whose encoded key begins with `prefix`.
    pub fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&K, &V) -> Result<(), Halt>) -> Result<(), Halt> {
        self.entries.scan(prefix, each)
    }

    /// As [`ValueState::scan`], and removes what it gives.
    pub fn drain(&self, prefix: &[u8], each: &mut dyn FnMut(&K, &V) -> Result<(), Halt>) -> Result<(), Halt> {
        self.entries.drain(prefix, each)
    }
}
