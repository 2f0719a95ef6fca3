//! From a graph of operators to running tasks: channels, barriers, watermarks, supervision.
//!
//! ```text
//! supervisor ── attempt 1, 2, … (restart strategy between them)
//!                  │  recovery: fence, read what Kafka says is committed, restore exactly that
//!                  ▼
//!   sources ──► keyed tasks ──► sink ──► committer         one thread each, bounded channels between
//!      ▲            │             │          ▲
//!      └─ barriers ─┴─ acks ──────┴──────────┴── coordinator (drives `protocol`) ──► checkpointer (upload, manifest)
//! ```
//!
//! A task owns everything that it touches and talks only through bounded channels, so back-pressure reaches from the broker
//! to the source without unbounded memory. The graph has no cycle, so it cannot deadlock.

pub mod alignment;
pub(crate) mod alone;
mod attempt;
pub mod chain;
mod checkpointer;
mod clock;
pub mod cluster;
mod committer;
mod compatible;
pub mod context;
mod coordinator;
mod event;
mod evolution;
pub mod exchange;
mod frozen;
mod gate;
mod halt;
mod held_back;
mod kafka_cluster;
pub mod keyed_task;
pub mod local;
mod manifest;
mod message;
mod meter;
mod mixed_cluster;
pub mod output;
pub mod plan;
mod port;
pub mod processing_time;
pub mod pulse;
mod recovery;
mod restart;
mod restoring;
mod settle;
#[cfg(test)]
mod simulation;
mod sink;
pub mod snapshot;
pub mod source;
// The systems that tell a signal handler where it has interrupted the thread, and that this was tried on.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod stack;
mod stop;
mod supervisor;
mod watchdog;
pub mod watermark_strategy;
mod watermarks;

pub use coordinator::{Ask, Bounds, Schedule};
pub use event::{PartitionState, SourceCommand, TaskEvent, TaskSnapshot};
pub use halt::Halt;
pub(crate) use kafka_cluster::with_raw;
pub use kafka_cluster::{KafkaCluster, KafkaSettings};
pub use local::LocalCluster;
pub use manifest::stored_states;
pub use message::{Barrier, BarrierKind, MAX_WATERMARK, MIN_WATERMARK, Mark, Message, Timestamp};
pub use meter::{Meter, OperatorCounter, OperatorEvents};
pub use mixed_cluster::MixedCluster;
pub use recovery::FromSavepoint;
pub use restart::{ExponentialDelay, RestartStrategy};
pub use sink::{CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing, Transactions};
pub use stop::{Stop, Stopped};
pub use supervisor::{JobSettings, Supervisor};
