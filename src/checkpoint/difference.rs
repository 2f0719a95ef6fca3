//! What changed from one checkpoint to another.

use super::manifest::{Manifest, OperatorEntry, StateEntry, StateFile};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// From one checkpoint to another of the same job, older or newer. Sizes are bytes, times are event time in ms.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Number of the one.
    pub from: u64,
    /// Number of the other.
    pub to: u64,
    /// Bytes of all files.
    pub total_bytes: Change<u64>,
    /// Files that only the other one names.
    pub added: FileGroup,
    /// Files that only the one names.
    pub removed: FileGroup,
    /// Files that both name: the same objects.
    pub shared: FileGroup,
    /// Every partition that either has read.
    pub offsets: Vec<OffsetMove>,
    /// Every operator of either, in the order in which data passes.
    pub operators: Vec<OperatorChange>,
    /// Tasks per stage.
    pub parallelism: Change<u32>,
    /// Number of key groups.
    pub max_parallelism: Change<u32>,
    /// How the operators are connected.
    pub graph: Change<String>,
}

/// What something is on both sides; nothing on a side that does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// In the one.
    pub from: Option<T>,
    /// In the other.
    pub to: Option<T>,
}

impl<T: PartialEq> Change<T> {
    fn both(from: T, to: T) -> Self {
        Self { from: Some(from), to: Some(to) }
    }

    /// Whether both sides are the same.
    pub fn is_same(&self) -> bool {
        self.from == self.to
    }
}

/// Files with the sum of their sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileGroup {
    /// Sum of the sizes.
    pub bytes: u64,
    /// The files, by name.
    pub files: Vec<StateFile>,
}

/// How far reading moved in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OffsetMove {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset of the next record to read.
    #[serde(flatten)]
    pub offset: Change<i64>,
    /// Offsets in between: those of the records that only the other one has read. A partition that the one did not know counts
    /// from where the job began to read it; nothing if the other one does not know it.
    pub moved: Option<i64>,
}

/// What changed of one operator.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorChange {
    /// Its name.
    pub name: String,
    /// Its tasks; nothing on a side that does not have the operator.
    pub parallelism: Change<u32>,
    /// Its watermark; nothing before the first.
    pub watermark: Change<i64>,
    /// Number of its elements of operator state.
    pub elements: Change<usize>,
    /// Its keyed states that were added, removed, or described otherwise.
    pub states: Vec<StateChange>,
}

/// A keyed state that was added, removed, or has another description.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateChange {
    /// Its name.
    pub name: String,
    /// Its description.
    #[serde(flatten)]
    pub entry: Change<StateEntry>,
}

impl Difference {
    /// What changed from `from` to `to`.
    #[must_use]
    pub fn between(from: &Manifest, to: &Manifest) -> Self {
        // The object is the file: RocksDB gives a name like CURRENT again and again.
        let objects = |manifest: &Manifest| -> BTreeSet<String> { manifest.files.iter().map(StateFile::object_name).collect() };
        let (before, after) = (objects(from), objects(to));
        let files = |of: &Manifest, in_both: bool, other: &BTreeSet<String>| {
            FileGroup::of(of.files.iter().filter(|file| other.contains(&file.object_name()) == in_both).cloned())
        };
        Self {
            from: from.checkpoint.0,
            to: to.checkpoint.0,
            total_bytes: Change::both(from.total_bytes, to.total_bytes),
            added: files(to, false, &before),
            removed: files(from, false, &after),
            shared: files(to, true, &before),
            offsets: offsets(from, to),
            operators: operators(from, to),
            parallelism: Change::both(from.parallelism, to.parallelism),
            max_parallelism: Change::both(from.max_parallelism, to.max_parallelism),
            graph: Change::both(from.graph.fingerprint.clone(), to.graph.fingerprint.clone()),
        }
    }
}

impl FileGroup {
    fn of(files: impl Iterator<Item = StateFile>) -> Self {
        let mut files: Vec<StateFile> = files.collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Self { bytes: files.iter().map(|file| file.size).sum(), files }
    }
}

fn offsets(from: &Manifest, to: &Manifest) -> Vec<OffsetMove> {
    let (before, after, began) = (from.positions(), to.positions(), to.began());
    let partitions: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let one = |partition: crate::protocol::TopicPartition| {
        let offset = Change { from: before.get(&partition).copied(), to: after.get(&partition).copied() };
        let start = offset.from.or_else(|| began.get(&partition).copied());
        let moved = start.zip(offset.to).map(|(start, end)| end - start);
        OffsetMove { topic: partition.topic.to_string(), partition: partition.partition, offset, moved }
    };
    partitions.into_iter().map(one).collect()
}

fn operators(from: &Manifest, to: &Manifest) -> Vec<OperatorChange> {
    let find = |manifest: &Manifest, name: &str| manifest.operators.iter().find(|operator| operator.name == name).cloned();
    let only_before = from.operators.iter().filter(|operator| find(to, &operator.name).is_none());
    let names = to.operators.iter().chain(only_before).map(|operator| operator.name.clone());
    names.map(|name| operator((find(from, &name), find(to, &name)), name)).collect()
}

fn operator((from, to): (Option<OperatorEntry>, Option<OperatorEntry>), name: String) -> OperatorChange {
    fn change<T>(
        from: Option<&OperatorEntry>,
        to: Option<&OperatorEntry>,
        read: impl Fn(&OperatorEntry) -> Option<T>,
    ) -> Change<T> {
        Change { from: from.and_then(&read), to: to.and_then(&read) }
    }
    let (from, to) = (from.as_ref(), to.as_ref());
    let states = |operator: Option<&OperatorEntry>| -> BTreeMap<String, StateEntry> {
        operator.iter().flat_map(|operator| &operator.states).map(|state| (state.name.clone(), state.clone())).collect()
    };
    let (before, after) = (states(from), states(to));
    let both: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
    let state = |name: String| {
        let entry = Change { from: before.get(&name).cloned(), to: after.get(&name).cloned() };
        (!entry.is_same()).then_some(StateChange { name, entry })
    };
    OperatorChange {
        name,
        parallelism: change(from, to, |operator| Some(operator.parallelism)),
        watermark: change(from, to, |operator| operator.watermark),
        elements: change(from, to, |operator| Some(operator.operator_state.len())),
        states: both.into_iter().filter_map(state).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{InputPosition, Reason},
        *,
    };
    use crate::protocol::CheckpointId;
    use proptest::prelude::*;

    /// A file of one byte per unit of `content`, whose hash is that of its number.
    fn file(name: &str, content: u64, written_by: &str) -> StateFile {
        let hash = blake3::hash(&content.to_be_bytes());
        StateFile { name: name.into(), size: content, hash, written_by: written_by.into() }
    }

    fn manifest(number: u64, files: Vec<StateFile>) -> Manifest {
        let mut manifest = Manifest::new("orders".parse().unwrap(), CheckpointId(number), None, Reason::Interval);
        manifest.total_bytes = files.iter().map(|file| file.size).sum();
        manifest.files = files;
        manifest
    }

    fn read(partition: i32, began: i64, offset: i64) -> InputPosition {
        InputPosition { topic: "orders".into(), partition, offset, began, timestamp_seen: None, idle: false, only_here: false }
    }

    fn state(name: &str, key: &str) -> StateEntry {
        let details = serde_json::json!({ "key": key }).as_object().cloned().unwrap_or_default();
        StateEntry { name: name.into(), kind: "value".into(), details }
    }

    fn holding(name: &str, watermark: Option<i64>, states: Vec<StateEntry>) -> OperatorEntry {
        OperatorEntry {
            name: name.into(),
            parallelism: 2,
            watermark,
            states,
            operator_state: vec![1.into()],
            operator_state_shapes: Vec::new(),
        }
    }

    #[test]
    fn what_came_went_and_stayed_is_told_with_its_numbers() {
        // given two checkpoints that share a table
        let table = file("000007.sst", 100, "1-a");
        let mut one = manifest(3, vec![table.clone(), file("000008.sst", 30, "2-a"), file("CURRENT", 16, "3-a")]);
        let mut other = manifest(5, vec![table, file("000009.sst", 50, "5-a"), file("CURRENT", 16, "5-a")]);
        one.input = vec![read(0, 0, 10), read(1, 0, 20)];
        other.input = vec![read(0, 0, 17), read(1, 0, 20), read(2, 5, 9)];
        let gone = holding("gone", None, vec![state("s", "text")]);
        one.operators = vec![gone, holding("track", None, vec![state("order", "text"), state("old", "u64")])];
        other.operators =
            vec![holding("track", Some(7), vec![state("order", "u64"), state("new", "u64")]), holding("tail", None, vec![])];
        // when they are compared
        let difference = Difference::between(&one, &other);
        // then files are told apart by their objects
        let names = |group: &FileGroup| group.files.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&difference.added), difference.added.bytes), (vec!["000009.sst".into(), "CURRENT".into()], 66));
        assert_eq!((names(&difference.removed), difference.removed.bytes), (vec!["000008.sst".into(), "CURRENT".into()], 46));
        assert_eq!((names(&difference.shared), difference.shared.bytes), (vec!["000007.sst".to_owned()], 100));
        // and partitions by how far they were read
        let moved: Vec<_> = difference.offsets.iter().map(|one| (one.partition, one.offset.from, one.moved)).collect();
        assert_eq!(moved, [(0, Some(10), Some(7)), (1, Some(20), Some(0)), (2, None, Some(4))]);
        // and operators and states by what they are
        let names: Vec<&str> = difference.operators.iter().map(|operator| operator.name.as_str()).collect();
        assert_eq!(names, ["track", "tail", "gone"]);
        let [track, tail, gone] = difference.operators.as_slice() else { panic!("{difference:?}") };
        assert_eq!(track.watermark, Change { from: None, to: Some(7) });
        let changed: Vec<_> =
            track.states.iter().map(|s| (s.name.as_str(), s.entry.from.is_some(), s.entry.to.is_some())).collect();
        assert_eq!(changed, [("new", false, true), ("old", true, false), ("order", true, true)]);
        assert_eq!((tail.parallelism.from, tail.parallelism.to), (None, Some(2)));
        assert_eq!((gone.elements.from, gone.elements.to, gone.states.len()), (Some(1), None, 1));
    }

    #[test]
    fn a_checkpoint_does_not_differ_from_itself() {
        let mut one = manifest(3, vec![file("000007.sst", 100, "1-a")]);
        one.input = vec![read(0, 0, 10)];
        one.operators = vec![holding("track", Some(7), vec![state("order", "text")])];
        let same = Difference::between(&one, &one);
        assert!(same.added.files.is_empty() && same.removed.files.is_empty() && same.graph.is_same(), "{same:?}");
        assert!(same.operators.iter().all(|operator| operator.states.is_empty() && operator.watermark.is_same()), "{same:?}");
        assert_eq!((same.shared.bytes, same.offsets[0].moved), (100, Some(0)));
    }

    proptest! {
        #[test]
        fn the_bytes_add_up(before in prop::collection::btree_set(0_u64..30, 0..20), after in prop::collection::btree_set(0_u64..30, 0..20)) {
            let files = |numbers: &BTreeSet<u64>| numbers.iter().map(|n| file(&format!("{n:06}.sst"), *n, "0-a")).collect();
            let (one, other) = (manifest(1, files(&before)), manifest(2, files(&after)));
            let difference = Difference::between(&one, &other);
            prop_assert_eq!(difference.shared.bytes + difference.removed.bytes, one.total_bytes);
            prop_assert_eq!(difference.shared.bytes + difference.added.bytes, other.total_bytes);
            prop_assert_eq!(difference.added.files.len(), after.difference(&before).count());
            let back = Difference::between(&other, &one);
            prop_assert_eq!((back.added, back.removed), (difference.removed, difference.added));
        }
    }
}
