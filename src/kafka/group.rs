//! The consumer group that offsets are committed for.

use super::{Connection, Isolation, context::Listener};
use crate::protocol::Failure;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};

/// A group without a member of ours: its offsets are ours through transactions alone (generation -1 in Kafka's terms).
pub(super) struct ConsumerGroup {
    name: String,
    metadata: ConsumerGroupMetadata,
}

impl ConsumerGroup {
    /// Sends nothing. rdkafka makes the metadata only out of a consumer, which is dropped at once.
    pub(super) fn of(connection: &Connection, name: &str) -> Result<Self, Failure> {
        let consumer = connection.consumer_client(name, Isolation::ReadCommitted, Listener::new("group"))?;
        let metadata = consumer.group_metadata().ok_or_else(|| Failure::fatal("a consumer without a group"))?;
        Ok(Self { name: name.to_owned(), metadata })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn metadata(&self) -> &ConsumerGroupMetadata {
        &self.metadata
    }
}
