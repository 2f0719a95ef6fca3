//! Kafka: reading partitions, transactional output, offsets and their metadata. The only room that imports rdkafka.
//!
//! ```text
//!   Connection ─┬─► Cluster            is it there; partitions, log bounds, start positions, topics, limits
//!               ├─► CommittedOffsets   what is committed, with the pointer to the checkpoint
//!               ├─► Reader             records and ends of assigned partitions
//!               ├─► TopicScan          a bounded part of a topic, once
//!               ├─► ProducerPool ─► Prepared ─► Open ─► Flushed ─► Outcome
//!               ├─► ExclusiveTransaction   of a tool, with a transactional id for itself
//!               └─► Producer           records without a transaction
//! ```
//!
//! In what order an attempt uses it, and why: [`ProducerPool::start`] first, because it takes the job over and fences whoever had it;
//! then [`CommittedOffsets::read`], whose answer nobody else can change any more; then readers from those positions.
//!
//! All calls block and belong on threads of their own. Each has a bounded time and sees a raised cancel flag within half a second, save a
//! commit that waits for its answer (`commit_timeout`). Not here: subscriptions and rebalancing (partitions are assigned), the new
//! consumer protocol (it stalls in librdkafka 2.12), KIP-890's second transaction version (librdkafka does not speak it).

mod admin;
mod cluster;
mod committed;
mod connection;
mod context;
mod exclusive;
mod failure;
mod fencing;
mod group;
mod native;
mod ownership;
mod plain_producer;
mod pool;
mod positions;
mod reader;
mod scan;
mod transaction;
mod waiting;

pub use admin::{Creation, TopicSpec};
pub use cluster::Cluster;
pub use committed::CommittedOffsets;
pub use connection::{Connection, Isolation, MESSAGE_MAX_BYTES, PropertyProblem, owned_property};
pub use exclusive::ExclusiveTransaction;
pub use ownership::{LastOwnership, owner_id};
pub use plain_producer::Producer;
pub use pool::{PoolSettings, ProducerPool};
pub use positions::{LogBounds, Start};
pub use reader::{Poll, Polled, Reader, ReaderSettings};
pub use scan::TopicScan;
pub use transaction::{Flushed, Open, Outcome, Output, OutputHeader, Prepared};

#[cfg(test)]
mod tests;
