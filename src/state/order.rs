//! The entries in memory by key group and key, for states of which the entries of one key are asked for together.

use super::StateKey;
use std::collections::BTreeMap;

/// What an entry costs here beside the bytes of its key: a place in a node, and the key's own allocation.
const ENTRY_BYTES: usize = 64;

/// Numbers of entries, by key group and encoded key.
#[derive(Debug, Default)]
pub(super) struct Order {
    numbers: BTreeMap<Box<[u8]>, u32>,
    key_bytes: usize,
    scratch: Vec<u8>,
}

impl Order {
    pub(super) fn insert<K: StateKey>(&mut self, group: u16, key: &K, number: u32) {
        let key: Box<[u8]> = self.encoded(group, key).into();
        self.key_bytes += self.scratch.len();
        self.numbers.insert(key, number);
    }

    pub(super) fn remove<K: StateKey>(&mut self, group: u16, key: &K) {
        self.encoded(group, key);
        if self.numbers.remove(self.scratch.as_slice()).is_some() {
            self.key_bytes -= self.scratch.len();
        }
    }

    fn encoded<K: StateKey>(&mut self, group: u16, key: &K) -> &[u8] {
        self.scratch.clear();
        self.scratch.extend_from_slice(&group.to_be_bytes());
        key.encode(&mut self.scratch);
        &self.scratch
    }

    /// Encoded key (without its group) and number of the entries of `group` that begin with `prefix`, by key.
    pub(super) fn range(&self, group: u16, prefix: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
        let start = [&group.to_be_bytes(), prefix].concat();
        let from = self.numbers.range::<[u8], _>((std::ops::Bound::Included(start.as_slice()), std::ops::Bound::Unbounded));
        let matching: Vec<_> = from.take_while(|(key, _)| key.starts_with(&start)).collect();
        matching.into_iter().map(|(key, number)| (key.get(2..).unwrap_or_default(), *number))
    }

    /// Encoded key (without its group) and number of the entries of `group` from the encoded key `from` on that begin with `prefix`.
    pub(super) fn range_from(&self, group: u16, prefix: &[u8], from: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
        let (start, prefix) = ([&group.to_be_bytes(), from].concat(), [&group.to_be_bytes(), prefix].concat());
        let from = self.numbers.range::<[u8], _>((std::ops::Bound::Included(start.as_slice()), std::ops::Bound::Unbounded));
        let matching = from.take_while(move |(key, _)| key.starts_with(&prefix));
        matching.map(|(key, number)| (key.get(2..).unwrap_or_default(), *number))
    }

    /// Bytes in memory (estimate).
    pub(super) fn bytes(&self) -> usize {
        self.numbers.len() * ENTRY_BYTES + self.key_bytes
    }
}
