//! Handles to keyed state.

use crate::engine::Halt;
use crate::state::{Key, StateDescriptor, StateKey, StateValue, Table};
use std::{cell::RefCell, marker::PhantomData, rc::Rc};

/// A state that was declared while the graph was built.
pub struct StateHandle<K, V> {
    descriptor: StateDescriptor,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> StateHandle<K, V> {
    pub(super) fn new(descriptor: StateDescriptor) -> Self {
        Self { descriptor, types: PhantomData }
    }

    /// Names of operator and state, shape of the key.
    pub fn descriptor(&self) -> &StateDescriptor {
        &self.descriptor
    }
}

impl<K, V> Clone for StateHandle<K, V> {
    fn clone(&self) -> Self {
        Self::new(self.descriptor.clone())
    }
}

/// One value per key. Reads and writes go to the task's table; RocksDB sees a value at most once per checkpoint.
pub struct ValueState<K, V> {
    table: Rc<RefCell<Table<K, V>>>,
}

impl<K: StateKey, V: StateValue> ValueState<K, V> {
    pub(super) fn new(table: Rc<RefCell<Table<K, V>>>) -> Self {
        Self { table }
    }

    /// Reads the value of `key`.
    pub fn read<R>(&self, key: &Key<K>, read: impl FnOnce(Option<&V>) -> R) -> Result<R, Halt> {
        Ok(read(self.table.borrow_mut().get(key)?))
    }

    /// Changes the value of `key`; `default` makes it where there is none.
    #[inline]
    pub fn update<R>(&self, key: &Key<K>, default: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> R) -> Result<R, Halt> {
        Ok(change(self.table.borrow_mut().upsert(key, default)?))
    }

    /// Sets the value of `key`.
    pub fn put(&self, key: &Key<K>, value: V) -> Result<(), Halt> {
        Ok(self.table.borrow_mut().insert(key, value)?)
    }

    /// Removes the value of `key`; whether there was one.
    pub fn remove(&self, key: &Key<K>) -> Result<bool, Halt> {
        Ok(self.table.borrow_mut().remove(key)?)
    }

    /// Every (key, value) of this task's key groups whose encoded key begins with `prefix`.
    pub fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&K, &V) -> Result<(), Halt>) -> Result<(), Halt> {
        let mut halted = None;
        self.table.borrow_mut().scan_prefix(prefix, &mut |key, value| {
            if halted.is_none() {
                halted = each(key, value).err();
            }
            Ok(())
        })?;
        halted.map_or(Ok(()), Err)
    }

    /// As [`ValueState::scan`], and removes what it gives.
    pub fn drain(&self, prefix: &[u8], each: &mut dyn FnMut(&K, &V) -> Result<(), Halt>) -> Result<(), Halt> {
        let mut halted = None;
        self.table.borrow_mut().drain_prefix(prefix, &mut |key, value| {
            if halted.is_none() {
                halted = each(key, value).err();
            }
            Ok(())
        })?;
        halted.map_or(Ok(()), Err)
    }
}
