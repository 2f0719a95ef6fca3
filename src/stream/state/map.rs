//! A map per key, each of its entries an entry of the state.

use super::{State, StateHandle, entries::Entries};
use crate::engine::Halt;
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue};
use crate::stream::operator::OperatorContext;

/// A map per key. An entry is stored as (key, map key) in the key group of the key: a checkpoint brings the entries that changed, and a
/// map may be larger than memory. Going through the map of one key takes as long as it has entries.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, MapState, OperatorContext, Outputs, Timestamp};
///
/// // How many of its products a user has bought so far: records are products, keyed by user.
/// struct Products {
///     bought: MapState<String, String, u64>,
/// }
///
/// impl KeyedProcess<String, String> for Products {
///     type Out = u64;
///     fn process(&mut self, user: &Key<String>, _: Timestamp, product: String, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         self.bought.update(user, product, || 0, |times| *times += 1)?;
///         let mut products = 0;
///         self.bought.for_each(user, &mut |_product, _times| {
///             products += 1;
///             Ok(())
///         })?;
///         out.push(products)
///     }
/// }
/// # fn main() -> Result<(), Failure> {
/// let mut counts = Harness::<String, String, _>::new(|_, products| {
///     Outputs::of(&products.process("products", |declare| {
///         let bought = declare.map("bought");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Products { bought: context.state(&bought)? })
///     }))
/// })?;
/// ["pen", "ink", "pen"].into_iter().try_for_each(|product| counts.record(0, "ann".into(), product.into()))?;
/// assert_eq!(counts.outputs.take(), [(0, 1), (0, 2), (0, 2)]);
/// # Ok(())
/// # }
/// ```
pub struct MapState<K, MK, MV> {
    entries: Entries<(K, MK), MV>,
}

impl<K: StateKey, MK: StateKey, MV: StateValue> State for MapState<K, MK, MV> {
    type Given = ();

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        Ok(Self { entries: Entries::open(context, handle)? })
    }
}

impl<K: StateKey, MK: StateKey, MV: StateValue> MapState<K, MK, MV> {
    /// Reads what the map of `key` has for `map_key`.
    pub fn read<R>(&self, key: &Key<K>, map_key: MK, read: impl FnOnce(Option<&MV>) -> R) -> Result<R, Halt> {
        self.entries.read(&under(key, map_key), read)
    }

    /// A copy of what the map of `key` has for `map_key`.
    pub fn get(&self, key: &Key<K>, map_key: MK) -> Result<Option<MV>, Halt>
    where
        MV: Clone,
    {
        self.read(key, map_key, |value| value.cloned())
    }

    /// Whether the map of `key` has `map_key`.
    pub fn contains(&self, key: &Key<K>, map_key: MK) -> Result<bool, Halt> {
        self.read(key, map_key, |value| value.is_some())
    }

    /// Puts an entry into the map of `key`.
    pub fn put(&self, key: &Key<K>, map_key: MK, value: MV) -> Result<(), Halt> {
        self.entries.put(&under(key, map_key), value)
    }

    /// Changes an entry of the map of `key`; `default` makes it where there is none.
    pub fn update<R>(
        &self,
        key: &Key<K>,
        map_key: MK,
        default: impl FnOnce() -> MV,
        change: impl FnOnce(&mut MV) -> R,
    ) -> Result<R, Halt> {
        self.entries.update(&under(key, map_key), default, change)
    }

    /// Removes an entry from the map of `key`; whether there was one.
    pub fn remove(&self, key: &Key<K>, map_key: MK) -> Result<bool, Halt> {
        self.entries.remove(&under(key, map_key))
    }

    /// Visits the entries of the map of `key`, in the order of their encoded map keys. The state itself must not be used meanwhile.
    pub fn for_each(&self, key: &Key<K>, each: &mut dyn FnMut(&MK, &MV) -> Result<(), Halt>) -> Result<(), Halt> {
        self.entries.scan_under(key.hash, &prefix(key), &mut |(_, map_key), value| each(map_key, value).map(|()| true))
    }

    /// Copies of the entries of the map of `key`, in the order of their encoded map keys.
    pub fn entries(&self, key: &Key<K>) -> Result<Vec<(MK, MV)>, Halt>
    where
        MV: Clone,
    {
        let mut all = Vec::new();
        self.for_each(key, &mut |map_key, value| {
            all.push((map_key.clone(), value.clone()));
            Ok(())
        })?;
        Ok(all)
    }

    /// Whether the map of `key` has no entry.
    pub fn is_empty(&self, key: &Key<K>) -> Result<bool, Halt> {
        let mut empty = true;
        self.entries.scan_under(key.hash, &prefix(key), &mut |_, _| {
            empty = false;
            Ok(false)
        })?;
        Ok(empty)
    }

    /// Removes all entries of the map of `key`.
    pub fn clear(&self, key: &Key<K>) -> Result<(), Halt> {
        self.entries.clear_under(key.hash, &prefix(key))
    }
}

fn under<K: StateKey, MK: StateKey>(key: &Key<K>, map_key: MK) -> Key<(K, MK)> {
    Key::under(key.hash, (key.value.clone(), map_key))
}

/// What the encoded keys of a map's entries begin with. Every part of a key ends itself, so no other key begins like that.
fn prefix<K: StateKey>(key: &Key<K>) -> Vec<u8> {
    let mut prefix = Vec::new();
    key.value.encode(&mut prefix);
    prefix
}
