//! Checkpoints at rest: manifest, storage, upload, restore, garbage collection; looking into them without the job.
//!
//! ```text
//! state snapshot N ──Storage::upload──► files/<hash>-<N>-<attempt>     (only what the newest manifest does not name yet)
//!                                              │
//!                  Storage::put_manifest ──► manifests/<N>.json        (last, with a conditional put: the checkpoint is durable)
//!                                              │
//!                  Kafka transaction N commits, its offsets name manifest N and its hash
//!                                              │
//!                  Storage::put_marker ──► committed/<N>               (best effort, for people and for lost offsets)
//!                  Collector::confirmed ──► deletes what only older checkpoints needed
//! ```
//!
//! # Why a checkpoint that Kafka names can always be restored
//!
//! 1. *Durable before named.* A manifest is put after every file that it names has been acknowledged by the storage (fsync
//!    of file and folder for `file://`), and Kafka hears of the manifest only after that.
//! 2. *Nothing torn is reachable.* A file is reused only when the manifest that was restored names it (its hash was verified
//!    then), or when this very attempt uploaded it. What an attempt that died left behind is never reused, so nobody has to
//!    ask whether it is whole.
//! 3. *A name is used once.* The name of a file carries its content's hash, the checkpoint and the attempt that wrote it; the
//!    number of a manifest is above every number that storage or Kafka have shown; and all of them are put with the condition
//!    that nothing is there. So the late delete of an attempt that was
//!    paused can never hit what a later attempt wrote.
//! 4. *Deleted after a commit.* Only after the commit of N is confirmed, and only manifests and files with numbers below N go:
//!    see [`protocol::garbage`](crate::protocol::garbage), whose third rule needs the second one above: a file that N does not
//!    name is in nothing that is built on N.
//! 5. *Verified when read.* Manifest and files are hashed at every read; a wrong byte is an error with the name of the object.

mod advice;
mod answer;
mod bucket;
mod difference;
mod epoch;
mod explain;
mod garbage;
mod holdings;
mod inspect;
mod layout;
mod location;
mod manifest;
mod multipart;
mod owner;
mod restore;
mod retry;
mod savepoint;
mod storage;
mod upload;

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod random_histories;

pub use difference::{Change, Difference, FileGroup, OffsetMove, OperatorChange, StateChange};
pub use garbage::{Collected, Collector, Retention};
pub use holdings::{Amount, Holdings};
pub use inspect::{Damage, Found, Problem};
#[cfg(test)]
pub(crate) use location::Connected;
pub use location::Location;
pub use manifest::{Anchor, BaseManifest, GraphIdentity, InputPosition, Manifest, OperatorEntry, Reason, StateEntry, StateFile};
pub use owner::Started;
pub use restore::{RestoreProgress, RestoreReport};
pub use savepoint::{Found as FoundSavepoint, Savepoint};
pub use storage::{Executor, Storage};
pub use upload::{UploadReport, Uploaded};
