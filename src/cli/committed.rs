//! What a job has committed: Kafka says which checkpoint, the storage says what is in it.

use super::{
    checkpoint,
    topics::{self, Names},
};
use crate::{
    checkpoint::Manifest,
    config::Settings,
    kafka::CommittedOffsets,
    protocol::{Failure, Pointer, Positions, TopicPartition},
};
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

/// The committed checkpoint of a job.
pub(super) struct CommittedJob {
    /// Offsets of the next records to read, as Kafka has them.
    pub(super) positions: Positions,
    /// The checkpoint that belongs to them.
    pub(super) manifest: Manifest,
}

/// Reads the committed checkpoint of the job that has these topics; none if it has never committed.
pub(super) fn read(settings: &Settings, names: &Names) -> Result<Option<CommittedJob>, Failure> {
    let kafka = &settings.kafka;
    let cluster = topics::connect(settings)?;
    cluster.require(&names.all())?;
    let mut partitions = Vec::new();
    for input in &names.inputs {
        partitions.extend(cluster.partitions(input)?);
    }
    let committed = CommittedOffsets::open(&kafka.connection, &kafka.group)?.read(
        &partitions,
        kafka.connect_timeout,
        &AtomicBool::new(false),
    )?;
    let mut positions = Positions::new();
    let mut pointers: BTreeMap<String, TopicPartition> = BTreeMap::new();
    for (partition, offset) in committed {
        let Some(offset) = offset else { continue };
        pointers.entry(offset.metadata).or_insert_with(|| partition.clone());
        positions.insert(partition, offset.offset);
    }
    let mut named = pointers.iter();
    let Some((metadata, _)) = named.next() else { return Ok(None) };
    if let Some((other, partition)) = named.next() {
        return Err(Failure::fatal(format!(
            "group {}: the committed offsets disagree: {metadata:?}, and {other:?} for {partition}; another program commits to this group",
            kafka.group
        )));
    }
    let pointer: Pointer = metadata.parse().map_err(|error| Failure::fatal(format!("group {}: {error}", kafka.group)))?;
    let (manifest, _) = checkpoint::open(settings)?.read_committed(&pointer)?;
    Ok(Some(CommittedJob { positions, manifest }))
}
