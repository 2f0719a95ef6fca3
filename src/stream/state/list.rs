//! A list per key, stored as one entry.

use super::{State, StateHandle, aging::Aging, entries};
use crate::engine::{Halt, Timestamp};
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue, Table, ValueType};
use crate::stream::operator::OperatorContext;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeStruct,
};
use std::{
    cell::{RefCell, RefMut},
    fmt,
    marker::PhantomData,
    rc::Rc,
};

/// A list per key. It is one entry, read and written whole: for lists that grow long, a [`super::MapState`] by number costs less. With a
/// time to live, each element has its own.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, ListState, OperatorContext, Outputs, Timestamp};
///
/// // Gives out the values of each key in pairs: a, b, c, d becomes [a, b], [c, d].
/// struct Pairs {
///     waiting: ListState<String, String>,
/// }
///
/// impl KeyedProcess<String, String> for Pairs {
///     type Out = Vec<String>;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: String, out: &mut Emit<'_, Vec<String>>) -> Result<(), Halt> {
///         self.waiting.add(key, value)?;
///         let waiting = self.waiting.get(key)?;
///         if waiting.len() < 2 {
///             return Ok(());
///         }
///         self.waiting.clear(key)?;
///         out.push(waiting)
///     }
/// }
/// # fn main() -> Result<(), Failure> {
/// let mut pairs = Harness::<String, String, _>::new(|_, values| {
///     Outputs::of(&values.process("pairs", |declare| {
///         let waiting = declare.list("waiting");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Pairs { waiting: context.state(&waiting)? })
///     }))
/// })?;
/// ["a", "b", "c"].into_iter().try_for_each(|value| pairs.record(0, "key".into(), value.into()))?;
/// assert_eq!(pairs.outputs.take(), [(0, vec!["a".to_owned(), "b".to_owned()])]);
/// # Ok(())
/// # }
/// ```
pub struct ListState<K, V> {
    table: Rc<RefCell<Table<K, Elements<V>>>>,
    aging: Option<Aging>,
}

impl<K: StateKey, V: StateValue> State for ListState<K, V> {
    type Given = ();

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        let table = context.table(&handle.descriptor)?;
        let aging = handle.ttl.map(|ttl| Aging::new(ttl, context.time()));
        Ok(Self { table, aging })
    }
}

impl<K: StateKey, V: StateValue> ListState<K, V> {
    /// Appends an element to the list of `key`.
    pub fn add(&self, key: &Key<K>, element: V) -> Result<(), Halt> {
        self.add_all(key, [element])
    }

    /// Appends elements to the list of `key`.
    pub fn add_all(&self, key: &Key<K>, elements: impl IntoIterator<Item = V>) -> Result<(), Halt> {
        let mut elements = elements.into_iter().peekable();
        if elements.peek().is_none() {
            return Ok(());
        }
        let mut table = self.table()?;
        let list = table.upsert(key, Elements::default)?;
        match &self.aging {
            None => list.values.extend(elements),
            Some(aging) => {
                list.forget_expired(aging);
                list.values.extend(elements);
                list.written_at.resize(list.values.len(), aging.now());
            }
        }
        Ok(())
    }

    /// Reads the list of `key`; it is empty where nothing was added.
    pub fn read<R>(&self, key: &Key<K>, read: impl FnOnce(&[V]) -> R) -> Result<R, Halt> {
        let mut table = self.table()?;
        let Some(list) = table.get(key)? else { return Ok(read(&[])) };
        let Some(aging) = self.aging.as_ref().filter(|aging| list.changes_when_read(aging)) else {
            return Ok(read(&list.values));
        };
        let Some(list) = table.get_mut(key)? else { return Ok(read(&[])) };
        let result = if aging.ttl().returns_expired() {
            let result = read(&list.values);
            list.forget_expired(aging);
            result
        } else {
            list.forget_expired(aging);
            read(&list.values)
        };
        if aging.ttl().reads_update() {
            list.written_at.iter_mut().for_each(|at| *at = (*at).max(aging.now()));
        }
        if list.values.is_empty() {
            table.remove(key)?;
        }
        Ok(result)
    }

    /// A copy of the list of `key`.
    pub fn get(&self, key: &Key<K>) -> Result<Vec<V>, Halt>
    where
        V: Clone,
    {
        self.read(key, <[V]>::to_vec)
    }

    /// Replaces the list of `key`.
    pub fn update(&self, key: &Key<K>, elements: Vec<V>) -> Result<(), Halt> {
        let mut table = self.table()?;
        if elements.is_empty() {
            table.remove(key)?;
            return Ok(());
        }
        let written_at = self.aging.as_ref().map_or_else(Vec::new, |aging| vec![aging.now(); elements.len()]);
        Ok(table.insert(key, Elements { values: elements, written_at })?)
    }

    /// Empties the list of `key`.
    pub fn clear(&self, key: &Key<K>) -> Result<(), Halt> {
        self.table()?.remove(key)?;
        Ok(())
    }

    fn table(&self) -> Result<RefMut<'_, Table<K, Elements<V>>>, Halt> {
        match &self.aging {
            None => Ok(self.table.borrow_mut()),
            Some(aging) => entries::swept(&self.table, aging),
        }
    }
}

/// The elements of a list. Stored as an array; with a time to live, as an object of two arrays, and each reads the other.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::stream) struct Elements<V> {
    values: Vec<V>,
    /// For each of them the event time from which its time to live counts; empty without one.
    written_at: Vec<Timestamp>,
}

impl<V> Default for Elements<V> {
    fn default() -> Self {
        Self { values: Vec::new(), written_at: Vec::new() }
    }
}

impl<V> Elements<V> {
    /// Whether a read removes elements, or lets their time begin again.
    fn changes_when_read(&self, aging: &Aging) -> bool {
        // Written before the state had a time to live: as old as can be.
        if self.written_at.len() != self.values.len() {
            return true;
        }
        let now = aging.now();
        self.written_at.iter().any(|at| aging.has_expired(*at) || (aging.ttl().reads_update() && *at < now))
    }

    fn forget_expired(&mut self, aging: &Aging) {
        self.written_at.resize(self.values.len(), Timestamp::MIN);
        let mut ages = self.written_at.iter();
        self.values.retain(|_| ages.next().is_some_and(|at| !aging.has_expired(*at)));
        self.written_at.retain(|at| !aging.has_expired(*at));
    }
}

impl<V: StateValue> StateValue for Elements<V> {
    fn heap_bytes(&self) -> usize {
        let values = self.values.capacity() * size_of::<V>() + self.written_at.capacity() * size_of::<Timestamp>();
        values + self.values.iter().map(StateValue::heap_bytes).sum::<usize>()
    }

    /// The entry expires as a whole when its youngest element has.
    fn written_at(&self) -> Option<Timestamp> {
        self.written_at.iter().copied().max()
    }

    /// Both forms say the same of the elements, which is what may not fit.
    fn value_type() -> ValueType {
        ValueType::List(Box::new(V::value_type()))
    }
}

impl<V: Serialize> Serialize for Elements<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.written_at.is_empty() {
            return self.values.serialize(serializer);
        }
        let mut fields = serializer.serialize_struct("Elements", 2)?;
        fields.serialize_field("elements", &self.values)?;
        fields.serialize_field("writtenAt", &self.written_at)?;
        fields.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Elements<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementsVisitor(PhantomData))
    }
}

struct ElementsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for ElementsVisitor<V> {
    type Value = Elements<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Elements<V>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Elements { values, written_at: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Elements<V>, A::Error> {
        let mut list = Elements::default();
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "elements" => list.values = fields.next_value()?,
                "writtenAt" => list.written_at = fields.next_value()?,
                _ => _ = fields.next_value::<IgnoredAny>()?,
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{decode_value, encode_value, inspect};
    use serde_json::json;

    fn stored(list: &Elements<String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_value(list, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_stored_form_of_a_list_is_shown_and_read_back_with_and_without_times() {
        let plain = Elements { values: vec!["a".to_owned(), "b".to_owned()], written_at: Vec::new() };
        let timed = Elements { values: plain.values.clone(), written_at: vec![7, 9] };
        assert_eq!(stored(&plain), b"\x01\x92\xa1a\xa1b");
        assert_eq!(inspect::value_to_json(&stored(&timed)).unwrap(), json!({"elements": ["a", "b"], "writtenAt": [7, 9]}));
        assert_eq!(inspect::written_at(&stored(&timed)).unwrap(), Some(9));
        for list in [plain, timed] {
            assert_eq!(decode_value::<Elements<String>>(&stored(&list)).unwrap(), list);
        }
    }

    #[test]
    fn a_list_whose_elements_cannot_be_read_is_known_before_it_is_read() {
        let reads = |stored: &ValueType| Elements::<u32>::value_type().reads(stored);
        assert_eq!(reads(&Elements::<u8>::value_type()), Ok(()));
        assert!(reads(&Elements::<String>::value_type()).unwrap_err().contains("is text"));
    }
}
