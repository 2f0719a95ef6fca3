//! What the audit is given: a way to read the topics, what the job committed, and the rules that the job ran under.

use super::Formats;
use crate::protocol::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A topic of the order job, by its part; the reader knows its real name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The input.
    Orders,
    /// One record for each accepted event.
    OrderStatus,
    /// One record for each user and window.
    PurchaseStats,
    /// Events that came after their window.
    LateOrders,
    /// One record for each change of stock.
    InventoryLevels,
    /// One record for each change below the threshold.
    LowStockAlerts,
    /// Accepted events, a hundred to a record.
    OrderBatches,
    /// Bad records.
    DeadLetters,
}

impl Topic {
    /// The seven outputs.
    pub const OUTPUTS: [Topic; 7] = [
        Self::OrderStatus,
        Self::PurchaseStats,
        Self::LateOrders,
        Self::InventoryLevels,
        Self::LowStockAlerts,
        Self::OrderBatches,
        Self::DeadLetters,
    ];

    /// The name without prefix, for example `order-status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::OrderStatus => "order-status",
            Self::PurchaseStats => "purchase-stats",
            Self::LateOrders => "late-orders",
            Self::InventoryLevels => "inventory-levels",
            Self::LowStockAlerts => "low-stock-alerts",
            Self::OrderBatches => "order-batches",
            Self::DeadLetters => "dead-letters",
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One record of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Kafka's timestamp in milliseconds since the epoch, if it has one.
    pub timestamp: Option<i64>,
    /// Names and values of its headers (an absent value as no bytes).
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Reads topics as a `read_committed` consumer sees them. Kafka is one implementation, fixtures in memory are another.
pub trait Topics {
    /// Hands over every visible record of `topic`: of each partition in the order of offsets, partitions in any order. `ranges` limits what
    /// is read to these offsets of these partitions (for the input); none means from the first record to the last one that is visible now.
    ///
    /// # Errors
    ///
    /// The topic cannot be read, or records inside `ranges` are gone (retention, deletion): the audit must not judge by half of the input.
    /// Errors of `each` are passed on.
    fn scan(
        &mut self,
        topic: Topic,
        ranges: Option<&BTreeMap<i32, Range<i64>>>,
        each: &mut dyn FnMut(&Record<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure>;
}

/// What the job's last commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Real name of the input topic, as dead letters name it in their headers.
    pub input_topic: String,
    /// Per input partition, the offsets from which the job started to those it committed (the next one to read).
    pub input: BTreeMap<i32, Range<i64>>,
    /// Watermark of the window stage at the commit, in milliseconds since the epoch; `i64::MIN` before the first one, `i64::MAX` after
    /// a drain.
    pub watermark: i64,
    /// Whether the job has ever been stopped by a drain, which may write batches smaller than the batch size.
    pub drained: bool,
    /// Events that wait for a batch in the committed state, as their producers wrote them.
    pub waiting: Vec<Vec<u8>>,
}

/// What makes two events the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The same order and the same event type.
    Event,
    /// The same order: only its first event counts.
    Order,
}

/// When a change of stock raises an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// When it takes the stock from the threshold or above to below it.
    Crossing,
    /// When it leaves the stock below the threshold.
    Every,
}

/// The job's settings, as far as its outputs depend on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRules {
    /// What makes two events the same.
    pub identity: Identity,
    /// How long, in milliseconds of event time after an event, a copy of it is certainly dropped.
    pub dedup_ttl: i64,
    /// How long, in milliseconds of event time after the youngest event of an order, the order is certainly known.
    pub tracking_ttl: i64,
    /// Length of a window, in milliseconds.
    pub window: i64,
    /// How long, in milliseconds of event time after its end, a window takes late events.
    pub allowed_lateness: i64,
    /// Pieces of every product before the first event.
    pub initial_stock: i64,
    /// Stock below this is low.
    pub low_stock_threshold: i64,
    /// When low stock is told.
    pub alert: Alert,
    /// Events in a batch.
    pub batch_size: u64,
    /// Earliest sane event time, in milliseconds since the epoch.
    pub min_timestamp: i64,
    /// Latest sane event time, in milliseconds since the epoch.
    pub max_timestamp: i64,
    /// Most bytes of an input record's value, of an event as JSON, and of the events of a batch together.
    pub max_record_bytes: usize,
    /// Most bytes of an identifier and of a category.
    pub max_id_bytes: usize,
}

impl Default for JobRules {
    /// The defaults of the order job.
    fn default() -> Self {
        Self {
            identity: Identity::Event,
            dedup_ttl: 86_400_000,
            tracking_ttl: 90 * 86_400_000,
            window: 3_600_000,
            allowed_lateness: 0,
            initial_stock: 1_000,
            low_stock_threshold: 10,
            alert: Alert::Crossing,
            batch_size: 100,
            min_timestamp: 946_684_800_000,
            max_timestamp: 4_102_444_800_000,
            max_record_bytes: 900 * 1024,
            max_id_bytes: 1024,
        }
    }
}

/// How the audit itself works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for temporary files, about half the size of what is read; the system's own if none.
    pub temp_dir: Option<std::path::PathBuf>,
    /// Differences shown for each output; all are counted.
    pub shown: usize,
    /// Input events per bucket: what is in memory at a time, at about 1 KiB each.
    pub bucket_events: u64,
    /// Formats of the topics.
    pub formats: Formats,
}

impl Default for Options {
    fn default() -> Self {
        Self { temp_dir: None, shown: 10, bucket_events: 50_000, formats: Formats::default() }
    }
}

/// How far the audit is; for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub step: Step,
    /// Records read, or buckets judged, in this step.
    pub done: u64,
    /// How many there are, if that is known.
    pub total: Option<u64>,
}

/// What the audit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading a topic.
    Reading(Topic),
    /// Comparing bucket by bucket.
    Judging,
}
