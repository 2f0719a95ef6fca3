//! Encoded entries on their way from a table to the writer.

use super::StateId;

/// About how many bytes a table gathers before it hands them over: large enough that the channel costs nothing, small enough
/// that writing begins while the table still encodes.
pub(super) const CHUNK_BYTES: usize = 128 << 10;

const DELETED: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u32,
    key: u32,
    value: u32,
}

/// Puts and deletes of one table, in the order in which they were encoded. Keys begin with their key group.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Number of the table's port.
    pub(super) port: usize,
    /// The state that the entries belong to.
    pub(super) state: StateId,
    /// The freeze that these entries belong to: the table's first is 1.
    pub(super) generation: u32,
    /// Number of the chunk within its table, from 1.
    pub(super) sequence: u32,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Chunk {
    pub(super) fn new(port: usize, state: StateId, generation: u32, sequence: u32) -> Self {
        Self { port, state, generation, sequence, bytes: Vec::new(), places: Vec::new() }
    }

    /// Where the next entry's key, then its value, are to be appended; then call [`Self::end_put`] or [`Self::end_delete`].
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The entry that began at `start` has its key up to `key_end` and its value up to here.
    pub(super) fn end_put(&mut self, start: usize, key_end: usize) {
        let value = (self.bytes.len() - key_end) as u32;
        self.places.push(Place { offset: start as u32, key: (key_end - start) as u32, value });
    }

    /// The key that began at `start` is deleted.
    pub(super) fn end_delete(&mut self, start: usize) {
        self.places.push(Place { offset: start as u32, key: (self.bytes.len() - start) as u32, value: DELETED });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<Place>()
    }

    pub(super) fn key(&self, entry: usize) -> &[u8] {
        let place = self.places.get(entry);
        place.and_then(|p| self.bytes.get(p.offset as usize..(p.offset + p.key) as usize)).unwrap_or_default()
    }

    /// The value, or `None` for a delete.
    pub(super) fn value(&self, entry: usize) -> Option<&[u8]> {
        let place = self.places.get(entry).filter(|place| place.value != DELETED)?;
        let start = place.offset + place.key;
        self.bytes.get(start as usize..(start + place.value) as usize)
    }
}
