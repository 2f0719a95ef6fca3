//! Knowing that a key does not exist, without asking the store.
//!
//! Most look-ups of a stream are of keys that never were (a new order, a new event), and asking RocksDB for one costs as much as
//! ten to thirty look-ups in memory. A table that started empty can know better: at first all its keys are in memory; later it
//! remembers, in a bloom filter, the keys that it evicted. What is neither in memory nor in the filter does not exist. A table
//! over restored state learns the keys of the store on a thread beside the work (see [`super::learn`]), and asks RocksDB until
//! then. When a filter has become too full for the memory that it may have, most of its keys may be gone from the store (their
//! time to live ended): the keys are learned anew, where they fit, and else the table asks RocksDB.

use super::{budget::FilterShare, learn::Learner};

/// What a table knows about keys that are not in memory.
#[derive(Debug)]
pub(super) enum Absence {
    /// They do not exist.
    Complete,
    /// They exist only if one of the filters has them: those evicted by this table, and those that were restored.
    Filtered { evicted: KeyFilter, restored: Option<KeyFilter> },
    /// Nothing yet; what is evicted meanwhile is noted.
    Learning { evicted: KeyFilter, learner: Learner },
    /// Nothing.
    Unknown,
}

impl Absence {
    /// Whether a key with this hash, which is not in memory, is known not to exist.
    pub(super) fn is_certain(&self, hash: u64) -> bool {
        match self {
            Self::Complete => true,
            Self::Filtered { evicted, restored } => {
                !evicted.may_contain(hash) && restored.as_ref().is_none_or(|keys| !keys.may_contain(hash))
            }
            Self::Learning { .. } | Self::Unknown => false,
        }
    }

    /// A key that exists leaves memory. `false` = there was no room to note it, and nothing is known any more.
    pub(super) fn note_evicted(&mut self, hash: u64, share: impl FnOnce() -> FilterShare) -> bool {
        if let Self::Complete = self {
            *self = Self::Filtered { evicted: KeyFilter::new(share()), restored: None };
        }
        let noted = match self {
            Self::Filtered { restored: Some(restored), .. } if restored.may_contain(hash) => true,
            Self::Filtered { evicted, .. } | Self::Learning { evicted, .. } => evicted.insert(hash),
            Self::Complete | Self::Unknown => true,
        };
        if !noted {
            *self = Self::Unknown;
        }
        noted
    }

    /// Takes over what was learned, once it is there.
    pub(super) fn poll(&mut self) {
        if let Self::Learning { learner, .. } = self
            && let Some(learned) = learner.poll()
        {
            *self = match (std::mem::replace(self, Self::Unknown), learned) {
                (Self::Learning { evicted, .. }, Some(restored)) => Self::Filtered { evicted, restored: Some(restored) },
                _ => Self::Unknown,
            };
        }
    }
}

/// A bloom filter that grows by layers, each twice as large as the one before; a key takes one cache line per layer.
#[derive(Debug)]
pub(super) struct KeyFilter {
    layers: Vec<Layer>,
    share: FilterShare,
}

/// 64 bytes: one cache line.
type Block = [u64; 8];

#[derive(Debug)]
struct Layer {
    blocks: Vec<Block>,
    keys: usize,
}

/// Blocks of the first layer: 64 KiB.
const FIRST_BLOCKS: usize = 1024;
/// At this many bits per key the filter errs once in about a hundred look-ups.
const BITS_PER_KEY: usize = 10;
/// Below this many it errs once in about six, and is given up.
const LEAST_BITS_PER_KEY: usize = 4;
/// A filter is worth learning with room for this many keys more.
const LEAST_KEYS: u64 = 250_000;
/// Bits that a key sets.
const PROBES: u32 = 6;

impl Layer {
    fn bits(&self) -> usize {
        self.blocks.len() * size_of::<Block>() * 8
    }

    /// Block and bits of a key. The hash is multiplied first, since the table's index uses it as it is.
    fn place(&self, hash: u64) -> (usize, u64) {
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let block = ((u128::from(mixed) * self.blocks.len() as u128) >> 64) as usize;
        (block, hash ^ mixed.rotate_left(32))
    }

    fn may_contain(&self, hash: u64) -> bool {
        let (block, mut bits) = self.place(hash);
        let Some(block) = self.blocks.get(block) else { return true };
        (0..PROBES).all(|_| {
            let (word, bit) = ((bits >> 6) as usize & 7, bits & 63);
            bits = bits.rotate_right(9);
            block.get(word).is_some_and(|word| word >> bit & 1 == 1)
        })
    }

    fn insert(&mut self, hash: u64) {
        let (block, mut bits) = self.place(hash);
        let Some(block) = self.blocks.get_mut(block) else { return };
        for _ in 0..PROBES {
            if let Some(word) = block.get_mut((bits >> 6) as usize & 7) {
                *word |= 1 << (bits & 63);
            }
            bits = bits.rotate_right(9);
        }
        self.keys += 1;
    }
}

impl KeyFilter {
    pub(super) fn new(share: FilterShare) -> Self {
        Self { layers: Vec::new(), share }
    }

    /// Whether a filter of `keys` keys fits into this many bytes, with room for as many again, and enough in any case that it is
    /// not full at once and learned over and over.
    pub(super) fn fits(keys: u64, bytes: usize) -> bool {
        keys.max(LEAST_KEYS).saturating_mul(2 * BITS_PER_KEY as u64) <= bytes as u64 * 8
    }

    fn may_contain(&self, hash: u64) -> bool {
        // The last is the largest, and has the newest keys.
        self.layers.iter().rev().any(|layer| layer.may_contain(hash))
    }

    /// `false` = it is too full to be of use.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        if self.may_contain(hash) {
            return true;
        }
        if self.layers.last().is_none_or(|last| last.keys * BITS_PER_KEY >= last.bits()) {
            let blocks = self.layers.last().map_or(FIRST_BLOCKS, |last| last.blocks.len() * 2);
            if self.share.take(blocks * size_of::<Block>()) {
                self.layers.push(Layer { blocks: vec![[0; 8]; blocks], keys: 0 });
            }
        }
        match self.layers.last_mut() {
            Some(last) if last.keys * LEAST_BITS_PER_KEY < last.bits() => {
                last.insert(hash);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Budget, hash_key};

    fn hash(number: u64) -> u64 {
        hash_key(&number.to_be_bytes())
    }

    #[test]
    fn an_evicted_key_is_never_taken_for_absent_and_an_absent_one_seldom_for_evicted() {
        let budget = Budget::with_filters(0, 4 << 20);
        let share = || FilterShare::of(budget.clone());
        let mut absence = Absence::Complete;
        assert!(absence.is_certain(hash(7)));
        const N: u64 = 500_000;
        assert!((0..N).all(|number| absence.note_evicted(hash(number), share)));
        assert!((0..N).all(|number| !absence.is_certain(hash(number))));
        let wrong = (N..2 * N).filter(|&number| !absence.is_certain(hash(number))).count();
        assert!(wrong < N as usize / 30, "{wrong} of {N}");
        assert!(budget.filters() <= 4 << 20);
    }

    #[test]
    fn a_filter_that_may_not_grow_is_given_up_and_its_memory_given_back() {
        let budget = Budget::with_filters(0, 64 << 10);
        let share = || FilterShare::of(budget.clone());
        let mut absence = Absence::Complete;
        for number in 0..200_000 {
            let _ = absence.note_evicted(hash(number), share);
            assert!(!absence.is_certain(hash(number)));
        }
        assert!(matches!(absence, Absence::Unknown));
        assert_eq!(budget.filters(), 0);
    }
}
