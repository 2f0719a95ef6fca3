//! The proof that a checkpoint may be committed.

use super::{
    CheckpointId, JobName, ManifestRef, Pointer, Positions,
    invariants::{self, Violation},
    mutant::{self, Mutant},
};

/// Permits one commit: of exactly these positions, pointing to exactly this durable manifest.
///
/// Only the protocol's core makes one, out of an acknowledged prepare; it cannot be copied, and committing takes it away.
///
/// Committing without a proof does not compile, because nobody else can make one:
///
/// ```compile_fail,E0451
/// use sluicegate::protocol::{CheckpointId, CommitPermit, ManifestHash, ManifestRef, Positions};
///
/// let manifest = ManifestRef { checkpoint: CheckpointId(7), hash: ManifestHash([0; 32]) };
/// let permit = CommitPermit { manifest, positions: Positions::new(), metadata: String::new() };
/// ```
///
/// nor use one twice:
///
/// ```compile_fail,E0382
/// use sluicegate::protocol::CommitPermit;
///
/// fn commit(permit: CommitPermit) {}
///
/// fn commit_twice(permit: CommitPermit) {
///     commit(permit);
///     commit(permit);
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a checkpoint without its commit is not a checkpoint"]
pub struct CommitPermit {
    manifest: ManifestRef,
    positions: Positions,
    metadata: String,
}

impl CommitPermit {
    /// The permit for a manifest that is durable. `before` is what the checkpoint before holds, plus partitions that were
    /// added since: each of them must be there again, and not further back.
    ///
    /// At least one position is needed: a transaction without offsets would commit outputs without the pointer.
    pub(super) fn issue(
        job: &JobName,
        manifest: ManifestRef,
        mut positions: Positions,
        before: &Positions,
    ) -> Result<Self, Violation> {
        if positions.is_empty() {
            return Err(Violation::new(format!(
                "checkpoint {} has no position at all: nothing could carry its pointer",
                manifest.checkpoint
            )));
        }
        if !mutant::on(Mutant::OneAcknowledgementIsEnough) {
            invariants::positions_go_on(before, &positions)?;
        }
        if mutant::on(Mutant::IdlePartitionsNotCommitted) {
            positions.retain(|partition, offset| before.get(partition) != Some(offset));
        }
        Ok(Self { manifest, positions, metadata: Pointer::to(job, &manifest).to_string() })
    }

    /// Number of the checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointId {
        self.manifest.checkpoint
    }

    /// The durable manifest.
    #[must_use]
    pub fn manifest(&self) -> ManifestRef {
        self.manifest
    }

    /// Offsets to commit: every owned partition, idle ones too. Never empty, no offset is negative.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The metadata string of every one of the offsets: a [`Pointer`] as text, at most 64 bytes.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ManifestHash, TopicPartition};

    fn at(offsets: &[(i32, i64)]) -> Positions {
        offsets.iter().map(|(partition, offset)| (TopicPartition::new("in", *partition), *offset)).collect()
    }

    fn issue(before: &[(i32, i64)], now: &[(i32, i64)]) -> Result<CommitPermit, String> {
        let manifest = ManifestRef { checkpoint: CheckpointId(7), hash: ManifestHash([0xab; 32]) };
        CommitPermit::issue(&"orders".parse().unwrap(), manifest, at(now), &at(before)).map_err(|violation| violation.to_string())
    }

    #[test]
    fn a_permit_names_its_manifest_and_every_position() {
        let permit = issue(&[(0, 5), (1, 9)], &[(0, 6), (1, 9), (2, 0)]).unwrap();
        assert_eq!(permit.metadata(), "v1:orders:7:abababababababab");
        assert_eq!(permit.positions(), &at(&[(0, 6), (1, 9), (2, 0)]));
    }

    #[test]
    fn no_permit_for_positions_that_are_not_complete() {
        assert!(issue(&[], &[]).unwrap_err().contains("no position at all"));
        assert!(issue(&[(0, 5), (1, 9)], &[(0, 6)]).unwrap_err().contains("in-1"));
        assert!(issue(&[(0, 5)], &[(0, 4)]).unwrap_err().contains("from 5 back to 4"));
        // librdkafka's "stored", "latest", "earliest" and "invalid" are negative and would be dropped silently.
        assert!(issue(&[], &[(0, -1001)]).unwrap_err().contains("-1001"));
    }
}
