//! The standard load of the order job: what demo, benchmarks and tests feed it.
//!
//! Orders arrive at a fixed pace of event time and live through their steps 1 to 40 s apart; users and products are drawn with a
//! skew; some events come twice; arrival is up to 3 s out of order; on request some records are bad, of every class that
//! [`decode_order`](crate::format::decode_order) knows (but `too_large`, whose records a broker would not take either, and `too_deep`).
//!
//! The same settings give the same bytes, on every machine and in every version: a test holds the hash of the first 10,000 records.
//!
//! ```
//! use sluicegate::connectors::orders_load::{LoadSettings, OrderLoad};
//!
//! let mut load = OrderLoad::new(LoadSettings { events: 1_000, seed: 42, ..LoadSettings::default() });
//! let mut bytes = 0;
//! // The closure may block (back-pressure) or fail (the load stops there).
//! let summary = load.drive(|record| {
//!     bytes += record.value().map_or(0, <[u8]>::len);
//!     Ok::<(), std::io::Error>(())
//! }).unwrap();
//! assert_eq!(summary.records, 1_000);
//! ```

mod avro;
mod dirty;
mod draw;
mod life;

use crate::format::{ErrorClass, EventType};
pub use avro::AvroLoad;
use draw::Draw;
use life::Order;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const DAY_MS: u128 = 86_400_000;

/// What the load is made of. The defaults are the standard load, one million events of it, without bad records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSettings {
    /// Records in all: events, copies and bad ones.
    pub events: u64,
    /// Two loads that differ only in this have nothing in common but their shape (and the names of their orders).
    pub seed: u64,
    /// Bad records in a thousand.
    pub dirty_permille: u32,
    /// Events in a thousand that come a second time.
    pub duplicate_permille: u32,
    /// Event time of the first order, in milliseconds since the epoch.
    pub start_timestamp: i64,
    /// Pace of new orders, per day of event time. 4,320,000 are 50 per second, and make 2 million events last 3 hours.
    pub orders_per_day: u64,
    /// How much later than in order a record may arrive, in milliseconds of event time.
    pub out_of_order_ms: u32,
    /// Number of the first order; give a second load on the same topic another one, or its orders are taken for copies.
    pub first_order: u64,
    /// Different users.
    pub users: u32,
    /// Different products.
    pub products: u32,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            events: 1_000_000,
            seed: 42,
            dirty_permille: 0,
            duplicate_permille: 20,
            start_timestamp: 1_767_225_600_000,
            orders_per_day: 4_320_000,
            out_of_order_ms: 3_000,
            first_order: 1,
            users: 50_000,
            products: 2_000,
        }
    }
}

/// What a record of the load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first copy of an event.
    Event,
    /// A later copy of an event, byte for byte.
    Copy,
    /// A record that has to be refused, for this reason.
    Dirty(ErrorClass),
}

/// One record, for a topic that is partitioned by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRecord {
    key: Vec<u8>,
    value: Vec<u8>,
    tombstone: bool,
    kind: Kind,
    event_time: i64,
}

impl LoadRecord {
    fn new() -> Self {
        Self { key: Vec::with_capacity(32), value: Vec::with_capacity(512), tombstone: false, kind: Kind::Event, event_time: 0 }
    }

    /// The `orderId`, UTF-8.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The JSON, or what is there in its place; none for a tombstone (a record with a null value).
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        (!self.tombstone).then_some(&self.value)
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Event time in milliseconds since the epoch (of a bad record: when it was sent).
    #[must_use]
    pub fn event_time(&self) -> i64 {
        self.event_time
    }
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadSummary {
    /// All records.
    pub records: u64,
    /// Of them, bad ones.
    pub dirty: u64,
    /// Of them, second copies.
    pub copies: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Orders begun.
    pub orders: u64,
}

/// A step of an order that has not been sent yet. Ordered by its arrival; the number makes arrivals at the same millisecond keep the order in
/// which they were planned.
type Planned = Reverse<(i64, u64, u32, EventType, i64, bool)>;

/// The load, record by record.
#[derive(Debug)]
pub struct OrderLoad {
    settings: LoadSettings,
    draw: Draw,
    /// Bad records draw from a stream of their own, so that the events are those of the clean load.
    dirty_draw: Draw,
    planned: BinaryHeap<Planned>,
    /// Orders with planned steps; a free place is used again.
    orders: Vec<Order>,
    free: Vec<u32>,
    plans: u64,
    orders_begun: u64,
    sent: u64,
    /// The bad record that went out in front of this step, if one did.
    dirty_sent_before: Option<u64>,
    dirty_sent: u64,
}

impl OrderLoad {
    /// The load from its beginning. Settings of zero where there has to be one (pace, users, products) are taken as one.
    #[must_use]
    pub fn new(settings: LoadSettings) -> Self {
        let settings = LoadSettings {
            orders_per_day: settings.orders_per_day.max(1),
            users: settings.users.max(1),
            products: settings.products.max(1),
            ..settings
        };
        Self {
            draw: Draw::new(settings.seed, 0),
            dirty_draw: Draw::new(settings.seed, 1),
            settings,
            planned: BinaryHeap::new(),
            orders: Vec::new(),
            free: Vec::new(),
            plans: 0,
            orders_begun: 0,
            sent: 0,
            dirty_sent_before: None,
            dirty_sent: 0,
        }
    }

    /// Hands every record that is left to `send`, which may block; its first error ends the load and is returned.
    ///
    /// # Errors
    ///
    /// Those of `send`.
    pub fn drive<E>(&mut self, mut send: impl FnMut(&LoadRecord) -> Result<(), E>) -> Result<LoadSummary, E> {
        let mut record = LoadRecord::new();
        let mut summary = LoadSummary::default();
        let orders_before = self.orders_begun;
        while self.next_into(&mut record) {
            send(&record)?;
            summary.records += 1;
            summary.bytes += (record.key.len() + record.value.len()) as u64;
            match record.kind {
                Kind::Event => {}
                Kind::Copy => summary.copies += 1,
                Kind::Dirty(_) => summary.dirty += 1,
            }
        }
        summary.orders = self.orders_begun - orders_before;
        Ok(summary)
    }

    /// Writes the next record over `record`; false at the end.
    pub fn next_into(&mut self, record: &mut LoadRecord) -> bool {
        if self.sent >= self.settings.events {
            return false;
        }
        self.plan_until_next();
        let Some(Reverse((arrival, number, place, event, event_time, copy))) = self.planned.peek().copied() else { return false };
        let Some(order) = self.orders.get_mut(place as usize) else { return false };
        record.key.clear();
        record.value.clear();
        record.tombstone = false;
        record.key.extend_from_slice(order.id());
        self.sent += 1;

        let dirty = self.settings.dirty_permille;
        if dirty > 0 && self.dirty_sent_before != Some(number) {
            // A thousand permille leave no room for events: then the same step is in front for ever, and that is what was asked for.
            if self.dirty_draw.chance(dirty) {
                order.write(&mut record.value, event, event_time);
                let (class, tombstone) = dirty::spoil(&mut record.value, self.dirty_sent, &mut self.dirty_draw);
                record.kind = Kind::Dirty(class);
                record.tombstone = tombstone;
                record.event_time = arrival;
                self.dirty_sent += 1;
                if dirty < 1000 {
                    self.dirty_sent_before = Some(number);
                }
                return true;
            }
        }
        order.write(&mut record.value, event, event_time);
        record.kind = if copy { Kind::Copy } else { Kind::Event };
        record.event_time = event_time;
        order.planned -= 1;
        if order.planned == 0 {
            self.free.push(place);
        }
        self.planned.pop();
        true
    }

    /// Begins orders until the first planned step arrives before any that is not planned yet can.
    fn plan_until_next(&mut self) {
        loop {
            let begins = self.settings.start_timestamp
                + (u128::from(self.orders_begun) * DAY_MS / u128::from(self.settings.orders_per_day)) as i64;
            if self.planned.peek().is_some_and(|Reverse(first)| first.0 < begins) {
                return;
            }
            self.begin_order(begins);
        }
    }

    fn begin_order(&mut self, created: i64) {
        let number = self.settings.first_order + self.orders_begun;
        self.orders_begun += 1;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.orders.push(Order::default());
                (self.orders.len() - 1) as u32
            }
        };
        let Some(order) = self.orders.get_mut(place as usize) else { return };
        order.begin(number, &self.settings, &mut self.draw);
        let mut event_time = created;
        for event in life::steps(&mut self.draw) {
            if *event != EventType::Created {
                event_time += 1_000 + i64::from(self.draw.below(39_001));
            }
            let arrival = event_time + i64::from(self.draw.below(self.settings.out_of_order_ms.saturating_add(1)));
            let mut plan = |arrival: i64, copy: bool| {
                self.planned.push(Reverse((arrival, self.plans, place, *event, event_time, copy)));
                self.plans += 1;
                order.planned += 1;
            };
            plan(arrival, false);
            if self.draw.chance(self.settings.duplicate_permille) {
                // Half of the copies follow at once (a producer's retry), half within ten minutes (a producer that restarted).
                let later = if self.draw.chance(500) { 2_000 } else { 600_000 };
                plan(arrival + 1 + i64::from(self.draw.below(later)), true);
            }
        }
    }
}

impl Iterator for OrderLoad {
    type Item = LoadRecord;

    fn next(&mut self) -> Option<LoadRecord> {
        let mut record = LoadRecord::new();
        self.next_into(&mut record).then_some(record)
    }
}

#[cfg(test)]
mod tests;
