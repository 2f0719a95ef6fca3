//! Names of checkpoints.

use std::fmt;

/// Number of a checkpoint within its job. Grows by at least one with each checkpoint; never used twice for a durable manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CheckpointId(pub u64);

impl CheckpointId {
    /// The checkpoint that a first start writes before it reads any input.
    pub const FIRST: CheckpointId = CheckpointId(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> CheckpointId {
        CheckpointId(self.0 + 1)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// BLAKE3 hash of a manifest's bytes, exactly as they lie in storage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestHash(pub [u8; 32]);

impl ManifestHash {
    /// The first 16 hexadecimal digits: what an offset's metadata has room for.
    #[must_use]
    pub fn short(&self) -> String {
        let hex = self.to_string();
        hex.chars().take(16).collect()
    }
}

impl fmt::Display for ManifestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ManifestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManifestHash({})", self.short())
    }
}

/// A durable manifest: its number and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestRef {
    /// Number of the checkpoint.
    pub checkpoint: CheckpointId,
    /// Hash of the manifest's bytes.
    pub hash: ManifestHash,
}
