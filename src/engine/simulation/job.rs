//! The job: how often each key has come, per partition; one output for each record, with the count.
//!
//! Its state goes into files as RocksDB's does: tables that never change, a new one for each checkpoint with what has changed
//! since, now and then merged into one; and numbers that go on from what was restored, so that a number that a dead attempt used
//! comes again. There is one new file for a checkpoint at most: several would be read by several threads, in any order.

use crate::protocol::{Failure, Positions, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What is read.
pub(super) const INPUT: &str = "in";
/// What is written.
pub(super) const OUTPUT: &str = "out";

/// Counts by partition and key. The empty key counts all records of the partition: how far it has been folded.
pub(super) type Counts = BTreeMap<(i32, String), i64>;

/// One output: the record that it is for, and the count.
pub(super) fn output(partition: i32, offset: i64, key: &str, count: i64) -> String {
    format!("{partition}:{offset}:{key}:{count}")
}

/// The state of the partitions of one task.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    counts: Counts,
    dirty: BTreeSet<(i32, String)>,
}

impl State {
    /// The part of `counts` that belongs to `partitions`.
    pub(super) fn of(counts: &Counts, partitions: &BTreeSet<i32>) -> Self {
        let own = counts.iter().filter(|((partition, _), _)| partitions.contains(partition));
        Self { counts: own.map(|(key, count)| (key.clone(), *count)).collect(), dirty: BTreeSet::new() }
    }

    /// Folds one record in: the new count of its key.
    pub(super) fn fold(&mut self, partition: i32, key: &str) -> i64 {
        let mut raise = |key: &str| {
            let entry = (partition, key.to_owned());
            self.dirty.insert(entry.clone());
            let count = self.counts.entry(entry).or_default();
            *count += 1;
            *count
        };
        raise("");
        raise(key)
    }

    /// What has changed since the last call.
    pub(super) fn freeze(&mut self) -> Counts {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().filter_map(|key| self.counts.get(&key).map(|count| (key.clone(), *count))).collect()
    }
}

/// The tables of one attempt.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: BTreeMap<u64, Counts>,
}

impl Tables {
    /// The tables of a restored folder.
    pub(super) fn restored(folder: &Path) -> Result<Self, Failure> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(lost)? {
            let entry = entry.map_err(lost)?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).map_err(lost)?);
        }
        Self::parse(&files)
    }

    /// The tables that these files hold.
    pub(super) fn parse(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, Failure> {
        let table = |(name, bytes): (&String, &Vec<u8>)| {
            let number = name.trim_end_matches(".sst").parse::<u64>().map_err(lost)?;
            let entries: Vec<((i32, String), i64)> = serde_json::from_slice(bytes).map_err(lost)?;
            Ok((number, entries.into_iter().collect()))
        };
        Ok(Self { tables: files.iter().map(table).collect::<Result<_, Failure>>()? })
    }

    /// All counts.
    pub(super) fn counts(&self) -> Counts {
        self.tables.values().flatten().map(|(key, count)| (key.clone(), *count)).collect()
    }

    /// Writes a snapshot with these changes into `folder`.
    pub(super) fn snapshot(&mut self, changes: Counts, merge: bool, folder: &Path) -> Result<(), Failure> {
        let next = self.tables.keys().next_back().map_or(1, |last| last + 1);
        if !changes.is_empty() {
            self.tables.insert(next, changes);
        }
        if merge && self.tables.len() > 1 {
            let all = self.counts();
            self.tables = BTreeMap::from([(next + 1, all)]);
        }
        fs::create_dir_all(folder).map_err(lost)?;
        for (number, table) in &self.tables {
            let entries: Vec<_> = table.iter().collect();
            fs::write(folder.join(table_name(*number)), serde_json::to_vec(&entries).map_err(lost)?).map_err(lost)?;
        }
        Ok(())
    }
}

/// How far `counts` have been folded, per partition.
pub(super) fn folded(counts: &Counts) -> Positions {
    let all = counts.iter().filter(|((_, key), _)| key.is_empty());
    all.map(|((partition, _), count)| (TopicPartition::new(INPUT, *partition), *count)).collect()
}

fn table_name(number: u64) -> String {
    format!("{number:06}.sst")
}

fn lost(why: impl std::fmt::Display) -> Failure {
    Failure::fatal(format!("the state of the simulated job: {why}"))
}
