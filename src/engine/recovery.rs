//! Where an attempt begins: the job is taken over, Kafka is asked what is committed, and exactly that is fetched.
//!
//! ```text
//! manifests ─► fence every id that they name ─► committed offsets ─► manifests again ─► decide ─┬─► first start
//!                        ▲                                                                      ├─► restore P
//!                        │                                                                      ├─► begin from a savepoint
//!                        └────────── P names ids that nobody could know before ─────────────────┘
//! ```
//!
//! The decision is the protocol's ([`recovery::decide`]); here is what it is made from, and in which order.

use super::{
    cluster::Cluster,
    evolution,
    plan::Plan,
    sink::Transactions,
    snapshot::{ElementKind, NamedElement},
    stop::Stop,
};
use crate::checkpoint::{Manifest, OperatorEntry, Savepoint, Storage};
use crate::failpoint;
use crate::protocol::{
    CheckpointId, Failure, FailureKind, JobName, ManifestRef, Pointer, Positions, TopicPartition,
    recovery::{self, Evidence, StoredManifest},
};
use crate::state::StateDescriptor;
use std::collections::{BTreeMap, BTreeSet};

/// What recovery has to know of the job.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The job.
    pub job: &'a JobName,
    /// Its consumer group.
    pub group: &'a str,
    /// The transactional ids that the attempt will use.
    pub ids: &'a [String],
    /// The graph.
    pub plan: &'a Plan,
    /// Key groups.
    pub max_parallelism: u16,
    /// The operator's choice after offsets were lost.
    pub restore: Option<CheckpointId>,
    /// The savepoint that the operator wants the job to begin from.
    pub from: Option<&'a FromSavepoint>,
}

/// A start from a savepoint, as the operator asks for it.
#[derive(Debug, Clone)]
pub struct FromSavepoint {
    /// The savepoint.
    pub savepoint: Savepoint,
    /// Committed input may be processed again.
    pub rewind: bool,
    /// State that no operator of the job claims is left out, instead of refused.
    pub allow_non_restored_state: bool,
}

/// What an attempt builds on.
#[derive(Debug)]
pub enum Base {
    /// Nothing: a first start.
    Nothing,
    /// The committed checkpoint.
    Committed(Manifest, ManifestRef),
    /// A savepoint, and the checkpoint that was committed before, if there was one.
    Savepoint(Savepoint, Option<ManifestRef>),
}

impl Base {
    /// What is restored.
    pub fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Nothing => None,
            Self::Committed(manifest, _) => Some(manifest),
            Self::Savepoint(savepoint, _) => Some(&savepoint.manifest),
        }
    }

    /// The committed checkpoint that the attempt's first one comes after.
    pub fn committed(&self) -> Option<ManifestRef> {
        match self {
            Self::Nothing => None,
            Self::Committed(_, reference) => Some(*reference),
            Self::Savepoint(_, before) => *before,
        }
    }

    /// The savepoint that the job was begun from last.
    pub fn origin(&self) -> Option<ManifestRef> {
        match self {
            Self::Nothing => None,
            Self::Committed(manifest, _) => manifest.from.map(ManifestRef::from),
            Self::Savepoint(savepoint, _) => Some(savepoint.reference),
        }
    }
}

/// Where an attempt begins, decided and fetched.
pub struct Recovered {
    /// What it builds on.
    pub base: Base,
    /// Number of the first checkpoint.
    pub next: CheckpointId,
    /// Where reading begins.
    pub positions: Positions,
    /// The job is ours.
    pub transactions: Box<dyn Transactions>,
}

/// Takes the job over and finds out where it begins.
///
/// # Errors
/// Fenced if another instance took it over meanwhile; refused if going on would be a guess; transient while Kafka or storage
/// are away.
pub fn recover(cluster: &dyn Cluster, storage: &Storage, identity: Identity<'_>, stop: &Stop) -> Result<Recovered, Failure> {
    // Fence first: from here on nobody else can commit for this job.
    let stored = stored_manifests(storage, BTreeSet::new())?;
    let older = stored.values().flatten().map(|manifest| &manifest.transactional_ids);
    let mut fenced = recovery::ids_to_fence(identity.ids, older);
    let topics = identity.plan.inputs()?;
    let witness = witness(cluster, topics.first().copied().unwrap_or_default())?;
    let mut transactions = cluster.transactions(&fenced, identity.ids, &witness, stop)?;
    failpoint::hit("during-recovery")?;
    // Until every id that the committed manifest names is fenced.
    loop {
        let evidence = evidence(cluster, storage, &identity, &fenced, stop)?;
        let seen = || evidence.manifests.keys().chain(evidence.markers.keys()).copied();
        let decision = match recovery::decide(identity.job, cluster.held_by(identity.group), &evidence) {
            // A refusal is true only if the offsets are still the same: what is missed here may be what another instance, which
            // has committed since, has cleared away.
            Err(_) if committed_now(cluster, &evidence, stop)? != evidence.committed => continue,
            decision => decision.map_err(|refused| refused.context(format_args!("checkpoint storage {}", storage.folder())))?,
        };
        match decision {
            recovery::Recovery::Fence(more) => {
                transactions.fence(&more)?;
                fenced.extend(more);
            }
            recovery::Recovery::FirstStart => {
                let partitions: Vec<TopicPartition> = evidence.log_bounds.keys().cloned().collect();
                let positions = cluster.start_positions(&partitions, false)?;
                let next = recovery::next_checkpoint(None, seen());
                return Ok(Recovered { base: Base::Nothing, next, positions, transactions });
            }
            recovery::Recovery::Restore(restore) => {
                let checkpoint = restore.manifest.checkpoint;
                let pointer = Pointer::to(identity.job, &restore.manifest);
                let (manifest, reference) =
                    storage.read_committed(&pointer).map_err(|refused| second_look(refused, &mut *transactions))?;
                check_compatible(&manifest, &identity, &topics)?;
                let new: Vec<TopicPartition> = restore.new_partitions.into_iter().collect();
                let mut positions = restore.positions;
                if !new.is_empty() {
                    positions.extend(cluster.start_positions(&new, true)?);
                }
                let next = recovery::next_checkpoint(Some(checkpoint), seen());
                return Ok(Recovered { base: Base::Committed(manifest, reference), next, positions, transactions });
            }
            recovery::Recovery::Begin(begin) => {
                let Some(from) = identity.from else { return Err(Failure::fatal("there is no savepoint to begin from")) };
                let savepoint = from.savepoint.clone();
                check_compatible(&savepoint.manifest, &identity, &topics)
                    .map_err(|refused| refused.context(format_args!("savepoint {}", savepoint.location)))?;
                if !begin.again.is_empty() {
                    let records: u64 = begin.again.values().sum();
                    tracing::warn!(records, per_partition = ?begin.again, "rewinding: these records are processed a second time");
                }
                let mut positions = begin.restore.positions;
                let new: Vec<TopicPartition> = begin.restore.new_partitions.into_iter().collect();
                if !new.is_empty() {
                    positions.extend(cluster.start_positions(&new, true)?);
                }
                let next = recovery::next_checkpoint(begin.base.map(|base| base.checkpoint), seen());
                return Ok(Recovered { base: Base::Savepoint(savepoint, begin.base), next, positions, transactions });
            }
        }
    }
}

/// A refusal to restore is true only if the job is still ours: what is missed may be what a successor, which has committed since,
/// has cleared away. Then we are fenced, and nobody has to do anything.
pub fn second_look(refused: Failure, transactions: &mut dyn Transactions) -> Failure {
    if refused.kind != FailureKind::Refused {
        return refused;
    }
    match transactions.fence(&BTreeSet::new()) {
        Ok(()) => refused,
        Err(lost) => lost.context(refused),
    }
}

/// The partitions of all topics that the job reads, as they are now.
pub fn input_partitions(cluster: &dyn Cluster, plan: &Plan) -> Result<Vec<TopicPartition>, Failure> {
    let mut partitions = Vec::new();
    for topic in plan.inputs()? {
        partitions.extend(cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)));
    }
    Ok(partitions)
}

fn witness(cluster: &dyn Cluster, topic: &str) -> Result<TopicPartition, Failure> {
    let first = cluster.partitions(topic)?.into_iter().next();
    first
        .map(|number| TopicPartition::new(topic, number))
        .ok_or_else(|| Failure::transient(format!("topic {topic} has no partitions")))
}

/// The committed offsets first, then what storage holds: a commit that came before the fence may have brought a manifest that an
/// earlier list did not show.
fn evidence(
    cluster: &dyn Cluster,
    storage: &Storage,
    identity: &Identity<'_>,
    fenced: &BTreeSet<String>,
    stop: &Stop,
) -> Result<Evidence, Failure> {
    let partitions = input_partitions(cluster, identity.plan)?;
    let committed = cluster.committed(&partitions, stop)?;
    // The named one is asked for by its name: a list may lag behind.
    let named = committed.values().flatten().filter_map(|at| at.metadata.parse::<Pointer>().ok());
    let manifests = stored_manifests(storage, named.map(|pointer| pointer.checkpoint).collect())?;
    let mut torn = BTreeSet::new();
    for (number, _) in manifests.iter().filter(|(_, found)| found.is_err()) {
        if storage.is_torn(*number)? {
            torn.insert(*number);
        }
    }
    Ok(Evidence {
        committed,
        manifests,
        torn,
        markers: storage.marks()?,
        log_bounds: cluster.log_bounds(&partitions)?,
        fenced: fenced.clone(),
        restore: identity.restore,
        from: identity.from.map(|from| recovery::Origin {
            name: from.savepoint.location.to_string(),
            manifest: from.savepoint.reference,
            positions: from.savepoint.manifest.positions(),
            rewind: from.rewind,
        }),
    })
}

fn committed_now(
    cluster: &dyn Cluster,
    evidence: &Evidence,
    stop: &Stop,
) -> Result<BTreeMap<TopicPartition, Option<recovery::CommittedOffset>>, Failure> {
    let partitions: Vec<TopicPartition> = evidence.committed.keys().cloned().collect();
    cluster.committed(&partitions, stop)
}

/// Names are identity: a checkpoint is restored only into the operators that wrote it, and into states that can read it.
fn check_compatible(manifest: &Manifest, identity: &Identity<'_>, topics: &[&str]) -> Result<(), Failure> {
    if manifest.max_parallelism != u32::from(identity.max_parallelism) {
        return Err(Failure::refused(format!(
            "checkpoint {} was written with job.max_parallelism = {}, the settings say {}: it is fixed for the life of a job",
            manifest.checkpoint, manifest.max_parallelism, identity.max_parallelism
        )));
    }
    if let Some(other) = manifest.input.iter().find(|input| !topics.contains(&input.topic.as_str())) {
        return Err(Failure::refused(format!(
            "checkpoint {} has read topic {}, the job reads {} (source.topic, or the names of its sources): its state belongs to that \
             input",
            manifest.checkpoint,
            other.topic,
            topics.join(", ")
        )));
    }
    let dropped = identity.from.is_some_and(|from| from.allow_non_restored_state);
    for operator in manifest.operators.iter().filter(|_| !dropped) {
        let known = identity.plan.vertices.iter().any(|vertex| vertex.operators.contains(&operator.name));
        if !known && (!operator.states.is_empty() || !operator.operator_state.is_empty()) {
            return Err(Failure::refused(format!(
                "checkpoint {} holds state of operator {:?}, which this job does not have: an operator was renamed or removed",
                manifest.checkpoint, operator.name
            )));
        }
        check_claimed(manifest, operator, identity.plan)?;
    }
    evolution::check_states(manifest, identity.plan)
}

/// Refuses operator state that no operator of the job has: it lies in the manifest instead of files.
pub(super) fn check_claimed(manifest: &Manifest, operator: &OperatorEntry, plan: &Plan) -> Result<(), Failure> {
    let elements = operator.operator_state.iter().filter_map(NamedElement::read);
    for NamedElement { state, kind, .. } in elements.filter(|named| named.kind != ElementKind::EventTime) {
        let declared =
            |of: &StateDescriptor| of.operator == operator.name && of.name == state && ElementKind::of(of.kind) == kind;
        if !plan.operator_states.iter().any(declared) {
            return Err(Failure::refused(format!(
                "checkpoint {} holds state {}/{state} ({}), which no operator of this job claims: it was renamed or removed, or is of \
                 another kind now. Give it back its name, or allow non-restored state to go on without it",
                manifest.checkpoint,
                operator.name,
                if kind == ElementKind::Broadcast { "a broadcast map" } else { "a list of subtasks" }
            )));
        }
    }
    Ok(())
}

/// The manifests in storage, and `named` whether they are listed or not; for one that cannot be read, why. One that is listed
/// still, but gone, is not there.
fn stored_manifests(
    storage: &Storage,
    named: BTreeSet<CheckpointId>,
) -> Result<BTreeMap<CheckpointId, Result<StoredManifest, String>>, Failure> {
    let mut stored = BTreeMap::new();
    for number in storage.list_manifests()?.into_iter().chain(named) {
        let found = match storage.read_manifest(number) {
            Ok((manifest, reference)) => Ok(StoredManifest {
                hash: reference.hash,
                base: manifest.base.map(|base| base.checkpoint),
                positions: manifest.positions(),
                transactional_ids: manifest.transactional_ids.into_iter().collect(),
                from: manifest.from.map(|from| from.hash),
            }),
            Err(failure) if failure.kind != FailureKind::Refused => return Err(failure),
            Err(_) if !storage.has_manifest(number)? => continue,
            Err(failure) => Err(failure.message),
        };
        stored.insert(number, found);
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{InputPosition, Reason, StateEntry},
        engine::plan::{Vertex, VertexKind},
    };
    use std::sync::Arc;

    fn plan(operators: &[&str]) -> Plan {
        let vertex = Vertex {
            name: "orders".to_owned(),
            kind: VertexKind::Source { topic: "orders".to_owned() },
            has_output: true,
            operators: operators.iter().map(|name| (*name).to_owned()).collect(),
            run: Arc::new(|_| Ok(())),
        };
        Plan { vertices: vec![vertex], ..Plan::default() }
    }

    /// Written by a job with the operators "dedup" (with state) and "map" (without).
    fn written() -> Manifest {
        let mut manifest = Manifest::new("shop".parse().unwrap(), CheckpointId(7), None, Reason::Interval);
        let input =
            InputPosition { topic: "orders".into(), partition: 0, offset: 5, began: 0, timestamp_seen: None, idle: false };
        manifest.input.push(input);
        let state = StateEntry { name: "seen".into(), kind: "value".into(), details: serde_json::Map::new() };
        for (name, states) in [("dedup", vec![state]), ("map", Vec::new())] {
            manifest.operators.push(OperatorEntry { name: name.into(), parallelism: 1, states, ..OperatorEntry::default() });
        }
        manifest
    }

    fn check(manifest: &Manifest, plan: &Plan, topic: &str) -> Result<(), String> {
        let job = "shop".parse().unwrap();
        let identity = Identity { job: &job, group: "g", ids: &[], plan, max_parallelism: 128, restore: None, from: None };
        check_compatible(manifest, &identity, &[topic]).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::Refused);
            failure.message
        })
    }

    #[test]
    fn a_renamed_operator_with_state_is_refused_by_its_name_and_one_without_is_not() {
        assert_eq!(check(&written(), &plan(&["dedup", "map"]), "orders"), Ok(()));
        assert_eq!(check(&written(), &plan(&["dedup", "other", "one-more"]), "orders"), Ok(()));
        let message = check(&written(), &plan(&["deduplicate", "map"]), "orders").unwrap_err();
        assert!(message.contains("\"dedup\"") && message.contains("renamed"), "{message}");
    }

    #[test]
    fn operator_state_alone_makes_a_name_needed() {
        let mut manifest = written();
        manifest.operators[1].operator_state.push(serde_json::json!(1));
        assert!(check(&manifest, &plan(&["dedup"]), "orders").unwrap_err().contains("\"map\""));
    }

    #[test]
    fn operator_state_that_nobody_declares_is_refused_by_its_name() {
        let mut manifest = written();
        manifest.operators[1].operator_state.push(NamedElement::write(ElementKind::List, "pending", &1).unwrap());
        let mut plan = plan(&["dedup", "map"]);
        let message = check(&manifest, &plan, "orders").unwrap_err();
        assert!(message.contains("map/pending") && message.contains("renamed"), "{message}");
        // of another kind
        let pending = StateDescriptor::value::<()>("map", "pending");
        plan.operator_states = vec![pending.clone().kind(crate::state::StateKind::Broadcast)];
        assert!(check(&manifest, &plan, "orders").is_err());
        plan.operator_states = vec![pending.kind(crate::state::StateKind::Operator)];
        assert_eq!(check(&manifest, &plan, "orders"), Ok(()));
    }

    #[test]
    fn another_topic_or_number_of_key_groups_is_refused_with_both() {
        let message = check(&written(), &plan(&["dedup"]), "others").unwrap_err();
        assert!(message.contains("orders") && message.contains("others"), "{message}");
        let other = Manifest { max_parallelism: 64, ..written() };
        let message = check(&other, &plan(&["dedup"]), "orders").unwrap_err();
        assert!(message.contains("64") && message.contains("128"), "{message}");
    }
}
