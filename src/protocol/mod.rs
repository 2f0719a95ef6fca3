//! The checkpoint and commit rules: pure, without I/O, threads, clocks or async. Inputs are events, outputs are commands.
//!
//! The commit point is the Kafka commit itself: outputs, input offsets and the pointer to the state snapshot become visible
//! in one transaction, and only once the manifest that the pointer names is durable.

mod checkpoint_id;
mod failure;
mod pointer;
mod position;

pub use checkpoint_id::{CheckpointId, ManifestHash, ManifestRef};
pub use failure::{Failure, FailureKind};
pub use pointer::{JobName, Pointer, PointerError};
pub use position::{Positions, TopicPartition};
