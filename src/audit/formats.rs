//! The formats of the topics, as the audit is told them.

use super::Topic;
use crate::protocol::Failure;
use apache_avro::Schema;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// How the values of a topic are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Avro in Confluent framing.
    Avro,
    /// Avro in single-object encoding.
    AvroSingleObject,
}

/// The name of a schema in the header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaName {
    /// Number in the registry.
    Id(u32),
    /// CRC-64-AVRO, the lowest byte first.
    Fingerprint([u8; 8]),
}

/// A schema that records were written with, and those that it refers to.
#[derive(Debug, Clone)]
pub struct WriterSchema {
    /// The schema.
    pub schema: Schema,
    /// Others, by whose names it may call types.
    pub others: Vec<Schema>,
}

/// Where schemas are found.
pub trait Schemas: Send + Sync {
    /// The schema of that name; none if nobody knows it.
    ///
    /// # Errors
    ///
    /// Who might know does not answer.
    fn schema(&self, name: SchemaName) -> Result<Option<WriterSchema>, Failure>;
}

/// Formats of all topics, and the schemas.
#[derive(Clone)]
pub struct Formats {
    /// Of the topics that are not JSON.
    pub topics: BTreeMap<Topic, Format>,
    /// Their schemas.
    pub schemas: Arc<dyn Schemas>,
    /// The reader's schema of order events, with its aliases and defaults; without one, they have the documented names and defaults.
    pub reader: Option<Schema>,
}

impl Formats {
    /// Of one topic.
    pub(super) fn of(&self, topic: Topic) -> Format {
        self.topics.get(&topic).copied().unwrap_or(Format::Json)
    }

    /// Whether the events in batches are the bytes of their producers.
    pub(super) fn batches_are_verbatim(&self) -> bool {
        self.of(Topic::Orders) == Format::Json && self.of(Topic::OrderBatches) == Format::Json
    }

    /// Whether late orders are the bytes of their producers.
    pub(super) fn late_orders_are_verbatim(&self) -> bool {
        self.of(Topic::Orders) == self.of(Topic::LateOrders)
    }
}

impl Default for Formats {
    /// JSON everywhere.
    fn default() -> Self {
        Self { topics: BTreeMap::new(), schemas: Arc::new(Nobody), reader: None }
    }
}

impl fmt::Debug for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Formats").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// No schemas at all.
struct Nobody;

impl Schemas for Nobody {
    fn schema(&self, _: SchemaName) -> Result<Option<WriterSchema>, Failure> {
        Ok(None)
    }
}
