//! Where a job begins: decided from what Kafka says is committed, and from nothing else.
//!
//! The group's committed offsets carry the pointer to the checkpoint that they belong to. Whatever happened before, recovery
//! restores exactly that checkpoint, or refuses and says why: it never guesses.
//!
//! The order is part of the protocol:
//!
//! 1. List the manifests, take the owner id, fence [`ids_to_fence`], prove that the owner id is still ours (why:
//!    [`super::transactional_ids`]).
//! 2. *Then* read the committed offsets (require-stable), and *then* list the manifests and markers again: a commit that came
//!    before the fence may have brought a manifest that the first list did not show.
//! 3. [`decide`]. When it answers [`Recovery::Fence`], the committed manifest names ids that nobody could know of in step 1:
//!    fence those too, and go back to 2. This is what makes it safe (an attempt commits only with its first id and with ids
//!    that its last committed manifest names); step 1 saves the way back in all but rare cases.
//! 4. When it refuses, or a file of the checkpoint is missing, read the committed offsets **once more**. If they differ from
//!    those of step 2, another instance has committed meanwhile, and deleted what is missed here: go back to 2. Only if they are
//!    the same is the refusal true.
//!
//! ```text
//! committed offsets     manifests     markers        decision
//! none                  none          none           first start
//! none                  not built on  none           first start: the very first checkpoint was not committed
//!                       or torn
//! none                  some          any            refused, unless the operator names the newest marked one
//! all name P            P, same       any            restore P; partitions that P does not know are new
//! all name P            no P, other   any            refused
//! name P and Q          any           any            refused
//! not written by job    any           any            refused
//! ```
//!
//! A savepoint that the operator gives ([`Evidence::from`]) takes the place of "first start". Where P is committed it takes its place
//! too, if P was not begun from this very savepoint, and if no output would be given out again, or the operator accepts that.

use super::{
    CheckpointId, Failure, HeldBy, JobName, ManifestHash, ManifestRef, Pointer, Positions, TopicPartition, carrier,
    mutant::{self, Mutant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

/// What Kafka holds for one partition of the group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommittedOffset {
    /// Offset of the next record to read.
    pub offset: i64,
    /// Metadata string, as it is.
    pub metadata: String,
}

/// What matters here of a manifest in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// Hash of its bytes, as they were read.
    pub hash: ManifestHash,
    /// The committed checkpoint that it builds on; none when it is the first one of a job.
    pub base: Option<CheckpointId>,
    /// Its positions.
    pub positions: Positions,
    /// Those of them that no committed offset repeats: of sources that are not Kafka's.
    pub only_here: BTreeSet<TopicPartition>,
    /// The partition whose committed offset is the checkpoint's number, if it has one: see [`super::Carrier`].
    pub anchor: Option<TopicPartition>,
    /// Every transactional id that its attempt may use.
    pub transactional_ids: BTreeSet<String>,
    /// The savepoint that the job was begun from last; none without one.
    pub from: Option<ManifestHash>,
}

/// A savepoint that the operator wants the job to begin from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// As messages show it.
    pub name: String,
    /// The manifest in it.
    pub manifest: ManifestRef,
    /// Its positions.
    pub positions: Positions,
    /// Those of them that are of sources which are not Kafka's.
    pub only_here: BTreeSet<TopicPartition>,
    /// The operator accepts that input which is committed is processed again, and its outputs given out a second time.
    pub rewind: bool,
}

/// Everything that the decision is made from.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Today's input partitions, each with its committed offset if it has one. Of partitions that exist no more, those for
    /// which the group still holds an offset.
    pub committed: BTreeMap<TopicPartition, Option<CommittedOffset>>,
    /// What is committed for the partitions that a manifest names as its anchor, and for the one that the job would take today. They carry
    /// the pointer as the others do, but are no positions.
    pub anchors: BTreeMap<TopicPartition, Option<CommittedOffset>>,
    /// The manifests in storage, committed or not; for one that cannot be read, why.
    pub manifests: BTreeMap<CheckpointId, Result<StoredManifest, String>>,
    /// Those of them of which only the beginning is there: their put never ended well, so that nothing was committed with them.
    pub torn: BTreeSet<CheckpointId>,
    /// Markers in storage: checkpoints that were confirmed. A marker may be missing; one that is there tells the truth.
    pub markers: BTreeMap<CheckpointId, ManifestHash>,
    /// Per partition that exists, the first offset that the log still holds, and the one behind its last record.
    pub log_bounds: BTreeMap<TopicPartition, (i64, i64)>,
    /// Ids that were fenced before `committed` was read.
    pub fenced: BTreeSet<String>,
    /// The operator has seen that the offsets are gone and wants this checkpoint. Not looked at while Kafka names one.
    pub restore: Option<CheckpointId>,
    /// The savepoint to begin from.
    pub from: Option<Origin>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Fence these ids as well, read everything again, decide again.
    Fence(BTreeSet<String>),
    /// Nothing was ever committed: resolve the start offsets of all partitions, and commit them before reading.
    FirstStart,
    /// Restore this checkpoint.
    Restore(Restore),
    /// Restore the savepoint that the operator gave.
    Begin(Begin),
}

/// What to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The checkpoint that Kafka names (or that the operator has chosen).
    pub manifest: ManifestRef,
    /// Its positions: reading goes on there.
    pub positions: Positions,
    /// Partitions that the checkpoint does not know: they begin at the configured start.
    pub new_partitions: BTreeSet<TopicPartition>,
}

/// The start from a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// What to restore. Its manifest is the savepoint's.
    pub restore: Restore,
    /// The checkpoint that was committed before.
    pub base: Option<ManifestRef>,
    /// Records per partition that are processed a second time, where there are any.
    pub again: BTreeMap<TopicPartition, u64>,
}

/// Decides where `job` begins, whose committed offsets `held_by` holds.
///
/// # Errors
/// Refused, with the exact facts and what a person can do: see the table [above](self).
pub fn decide<'a>(job: &JobName, held_by: impl Into<HeldBy<'a>>, evidence: &Evidence) -> Result<Recovery, Failure> {
    let held_by = held_by.into();
    let (says, whose, new_job) = (held_by.says(), held_by.whose(), held_by.new_job());
    let Some((pointer, offsets)) = named(job, held_by, evidence)? else {
        let decision = without_offsets(job, held_by, evidence)?;
        return match &evidence.from {
            Some(origin) if decision == Recovery::FirstStart => begin(evidence, held_by, origin, None, BTreeMap::new()),
            _ => Ok(decision),
        };
    };
    let number = pointer.checkpoint;
    let Some(found) = evidence.manifests.get(&number) else {
        return Err(Failure::refused(format!(
            "{held_by}: {says} that checkpoint {number} of job {job} is committed, but its manifest is not in the \
             checkpoint storage (there: {}). Either checkpoint.storage points to the wrong place, or files were deleted: give \
             the storage that holds it",
            list(evidence.manifests.keys())
        )));
    };
    let manifest = found.as_ref().map_err(|why| {
        Failure::refused(format!(
            "{held_by}: {says} that checkpoint {number} of job {job} is committed, but its manifest cannot be used: \
             {why}. A damaged file can be brought back from a copy of the storage"
        ))
    })?;
    if manifest.hash.short() != pointer.hash {
        return Err(Failure::refused(format!(
            "{held_by}: {says} that checkpoint {number} of job {job} has the hash {}, the manifest in storage \
             (manifests/{:020}.json) has {}: it was changed, or checkpoint.storage belongs to another run of the job. Give the \
             storage that holds {}",
            pointer.hash,
            number.0,
            manifest.hash.short(),
            pointer.hash
        )));
    }
    if !mutant::on(Mutant::NamedIdsNotFenced) && !mutant::on(Mutant::OldIdsNotFenced) {
        let more: BTreeSet<_> = manifest.transactional_ids.difference(&evidence.fenced).cloned().collect();
        if !more.is_empty() {
            return Ok(Recovery::Fence(more));
        }
    }
    anchored(held_by, evidence, &pointer, manifest)?;
    for (partition, offset) in &offsets {
        match manifest.positions.get(partition) {
            Some(kept) if kept == offset => {}
            Some(kept) => {
                return Err(Failure::refused(format!(
                    "{held_by}, partition {partition}: the committed offset is {offset}, but checkpoint {number}, which it \
                     names, holds {kept}: somebody has changed {whose}, and state and input would not fit together. \
                     Set the offset back to {kept} with the metadata {pointer}"
                )));
            }
            None => {
                return Err(Failure::refused(format!(
                    "{held_by}, partition {partition}: the committed offset {offset} names checkpoint {number}, but its \
                     manifest does not know the partition: somebody has changed {whose}. Delete this one"
                )));
            }
        }
    }
    let nowhere = |partition: &TopicPartition| !offsets.contains_key(partition) && !manifest.only_here.contains(partition);
    if let Some((partition, offset)) = manifest.positions.iter().find(|(partition, _)| nowhere(partition)) {
        return Err(Failure::refused(format!(
            "{held_by}, partition {partition}: checkpoint {number} holds offset {offset} for it, but none is committed: the \
             partition does not exist any more, or its offset was deleted. Set it to {offset} with the metadata {pointer}, or \
             {new_job}"
        )));
    }
    // A job that has begun from it goes on from what it has committed since: a start is repeated with the same arguments.
    if let Some(origin) = evidence.from.as_ref().filter(|origin| manifest.from != Some(origin.manifest.hash)) {
        // Where they are committed, they are the same.
        let again = processed_again(held_by, &manifest.positions, origin, evidence)?;
        return begin(evidence, held_by, origin, Some(ManifestRef { checkpoint: number, hash: manifest.hash }), again);
    }
    restore(evidence, held_by, number, manifest)
}

/// The anchor of the named checkpoint holds its number, and no other one is committed.
fn anchored(held_by: HeldBy<'_>, evidence: &Evidence, pointer: &Pointer, manifest: &StoredManifest) -> Result<(), Failure> {
    let (number, whose, new_job) = (pointer.checkpoint, held_by.whose(), held_by.new_job());
    let wanted = carrier::offset_of(number);
    for (partition, committed) in &evidence.anchors {
        let Some(CommittedOffset { offset, .. }) = committed else { continue };
        if manifest.anchor.as_ref() != Some(partition) {
            return Err(Failure::refused(format!(
                "{held_by}, partition {partition}: the committed offset {offset} names checkpoint {number}, but its manifest does not \
                 know the partition: somebody has changed {whose}. Delete this one"
            )));
        }
        if *offset != wanted {
            return Err(Failure::refused(format!(
                "{held_by}, partition {partition}: the committed offset is {offset}, but it stands for checkpoint {number}, which its \
                 metadata names: somebody has changed {whose}. Set the offset back to {wanted} with the metadata {pointer}"
            )));
        }
    }
    match &manifest.anchor {
        Some(anchor) if !matches!(evidence.anchors.get(anchor), Some(Some(_))) => Err(Failure::refused(format!(
            "{held_by}, partition {anchor}: checkpoint {number} has its number as the offset of this partition, but none is committed: \
             the topic was deleted, or the offset was. Set it to {wanted} with the metadata {pointer}, or {new_job}"
        ))),
        _ => Ok(()),
    }
}

/// How much committed input the savepoint would have processed a second time; refused unless the operator accepts that.
fn processed_again(
    held_by: HeldBy<'_>,
    offsets: &Positions,
    origin: &Origin,
    evidence: &Evidence,
) -> Result<BTreeMap<TopicPartition, u64>, Failure> {
    let (name, new_job) = (&origin.name, held_by.new_job());
    let mut again = BTreeMap::new();
    for (partition, committed) in offsets {
        // A partition that the savepoint does not know begins where the log does, at the earliest.
        let low = || evidence.log_bounds.get(partition).map_or(0, |(low, _)| *low);
        let position = origin.positions.get(partition).copied().unwrap_or_else(low);
        if position > *committed {
            return Err(Failure::refused(format!(
                "savepoint {name} goes on at offset {position} of partition {partition}, but {held_by} has committed {committed} \
                 only: {} records would never be processed. It is of another run of the job: {new_job}, or \
                 start it without --from",
                position - committed
            )));
        }
        if position < *committed {
            again.insert(partition.clone(), u64::try_from(committed - position).unwrap_or(0));
        }
    }
    if again.is_empty() || origin.rewind {
        return Ok(again);
    }
    let total: u64 = again.values().sum();
    Err(Failure::refused(format!(
        "savepoint {name} is older than what {held_by} has committed: {total} records would be processed again ({}), and \
         their outputs given out a second time. To accept that: --rewind. To go on from what is committed: start without --from",
        list(again.iter().map(|(partition, records)| format!("{partition}: {records}")))
    )))
}

fn begin(
    evidence: &Evidence,
    held_by: HeldBy<'_>,
    origin: &Origin,
    base: Option<ManifestRef>,
    again: BTreeMap<TopicPartition, u64>,
) -> Result<Recovery, Failure> {
    inside_the_log(held_by, origin.manifest.checkpoint, (&origin.positions, &origin.only_here), &evidence.log_bounds)
        .map_err(|refused| refused.context(format_args!("savepoint {}", origin.name)))?;
    let restore = restored(evidence, origin.manifest, &origin.positions);
    Ok(Recovery::Begin(Begin { restore, base, again }))
}

/// The one pointer that the committed offsets carry, and the offsets.
fn named(job: &JobName, held_by: HeldBy<'_>, evidence: &Evidence) -> Result<Option<(Pointer, Positions)>, Failure> {
    let mut pointers: BTreeMap<Pointer, Vec<&TopicPartition>> = BTreeMap::new();
    let mut offsets = Positions::new();
    for (partition, committed) in evidence.committed.iter().chain(&evidence.anchors) {
        let Some(CommittedOffset { offset, metadata }) = committed else { continue };
        let pointer: Pointer = metadata.parse().map_err(|error| {
            Failure::refused(format!(
                "{held_by}, partition {partition}: the committed offset {offset} was not written by sluicegate ({error}). \
                 Another consumer uses this group: give the job a group of its own (kafka.group)"
            ))
        })?;
        if pointer.job != *job {
            return Err(Failure::refused(format!(
                "{held_by}, partition {partition}: the committed offset {offset} belongs to job {}, not to {job}: either two \
                 jobs share the group (give each its own, kafka.group), or the job was renamed (job.name)",
                pointer.job
            )));
        }
        pointers.entry(pointer).or_default().push(partition);
        if evidence.committed.contains_key(partition) {
            offsets.insert(partition.clone(), *offset);
        }
    }
    let mut pointers = pointers.into_iter();
    match (pointers.next(), pointers.next()) {
        (None, _) => Ok(None),
        (Some((pointer, _)), None) => Ok(Some((pointer, offsets))),
        (Some((one, ones)), Some((other, others))) => Err(Failure::refused(format!(
            "{held_by}: the partitions do not agree on the checkpoint: {one} in {}, but {other} in {}. Sluicegate commits all \
             of them at once, so somebody has changed offsets of this group. Set all of them back to one checkpoint, with its \
             offsets and metadata",
            list(&ones),
            list(&others)
        ))),
    }
}

/// Nothing is committed in the group: a first start, or the offsets are gone.
fn without_offsets(job: &JobName, held_by: HeldBy<'_>, evidence: &Evidence) -> Result<Recovery, Failure> {
    // An attempt commits where it begins before it reads. If it dies before that commit, it leaves a manifest that builds on
    // nothing, or a torn one; nothing has been given out. A manifest that builds on another one, or a marker, was written after
    // a commit. Numbers of such attempts have no gaps: a torn one behind a gap is what damage has left of a long life.
    let attempts = evidence.manifests.len() as u64;
    let begun = evidence.manifests.iter().any(|(number, found)| match found {
        Ok(manifest) => manifest.base.is_some(),
        Err(_) => !evidence.torn.contains(number) || number.0 >= attempts,
    });
    let refuse_start = mutant::on(Mutant::UncommittedStartRefused) && !evidence.manifests.is_empty();
    if !begun && evidence.markers.is_empty() && !refuse_start {
        return Ok(Recovery::FirstStart);
    }
    let what = format!(
        "{held_by} has no committed offsets, but the checkpoint storage of job {job} is not empty (manifests: {}; confirmed: \
         {}): {}. \
         Beginning anew would give out everything a second time, so nothing is done",
        list(evidence.manifests.keys()),
        list(evidence.markers.keys()),
        held_by.gone()
    );
    let Some((newest, marked)) = evidence.markers.iter().next_back() else {
        return Err(Failure::refused(format!(
            "{what}. No checkpoint is marked as confirmed, so none can be chosen: bring the offsets back with their metadata, or \
             begin from nothing under another name (job.name)"
        )));
    };
    let Some(Ok(manifest)) = evidence.manifests.get(newest).filter(|found| matches!(found, Ok(kept) if kept.hash == *marked))
    else {
        return Err(Failure::refused(format!(
            "{what}. Checkpoint {newest} was confirmed last, but its manifest is missing, unreadable or another one (marked: {}): \
             bring it back, or begin from nothing under another name (job.name)",
            marked.short()
        )));
    };
    match evidence.restore {
        Some(wanted) if wanted == *newest => restore(evidence, held_by, *newest, manifest),
        Some(wanted) => Err(Failure::refused(format!(
            "{what}. Checkpoint {wanted} was asked for, but {newest} is the one that was confirmed last: going on from another one \
             would lose output or double it. If the offsets are lost for good: `run --restore {newest}`"
        ))),
        None => Err(Failure::refused(format!(
            "{what}. If the offsets are lost for good: checkpoint {newest} was confirmed last, `run --restore {newest}` goes on \
             from it (a newer one that was committed and not marked would be given out twice). To begin from nothing, give the \
             job another name (job.name)"
        ))),
    }
}

fn restore(
    evidence: &Evidence,
    held_by: HeldBy<'_>,
    number: CheckpointId,
    manifest: &StoredManifest,
) -> Result<Recovery, Failure> {
    if mutant::on(Mutant::NewestManifestRestored)
        && let Some((newest, Ok(manifest))) = evidence.manifests.iter().next_back()
        && *newest > number
    {
        return Ok(Recovery::Restore(restored(
            evidence,
            ManifestRef { checkpoint: *newest, hash: manifest.hash },
            &manifest.positions,
        )));
    }
    if mutant::on(Mutant::MetadataIgnored)
        && let Some((newest, Ok(newest_manifest))) = evidence.manifests.iter().next_back()
    {
        let state = ManifestRef { checkpoint: *newest, hash: newest_manifest.hash };
        return Ok(Recovery::Restore(restored(evidence, state, &manifest.positions)));
    }
    inside_the_log(held_by, number, (&manifest.positions, &manifest.only_here), &evidence.log_bounds)?;
    let reference = ManifestRef { checkpoint: number, hash: manifest.hash };
    Ok(Recovery::Restore(restored(evidence, reference, &manifest.positions)))
}

fn restored(evidence: &Evidence, manifest: ManifestRef, positions: &Positions) -> Restore {
    let known = evidence.log_bounds.keys().chain(evidence.committed.keys());
    Restore {
        manifest,
        positions: positions.clone(),
        new_partitions: known.filter(|partition| !positions.contains_key(*partition)).cloned().collect(),
    }
}

/// Refuses positions that the log does not hold any more, or not yet.
fn inside_the_log(
    held_by: HeldBy<'_>,
    checkpoint: CheckpointId,
    (positions, not_of_kafka): (&Positions, &BTreeSet<TopicPartition>),
    log_bounds: &BTreeMap<TopicPartition, (i64, i64)>,
) -> Result<(), Failure> {
    let new_job = held_by.new_job();
    for (partition, offset) in positions {
        // What may have happened to a topic has not happened to a file.
        let held_by = if not_of_kafka.contains(partition) { HeldBy::File("") } else { held_by };
        let Some((low, high)) = log_bounds.get(partition) else {
            return Err(Failure::refused(format!(
                "partition {partition} does not exist, but checkpoint {checkpoint} has read it up to offset {offset}: {}. \
                 Bring it back, or {new_job}",
                held_by.no_partition()
            )));
        };
        if offset < low {
            return Err(Failure::refused(format!(
                "partition {partition}: checkpoint {checkpoint} goes on at offset {offset}, but the log begins at {low}: {} records \
                 were deleted before they were read ({}). Going on would lose them; to accept that, {new_job}",
                low - offset,
                held_by.no_beginning()
            )));
        }
        if offset > high {
            return Err(Failure::refused(format!(
                "partition {partition}: checkpoint {checkpoint} goes on at offset {offset}, but the log ends at {high}: {}. \
                 To read what is there now, {new_job}",
                held_by.no_end()
            )));
        }
    }
    Ok(())
}

/// Number of the first checkpoint of a new attempt: above what is committed, and above every manifest and marker that was
/// seen in storage, so that it is not written over, and its dead neighbours fall below it.
#[must_use]
pub fn next_checkpoint(committed: Option<CheckpointId>, seen_in_storage: impl IntoIterator<Item = CheckpointId>) -> CheckpointId {
    let seen = seen_in_storage.into_iter().filter(|_| !mutant::on(Mutant::NumberUsedTwice));
    committed.into_iter().chain(seen).max().map_or(CheckpointId::FIRST, CheckpointId::next)
}

/// Every id that an older attempt may commit with, as far as it can be known: today's, and those that the manifests in storage
/// name (all of them: which one is committed is not known yet).
#[must_use]
pub fn ids_to_fence<'a>(today: &'a [String], manifests: impl IntoIterator<Item = &'a BTreeSet<String>>) -> BTreeSet<String> {
    let older = manifests.into_iter().flatten().filter(|_| !mutant::on(Mutant::OldIdsNotFenced));
    let mut ids: BTreeSet<_> = older.chain(today).cloned().collect();
    if mutant::on(Mutant::ForgottenIdWhenFencing) {
        ids.pop_first();
    }
    ids
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
