//! Scans over all keys that begin with a prefix, in memory and in the store.
//!
//! The index is by hash, so a scan goes over all entries in memory once, sorts those that match, and merges them with what the
//! store holds for each key group that the task owns. It is for work that takes a good part of a table, like firing a window;
//! an operator that must know often *whether* there is something to do keeps that apart (its open windows).
//!
//! A state of kind [`super::StateKind::Map`] is asked for the entries of one key, again and again. Its table keeps them in order, and
//! a scan under that key takes as long as there are entries of it.

use super::{StateKey, StateValue, Table, absence::Absence, key::slot_of, value::decode_value};
use crate::protocol::Failure;
use std::ops::Range;

/// An entry in memory that matches, by key group and encoded key.
struct Match {
    group: u16,
    key: Vec<u8>,
    number: u32,
}

/// What a scan does with the entries that it visits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Keep,
    Remove,
}

impl<K: StateKey, V: StateValue> Table<K, V> {
    /// Visits the entries whose encoded key begins with `prefix` (all, when it is empty), by key group, then by key.
    pub fn scan_prefix(&mut self, prefix: &[u8], f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>) -> Result<(), Failure> {
        self.visit(self.owned.clone(), prefix, After::Keep, &mut |key, value| f(key, value).map(|()| true))
    }

    /// The same, and removes each entry after `f` has seen it. When `f` fails, it is not removed, nor are those after it.
    pub fn drain_prefix(&mut self, prefix: &[u8], f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>) -> Result<(), Failure> {
        self.visit(self.owned.clone(), prefix, After::Remove, &mut |key, value| f(key, value).map(|()| true))
    }

    /// As [`Self::scan_prefix`], among the keys under one by which the stream is partitioned (`hash` is that one's), until `f` says
    /// `false`.
    pub fn scan_under(
        &mut self,
        hash: u64,
        prefix: &[u8],
        f: &mut dyn FnMut(&K, &V) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let group = self.group_of(hash)?;
        self.visit(group..group + 1, prefix, After::Keep, f)
    }

    /// As [`Self::drain_prefix`], among the keys under one by which the stream is partitioned.
    pub fn drain_under(
        &mut self,
        hash: u64,
        prefix: &[u8],
        f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let group = self.group_of(hash)?;
        self.visit(group..group + 1, prefix, After::Remove, &mut |key, value| f(key, value).map(|()| true))
    }

    /// The first `limit` keys of `group` whose encoding begins with `prefix` and is not below `from`, in their order. For states
    /// whose table keeps that order: it takes as long as there are keys to give, not as long as the state is large.
    pub fn first_keys(&self, group: u16, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<K>, Failure> {
        let Some(order) = self.slots.order() else {
            return Err(self.about(Failure::fatal("its keys are asked for in order, which is kept for maps and timers only")));
        };
        let mut keys = Vec::new();
        let mut memory = order.range_from(group, prefix, from).peekable();
        let take = |keys: &mut Vec<K>, number: u32| -> Result<(), Failure> {
            let slot = self.slots.slot(number)?;
            // A removed entry hides what the store still has.
            if slot.value.is_some() {
                keys.push(slot.key.clone());
            }
            Ok(())
        };
        if !matches!(self.absence, Absence::Complete) {
            self.store.scan_from(self.port.state(), group, prefix, from, &mut |key, _| {
                while keys.len() < limit
                    && let Some((_, number)) = memory.next_if(|(other, _)| *other < key)
                {
                    take(&mut keys, number)?;
                }
                if keys.len() >= limit {
                    return Ok(false);
                }
                match memory.next_if(|(other, _)| *other == key) {
                    Some((_, number)) => take(&mut keys, number)?,
                    None => keys.push(self.stored_key(key)?),
                }
                Ok(keys.len() < limit)
            })?;
        }
        while keys.len() < limit
            && let Some((_, number)) = memory.next()
        {
            take(&mut keys, number)?;
        }
        Ok(keys)
    }

    fn visit(
        &mut self,
        groups: Range<u16>,
        prefix: &[u8],
        after: After,
        f: &mut dyn FnMut(&K, &V) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let matches = self.matches(&groups, prefix);
        if matches!(self.absence, Absence::Complete) {
            for found in &matches {
                if !self.visit_one(found, after, f)? {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let mut matches = matches.into_iter().peekable();
        let mut goes_on = true;
        for group in groups {
            if !goes_on {
                return Ok(());
            }
            // What is only in the store and must be removed: the iterator has to end before the table can be changed.
            let mut only_stored: Vec<K> = Vec::new();
            let mut in_memory: Vec<Match> = Vec::new();
            while let Some(found) = matches.next_if(|found| found.group == group) {
                in_memory.push(found);
            }
            let mut memory = in_memory.iter().peekable();
            let store = self.store.clone();
            store.scan(self.port.state(), group, prefix, &mut |key, stored| {
                while goes_on && let Some(found) = memory.next_if(|found| found.key.as_slice() < key) {
                    goes_on = self.visit_one(found, after, f)?;
                }
                if !goes_on {
                    return Ok(false);
                }
                if let Some(found) = memory.next_if(|found| found.key.as_slice() == key) {
                    goes_on = self.visit_one(found, after, f)?;
                    return Ok(goes_on);
                }
                let value = decode_value::<V>(stored).map_err(|failure| self.misfit(key, failure))?;
                let key = self.stored_key(key)?;
                goes_on = f(&key, &value)?;
                if after == After::Remove {
                    only_stored.push(key);
                }
                Ok(goes_on)
            })?;
            while goes_on && let Some(found) = memory.next() {
                goes_on = self.visit_one(found, after, f)?;
            }
            for key in only_stored {
                self.create_in(group, slot_of(&key), key, None, true)?;
            }
        }
        Ok(())
    }

    fn visit_one(
        &mut self,
        found: &Match,
        after: After,
        f: &mut dyn FnMut(&K, &V) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let slot = self.slots.slot(found.number)?;
        let Some(value) = &slot.value else { return Ok(true) }; // removed
        let goes_on = f(&slot.key, value)?;
        if after == After::Remove {
            self.remove_at(found.number)?;
        }
        Ok(goes_on)
    }

    /// Reads a key as it lies in the store, without its key group.
    pub(super) fn stored_key(&self, bytes: &[u8]) -> Result<K, Failure> {
        let (key, rest) = K::decode(bytes).map_err(|failure| self.about(failure))?;
        if rest.is_empty() {
            return Ok(key);
        }
        let more = rest.len();
        Err(self.about(Failure::refused(format!("a stored key is followed by {more} bytes that do not belong to it"))))
    }

    /// The entries in memory that match, removed keys included (they hide what the store still has), in the store's order.
    fn matches(&self, groups: &Range<u16>, prefix: &[u8]) -> Vec<Match> {
        if let Some(order) = self.slots.order() {
            let of = |group| order.range(group, prefix).map(move |(key, number)| Match { group, key: key.to_vec(), number });
            return groups.clone().flat_map(of).collect();
        }
        let mut matches = Vec::new();
        let mut key = Vec::new();
        for (number, slot) in self.slots.iter() {
            key.clear();
            slot.key.encode(&mut key);
            if key.starts_with(prefix) && groups.contains(&slot.group()) {
                matches.push(Match { group: slot.group(), key: key.clone(), number });
            }
        }
        matches.sort_unstable_by(|a, b| (a.group, &a.key).cmp(&(b.group, &b.key)));
        matches
    }
}
