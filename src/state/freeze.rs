//! Freezing a table at a barrier, and encoding what is frozen beside the work.
//!
//! Each changed entry carries the generation in which it changed. A freeze takes the list of changed entries away and raises the
//! generation: microseconds, whatever the size. The frozen entries are encoded in slices between batches; a change to one that
//! is frozen and not yet encoded encodes it first. So the chunks of a generation hold each entry as it was at the barrier.
//!
//! Entries may also be encoded *before* their barrier, when the changed ones fill the memory (spilling). That is allowed once
//! the snapshot of the barrier before is linked: until then RocksDB must hold what that snapshot shall show. One that changes
//! again after it was spilled is simply written again.
//!
//! A table that holds all of its state in memory freezes *everything*, changed or not (see [`super::whole`]); the rest is the same.

use super::{StateKey, StateValue, Table, chunk::Chunk, port::Message, value::encode_value};
use crate::protocol::{CheckpointId, Failure};

/// What the engine does with tables whose types it does not know. All of a task's tables are frozen at the same barrier.
pub trait AnyTable: Send {
    /// Freezes what changed since the last barrier, as a part of `checkpoint`. Encodes at once what is left of the freeze before.
    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<(), Failure>;

    /// Encodes up to `max_entries` frozen entries and sends them; never waits. `true` = all that is frozen was sent, with the
    /// word that it is all. Call it between batches until then, also while waiting for input or for room in an output.
    fn encode_slice(&mut self, max_entries: usize) -> Result<bool, Failure>;

    /// Bytes of changed entries that are not yet encoded (estimate).
    fn dirty_bytes(&self) -> usize;

    /// Bytes of entries in memory.
    fn bytes(&self) -> usize;

    /// Evicts to the budget; writes early when too much is changed; waits for the writer when even that does not help. Call it
    /// once per batch.
    fn maintain(&mut self) -> Result<(), Failure>;
}

/// The entries of a freeze.
#[derive(Debug)]
pub(super) struct Frozen {
    generation: u32,
    checkpoint: CheckpointId,
    entries: Listed,
    next: usize,
}

/// Which entries a freeze has.
#[derive(Debug)]
enum Listed {
    /// These.
    Changed(Vec<u32>),
    /// All with numbers below this one.
    All(u32),
}

impl Listed {
    fn len(&self) -> usize {
        match self {
            Self::Changed(numbers) => numbers.len(),
            Self::All(end) => *end as usize,
        }
    }

    fn number(&self, place: usize) -> Option<u32> {
        match self {
            Self::Changed(numbers) => numbers.get(place).copied(),
            Self::All(_) => u32::try_from(place).ok(),
        }
    }
}

impl<K: StateKey, V: StateValue> Table<K, V> {
    /// Makes an entry a changed one of this generation; the caller changes it after that.
    pub(super) fn touch(&mut self, number: u32) -> Result<(), Failure> {
        let generation = self.generation;
        let slot = self.slots.slot_mut(number)?;
        if slot.is_dirty() {
            if slot.stamp == generation {
                return Ok(());
            }
            self.encode(number, generation - 1)?;
        }
        self.slots.slot_mut(number)?.set_dirty(generation);
        self.note_changed(number);
        Ok(())
    }

    /// Lists an entry among those of the next freeze; where that takes all, there is nothing to list.
    #[inline]
    pub(super) fn note_changed(&mut self, number: u32) {
        if !self.is_whole {
            self.dirty.push(number);
        }
    }

    /// Appends an entry, as it is now, to the chunk of `generation`.
    fn encode(&mut self, number: u32, generation: u32) -> Result<(), Failure> {
        if self.chunk.is_none() {
            self.sequence = self.sequence.checked_add(1).ok_or_else(|| Failure::attempt("state chunk numbers have run out"))?;
        }
        let (port, state, sequence) = (self.port.number, self.port.state, self.sequence);
        let chunk = self.chunk.get_or_insert_with(|| Chunk::new(port, state, generation, sequence));
        let slot = self.slots.slot_mut(number)?;
        let bytes = chunk.bytes();
        let start = bytes.len();
        bytes.extend_from_slice(&slot.group().to_be_bytes());
        slot.key.encode(bytes);
        let key_end = bytes.len();
        let heap = match &slot.value {
            Some(value) => {
                encode_value(value, bytes)?;
                chunk.end_put(start, key_end);
                slot.key.heap_bytes() + value.heap_bytes()
            }
            None => {
                chunk.end_delete(start);
                self.removed.push_back(number);
                slot.key.heap_bytes()
            }
        };
        if self.is_whole {
            // It stays one to be encoded: at the next freeze.
            slot.set_dirty(self.generation);
        } else {
            slot.set_encoded(sequence);
        }
        let full = chunk.is_full();
        self.slots.set_heap(number, heap)?;
        if full { self.seal() } else { Ok(()) }
    }

    /// Sends the chunk that was begun.
    fn seal(&mut self) -> Result<(), Failure> {
        match self.chunk.take() {
            Some(chunk) if !chunk.is_empty() => self.port.send(Message::Chunk(chunk)),
            _ => Ok(()),
        }
    }

    /// Encodes up to `max` frozen entries; `true` = none is left, and `Done` was handed over.
    fn encode_frozen(&mut self, max: usize) -> Result<bool, Failure> {
        let Some(mut frozen) = self.frozen.take() else { return Ok(true) };
        let end = frozen.next.saturating_add(max).min(frozen.entries.len());
        for place in frozen.next..end {
            let Some(number) = frozen.entries.number(place) else { break };
            let waits = self.slots.get(number).is_some_and(|slot| slot.is_dirty() && slot.stamp == frozen.generation);
            if waits {
                self.encode(number, frozen.generation)?;
            }
        }
        frozen.next = end;
        if end < frozen.entries.len() {
            self.frozen = Some(frozen);
            return Ok(false);
        }
        self.seal()?;
        let Frozen { generation, checkpoint, entries, .. } = frozen;
        self.port.send(Message::Done { port: self.port.number, generation, checkpoint })?;
        if let Listed::Changed(mut entries) = entries
            && self.dirty.is_empty()
        {
            entries.clear();
            self.dirty = entries; // keeps the room for the next ones
        }
        Ok(true)
    }

    /// Encodes entries of the running generation, if that is allowed now.
    pub(super) fn spill(&mut self, max: usize) -> Result<(), Failure> {
        let allowed = self.frozen.is_none() && self.last_frozen.is_none_or(|checkpoint| self.port.has_linked(checkpoint));
        if !allowed || !self.port.pump()? {
            return Ok(());
        }
        let generation = self.generation;
        let end = self.spilled.saturating_add(max).min(self.dirty.len());
        for place in self.spilled..end {
            let Some(&number) = self.dirty.get(place) else { break };
            let waits = self.slots.get(number).is_some_and(|slot| slot.is_dirty() && slot.stamp == generation);
            if waits {
                self.encode(number, generation)?;
            }
        }
        self.spilled = end;
        if self.spilled > SPILLED_KEPT && self.spilled * 2 > self.dirty.len() {
            self.dirty.drain(..self.spilled);
            self.spilled = 0;
        }
        self.seal()
    }

    /// Number of changed entries that are not yet encoded: at most this many, since one may be listed twice.
    fn dirty_entries(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.entries.len() - frozen.next);
        (self.dirty.len() - self.spilled + frozen).min(self.slots.len())
    }
}

/// Spilled numbers that may stay in the list before it is moved up.
const SPILLED_KEPT: usize = 1 << 16;

impl<K: StateKey, V: StateValue> AnyTable for Table<K, V> {
    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<(), Failure> {
        if self.frozen.is_some() {
            self.encode_frozen(usize::MAX)?;
        }
        let entries = match self.is_whole {
            true => Listed::All(self.slots.numbers()),
            false => Listed::Changed(std::mem::take(&mut self.dirty)),
        };
        self.frozen = Some(Frozen { generation: self.generation, checkpoint, entries, next: std::mem::take(&mut self.spilled) });
        self.last_frozen = Some(checkpoint);
        self.generation = self.generation.checked_add(1).ok_or_else(|| Failure::attempt("state generations have run out"))?;
        Ok(())
    }

    fn encode_slice(&mut self, max_entries: usize) -> Result<bool, Failure> {
        // While the writer is behind, encoding more would only fill the memory.
        if !self.port.pump()? {
            return Ok(false);
        }
        if !self.encode_frozen(max_entries)? {
            return Ok(false);
        }
        self.port.pump()
    }

    fn dirty_bytes(&self) -> usize {
        match self.slots.len() {
            0 => 0,
            entries => (self.slots.bytes() as u128 * self.dirty_entries() as u128 / entries as u128) as usize,
        }
    }

    fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    fn maintain(&mut self) -> Result<(), Failure> {
        if self.is_whole { self.keep_within_memory() } else { self.keep_to_budget() }
    }
}
