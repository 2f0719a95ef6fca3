//! Key groups: the unit in which keyed state is owned, stored and moved.
//!
//! The number of key groups is fixed for a job's life, the number of subtasks is not: a key always lies in the same group, and
//! each subtask owns a contiguous range of groups. Both formulas are part of the state's format and never change.

use crate::protocol::Failure;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Hash of an encoded key: XXH3, 64 bits, seed 0. Part of the state's format.
#[must_use]
pub fn hash_key(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// How keys are spread over groups, and groups over subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyGroups {
    max_parallelism: u16,
}

impl KeyGroups {
    /// Number of key groups when nothing else is configured.
    pub const DEFAULT_MAX_PARALLELISM: u16 = 128;
    /// Most key groups that a job can have: 2^15, as in Flink.
    pub const LIMIT: u16 = 1 << 15;

    /// `max_parallelism` key groups; refused outside 1 to [`Self::LIMIT`].
    pub fn new(max_parallelism: u16) -> Result<Self, Failure> {
        if max_parallelism == 0 || max_parallelism > Self::LIMIT {
            return Err(Failure::fatal(format!("max_parallelism is {max_parallelism}: allowed are 1 to {}", Self::LIMIT)));
        }
        Ok(Self { max_parallelism })
    }

    /// Number of key groups.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.max_parallelism
    }

    /// The group of a key with this hash. Taken from the upper half of the hash, because hash tables use both ends of it: the
    /// keys of one subtask would otherwise crowd in a part of its table.
    #[must_use]
    pub fn group(&self, hash: u64) -> u16 {
        // Below 2^15, so nothing is lost.
        ((hash >> 32) % u64::from(self.max_parallelism)) as u16
    }

    /// A hash that lies in `group`: for state that belongs to a subtask instead of a key, and shall move with its groups.
    #[must_use]
    pub fn hash_in(&self, group: u16) -> u64 {
        u64::from(group % self.max_parallelism) << 32
    }

    /// The groups that `subtask` (from 0) of `parallelism` owns: Flink's formula. Empty when there are more subtasks than groups.
    #[must_use]
    pub fn range(&self, subtask: usize, parallelism: usize) -> Range<u16> {
        let (groups, parallelism) = (usize::from(self.max_parallelism), parallelism.max(1));
        let bound = |subtask: usize| (subtask * groups).div_ceil(parallelism).min(groups) as u16;
        bound(subtask)..bound(subtask + 1)
    }

    /// The subtask of `parallelism` that owns `group`.
    #[must_use]
    pub fn subtask_of(&self, group: u16, parallelism: usize) -> usize {
        usize::from(group) * parallelism.max(1) / usize::from(self.max_parallelism)
    }
}

impl Default for KeyGroups {
    fn default() -> Self {
        Self { max_parallelism: Self::DEFAULT_MAX_PARALLELISM }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_and_groups_never_change() {
        let groups = KeyGroups::default();
        let seen: Vec<(u64, u16)> = ["", "O-000000042", "U-00017", "P-0007"]
            .iter()
            .map(|key| (hash_key(key.as_bytes()), groups.group(hash_key(key.as_bytes()))))
            .collect();
        // The first is XXH3's own test vector of empty input.
        assert_eq!(
            seen,
            [
                (0x2d06_8005_38d3_94c2, 5),
                (7_028_597_830_468_395_072, 124),
                (2_091_408_528_969_600_191, 121),
                (8_208_764_482_910_214_617, 78)
            ]
        );
    }

    proptest! {
        #[test]
        fn each_group_is_owned_by_the_subtask_that_its_keys_are_sent_to(max in 1_u16..=1024, parallelism in 1_usize..200) {
            let groups = KeyGroups::new(max).unwrap();
            let mut next = 0;
            for subtask in 0..parallelism {
                let range = groups.range(subtask, parallelism);
                prop_assert_eq!(range.start, next);
                next = range.end;
                for group in range {
                    prop_assert_eq!(groups.subtask_of(group, parallelism), subtask);
                    prop_assert_eq!(groups.group(groups.hash_in(group)), group);
                }
            }
            prop_assert_eq!(next, max);
        }
    }
}
