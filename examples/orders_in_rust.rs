//! The order job again, as a user writes it: seven outputs of one input topic, all of them in one transaction of Kafka, in one file.
//!
//! It uses `sluicegate::stream`, and of `sluicegate::format` the types of events and outputs with their JSON, which any user can take, too.
//! `sluicegate audit` finds no difference between its outputs and those of the built-in job. The topics are those of the built-in job; the
//! variable ORDERS_PREFIX puts something before their names. With a Kafka on localhost:9092:
//!
//!     sluicegate topics create && sluicegate generate orders --events 100000
//!     cargo run --release --example orders_in_rust -- run --until-caught-up
//!     sluicegate audit --set job.name=orders-in-rust

use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sluicegate::{
    format::{self, DecodeRules, EventType, InventoryLevel, LowStockAlert, OrderEvent, OrderStatus, PurchaseStats, Status},
    stream::{
        Aggregate, App, Emit, Failure, Key, KeyedProcess, Late, MapState, OperatorContext, OperatorList, Output, RawRecord,
        Redistribution, Result, StateValue, Timestamp, Ttl, Tumbling, Undecodable, ValueState, Window,
    },
};
use std::{collections::BTreeMap, env, process::ExitCode, sync::Arc, time::Duration};

const JOB: &str = "orders-in-rust";
const HOUR: Duration = Duration::from_secs(3_600);
const INITIAL_STOCK: i64 = 1_000;
const LOW_STOCK: i64 = 10;
const BATCH: usize = 100;

type Id = CompactString;
/// An event, and its JSON as the producer wrote it: shared, because several stages want it.
type Order = Arc<(OrderEvent, String)>;

fn decode(record: &RawRecord<'_>) -> std::result::Result<(Timestamp, Order), Undecodable> {
    let json = record.value.unwrap_or_default();
    let refused = |why: format::DecodeError| Undecodable { class: why.class.as_str(), message: why.message };
    let event = format::decode_order(json, &DecodeRules::default()).map_err(refused)?;
    Ok((event.timestamp, Arc::new((event, String::from_utf8_lossy(json).into_owned()))))
}

/// Lets each event of an order pass once; it is remembered for a day.
struct Dedup(MapState<Id, u8, bool>);

impl KeyedProcess<Id, Order> for Dedup {
    type Out = Order;
    fn process(&mut self, id: &Key<Id>, _: Timestamp, order: Order, out: &mut Emit<'_, Order>) -> Result<()> {
        let kind = order.0.event_type as u8;
        if self.0.contains(id, kind)? {
            return Ok(());
        }
        self.0.put(id, kind, true)?;
        out.push(order)
    }
}

/// What is known of an order, with the times of its events in the order of [`EventType`].
#[derive(Clone, Serialize, Deserialize)]
struct Tracked {
    user: Id,
    status: Status,
    times: [Option<Timestamp>; 5],
}
impl StateValue for Tracked {}

/// Product, order, and by how much its stock changes.
type StockChange = (Id, Id, i64);

/// Follows each order; what it means for the stock goes to the side.
struct Track(ValueState<Id, Tracked>, Output<StockChange>);

impl KeyedProcess<Id, Order> for Track {
    type Out = OrderStatus;
    fn process(&mut self, id: &Key<Id>, at: Timestamp, order: Order, out: &mut Emit<'_, OrderStatus>) -> Result<()> {
        let (event, kind) = (&order.0, order.0.event_type);
        let new = || Tracked { user: event.user_id.clone(), status: Status::after(kind), times: [None; 5] };
        let (Tracked { user: user_id, status, times }, change) = self.0.update(id, new, |tracked| {
            let [created, .., cancelled] = tracked.times;
            let (takes, gives_back) = (kind == EventType::Created, kind == EventType::Cancelled);
            let change = i64::from(gives_back && created.is_some()) - i64::from(takes && cancelled.is_none());
            tracked.times[kind as usize] = Some(at);
            // The furthest status wins, and CANCELLED is the furthest of all.
            tracked.status = tracked.status.max(Status::after(kind));
            (tracked.clone(), change)
        })?;
        for item in event.items.iter().filter(|_| change != 0) {
            self.1.push(at, (item.product_id.clone(), id.value.clone(), change * i64::from(item.quantity)))?;
        }
        let [created_time, payment_time, shipping_time, delivery_time, cancellation_time] = times;
        let order_id = id.value.clone();
        out.push(OrderStatus {
            order_id,
            user_id,
            status,
            created_time,
            payment_time,
            shipping_time,
            delivery_time,
            cancellation_time,
        })
    }
}

/// Keeps the stock of each product; alerts go to the side.
struct Inventory(ValueState<Id, i64>, Output<LowStockAlert>);

impl KeyedProcess<Id, StockChange> for Inventory {
    type Out = InventoryLevel;
    fn process(&mut self, product: &Key<Id>, at: Timestamp, by: StockChange, out: &mut Emit<'_, InventoryLevel>) -> Result<()> {
        let (product_id, order_id, change) = by;
        let before = self.0.get(product)?.unwrap_or(INITIAL_STOCK);
        let stock = before + change;
        self.0.put(product, stock)?;
        if before >= LOW_STOCK && stock < LOW_STOCK {
            let alert = LowStockAlert { product_id: product_id.clone(), stock, threshold: LOW_STOCK, timestamp: at };
            self.1.push(at, alert)?;
        }
        out.push(InventoryLevel { product_id, order_id, change, stock, timestamp: at })
    }
}

/// What a user bought in an hour.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Sums {
    orders: u64,
    items: u64,
    amount: Decimal,
    categories: BTreeMap<Id, u64>,
}
impl StateValue for Sums {}

#[derive(Clone)]
struct Purchases;

impl Aggregate<Id, Order> for Purchases {
    type Accumulator = Sums;
    type Out = PurchaseStats;
    fn create(&self) -> Sums {
        Sums::default()
    }
    fn add(&self, sums: &mut Sums, order: &Order) {
        sums.orders += 1;
        sums.items += u64::from(order.0.item_count);
        sums.amount += order.0.amount;
        *sums.categories.entry(order.0.category.clone()).or_default() += 1;
    }
    fn merge(&self, into: &mut Sums, from: Sums) {
        into.orders += from.orders;
        into.items += from.items;
        into.amount += from.amount;
        from.categories.into_iter().for_each(|(category, count)| *into.categories.entry(category).or_default() += count);
    }
    fn result(&self, user: &Id, window: Window, sums: &Sums) -> PurchaseStats {
        PurchaseStats {
            user_id: user.clone(),
            window_start: window.start,
            window_end: window.end,
            order_count: sums.orders,
            item_count: sums.items,
            total_amount: sums.amount,
            average_order_value: format::average_order_value(sums.amount, sums.orders),
            category_count: sums.categories.clone(),
        }
    }
}

/// An event that waits for its batch: `<orderId>/<eventType>`, and its JSON.
#[derive(Serialize, Deserialize)]
struct Waiting {
    id: String,
    event: String,
}

/// Gathers events; the first one of a batch gives it its id, for each event is in one batch only.
struct Batches(OperatorList<Waiting>);

impl Batches {
    /// Gives out batches while so many events wait.
    fn emit(&self, while_there_are: usize, out: &mut Emit<'_, (String, Vec<u8>)>) -> Result<()> {
        while self.0.read(<[Waiting]>::len) >= while_there_are {
            let mut batch = self.0.replace(Vec::new());
            self.0.add_all(batch.split_off(BATCH.min(batch.len())));
            let (id, mut json) = (batch.first().map(|first| first.id.clone()).unwrap_or_default(), Vec::new());
            format::encode_order_batch(&mut json, &id, batch.iter().map(|waiting| waiting.event.as_bytes()));
            out.push((id, json))?;
        }
        Ok(())
    }
}

impl KeyedProcess<Id, Order> for Batches {
    type Out = (String, Vec<u8>);
    fn process(&mut self, _: &Key<Id>, _: Timestamp, order: Order, out: &mut Emit<'_, Self::Out>) -> Result<()> {
        let id = format!("{}/{}", order.0.order_id, order.0.event_type);
        self.0.add(Waiting { id, event: order.1.clone() });
        self.emit(BATCH, out)
    }

    fn on_end(&mut self, out: &mut Emit<'_, Self::Out>) -> Result<()> {
        self.emit(1, out)
    }
}

fn build(app: &App) -> std::result::Result<(), Failure> {
    let topic = |name: &str| format!("{}{name}", env::var("ORDERS_PREFIX").unwrap_or_default());
    let (changes, alerts, late) = (app.side_output(), app.side_output(), app.side_output::<Late<Order>>());
    let (to_changes, to_alerts) = (changes.clone(), alerts.clone());
    let (orders, dead) = app.source("orders", &topic("orders"), || decode);
    dead.sink_dead_letters(&topic("dead-letters"), JOB, DecodeRules::default().max_record_bytes);
    let accepted = orders.key_by(|order| order.0.order_id.clone()).process_keyed("dedup", |declare| {
        let seen = declare.with_ttl(Ttl::of(24 * HOUR)).map("seen");
        move |context: &mut OperatorContext<'_, '_>| Ok(Dedup(context.state(&seen)?))
    });
    let statuses = accepted.process("track", |declare| {
        let orders = declare.with_ttl(Ttl::of(90 * 24 * HOUR)).value("order");
        move |context: &mut OperatorContext<'_, '_>| Ok(Track(context.state(&orders)?, context.output(&to_changes)?))
    });
    statuses.sink_json(&topic("order-status"), |status| status.order_id.as_bytes());
    let by_product = changes.stream(&statuses).key_by(|(product, ..): &StockChange| product.clone());
    let levels = by_product.process("inventory", |declare| {
        let stock = declare.value("stock");
        move |context: &mut OperatorContext<'_, '_>| Ok(Inventory(context.state(&stock)?, context.output(&to_alerts)?))
    });
    levels.sink_json(&topic("inventory-levels"), |level| level.product_id.as_bytes());
    alerts.stream(&levels).sink_json(&topic("low-stock-alerts"), |alert| alert.product_id.as_bytes());
    let created = accepted.values().filter(|order| order.0.event_type == EventType::Created);
    let hours = created.key_by(|order| order.0.user_id.clone()).window(Tumbling::of(HOUR)).side_output_late(&late);
    let purchases = hours.aggregate("purchases", Purchases);
    purchases.sink_json(&topic("purchase-stats"), |stats| stats.user_id.as_bytes());
    late.stream(&purchases).sink(&topic("late-orders"), |late, record| {
        record.key(late.value.0.order_id.as_bytes());
        record.value().extend_from_slice(late.value.1.as_bytes());
        format::late_order::headers(late.watermark).into_iter().for_each(|(name, value)| record.header(name, value));
    });
    let batches = accepted.process("batches", |declare| {
        let waiting = declare.operator_list("waiting", Redistribution::Split);
        move |context: &mut OperatorContext<'_, '_>| Ok(Batches(context.state(&waiting)?))
    });
    batches.sink(&topic("order-batches"), |(id, json), record| {
        record.key(id.as_bytes());
        record.value().extend_from_slice(json);
    });
    Ok(())
}

fn main() -> ExitCode {
    App::main(JOB, build)
}
