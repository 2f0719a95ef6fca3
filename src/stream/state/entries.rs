//! The entries of a keyed state, with or without a time to live: what the kinds are built on.

use super::{
    State, StateHandle,
    aging::{Aging, Look},
};
use crate::engine::Halt;
use crate::protocol::Failure;
use crate::state::{Key, StateKey, StateValue, Table, Timed};
use crate::stream::operator::OperatorContext;
use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
};

/// Sees an entry.
pub(super) type Each<'e, K, V> = &'e mut dyn FnMut(&K, &V) -> Result<(), Halt>;

/// Entries of one task.
pub(super) enum Entries<K, V> {
    /// They stay until they are removed.
    Lasting(Rc<RefCell<Table<K, V>>>),
    /// They expire.
    Expiring(Expiring<K, V>),
}

/// Entries with the time from which their time to live counts.
pub(super) struct Expiring<K, V> {
    table: Rc<RefCell<Table<K, Timed<V>>>>,
    aging: Aging,
}

impl<K: StateKey, V: StateValue> Entries<K, V> {
    pub(super) fn open<S: State>(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<S>) -> Result<Self, Failure> {
        Ok(match handle.ttl {
            None => Self::Lasting(context.table(&handle.descriptor)?),
            Some(ttl) => {
                let table = context.table(&handle.descriptor)?;
                Self::Expiring(Expiring { table, aging: Aging::new(ttl, context.time()) })
            }
        })
    }

    #[inline]
    pub(super) fn read<R>(&self, key: &Key<K>, read: impl FnOnce(Option<&V>) -> R) -> Result<R, Halt> {
        match self {
            Self::Lasting(table) => Ok(read(table.borrow_mut().get(key)?)),
            Self::Expiring(entries) => entries.read(key, read),
        }
    }

    #[inline]
    pub(super) fn update<R>(
        &self,
        key: &Key<K>,
        default: impl FnOnce() -> V,
        change: impl FnOnce(&mut V) -> R,
    ) -> Result<R, Halt> {
        match self {
            Self::Lasting(table) => Ok(change(table.borrow_mut().upsert(key, default)?)),
            Self::Expiring(entries) => entries.update(key, default, change),
        }
    }

    /// Puts `value` where there is none, else lets `merge` bring it into the one that there is.
    pub(super) fn merge(&self, key: &Key<K>, value: V, merge: impl FnOnce(&mut V, V)) -> Result<(), Halt> {
        match self {
            Self::Lasting(table) => {
                let mut table = table.borrow_mut();
                match table.get_mut(key)? {
                    Some(there) => merge(there, value),
                    None => table.insert(key, value)?,
                }
            }
            Self::Expiring(entries) => {
                let mut table = entries.writing(key)?;
                let now = entries.aging.now();
                match table.get_mut(key)? {
                    Some(there) => {
                        there.written_at = there.written_at.max(now);
                        merge(&mut there.value, value);
                    }
                    None => table.insert(key, Timed { written_at: now, value })?,
                }
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn put(&self, key: &Key<K>, value: V) -> Result<(), Halt> {
        match self {
            Self::Lasting(table) => table.borrow_mut().insert(key, value)?,
            Self::Expiring(entries) => {
                let written_at = entries.aging.now();
                entries.swept()?.insert(key, Timed { written_at, value })?;
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn remove(&self, key: &Key<K>) -> Result<bool, Halt> {
        match self {
            Self::Lasting(table) => Ok(table.borrow_mut().remove(key)?),
            Self::Expiring(entries) => {
                let mut table = entries.writing(key)?;
                Ok(table.remove(key)?)
            }
        }
    }

    /// Every entry of this task whose encoded key begins with `prefix`.
    pub(super) fn scan(&self, prefix: &[u8], each: Each<'_, K, V>) -> Result<(), Halt> {
        let mut halted = None;
        match self {
            Self::Lasting(table) => table.borrow_mut().scan_prefix(prefix, &mut unless(&mut halted, each))?,
            Self::Expiring(Expiring { table, aging }) => {
                table.borrow_mut().scan_prefix(prefix, &mut unless(&mut halted, &mut shown(aging, each)))?;
            }
        }
        halted.map_or(Ok(()), Err)
    }

    /// As [`Self::scan`], and removes what it gives.
    pub(super) fn drain(&self, prefix: &[u8], each: Each<'_, K, V>) -> Result<(), Halt> {
        let mut halted = None;
        match self {
            Self::Lasting(table) => table.borrow_mut().drain_prefix(prefix, &mut unless(&mut halted, each))?,
            Self::Expiring(Expiring { table, aging }) => {
                table.borrow_mut().drain_prefix(prefix, &mut unless(&mut halted, &mut shown(aging, each)))?;
            }
        }
        halted.map_or(Ok(()), Err)
    }

    /// Visits the entries whose encoded key begins with `prefix`, among those under the key with this hash, until `each` says `false`.
    pub(super) fn scan_under(
        &self,
        hash: u64,
        prefix: &[u8],
        each: &mut dyn FnMut(&K, &V) -> Result<bool, Halt>,
    ) -> Result<(), Halt> {
        let mut halted = None;
        match self {
            Self::Lasting(table) => table.borrow_mut().scan_under(hash, prefix, &mut until(&mut halted, each))?,
            Self::Expiring(Expiring { table, aging }) => {
                let mut read: Vec<(K, i64)> = Vec::new();
                let mut table = table.borrow_mut();
                let mut shown = |key: &K, entry: &Timed<V>| {
                    if aging.hides(entry.written_at) {
                        return Ok(true);
                    }
                    if let Look::Update(now) = aging.look(entry.written_at) {
                        read.push((key.clone(), now));
                    }
                    each(key, &entry.value)
                };
                table.scan_under(hash, prefix, &mut until(&mut halted, &mut shown))?;
                for (key, now) in read {
                    if let Some(entry) = table.get_mut(&Key::under(hash, key))? {
                        entry.written_at = now;
                    }
                }
            }
        }
        halted.map_or(Ok(()), Err)
    }

    /// Removes the entries whose encoded key begins with `prefix`, among those under the key with this hash.
    pub(super) fn clear_under(&self, hash: u64, prefix: &[u8]) -> Result<(), Halt> {
        match self {
            Self::Lasting(table) => table.borrow_mut().drain_under(hash, prefix, &mut |_, _| Ok(()))?,
            Self::Expiring(entries) => entries.table.borrow_mut().drain_under(hash, prefix, &mut |_, _| Ok(()))?,
        }
        Ok(())
    }
}

impl<K: StateKey, V: StateValue> Expiring<K, V> {
    /// The table, after a part of it was looked through for what has expired.
    fn swept(&self) -> Result<RefMut<'_, Table<K, Timed<V>>>, Halt> {
        swept(&self.table, &self.aging)
    }

    /// As [`Self::swept`]; what has expired under `key`, and must not be seen, is removed.
    fn writing(&self, key: &Key<K>) -> Result<RefMut<'_, Table<K, Timed<V>>>, Halt> {
        let mut table = self.swept()?;
        if table.get(key)?.is_some_and(|entry| self.aging.hides(entry.written_at)) {
            table.remove(key)?;
        }
        Ok(table)
    }

    fn read<R>(&self, key: &Key<K>, read: impl FnOnce(Option<&V>) -> R) -> Result<R, Halt> {
        let mut table = self.swept()?;
        let Some(entry) = table.get(key)? else { return Ok(read(None)) };
        let look = self.aging.look(entry.written_at);
        let result = read((look != Look::Hide).then_some(&entry.value));
        match look {
            Look::Return => {}
            Look::Update(now) => {
                if let Some(entry) = table.get_mut(key)? {
                    entry.written_at = now;
                }
            }
            Look::ReturnLast | Look::Hide => _ = table.remove(key)?,
        }
        Ok(result)
    }

    fn update<R>(&self, key: &Key<K>, default: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> R) -> Result<R, Halt> {
        let mut table = self.writing(key)?;
        let now = self.aging.now();
        let entry = table.upsert(key, || Timed { written_at: now, value: default() })?;
        entry.written_at = entry.written_at.max(now);
        Ok(change(&mut entry.value))
    }
}

/// A table, after a part of it was looked through for what has expired.
pub(super) fn swept<'t, K: StateKey, V: StateValue>(
    table: &'t RefCell<Table<K, V>>,
    aging: &Aging,
) -> Result<RefMut<'t, Table<K, V>>, Halt> {
    let mut table = table.borrow_mut();
    table.sweep(aging.ttl().looks(), aging.ttl().millis(), aging.watermark())?;
    Ok(table)
}

/// Passes over what must not be seen.
fn shown<K, V>(aging: &Aging, each: Each<'_, K, V>) -> impl FnMut(&K, &Timed<V>) -> Result<(), Halt> {
    move |key, entry| if aging.hides(entry.written_at) { Ok(()) } else { each(key, &entry.value) }
}

/// Calls `each` until it halts: a table knows no halt.
fn unless<K, V>(halted: &mut Option<Halt>, each: Each<'_, K, V>) -> impl FnMut(&K, &V) -> Result<(), Failure> {
    move |key, value| {
        if halted.is_none() {
            *halted = each(key, value).err();
        }
        Ok(())
    }
}

/// As [`unless`], for scans that may end early.
fn until<K, V>(
    halted: &mut Option<Halt>,
    each: &mut dyn FnMut(&K, &V) -> Result<bool, Halt>,
) -> impl FnMut(&K, &V) -> Result<bool, Failure> {
    move |key, value| {
        Ok(each(key, value).unwrap_or_else(|halt| {
            *halted = Some(halt);
            false
        }))
    }
}
