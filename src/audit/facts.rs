//! What is known about orders, users, products and bad records, as it lies in the temporary files.

use super::kind::EventKind;
use super::outputs::{Stats, Status};
use super::rules::Event;
use super::spill::Spill;
use super::{Committed, Options};
use crate::protocol::Failure;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// Where a record is in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} offset {}", self.partition, self.offset)
    }
}

/// Hash of bytes, in place of the bytes: whether two records are equal must be known, not what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Digest(u64, u64);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = xxh3_128(bytes);
        Self((hash >> 64) as u64, hash as u64)
    }
}

/// A fact about one order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum OrderFact {
    /// A good input record, maybe a copy.
    Event(Arrival),
    /// A record of `order-status`.
    Status(Place, Status),
    /// An event in a batch (the place of the batch), or waiting for one (none).
    Batched(Option<Place>, EventKind, Digest),
    /// A record of `late-orders`.
    Late(Place, Digest, i64),
    /// A record of `inventory-levels`.
    Level(Place, Change),
}

/// A good input record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arrival {
    pub place: Place,
    pub event: Event,
    /// All bytes of the value.
    pub bytes: Digest,
    /// The JSON in it, without white space around it.
    pub json: Digest,
    /// Latest event time in this partition up to here: the watermark cannot have been later when this record came.
    pub latest: i64,
}

/// A change of stock, as far as the order knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Change {
    pub product: CompactString,
    pub change: i64,
    pub time: i64,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:+} at {}", self.product, self.change, self.time)
    }
}

/// A fact about one user.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum UserFact {
    /// An accepted `CREATED` that is not in `late-orders`.
    Created { window: i64, amount: i64, pieces: u32, category: CompactString },
    /// A record of `purchase-stats`.
    Stats(Place, Stats),
}

/// A fact about one product.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ProductFact {
    /// A record of `inventory-levels`.
    Level { place: Place, order: CompactString, change: i64, stock: i64, time: i64 },
    /// A record of `low-stock-alerts`.
    Alert { place: Place, stock: i64, threshold: i64, time: i64 },
}

/// A fact about one position of the input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum BadFact {
    /// The record there is bad.
    Bad(CompactString, Digest),
    /// A record of `dead-letters` speaks of it.
    Letter(Place, CompactString, Digest),
}

/// All of them.
pub(super) struct Facts {
    pub orders: Spill<(CompactString, OrderFact)>,
    pub users: Spill<(CompactString, UserFact)>,
    pub products: Spill<(CompactString, ProductFact)>,
    pub bad: Spill<(Place, BadFact)>,
}

/// Files that are open at the same time stay below the usual limit of 1,024 with these.
const MOST_ORDER_BUCKETS: u64 = 256;
const MOST_OTHER_BUCKETS: u64 = 64;

impl Facts {
    pub(super) fn new(committed: &Committed, options: &Options) -> Result<Self, Failure> {
        let dir = options.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        let records: u64 = committed.input.values().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum();
        let buckets = records / options.bucket_events.max(1) + 1;
        let others = buckets.min(MOST_OTHER_BUCKETS);
        Ok(Self {
            orders: Spill::new(&dir, buckets.min(MOST_ORDER_BUCKETS))?,
            users: Spill::new(&dir, others)?,
            products: Spill::new(&dir, others)?,
            bad: Spill::new(&dir, others)?,
        })
    }

    pub(super) fn order(&mut self, order: &CompactString, fact: OrderFact) -> Result<(), Failure> {
        self.orders.put(order.as_bytes(), &(order.clone(), fact))
    }

    pub(super) fn product(&mut self, product: &CompactString, fact: ProductFact) -> Result<(), Failure> {
        self.products.put(product.as_bytes(), &(product.clone(), fact))
    }

    pub(super) fn bad(&mut self, place: Place, fact: BadFact) -> Result<(), Failure> {
        self.bad.put(&place.offset.to_le_bytes(), &(place, fact))
    }
}

pub(super) fn put_user(
    users: &mut Spill<(CompactString, UserFact)>,
    user: &CompactString,
    fact: UserFact,
) -> Result<(), Failure> {
    users.put(user.as_bytes(), &(user.clone(), fact))
}
