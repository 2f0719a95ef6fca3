//! Which offsets of its group carry a job's pointer through Kafka, where not all that the job reads and writes is Kafka's.
//!
//! ```text
//!                          committed in the group             in the manifest only
//! Kafka ──► anything       every input partition's offset     positions of sources that are not Kafka's
//! files ──► Kafka          N of the anchor                    all positions
//! ```
//!
//! The metadata, and with it the pointer, is the same in all cases, and so is the commit: one transaction. What differs is what recovery
//! may compare with the log. The anchor is a partition of an output topic. Its offset is the number of the checkpoint and no place in any
//! log: it is there because a committed offset needs a partition, and because only a commit keeps it from expiring.

use super::{CheckpointId, CommitPermit, Positions, TopicPartition};
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

/// What of a job's positions a group of Kafka is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carrier {
    /// Sources whose positions are in the manifest only: they are not Kafka's.
    pub only_in_manifests: BTreeSet<Arc<str>>,
    /// The partition of an output topic whose committed offset is the checkpoint's number, if the job has one.
    pub anchor: Option<TopicPartition>,
}

impl Carrier {
    /// The offsets to commit.
    #[must_use]
    pub fn offsets<'a>(&self, permit: &'a CommitPermit) -> Cow<'a, Positions> {
        if self.only_in_manifests.is_empty() && self.anchor.is_none() {
            return Cow::Borrowed(permit.positions());
        }
        let of_kafka = permit.positions().iter().filter(|(partition, _)| !self.only_in_manifests.contains(&partition.topic));
        let mut offsets: Positions = of_kafka.map(|(partition, offset)| (partition.clone(), *offset)).collect();
        if let Some(anchor) = &self.anchor {
            offsets.insert(anchor.clone(), offset_of(permit.checkpoint()));
        }
        Cow::Owned(offsets)
    }
}

/// What is committed for the anchor.
pub(super) fn offset_of(checkpoint: CheckpointId) -> i64 {
    i64::try_from(checkpoint.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ManifestHash, ManifestRef};

    fn permit() -> CommitPermit {
        let manifest = ManifestRef { checkpoint: CheckpointId(7), hash: ManifestHash([0xab; 32]) };
        let positions = [(TopicPartition::new("in", 0), 5), (TopicPartition::new("lines", 0), 900)].into();
        CommitPermit::issue(&"orders".parse().unwrap(), manifest, positions, &Positions::new()).unwrap()
    }

    #[test]
    fn without_other_ends_every_position_is_committed_as_it_is() {
        let permit = permit();
        assert!(matches!(Carrier::default().offsets(&permit), Cow::Borrowed(all) if all == permit.positions()));
    }

    #[test]
    fn positions_of_others_stay_in_the_manifest_and_the_anchor_holds_the_number() {
        let carrier = Carrier { only_in_manifests: ["lines".into()].into(), anchor: None };
        assert_eq!(*carrier.offsets(&permit()), [(TopicPartition::new("in", 0), 5)].into());
        let carrier =
            Carrier { only_in_manifests: ["lines".into(), "in".into()].into(), anchor: Some(TopicPartition::new("out", 0)) };
        assert_eq!(*carrier.offsets(&permit()), [(TopicPartition::new("out", 0), 7)].into());
    }
}
