//! Keeping tables within the memory that they share.
//!
//! An entry may leave memory once RocksDB *has* it, which is later than when it was encoded: the writer counts, per table, the
//! chunks that are in RocksDB, and an entry knows the chunk in which it was encoded. Which of those goes is decided by a clock:
//! a hand goes round, spares what was used since it came by, and evicts the rest.

use super::{
    AnyTable, StateKey, StateValue, Table,
    budget::{FilterShare, Pressure},
    port::Message,
};
use crate::protocol::Failure;
use std::time::Duration;

/// Entries that the hand looks at in one call: bounds the time of a call to well under a millisecond.
const LOOKS: usize = 8192;
/// Entries that are spilled in one call.
const SPILL: usize = 4096;
/// How long a table that waits gives the writer, which wakes it earlier.
const PACE: Duration = Duration::from_millis(5);

impl<K: StateKey, V: StateValue> Table<K, V> {
    pub(super) fn keep_to_budget(&mut self) -> Result<(), Failure> {
        self.port.pump()?;
        self.free_removed()?;
        self.absence.poll();
        self.publish();
        self.evict()?;
        if self.share.should_spill() {
            self.spill(SPILL)?;
            self.publish();
        }
        if self.share.pressure() != Pressure::None {
            self.wait_for_room()?;
        }
        Ok(())
    }

    /// Gives the writer time until entries were evicted: a little, or until it helps. Entries can be evicted once they are in
    /// RocksDB: frozen ones as soon as they are encoded and written, others once the snapshot before is linked.
    #[cold]
    fn wait_for_room(&mut self) -> Result<(), Failure> {
        loop {
            self.encode_slice(SPILL)?;
            self.spill(SPILL)?;
            self.free_removed()?;
            self.evict()?;
            self.publish();
            let before = self.share.pressure();
            let all_stored = self.sequence == self.port.applied() && self.dirty_bytes() == 0;
            if before == Pressure::None || all_stored {
                return Ok(());
            }
            if self.hurried < self.sequence && self.port.is_sent() {
                self.hurried = self.sequence;
                self.port.send(Message::Hurry)?;
            }
            self.port.wait(PACE)?;
            if before == Pressure::Some {
                return Ok(());
            }
        }
    }

    pub(super) fn publish(&mut self) {
        let (used, dirty) = (self.bytes(), self.dirty_bytes());
        self.share.publish(used, dirty);
    }

    /// Frees removed keys whose removal is in RocksDB.
    fn free_removed(&mut self) -> Result<(), Failure> {
        let applied = self.port.applied();
        while let Some(&number) = self.removed.front() {
            // The number may belong to another entry by now, or the key was written again: then there is nothing to free.
            let gone =
                self.slots.is_live(number) && self.slots.get(number).is_some_and(|slot| slot.value.is_none() && !slot.is_dirty());
            if gone {
                if self.slots.slot(number)?.stamp > applied {
                    return Ok(());
                }
                self.slots.remove(number)?;
            }
            self.removed.pop_front();
        }
        Ok(())
    }

    /// Evicts what is over the budget, as far as entries can go.
    fn evict(&mut self) -> Result<(), Failure> {
        let excess = self.share.excess();
        let applied = self.port.applied();
        if excess == 0 || self.nothing_evictable_at == Some(applied) {
            return Ok(());
        }
        let (mut freed, mut spared, mut forgot) = (0, 0, false);
        let numbers = self.slots.numbers();
        for _ in 0..LOOKS.min(numbers as usize * 2) {
            if freed >= excess {
                break;
            }
            self.hand = if self.hand + 1 < numbers { self.hand + 1 } else { 0 };
            if !self.slots.is_live(self.hand) {
                continue;
            }
            let slot = self.slots.slot_mut(self.hand)?;
            if slot.is_dirty() || slot.stamp > applied {
                continue;
            }
            if slot.take_touched() {
                spared += 1;
                continue;
            }
            if slot.value.is_some() {
                let hash = slot.hash();
                forgot |= !self.absence.note_evicted(hash, || FilterShare::of(self.share.budget().clone()));
            }
            freed += self.slots.bytes_of(self.hand);
            self.slots.remove(self.hand)?;
        }
        self.nothing_evictable_at = (freed == 0 && spared == 0).then_some(applied);
        if forgot {
            self.absence = Self::learn(&self.store, self.port.state(), &self.owned, &self.groups, self.share.budget())?;
        }
        self.publish();
        Ok(())
    }
}
