//! From what the tasks were at a barrier to the manifest that says so, and what a manifest says of the states.

use super::{
    event::{PartitionState, TaskSnapshot},
    message::{MIN_WATERMARK, Timestamp},
    plan::Plan,
};
use crate::checkpoint::{Anchor, BaseManifest, GraphIdentity, InputPosition, Manifest, OperatorEntry, Reason, StateEntry};
use crate::protocol::{Carrier, CheckpointId, Failure, JobName, ManifestRef, Positions, Trigger};
use crate::state::StateDescriptor;
use serde_json::Value;
use std::collections::BTreeMap;

/// What all manifests of an attempt have in common, and what the last one said.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// The job.
    pub job: JobName,
    /// Its consumer group.
    pub group: String,
    /// Tasks per stage.
    pub parallelism: usize,
    /// Key groups.
    pub max_parallelism: u16,
    /// The transactional ids that this attempt may use.
    pub transactional_ids: Vec<String>,
    /// The graph.
    pub plan: Plan,
    /// For each task of the attempt, the index of its vertex.
    pub vertex_of_task: Vec<usize>,
    /// Positions of the last checkpoint.
    pub last: Positions,
    /// Where the job began to read each partition.
    pub began: Positions,
    /// The savepoint that the job was begun from last.
    pub from: Option<ManifestRef>,
    /// What carries the pointer.
    pub carrier: Carrier,
    /// The epoch of the attempt, if it stages output outside of Kafka.
    pub epoch: Option<u64>,
    reason: Reason,
    records: u64,
    watermark: Timestamp,
}

impl Blueprint {
    /// For an attempt that begins at `start`, of a job that began at `began`.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        job: JobName,
        group: String,
        (parallelism, max_parallelism): (usize, u16),
        transactional_ids: Vec<String>,
        plan: Plan,
        vertex_of_task: Vec<usize>,
        (start, began): (Positions, Positions),
    ) -> Self {
        let (reason, records) = (Reason::Interval, 0);
        Self {
            job,
            group,
            parallelism,
            max_parallelism,
            transactional_ids,
            plan,
            vertex_of_task,
            last: start,
            began,
            from: None,
            carrier: Carrier::default(),
            epoch: None,
            reason,
            records,
            watermark: MIN_WATERMARK,
        }
    }

    /// A checkpoint begins.
    pub fn begin(&mut self, trigger: Trigger) {
        self.reason = match trigger {
            Trigger::Start => Reason::Start,
            Trigger::Interval => Reason::Interval,
            Trigger::Final => Reason::Final,
            Trigger::Savepoint => Reason::Savepoint,
        };
    }

    /// Positions of the last manifest.
    pub fn positions(&self) -> Positions {
        self.last.clone()
    }

    /// Lowest event time of any task at the last manifest.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Records between the last two manifests.
    pub fn records_since_last(&self) -> u64 {
        self.records
    }

    /// The manifest of `checkpoint`; the files are filled in by whoever uploads them.
    pub fn manifest(
        &mut self,
        checkpoint: CheckpointId,
        base: Option<ManifestRef>,
        snapshots: &[(usize, TaskSnapshot)],
    ) -> Manifest {
        let mut manifest = Manifest::new(self.job.clone(), checkpoint, base, self.reason);
        manifest.from = self.from.map(BaseManifest::from);
        manifest.group.clone_from(&self.group);
        manifest.parallelism = u32::try_from(self.parallelism).unwrap_or(u32::MAX);
        manifest.max_parallelism = u32::from(self.max_parallelism);
        manifest.transactional_ids.clone_from(&self.transactional_ids);
        manifest.graph = graph_identity(&self.plan);
        let mut partitions: Vec<&PartitionState> = snapshots.iter().flat_map(|(_, snapshot)| &snapshot.partitions).collect();
        partitions.sort_by(|a, b| a.partition.cmp(&b.partition));
        manifest.input = partitions
            .iter()
            .map(|state| InputPosition {
                topic: state.partition.topic.to_string(),
                partition: state.partition.partition,
                offset: state.offset,
                began: self.began.get(&state.partition).copied().unwrap_or(0),
                timestamp_seen: state.max_timestamp,
                idle: state.idle,
                only_here: self.carrier.only_in_manifests.contains(&state.partition.topic),
            })
            .collect();
        manifest.epoch = self.epoch;
        manifest.anchor = self.carrier.anchor.as_ref().map(Anchor::from);
        manifest.operators = self.operators(snapshots);
        self.watermark = snapshots.iter().map(|(_, snapshot)| snapshot.watermark).min().unwrap_or(MIN_WATERMARK);
        let positions = manifest.positions();
        let before = |partition| self.last.get(partition).copied().unwrap_or(0);
        self.records = positions.iter().map(|(partition, offset)| u64::try_from(offset - before(partition)).unwrap_or(0)).sum();
        self.last = positions;
        manifest
    }

    fn operators(&self, snapshots: &[(usize, TaskSnapshot)]) -> Vec<OperatorEntry> {
        let mut watermarks: BTreeMap<usize, Timestamp> = BTreeMap::new();
        let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut in_order: Vec<&(usize, TaskSnapshot)> = snapshots.iter().collect();
        in_order.sort_by_key(|(task, _)| *task);
        for (task, snapshot) in in_order {
            if let Some(vertex) = self.vertex_of_task.get(*task) {
                let lowest = watermarks.entry(*vertex).or_insert(snapshot.watermark);
                *lowest = (*lowest).min(snapshot.watermark);
            }
            for (operator, elements) in snapshot.operators.clone().into_lists() {
                lists.entry(operator).or_default().extend(elements);
            }
        }
        let mut operators = Vec::new();
        for (index, vertex) in self.plan.vertices.iter().enumerate() {
            let watermark = watermarks.get(&index).copied().filter(|watermark| *watermark != MIN_WATERMARK);
            let tasks = self.vertex_of_task.iter().filter(|vertex| **vertex == index).count();
            for name in &vertex.operators {
                let states = self.plan.states.iter().filter(|state| state.operator == *name);
                let shapes = self.plan.operator_states.iter().filter(|state| state.operator == *name);
                operators.push(OperatorEntry {
                    name: name.clone(),
                    parallelism: u32::try_from(tasks).unwrap_or(u32::MAX),
                    watermark,
                    states: states.map(state_entry).collect(),
                    operator_state: lists.remove(name).unwrap_or_default(),
                    operator_state_shapes: shapes.map(operator_state_entry).collect(),
                });
            }
        }
        operators
    }
}

pub(super) fn state_entry(state: &StateDescriptor) -> StateEntry {
    let mut details = match serde_json::to_value(state) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let kind = details.remove("kind").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    // The entry stands below its operator and has its own name already.
    details.remove("operator");
    details.remove("name");
    StateEntry { name: state.name.clone(), kind, details }
}

/// Of a state that no key has.
pub(super) fn operator_state_entry(state: &StateDescriptor) -> StateEntry {
    let mut entry = state_entry(state);
    entry.details.remove("key");
    entry
}

/// The keyed states of a checkpoint, as its manifest describes them: no job is needed to read its entries.
///
/// # Errors
/// Refused: a description that this program does not know, written by a newer one.
pub fn stored_states(manifest: &Manifest) -> Result<Vec<StateDescriptor>, Failure> {
    manifest.states().map(|(operator, entry)| stored_state(manifest, operator, entry)).collect()
}

/// One of them.
pub(super) fn stored_state(
    manifest: &Manifest,
    operator: &OperatorEntry,
    entry: &StateEntry,
) -> Result<StateDescriptor, Failure> {
    let mut fields = entry.details.clone();
    if matches!(entry.kind.as_str(), "operator" | "broadcast") {
        fields.insert("key".to_owned(), Value::from("unit"));
    }
    for (field, value) in [("operator", &operator.name), ("name", &entry.name), ("kind", &entry.kind)] {
        fields.insert(field.to_owned(), Value::from(value.as_str()));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| {
        Failure::refused(format!(
            "checkpoint {}: this program ({}) does not know what state {}/{} is ({error}); sluicegate {} wrote it: use that or a newer one",
            manifest.checkpoint,
            env!("CARGO_PKG_VERSION"),
            operator.name,
            entry.name,
            manifest.sluicegate
        ))
    })
}

/// Names and shape of a graph.
pub fn graph_identity(plan: &Plan) -> GraphIdentity {
    let operators = plan.vertices.iter().flat_map(|vertex| vertex.operators.iter().cloned()).collect();
    GraphIdentity { fingerprint: plan.fingerprint(), operators }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{KeyShape, StateKind};

    fn holding(states: Vec<StateEntry>) -> Manifest {
        let mut manifest = Manifest::new("orders".parse().unwrap(), CheckpointId(3), None, Reason::Interval);
        manifest.operators = vec![OperatorEntry { name: "purchases".into(), parallelism: 2, states, ..OperatorEntry::default() }];
        manifest
    }

    #[test]
    fn a_state_is_described_so_that_it_can_be_read_without_the_job() {
        let windows = StateDescriptor::value::<(i64, String)>("purchases", "windows").kind(StateKind::Map).ttl_ms(5);
        let totals = StateDescriptor::value::<u64>("purchases", "totals");
        let manifest = holding(vec![state_entry(&windows), state_entry(&totals)]);
        assert_eq!(stored_states(&manifest).unwrap(), [windows, totals]);
    }

    #[test]
    fn what_version_0_1_wrote_is_read_and_what_is_newer_is_refused_with_its_name() {
        let entry = |json: &str| serde_json::from_str::<StateEntry>(json).unwrap();
        let old = holding(vec![entry(r#"{"name": "seen", "kind": "value", "key": "text", "ttl_ms": 86400000}"#)]);
        let [seen] = stored_states(&old).unwrap().try_into().unwrap();
        assert_eq!((seen.key, seen.kind, seen.ttl_ms), (KeyShape::Text, StateKind::Value, Some(86_400_000)));
        // a field that came later is left alone, another kind or shape is not guessed at
        assert!(stored_states(&holding(vec![entry(r#"{"name": "a", "kind": "value", "key": "text", "later": 1}"#)])).is_ok());
        for newer in
            [r#"{"name": "sketch", "kind": "tree", "key": "text"}"#, r#"{"name": "sketch", "kind": "value", "key": "uuid"}"#]
        {
            let error = stored_states(&holding(vec![entry(newer)])).unwrap_err();
            assert!(error.message.contains("purchases/sketch") && error.message.contains("newer"), "{error}");
        }
    }
}
