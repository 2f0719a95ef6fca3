//! A map that is the same on every subtask.

use super::{State, StateHandle};
use crate::engine::snapshot::{ElementKind, NamedElement};
use crate::protocol::Failure;
use crate::stream::{held::Kept, operator::OperatorContext};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// A map that is the same on every subtask, such as rules that apply to all keys. It lies once in the manifest of each checkpoint, and every
/// subtask restores all of it, whatever the parallelism. That it is the same is up to the operator: it changes the map only by what reaches
/// every subtask in the same order.
///
/// ```
/// use sluicegate::stream::{BroadcastState, Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, Outputs, Timestamp};
///
/// // Begins with the limits that the job is started with, unless a checkpoint has others, and lets pass what is within them.
/// struct Limits {
///     limits: BroadcastState<String, u64>,
/// }
///
/// impl KeyedProcess<String, u64> for Limits {
///     type Out = u64;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: u64, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         let within = self.limits.read(&key.value, |limit| limit.is_none_or(|limit| value <= *limit));
///         if within { out.push(value) } else { Ok(()) }
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut within = Harness::<String, u64, _>::new(|_, values| {
///     Outputs::of(&values.process("limits", |declare| {
///         let limits = declare.broadcast::<String, u64>("limits");
///         move |context: &mut OperatorContext<'_, '_>| {
///             let limits = context.state(&limits)?;
///             if limits.is_empty() {
///                 limits.put("small".to_owned(), 10);
///             }
///             Ok(Limits { limits })
///         }
///     }))
/// })?;
/// for (key, value) in [("small", 9), ("small", 11), ("large", 11)] {
///     within.record(0, key.into(), value)?;
/// }
/// assert_eq!(within.outputs.take(), [(0, 9), (0, 11)]);
/// # Ok(())
/// # }
/// ```
pub struct BroadcastState<K, V> {
    entries: Rc<RefCell<BTreeMap<K, V>>>,
}

impl<K, V> State for BroadcastState<K, V>
where
    K: Ord + Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    type Given = ();

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        let name = &handle.descriptor.name;
        let restored = context.restored_elements(ElementKind::Broadcast, name).into_iter();
        let entries = restored.map(|element| {
            serde_json::from_value::<(K, V)>(element.clone()).map_err(|error| {
                let state = handle.descriptor.column_family();
                Failure::refused(format!("manifest: entry {element} does not fit the broadcast state {state}: {error}"))
            })
        });
        let entries = Rc::new(RefCell::new(entries.collect::<Result<_, _>>()?));
        context.keep(Rc::new(Stored { name: name.clone(), entries: Rc::clone(&entries) }));
        Ok(Self { entries })
    }
}

impl<K: Ord, V> BroadcastState<K, V> {
    /// Reads the value of `key`.
    pub fn read<R>(&self, key: &K, read: impl FnOnce(Option<&V>) -> R) -> R {
        read(self.entries.borrow().get(key))
    }

    /// A copy of the value of `key`.
    pub fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.read(key, |value| value.cloned())
    }

    /// Whether there is a value of `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.borrow().contains_key(key)
    }

    /// Sets the value of `key`.
    pub fn put(&self, key: K, value: V) {
        self.entries.borrow_mut().insert(key, value);
    }

    /// Removes the value of `key`; whether there was one.
    pub fn remove(&self, key: &K) -> bool {
        self.entries.borrow_mut().remove(key).is_some()
    }

    /// Visits all entries in the order of their keys.
    pub fn for_each(&self, mut each: impl FnMut(&K, &V)) {
        self.entries.borrow().iter().for_each(|(key, value)| each(key, value));
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Removes all entries.
    pub fn clear(&self) {
        self.entries.borrow_mut().clear();
    }
}

struct Stored<K, V> {
    name: String,
    entries: Rc<RefCell<BTreeMap<K, V>>>,
}

impl<K: Serialize, V: Serialize> Kept for Stored<K, V> {
    /// One subtask speaks for all.
    fn elements(&self, subtask: usize) -> Result<Vec<Value>, Failure> {
        if subtask != 0 {
            return Ok(Vec::new());
        }
        let entries = self.entries.borrow();
        entries.iter().map(|entry| NamedElement::write(ElementKind::Broadcast, &self.name, &entry)).collect()
    }
}
