//! One task's part of one state: typed entries in memory over the store.
//!
//! Operators read and write values here; RocksDB sees a value only through a freeze (see [`super::freeze`]). What is not in
//! memory is in the store; where the table knows that a key does not exist, the store is not asked (see [`super::absence`]).
//!
//! Fewer, wider values are cheaper than many small ones: each entry costs a look-up, an encoding and a place in a sorted file,
//! whatever its size.

use super::{
    Budget, Key, KeyGroups, Port, StateId, StateKey, StateKind, StateValue, Store,
    absence::{Absence, KeyFilter},
    budget::{FilterShare, Share},
    chunk::Chunk,
    freeze::Frozen,
    learn::Learner,
    slots::{Slots, lost},
    value::decode_value,
};
use crate::protocol::Failure;
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Typed entries of one state, for the key groups of one task.
#[derive(Debug)]
pub struct Table<K, V> {
    pub(super) store: Arc<Store>,
    pub(super) port: Port,
    pub(super) groups: KeyGroups,
    /// The key groups that this task owns.
    pub(super) owned: Range<u16>,
    pub(super) share: Share,
    pub(super) slots: Slots<K, V>,
    /// What is known about keys that are not in memory.
    pub(super) absence: Absence,
    /// The freeze that changes of now will belong to, from 1.
    pub(super) generation: u32,
    /// Entries changed since the last freeze, the first [`Self::spilled`] of them encoded already.
    pub(super) dirty: Vec<u32>,
    pub(super) spilled: usize,
    pub(super) frozen: Option<Frozen>,
    /// The last checkpoint that was frozen.
    pub(super) last_frozen: Option<crate::protocol::CheckpointId>,
    /// Number of the last chunk that was begun.
    pub(super) sequence: u32,
    pub(super) chunk: Option<Chunk>,
    /// Removed keys whose removal was encoded: freed as soon as it is in RocksDB.
    pub(super) removed: VecDeque<u32>,
    pub(super) hand: u32,
    /// What was applied when nothing could be evicted: no use in trying before that changes.
    pub(super) nothing_evictable_at: Option<u32>,
    /// The last chunk that the writer was asked to write at once.
    pub(super) hurried: u32,
    /// All entries are here, and each snapshot is written whole (see [`super::whole`]).
    pub(super) is_whole: bool,
    /// Where [`Self::sweep`] goes on.
    pub(super) broom: u32,
    scratch: Vec<u8>,
}

/// How a table is made.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// Key groups of the job.
    pub groups: KeyGroups,
    /// The key groups that this table owns.
    pub owned: Range<u16>,
    /// Nothing of this state is in the store.
    pub starts_empty: bool,
}

impl<K: StateKey, V: StateValue> Table<K, V> {
    /// A table of the state that `port` leads to.
    pub fn new(store: Arc<Store>, port: Port, budget: &Arc<Budget>, options: TableOptions) -> Result<Self, Failure> {
        let descriptor = store.descriptor(port.state())?;
        if descriptor.key != K::shape() {
            return Err(Failure::fatal(format!(
                "state {} was declared with keys of {}, and is used with keys of {}",
                descriptor.column_family(),
                descriptor.key,
                K::shape()
            )));
        }
        let is_whole = store.is_in_memory();
        let absence = match options.starts_empty || is_whole {
            true => Absence::Complete,
            false => Self::learn(&store, port.state(), &options.owned, &options.groups, budget)?,
        };
        let entries = (budget.limit() / 4 / Slots::<K, V>::SLOT_BYTES).min(1 << 18);
        let mut slots = Slots::with_capacity(entries);
        if matches!(descriptor.kind, StateKind::Map | StateKind::Timer) {
            slots.keep_order();
        }
        let mut table = Self {
            store,
            port,
            groups: options.groups,
            owned: options.owned,
            share: Share::of(budget.clone()),
            slots,
            absence,
            generation: 1,
            dirty: Vec::new(),
            spilled: 0,
            frozen: None,
            last_frozen: None,
            sequence: 0,
            chunk: None,
            removed: VecDeque::new(),
            hand: 0,
            nothing_evictable_at: None,
            hurried: 0,
            is_whole,
            broom: 0,
            scratch: Vec::new(),
        };
        if is_whole && !options.starts_empty {
            table.load_all()?;
        }
        Ok(table)
    }

    /// Begins to learn which keys the store has.
    pub(super) fn learn(
        store: &Arc<Store>,
        state: StateId,
        owned: &Range<u16>,
        groups: &KeyGroups,
        budget: &Arc<Budget>,
    ) -> Result<Absence, Failure> {
        Ok(match Learner::start(store, state, owned.clone(), groups.count(), budget)? {
            Some(learner) => Absence::Learning { evicted: KeyFilter::new(FilterShare::of(budget.clone())), learner },
            None => Absence::Unknown,
        })
    }

    /// The value of a key.
    pub fn get(&mut self, key: &Key<K>) -> Result<Option<&V>, Failure> {
        match self.locate(key)? {
            Some(number) => Ok(self.slots.slot(number)?.value.as_ref()),
            None => Ok(None),
        }
    }

    /// The value of a key, to be changed: it counts as changed.
    pub fn get_mut(&mut self, key: &Key<K>) -> Result<Option<&mut V>, Failure> {
        let Some(number) = self.locate(key)? else { return Ok(None) };
        if self.slots.slot(number)?.value.is_none() {
            return Ok(None);
        }
        self.touch(number)?;
        Ok(self.slots.slot_mut(number)?.value.as_mut())
    }

    /// The value of a key, or a new one; it counts as changed.
    pub fn upsert(&mut self, key: &Key<K>, default: impl FnOnce() -> V) -> Result<&mut V, Failure> {
        let number = match self.locate(key)? {
            Some(number) => {
                self.touch(number)?;
                let slot = self.slots.slot_mut(number)?;
                if slot.value.is_none() {
                    slot.value = Some(default());
                }
                number
            }
            None => self.create(key, Some(default()), false)?,
        };
        self.slots.slot_mut(number)?.value.as_mut().ok_or_else(lost)
    }

    /// Writes a value without looking for the one before.
    pub fn insert(&mut self, key: &Key<K>, value: V) -> Result<(), Failure> {
        match self.slots.find(key.slot(), &key.value) {
            Some(number) => {
                self.touch(number)?;
                self.slots.slot_mut(number)?.value = Some(value);
                Ok(())
            }
            None => self.create(key, Some(value), !self.absence.is_certain(key.slot())).map(|_| ()),
        }
    }

    /// Removes a key; tells whether it was there.
    pub fn remove(&mut self, key: &Key<K>) -> Result<bool, Failure> {
        match self.locate(key)? {
            Some(number) if self.slots.slot(number)?.value.is_some() => self.remove_at(number).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Writes a value unless the key has one; tells whether it wrote.
    pub fn insert_if_absent(&mut self, key: &Key<K>, value: V) -> Result<bool, Failure> {
        match self.locate(key)? {
            Some(number) if self.slots.slot(number)?.value.is_some() => Ok(false),
            Some(number) => {
                self.touch(number)?;
                self.slots.slot_mut(number)?.value = Some(value);
                Ok(true)
            }
            None => self.create(key, Some(value), false).map(|_| true),
        }
    }

    /// Entries in memory, removed keys that are not yet written included.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.slots.len()
    }

    /// Number of the entry of a key, which is read from the store when it is not in memory.
    fn locate(&mut self, key: &Key<K>) -> Result<Option<u32>, Failure> {
        match self.slots.find(key.slot(), &key.value) {
            Some(number) => Ok(Some(number)),
            None if self.absence.is_certain(key.slot()) => Ok(None),
            None => self.load(key),
        }
    }

    fn load(&mut self, key: &Key<K>) -> Result<Option<u32>, Failure> {
        let group = self.group_of(key.hash)?;
        self.scratch.clear();
        self.scratch.extend_from_slice(&group.to_be_bytes());
        key.value.encode(&mut self.scratch);
        let Some(value) = self.store.get(self.port.state(), &self.scratch, decode_value::<V>)? else { return Ok(None) };
        let value = value.map_err(|failure| self.misfit(self.scratch.get(2..).unwrap_or_default(), failure))?;
        let heap = key.value.heap_bytes() + value.heap_bytes();
        let number = self.slots.insert(key.slot(), group, key.value.clone(), Some(value), heap)?;
        self.slots.slot_mut(number)?.set_may_be_stored();
        Ok(Some(number))
    }

    /// A new, changed entry for a key that is not in memory.
    fn create(&mut self, key: &Key<K>, value: Option<V>, may_be_stored: bool) -> Result<u32, Failure> {
        let group = self.group_of(key.hash)?;
        self.create_in(group, key.slot(), key.value.clone(), value, may_be_stored)
    }

    pub(super) fn create_in(
        &mut self,
        group: u16,
        hash: u64,
        key: K,
        value: Option<V>,
        may_be_stored: bool,
    ) -> Result<u32, Failure> {
        let heap = key.heap_bytes() + value.as_ref().map_or(0, StateValue::heap_bytes);
        let number = self.slots.insert(hash, group, key, value, heap)?;
        let generation = self.generation;
        let slot = self.slots.slot_mut(number)?;
        slot.set_dirty(generation);
        if may_be_stored {
            slot.set_may_be_stored();
        }
        self.note_changed(number);
        Ok(number)
    }

    /// Removes an entry that has a value.
    pub(super) fn remove_at(&mut self, number: u32) -> Result<(), Failure> {
        self.touch(number)?;
        let slot = self.slots.slot_mut(number)?;
        slot.value = None;
        if slot.may_be_stored() {
            return Ok(());
        }
        // The store never saw it, so there is nothing to tell. Lists may still have its number: they look whether it is live.
        self.slots.remove(number).map(|_| ())
    }

    /// The key group of a hash, which is one of this task's.
    pub(super) fn group_of(&self, hash: u64) -> Result<u16, Failure> {
        let group = self.groups.group(hash);
        if self.owned.contains(&group) {
            return Ok(group);
        }
        Err(self.about(Failure::attempt(format!(
            "a key of group {group} came to the task of groups {}..{}: this is a defect of this program",
            self.owned.start, self.owned.end
        ))))
    }

    /// A stored value could not be read.
    pub(super) fn misfit(&self, key: &[u8], failure: Failure) -> Failure {
        match self.store.descriptor(self.port.state()) {
            Ok(state) => state.misfit(key, failure),
            Err(_) => failure,
        }
    }

    pub(super) fn about(&self, failure: Failure) -> Failure {
        let name = self.store.descriptor(self.port.state()).map_or_else(|_| "?".into(), super::StateDescriptor::column_family);
        failure.context(format_args!("state {name}"))
    }
}
