//! The checkpoint and commit rules: pure, without I/O, threads, clocks or async. Inputs are events, outputs are commands.
//!
//! The commit point is the Kafka commit itself: outputs, input offsets and the pointer to the state snapshot become visible
//! in one transaction, and only once the manifest that the pointer names is durable.
//!
//! ```text
//!                    ids_to_fence          decide                       Coordinator::handle
//! (storage, Kafka) ────────────► fence ────────────► restore ─► run ─┬─────────────────────► InjectBarrier N
//!        ▲                                                           │   all tasks, flushed,
//!        │                                                           │   uploaded             WriteManifest N
//!        │                                                           │   durable              Commit(CommitPermit)
//!        │                                                           │   committed            Confirm: marker, garbage
//!        └────────────── any failure, any doubt: EndAttempt ◄────────┘
//! ```
//!
//! Why output is never lost and never doubled: a transaction is committed only with a [`CommitPermit`], which exists only for
//! a durable manifest with every partition's position; the commit moves outputs, positions and pointer together; and a new
//! attempt first fences every id that an older one may still commit with, then asks Kafka what is committed. Which of the two
//! happened last is decided by the broker, nowhere else. The rules here are checked exhaustively by the tests in `model`.

mod carrier;
mod checkpoint_id;
mod coordinator;
mod failure;
mod failure_budget;
pub mod garbage;
mod held_by;
pub mod invariants;
mod message;
#[cfg(test)]
mod model;
pub(crate) mod mutant;
mod permit;
mod pointer;
mod pool;
mod position;
pub mod recovery;

pub use carrier::Carrier;
pub use checkpoint_id::{CheckpointId, ManifestHash, ManifestRef};
pub use coordinator::{Coordinator, Plan};
pub use failure::{Failure, FailureKind};
pub use failure_budget::FailureBudget;
pub use held_by::HeldBy;
pub use message::{Command, CommitOutcome, Event, Trigger};
pub use permit::CommitPermit;
pub use pointer::{JobName, Pointer, PointerError};
pub use pool::{MAX_PRODUCERS, producers_needed, transactional_ids};
pub use position::{Positions, TopicPartition};
