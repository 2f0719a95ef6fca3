//! The manifest: what a checkpoint consists of, as readable JSON. It is written last; once it is durable, so is the checkpoint.

use super::layout::Layout;
use crate::protocol::{CheckpointId, Failure, JobName, ManifestHash, ManifestRef, Pointer, Positions, TopicPartition};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    time::SystemTime,
};

/// Everything that is needed to go on from a checkpoint. Times are milliseconds since the epoch unless they are text (RFC 3339).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format, [`Manifest::FORMAT`]. A higher one is refused.
    pub format: u32,
    /// The job.
    #[serde(with = "as_text")]
    pub job: JobName,
    /// Number of the checkpoint.
    #[serde(with = "as_number")]
    pub checkpoint: CheckpointId,
    /// The committed checkpoint that this one builds on; none for the first.
    pub base: Option<BaseManifest>,
    /// The savepoint that the job was begun from last, however long ago; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<BaseManifest>,
    /// Why it was taken.
    pub reason: Reason,
    /// When the manifest was written, by the clock of the machine that wrote it.
    pub created_at: String,
    /// Version of the program that wrote it.
    pub sluicegate: String,
    /// Consumer group whose committed offsets name this checkpoint.
    pub group: String,
    /// Operator instances per stage when it was written; state does not depend on it.
    pub parallelism: u32,
    /// Number of key groups; fixed for the life of a job.
    pub max_parallelism: u32,
    /// The shape of the job.
    pub graph: GraphIdentity,
    /// Every transactional id that this job may have used: recovery fences them all.
    pub transactional_ids: Vec<String>,
    /// The epoch of the attempt, of a job that stages output outside of Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The partition whose committed offset is the number of the checkpoint, of a job whose input offsets cannot carry the pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
    /// Where reading goes on, per partition.
    pub input: Vec<InputPosition>,
    /// Per sink that is not Kafka's, the names of what it has staged: recovery commits it if the checkpoint is committed, and aborts it
    /// if it is not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub staged: BTreeMap<String, Vec<String>>,
    /// Watermarks and states, per operator.
    pub operators: Vec<OperatorEntry>,
    /// Bytes that this checkpoint uploaded.
    pub new_bytes: u64,
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// The files of the state snapshot.
    pub files: Vec<StateFile>,
}

/// The manifest that another one builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseManifest {
    /// Its number.
    #[serde(with = "as_number")]
    pub checkpoint: CheckpointId,
    /// Hash of its bytes.
    #[serde(with = "as_hex")]
    pub hash: ManifestHash,
}

impl From<ManifestRef> for BaseManifest {
    fn from(manifest: ManifestRef) -> Self {
        Self { checkpoint: manifest.checkpoint, hash: manifest.hash }
    }
}

impl From<BaseManifest> for ManifestRef {
    fn from(manifest: BaseManifest) -> Self {
        Self { checkpoint: manifest.checkpoint, hash: manifest.hash }
    }
}

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A first start: resolved start offsets, before any input was read.
    Start,
    /// The interval had passed.
    Interval,
    /// The job was stopped, or its bounded input ended.
    Final,
    /// Somebody asked for it.
    Savepoint,
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Start => "start",
            Reason::Interval => "interval",
            Reason::Final => "final",
            Reason::Savepoint => "savepoint",
        })
    }
}

/// The shape of the job: what a restore compares with the job that is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphIdentity {
    /// Changes when operators or their connections change.
    pub fingerprint: String,
    /// Names of the operators, in the order in which data passes.
    pub operators: Vec<String>,
}

/// Where the reading of one partition goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPosition {
    /// Topic.
    pub topic: String,
    /// Partition, from 0.
    pub partition: i32,
    /// Offset of the next record to read: at least 0, never "earliest" or "latest".
    pub offset: i64,
    /// Offset of the first record that the job has read, or would have: the numbers that `source.start` was resolved to. An audit
    /// begins there.
    pub began: i64,
    /// Highest event time seen in this partition, in ms; null before the first record.
    pub timestamp_seen: Option<i64>,
    /// Whether the partition had stopped holding the watermark back.
    pub idle: bool,
    /// Whether no committed offset repeats it: the source is not Kafka's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_here: bool,
}

/// A partition that is not read: what is committed for it says which checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// An output topic of the job.
    pub topic: String,
    /// Partition, from 0.
    pub partition: i32,
}

impl From<&TopicPartition> for Anchor {
    fn from(at: &TopicPartition) -> Self {
        Self { topic: at.topic.to_string(), partition: at.partition }
    }
}

impl From<&Anchor> for TopicPartition {
    fn from(anchor: &Anchor) -> Self {
        Self::new(anchor.topic.as_str(), anchor.partition)
    }
}

/// One operator: its watermark and its states.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorEntry {
    /// The operator's explicit name, which is its identity.
    pub name: String,
    /// Instances when the checkpoint was taken.
    pub parallelism: u32,
    /// Lowest watermark of its instances, in ms; null before the first.
    pub watermark: Option<i64>,
    /// Its keyed states.
    pub states: Vec<StateEntry>,
    /// The elements of its operator state, of all instances.
    pub operator_state: Vec<Value>,
    /// What the elements of its declared operator states are; nothing in manifests of versions that did not say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operator_state_shapes: Vec<StateEntry>,
}

/// One state: its name, its kind, and whatever the state room writes about its shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateEntry {
    /// Name within the operator.
    pub name: String,
    /// `value`, `list`, `map` ...; `operator` or `broadcast` where no key has it.
    pub kind: String,
    /// Further fields: time to live, type of key and value, version.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// One file of the state snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The name that RocksDB knows it by, and that it gets at a restore.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    #[serde(with = "as_text")]
    pub hash: blake3::Hash,
    /// Checkpoint and attempt that uploaded it, `<checkpoint>-<attempt>`: see [`StateFile::object_name`].
    pub written_by: String,
}

impl StateFile {
    /// Name of the object below `files/`: `<hash>-<checkpoint>-<attempt>`. The hash, since RocksDB's file numbers restart
    /// after a restore; checkpoint and attempt, so that no name is ever written again after it was deleted.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("{}-{}", self.hash.to_hex(), self.written_by)
    }

    /// Whether RocksDB never changes a file of this name after it wrote it.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        is_immutable(&self.name)
    }
}

/// Tables and blob files are written once; `CURRENT`, `MANIFEST-*` and `OPTIONS-*` are appended to or replaced.
pub(crate) fn is_immutable(name: &str) -> bool {
    name.ends_with(".sst") || name.ends_with(".blob")
}

/// Now, as manifests write it.
pub(crate) fn now_as_text() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

impl Manifest {
    /// The highest version of the format that this program reads. It writes it for a job whose ends are not all Kafka's, or none of
    /// them: a program that knows only what was before would leave out the position of a source, or what a sink has staged.
    pub const FORMAT: u32 = 2;

    /// The version that it writes for every other job, so that an older program can still read it.
    pub const PLAIN: u32 = 1;

    /// A manifest without input, operators and files, written now by this version.
    #[must_use]
    pub fn new(job: JobName, checkpoint: CheckpointId, base: Option<ManifestRef>, reason: Reason) -> Self {
        Self {
            format: Self::PLAIN,
            group: job.to_string(),
            job,
            checkpoint,
            base: base.map(BaseManifest::from),
            from: None,
            reason,
            created_at: now_as_text(),
            sluicegate: env!("CARGO_PKG_VERSION").to_owned(),
            parallelism: 1,
            max_parallelism: 128,
            graph: GraphIdentity { fingerprint: String::new(), operators: Vec::new() },
            transactional_ids: Vec::new(),
            epoch: None,
            anchor: None,
            input: Vec::new(),
            staged: BTreeMap::new(),
            operators: Vec::new(),
            new_bytes: 0,
            total_bytes: 0,
            files: Vec::new(),
        }
    }

    /// The keyed states, each with its operator.
    pub fn states(&self) -> impl Iterator<Item = (&OperatorEntry, &StateEntry)> {
        self.operators.iter().flat_map(|operator| operator.states.iter().map(move |state| (operator, state)))
    }

    /// Their names, `operator/state`.
    pub fn state_names(&self) -> impl Iterator<Item = String> {
        self.states().map(|(operator, state)| format!("{}/{}", operator.name, state.name))
    }

    /// The offset of the next record to read, per partition.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions_by(|input| input.offset)
    }

    /// Where the job began to read, per partition.
    #[must_use]
    pub fn began(&self) -> Positions {
        self.positions_by(|input| input.began)
    }

    /// Those of the positions that no committed offset repeats.
    #[must_use]
    pub fn only_here(&self) -> BTreeSet<TopicPartition> {
        let only_here = self.input.iter().filter(|input| input.only_here);
        only_here.map(|input| TopicPartition::new(input.topic.as_str(), input.partition)).collect()
    }

    /// Names what the sinks have staged, and says which format all of this needs.
    pub fn set_staged(&mut self, staged: BTreeMap<String, Vec<String>>) {
        self.staged = staged;
        let plain = self.staged.is_empty()
            && self.epoch.is_none()
            && self.anchor.is_none()
            && self.input.iter().all(|input| !input.only_here);
        self.format = if plain { Self::PLAIN } else { Self::FORMAT };
    }

    fn positions_by(&self, offset: impl Fn(&InputPosition) -> i64) -> Positions {
        let input = self.input.iter();
        input.map(|input| (TopicPartition::new(input.topic.as_str(), input.partition), offset(input))).collect()
    }

    /// The bytes to store: pretty JSON with a line end.
    ///
    /// # Errors
    /// Attempt, when a value has no JSON form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|why| Failure::attempt(format!("manifest of checkpoint {} has no JSON form: {why}", self.checkpoint)))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Number and hash of a manifest with these bytes.
    #[must_use]
    pub fn reference(checkpoint: CheckpointId, bytes: &[u8]) -> ManifestRef {
        ManifestRef { checkpoint, hash: ManifestHash(*blake3::hash(bytes).as_bytes()) }
    }

    /// Reads and checks a manifest. `shown` is its path or URL, for the error.
    ///
    /// # Errors
    /// Refused: a newer format, not JSON, another job or number than expected, or values that no program of ours writes.
    pub fn from_bytes(bytes: &[u8], job: &JobName, checkpoint: CheckpointId, shown: &str) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::refused(format!("manifest {shown}: {why}"));
        let probe: FormatProbe =
            serde_json::from_slice(bytes).map_err(|why| refuse(format!("damaged, or not a manifest: {why}")))?;
        if probe.format > Self::FORMAT {
            return Err(refuse(format!(
                "has format {}, this program ({}) reads formats up to {}: use a newer sluicegate",
                probe.format,
                env!("CARGO_PKG_VERSION"),
                Self::FORMAT
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|why| refuse(format!("damaged, or not a manifest: {why}")))?;
        if manifest.job != *job {
            return Err(refuse(format!("is of job {}, not of {job}", manifest.job)));
        }
        if manifest.checkpoint != checkpoint {
            return Err(refuse(format!("says that it is checkpoint {}", manifest.checkpoint)));
        }
        manifest.check().map_err(refuse)?;
        Ok(manifest)
    }

    /// What must hold in any manifest, whoever wrote it.
    fn check(&self) -> Result<(), String> {
        let mut partitions = BTreeSet::new();
        for InputPosition { topic, partition, offset, began, .. } in &self.input {
            if *offset < 0 || *partition < 0 || !(0..=*offset).contains(began) {
                return Err(format!("input {topic}-{partition} at offset {offset}, begun at {began}: not a position"));
            }
            if !partitions.insert((topic, partition)) {
                return Err(format!("input {topic}-{partition} is there twice"));
            }
        }
        let mut names = BTreeSet::new();
        for file in &self.files {
            // The name becomes a path at a restore.
            if file.name.is_empty() || file.name.starts_with('.') || file.name.contains(['/', '\\', '\0']) {
                return Err(format!("file {:?} has a name that RocksDB never gives", file.name));
            }
            // This, too; and garbage collection needs the number.
            let well_formed = file.written_by.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let uploaded_for = Layout::file_number(&file.object_name()).filter(|_| well_formed);
            if uploaded_for.is_none_or(|number| number > self.checkpoint) {
                return Err(format!("file {} is written by {:?}: not <checkpoint>-<attempt>", file.name, file.written_by));
            }
            if !names.insert(&file.name) {
                return Err(format!("file {} is there twice", file.name));
            }
        }
        let total: u64 = self.files.iter().map(|file| file.size).sum();
        if total != self.total_bytes {
            return Err(format!("its files have {total} bytes together, it says {}", self.total_bytes));
        }
        Ok(())
    }

    /// Refuses a manifest that is not the one that a committed offset points to. `shown` is its path or URL.
    pub(crate) fn check_pointer(found: &ManifestRef, pointer: &Pointer, shown: &str) -> Result<(), Failure> {
        if found.checkpoint == pointer.checkpoint && found.hash.short() == pointer.hash {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "manifest {shown} has hash {}, but the committed offsets name checkpoint {} with hash {}: the manifest was changed or \
             damaged, or checkpoint.storage is not the one that this job committed with; nothing was changed",
            found.hash.short(),
            pointer.checkpoint,
            pointer.hash
        )))
    }
}

/// Read first, so that a newer format is named as such and not as a missing field.
#[derive(Deserialize)]
struct FormatProbe {
    format: u32,
}

/// A value that is written as its text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::{fmt::Display, str::FromStr};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A checkpoint as its number.
mod as_number {
    use crate::protocol::CheckpointId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &CheckpointId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CheckpointId, D::Error> {
        u64::deserialize(deserializer).map(CheckpointId)
    }
}

/// A manifest's hash as 64 hexadecimal digits.
mod as_hex {
    use crate::protocol::ManifestHash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &ManifestHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ManifestHash, D::Error> {
        super::parse_manifest_hash(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Reads 64 hexadecimal digits.
pub(crate) fn parse_manifest_hash(text: &str) -> Result<ManifestHash, String> {
    blake3::Hash::from_hex(text).map(|hash| ManifestHash(*hash.as_bytes())).map_err(|why| format!("hash {text:?}: {why}"))
}
