//! The pointer to a checkpoint that travels as metadata of the committed offsets: `v1:<job>:<N>:<16 hex of the manifest's hash>`.

use super::{CheckpointId, ManifestRef};
use std::{fmt, str::FromStr, sync::Arc};

/// Name of a job: 1 to 24 characters of `a-z`, `0-9`, `-`, `_`, beginning with a letter or digit, so that a [`Pointer`] fits
/// into 64 bytes and the name can be used in paths, transactional ids and metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(Arc<str>);

impl JobName {
    /// Longest name, in bytes: `v1:` + 24 + `:` + 18 digits + `:` + 16 = 63.
    pub const MAX_LENGTH: usize = 24;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobName {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !starts_well || text.len() > Self::MAX_LENGTH || !text.chars().all(inner) {
            return Err(PointerError(format!(
                "job name {text:?}: allowed are 1 to {} characters of a-z, 0-9, '-' and '_', beginning with a letter or digit",
                Self::MAX_LENGTH
            )));
        }
        Ok(Self(text.into()))
    }
}

/// What the metadata of a committed offset says: the checkpoint that the offset belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    /// The job that committed.
    pub job: JobName,
    /// Number of the checkpoint.
    pub checkpoint: CheckpointId,
    /// First 16 hexadecimal digits of the manifest's hash.
    pub hash: String,
}

impl Pointer {
    /// The pointer to `manifest` of `job`.
    #[must_use]
    pub fn to(job: &JobName, manifest: &ManifestRef) -> Self {
        Self { job: job.clone(), checkpoint: manifest.checkpoint, hash: manifest.hash.short() }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1:{}:{}:{}", self.job, self.checkpoint, self.hash)
    }
}

/// A text that is not a pointer, or not a job's name; it says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerError(String);

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PointerError {}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| PointerError(format!("offset metadata {text:?} is not a checkpoint pointer: {why}"));
        let mut parts = text.split(':');
        if parts.next() != Some("v1") {
            return Err(refuse("it does not begin with \"v1:\""));
        }
        let (Some(job), Some(number), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(refuse("wanted v1:<job>:<checkpoint>:<hash>"));
        };
        let job = job.parse()?;
        let checkpoint = number.parse().map(CheckpointId).map_err(|_| refuse("the checkpoint is not a number"))?;
        if hash.len() != 16 || !hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(refuse("the hash is not 16 hexadecimal digits"));
        }
        Ok(Self { job, checkpoint, hash: hash.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ManifestHash;

    #[test]
    fn a_pointer_reads_back_as_written_and_fits_into_64_bytes() {
        let job: JobName = "abcdefghijklmnopqrstuvwx".parse().unwrap();
        let manifest = ManifestRef { checkpoint: CheckpointId(999_999_999_999_999_999), hash: ManifestHash([0xab; 32]) };
        let text = Pointer::to(&job, &manifest).to_string();
        assert!(text.len() <= 64, "{text} has {} bytes", text.len());
        assert_eq!(text.parse::<Pointer>().unwrap(), Pointer::to(&job, &manifest));
    }

    #[test]
    fn foreign_metadata_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "v1:"),
            ("v2:orders:1:0123456789abcdef", "v1:"),
            ("v1:orders:1", "wanted"),
            ("v1:orders:one:0123456789abcdef", "not a number"),
            ("v1:orders:1:0123456789ABCDEF", "hexadecimal"),
            ("v1:orders:1:0123456789abcdef:x", "wanted"),
            ("v1:Or ders:1:0123456789abcdef", "job name"),
        ] {
            let error = text.parse::<Pointer>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
