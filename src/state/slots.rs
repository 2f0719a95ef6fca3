//! The memory of a table: a slab of entries and an index over it.
//!
//! The slab grows by pages, so that growing copies nothing; the index holds four bytes per entry.

use super::{StateKey, order::Order};
use crate::protocol::Failure;
use hashbrown::HashTable;

const PAGE_BITS: u32 = 10;
const PAGE: usize = 1 << PAGE_BITS;

/// Bytes per entry of the index: four for the number, one for its tag, at a load between 7/16 and 7/8.
const INDEX_BYTES: usize = 8;

// `packed`: key group in the low 15 bits, heap bytes in units of 64 above, flags on top.
const GROUP: u32 = 0x7fff;
const HEAP_SHIFT: u32 = 15;
const HEAP_MAX: u32 = (1 << 13) - 1;
const HEAP_UNIT: usize = 64;
const LIVE: u32 = 1 << 28;
const DIRTY: u32 = 1 << 29;
const STORED: u32 = 1 << 30;
const TOUCHED: u32 = 1 << 31;

/// One entry. `value` is `None` for a key that was removed and whose removal may not be in RocksDB yet.
#[derive(Debug)]
pub(super) struct Slot<K, V> {
    hash: u64,
    /// Dirty: the generation in which it was changed. Clean: the chunk in which it was encoded, 0 = was read from the store.
    pub(super) stamp: u32,
    packed: u32,
    pub(super) key: K,
    pub(super) value: Option<V>,
}

impl<K, V> Slot<K, V> {
    fn flag(&self, flag: u32) -> bool {
        self.packed & flag != 0
    }

    fn set(&mut self, flag: u32, on: bool) {
        if on {
            self.packed |= flag;
        } else {
            self.packed &= !flag;
        }
    }

    /// The index hash.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The key group.
    pub(super) fn group(&self) -> u16 {
        (self.packed & GROUP) as u16
    }

    /// Changed since it was last encoded.
    pub(super) fn is_dirty(&self) -> bool {
        self.flag(DIRTY)
    }

    pub(super) fn set_dirty(&mut self, generation: u32) {
        self.stamp = generation;
        self.set(DIRTY, true);
    }

    /// It is encoded in this chunk, and thereby on its way to the store.
    pub(super) fn set_encoded(&mut self, chunk: u32) {
        self.stamp = chunk;
        self.set(DIRTY, false);
        self.set(STORED, true);
    }

    /// The store may hold this key: its removal must be written.
    pub(super) fn may_be_stored(&self) -> bool {
        self.flag(STORED)
    }

    pub(super) fn set_may_be_stored(&mut self) {
        self.set(STORED, true);
    }

    /// Whether it was used since the clock's hand came by; forgets it.
    pub(super) fn take_touched(&mut self) -> bool {
        let touched = self.flag(TOUCHED);
        self.set(TOUCHED, false);
        touched
    }

    fn heap(&self) -> usize {
        ((self.packed >> HEAP_SHIFT) & HEAP_MAX) as usize * HEAP_UNIT
    }

    fn set_heap(&mut self, bytes: usize) {
        let units = u32::try_from(bytes.div_ceil(HEAP_UNIT)).unwrap_or(HEAP_MAX).min(HEAP_MAX);
        self.packed = self.packed & !(HEAP_MAX << HEAP_SHIFT) | units << HEAP_SHIFT;
    }
}

/// Slab and index.
#[derive(Debug)]
pub(super) struct Slots<K, V> {
    pages: Vec<Vec<Slot<K, V>>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Bytes on the heap of all live entries.
    heap: usize,
    /// The entries in the order of their keys, where that is wanted.
    order: Option<Order>,
}

#[cold]
pub(super) fn lost() -> Failure {
    Failure::attempt("a state table lost an entry: this is a defect of this program")
}

fn at<K, V>(pages: &[Vec<Slot<K, V>>], number: u32) -> Option<&Slot<K, V>> {
    pages.get((number >> PAGE_BITS) as usize)?.get(number as usize & (PAGE - 1))
}

impl<K: StateKey, V> Slots<K, V> {
    /// Bytes of one entry apart from what its key and value have on the heap.
    pub(super) const SLOT_BYTES: usize = size_of::<Slot<K, V>>() + INDEX_BYTES;

    /// Room in the index for `entries`, so that it seldom has to grow: growing moves all of it at once.
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self { pages: Vec::new(), free: Vec::new(), index: HashTable::with_capacity(entries), heap: 0, order: None }
    }

    /// Keeps entries in the order of their keys as well, beginning with none.
    pub(super) fn keep_order(&mut self) {
        self.order = Some(Order::default());
    }

    /// The order of the entries, where it is kept.
    pub(super) fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    /// Number of the entry with this key; marks it as used.
    pub(super) fn find(&mut self, hash: u64, key: &K) -> Option<u32> {
        let pages = &self.pages;
        let number =
            *self.index.find(hash, |&number| at(pages, number).is_some_and(|slot| slot.hash == hash && slot.key == *key))?;
        if let Some(slot) = self.get_mut(number) {
            slot.set(TOUCHED, true);
        }
        Some(number)
    }

    /// A new entry; the caller knows that the key is not among the others.
    pub(super) fn insert(&mut self, hash: u64, group: u16, key: K, value: Option<V>, heap: usize) -> Result<u32, Failure> {
        let mut slot = Slot { hash, stamp: 0, packed: u32::from(group) & GROUP | LIVE | TOUCHED, key, value };
        slot.set_heap(heap);
        self.heap += slot.heap();
        let number = match self.free.pop() {
            Some(number) => {
                *self.get_mut(number).ok_or_else(lost)? = slot;
                number
            }
            None => self.append(slot)?,
        };
        let pages = &self.pages;
        self.index.insert_unique(hash, number, |&number| at(pages, number).map_or(0, |slot| slot.hash));
        if let Some(order) = &mut self.order
            && let Some(slot) = at(pages, number)
        {
            order.insert(slot.group(), &slot.key, number);
        }
        Ok(number)
    }

    fn append(&mut self, slot: Slot<K, V>) -> Result<u32, Failure> {
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let page = self.pages.len() - 1;
        let last = self.pages.last_mut().ok_or_else(lost)?;
        let number = u32::try_from((page << PAGE_BITS) + last.len()).map_err(|_| {
            Failure::fatal("a state table has more than 2^32 entries in memory: set state.memory lower, or parallelism higher")
        })?;
        last.push(slot);
        Ok(number)
    }

    /// Takes an entry out. Its slot keeps the key until it is used again; gives the value.
    pub(super) fn remove(&mut self, number: u32) -> Result<Option<V>, Failure> {
        if let Some(order) = &mut self.order
            && let Some(slot) = at(&self.pages, number)
        {
            order.remove(slot.group(), &slot.key);
        }
        let slot = self.get_mut(number).ok_or_else(lost)?;
        let (hash, heap, value) = (slot.hash, slot.heap(), slot.value.take());
        slot.packed = 0;
        self.heap -= heap;
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == number) {
            entry.remove();
        }
        self.free.push(number);
        Ok(value)
    }

    /// Counts the heap bytes of an entry anew.
    pub(super) fn set_heap(&mut self, number: u32, bytes: usize) -> Result<(), Failure> {
        let slot = self.slot_mut(number)?;
        let before = slot.heap();
        slot.set_heap(bytes);
        let after = slot.heap();
        self.heap = self.heap - before + after;
        Ok(())
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot<K, V>> {
        at(&self.pages, number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Slot<K, V>> {
        self.pages.get_mut((number >> PAGE_BITS) as usize)?.get_mut(number as usize & (PAGE - 1))
    }

    /// The entry with a number that [`Self::find`] or [`Self::insert`] gave.
    pub(super) fn slot(&self, number: u32) -> Result<&Slot<K, V>, Failure> {
        self.get(number).ok_or_else(lost)
    }

    /// The same, to change it.
    pub(super) fn slot_mut(&mut self, number: u32) -> Result<&mut Slot<K, V>, Failure> {
        self.get_mut(number).ok_or_else(lost)
    }

    /// Whether this number is an entry now; numbers of removed ones may be kept in lists.
    pub(super) fn is_live(&self, number: u32) -> bool {
        self.get(number).is_some_and(|slot| slot.flag(LIVE))
    }

    /// Numbers ever used, free ones included.
    pub(super) fn numbers(&self) -> u32 {
        match self.pages.last() {
            Some(last) => (((self.pages.len() - 1) << PAGE_BITS) + last.len()) as u32,
            None => 0,
        }
    }

    /// All entries with their numbers, removed keys included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot<K, V>)> {
        let numbered = self.pages.iter().flatten().enumerate().map(|(number, slot)| (number as u32, slot));
        numbered.filter(|(_, slot)| slot.flag(LIVE))
    }

    /// Entries, removed keys included.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of live entries.
    pub(super) fn bytes(&self) -> usize {
        self.len() * Self::SLOT_BYTES + self.heap + self.order.as_ref().map_or(0, Order::bytes)
    }

    /// Bytes of one entry.
    pub(super) fn bytes_of(&self, number: u32) -> usize {
        Self::SLOT_BYTES + self.get(number).map_or(0, Slot::heap)
    }
}
