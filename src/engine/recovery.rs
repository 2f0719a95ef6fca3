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
    compatible::check_compatible,
    plan::{Ends, Plan},
    settle::settle,
    sink::Transactions,
    stop::Stop,
};
use crate::checkpoint::{Manifest, Savepoint, Storage};
use crate::failpoint;
use crate::protocol::{
    Carrier, CheckpointId, Failure, FailureKind, JobName, ManifestRef, Pointer, Positions, TopicPartition,
    recovery::{self, Evidence, StoredManifest},
};
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
    /// The job is ours, and what is committed is published.
    pub transactions: Box<dyn Transactions>,
    /// What carries the pointer from here on.
    pub carrier: Carrier,
    /// The epoch of the attempt, if it stages output outside of Kafka.
    pub epoch: Option<u64>,
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
    let carrier = identity.plan.carrier()?;
    let witness = witness(cluster, identity.plan, &carrier)?;
    let mut transactions = cluster.transactions(&fenced, identity.ids, &witness, stop)?;
    failpoint::hit("during-recovery")?;
    // Until every id that the committed manifest names is fenced.
    let (base, next, positions) = loop {
        let evidence = evidence(cluster, storage, (&identity, &carrier), &fenced, stop)?;
        let seen = || evidence.manifests.keys().chain(evidence.markers.keys()).copied();
        let decision = match recovery::decide(identity.job, cluster.held_by(identity.group), &evidence) {
            // A refusal is true only if the offsets are still the same: what is missed here may be what another instance, which
            // has committed since, has cleared away.
            Err(_) if has_moved(cluster, &evidence, stop)? => continue,
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
                break (Base::Nothing, next, positions);
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
                break (Base::Committed(manifest, reference), next, positions);
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
                break (Base::Savepoint(savepoint, begin.base), next, positions);
            }
        }
    };
    let before = match &base {
        Base::Savepoint(_, Some(before)) => Some(storage.read_manifest(before.checkpoint)?.0),
        _ => None,
    };
    let committed = if let Base::Committed(manifest, _) = &base { Some(manifest) } else { before.as_ref() };
    let epoch = settle(storage, identity.plan, &mut *transactions, (committed, base.manifest()))?;
    // The job keeps the anchor that it has: another one would leave its offset behind, with a pointer that is out of date.
    let kept = committed.and_then(|manifest| manifest.anchor.as_ref()).map(TopicPartition::from);
    let carrier = Carrier { anchor: kept.or(carrier.anchor), ..carrier };
    Ok(Recovered { base, next, positions, transactions, carrier, epoch })
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

/// The partitions of `topics`, as they are now.
pub fn partitions_of(cluster: &dyn Cluster, topics: &[&str]) -> Result<Vec<TopicPartition>, Failure> {
    let mut partitions = Vec::new();
    for topic in topics {
        partitions.extend(cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(*topic, number)));
    }
    Ok(partitions)
}

/// A partition of an input topic of Kafka; of an output topic, if none is read.
fn witness(cluster: &dyn Cluster, plan: &Plan, carrier: &Carrier) -> Result<TopicPartition, Failure> {
    if let Some(anchor) = &carrier.anchor {
        return Ok(anchor.clone());
    }
    let topics = if plan.ends()? == Ends::Both { plan.kafka_inputs()? } else { plan.inputs()? };
    let topic = topics.first().copied().unwrap_or_default();
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
    (identity, carrier): (&Identity<'_>, &Carrier),
    fenced: &BTreeSet<String>,
    stop: &Stop,
) -> Result<Evidence, Failure> {
    let partitions = partitions_of(cluster, &identity.plan.inputs()?)?;
    let of_kafka = |at: &&TopicPartition| !carrier.only_in_manifests.contains(&at.topic);
    let carrying: Vec<TopicPartition> = partitions.iter().filter(of_kafka).cloned().collect();
    let mut anchors: BTreeSet<TopicPartition> = carrier.anchor.iter().cloned().collect();
    // Until every partition that may carry the pointer has been asked for.
    let (committed, manifests) = loop {
        let asked: Vec<TopicPartition> = carrying.iter().chain(&anchors).cloned().collect();
        let committed = cluster.committed(&asked, stop)?;
        // The named one is asked for by its name: a list may lag behind.
        let named = committed.values().flatten().filter_map(|at| at.metadata.parse::<Pointer>().ok());
        let manifests = stored_manifests(storage, named.map(|pointer| pointer.checkpoint).collect())?;
        let known = anchors.len();
        let named = manifests.values().flatten().filter_map(|manifest| manifest.anchor.clone());
        anchors.extend(named.filter(|anchor| !carrying.contains(anchor)));
        if anchors.len() == known {
            break (committed, manifests);
        }
    };
    let (anchors, committed) = committed.into_iter().partition(|(at, _)| anchors.contains(at));
    let mut torn = BTreeSet::new();
    for (number, _) in manifests.iter().filter(|(_, found)| found.is_err()) {
        if storage.is_torn(*number)? {
            torn.insert(*number);
        }
    }
    Ok(Evidence {
        committed,
        anchors,
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
            only_here: from.savepoint.manifest.only_here(),
            rewind: from.rewind,
        }),
    })
}

/// Whether something else is committed now.
fn has_moved(cluster: &dyn Cluster, evidence: &Evidence, stop: &Stop) -> Result<bool, Failure> {
    let then = || evidence.committed.iter().chain(&evidence.anchors);
    let partitions: Vec<TopicPartition> = then().map(|(partition, _)| partition.clone()).collect();
    let now = cluster.committed(&partitions, stop)?;
    Ok(then().any(|(partition, offset)| now.get(partition) != Some(offset)))
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
                only_here: manifest.only_here(),
                anchor: manifest.anchor.as_ref().map(TopicPartition::from),
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
