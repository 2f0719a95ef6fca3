//! The order job: every order counted exactly once.
//!
//! ```text
//! orders ─ decode ─ dedup(orderId, eventType) ─┬─ track(orderId) ───────────────────► order-status
//!             │                                │     └─ stock changes ─ inventory ───► inventory-levels, low-stock-alerts
//!             └─ dead-letters                  ├─ CREATED: purchases(userId, 1 h) ───► purchase-stats, late-orders
//!                                              └─ batches of 100 ────────────────────► order-batches
//! ```
//!
//! Three stages run as tasks: decoding beside the source; dedup, track and batches by order; purchases by user and inventory
//! by product.

mod batches;
mod decode;
mod dedup;
mod inventory;
mod lifetime;
mod options;
mod purchases;
mod track;

pub use options::{Alert, Identity, Options, Topics};

use crate::format::{self, Encoding, OrderEvent};
use crate::stream::{App, Failure, Late, RecordWriter, Tumbling};
use std::sync::Arc;

/// Names of the operators that keep something in checkpoints: their identity there.
pub mod names {
    /// Forgets nothing that was accepted within the time to live.
    pub const DEDUP: &str = "dedup";
    /// Follows each order, until nothing was heard of it for the time to live.
    pub const TRACK: &str = "track";
    /// Adds up each user's purchases per window.
    pub const PURCHASES: &str = "purchases";
    /// Keeps the stock of each product.
    pub const INVENTORY: &str = "inventory";
    /// Gathers events into batches.
    pub const BATCHES: &str = "batches";
}

/// An accepted event with the bytes that it came in; shared, because several stages want it.
pub type Order = Arc<ReceivedOrder>;

/// An event and the bytes that it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedOrder {
    /// The event.
    pub event: OrderEvent,
    /// Its bytes, as the producer wrote them.
    pub raw: Box<[u8]>,
}

/// Adds the job to `app`.
pub fn build(app: &App, options: &Options) -> Result<(), Failure> {
    let (topics, formats) = (&options.topics, &options.formats);
    let (rules, input) = (options.rules, formats.orders.clone());
    let (orders, dead) = app.source("orders", &options.input, move || decode::OrderDecoder::new(input.clone(), rules));
    dead.sink_dead_letters(&topics.dead_letters, &options.job, rules.max_record_bytes);

    let by_order = orders.key_by(|order| order.event.order_id.clone());
    let accepted = dedup::attach(&by_order, options);

    let (tracked, changes) = track::attach(app, &accepted, options);
    let encoding = formats.order_status;
    tracked.sink(&topics.order_status, move |status, record| {
        record.key(status.order_id.as_bytes());
        encoding.order_status(record.value(), status);
    });

    let late = app.side_output::<Late<Order>>();
    let purchases = accepted
        .values()
        .filter(|order| order.event.event_type == format::EventType::Created)
        .key_by(|order| order.event.user_id.clone())
        .window(Tumbling::of(options.window))
        .allowed_lateness(options.allowed_lateness)
        .side_output_late(&late)
        .aggregate(names::PURCHASES, purchases::Purchases);
    let encoding = formats.purchase_stats;
    purchases.sink(&topics.purchase_stats, move |stats, record| {
        record.key(stats.user_id.as_bytes());
        match stats.with_room(rules.max_record_bytes) {
            None => encoding.purchase_stats(record.value(), stats),
            Some((fewer, omitted)) => {
                encoding.purchase_stats(record.value(), &fewer);
                record.header(format::purchase_stats::OMITTED_CATEGORIES, omitted.to_string().into_bytes());
            }
        }
    });
    let encoding = formats.late_orders;
    late.stream(&purchases).sink(&topics.late_orders, move |late, record| encode_late(encoding, late, record));

    let (levels, alerts) = inventory::attach(app, &changes, options);
    let encoding = formats.inventory_levels;
    levels.sink(&topics.inventory_levels, move |level, record| {
        record.key(level.product_id.as_bytes());
        encoding.inventory_level(record.value(), level);
    });
    let encoding = formats.low_stock_alerts;
    alerts.sink(&topics.low_stock_alerts, move |alert, record| {
        record.key(alert.product_id.as_bytes());
        encoding.low_stock_alert(record.value(), alert);
    });

    batches::attach(&accepted, options).sink(&topics.order_batches, |batch, record| {
        record.key(batch.id.as_bytes());
        record.value().extend_from_slice(&batch.value);
    });
    Ok(())
}

fn encode_late(encoding: Option<Encoding>, late: &Late<Order>, record: &mut RecordWriter<'_>) {
    record.key(late.value.event.order_id.as_bytes());
    match encoding {
        None => record.value().extend_from_slice(&late.value.raw),
        Some(encoding) => encoding.order(record.value(), &late.value.event),
    }
    for (name, value) in format::late_order::headers(late.watermark) {
        record.header(name, value);
    }
}
