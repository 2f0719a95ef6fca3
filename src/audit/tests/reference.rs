//! A small straightforward order job in memory, and its topics. It uses the job's own wire types, as the real one does.

use super::super::*;
use crate::connectors::orders_load::{LoadSettings, OrderLoad};
use crate::format::{
    DecodeRules, EventType, InventoryLevel, LowStockAlert, OrderEvent, OrderStatus, PurchaseStats, Status, average_order_value,
    dead_letter, decode_order, encode_inventory_level, encode_low_stock_alert, encode_order, encode_order_batch,
    encode_order_status, encode_purchase_stats, late_order,
};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

pub(super) const PARTITIONS: i32 = 3;
const OUT_OF_ORDER: i64 = 5_000;
const WORKERS: u64 = 2;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rec {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Rec {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    pub(super) fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    pub(super) fn replace(&mut self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{from} is not in {text}");
        self.value = Some(text.replacen(from, to, 1).into_bytes());
    }
}

/// Partitions of a topic; the index in the vector is the offset.
pub(super) type Partitions = BTreeMap<i32, Vec<Rec>>;

/// A job, its rules, its input, its outputs and its last commit.
#[derive(Clone)]
pub(super) struct Job {
    pub rules: JobRules,
    pub topics: BTreeMap<Topic, Partitions>,
    pub committed: Committed,
    state: State,
}

#[derive(Clone, Default)]
struct State {
    seen: HashMap<(String, Option<EventType>), i64>,
    orders: HashMap<String, (String, Status, [Option<i64>; 5])>,
    windows: BTreeMap<(i64, String), PurchaseStats>,
    stock: HashMap<String, i64>,
    waiting: BTreeMap<u64, Vec<Vec<u8>>>,
    batches: u64,
    watermarks: BTreeMap<i32, i64>,
    watermark: i64,
}

pub(super) fn partition_of(key: &[u8]) -> i32 {
    (xxh3_64(key) % PARTITIONS as u64) as i32
}

/// Kafka's timestamp of the record at an offset: some have none.
fn timestamp(offset: i64) -> Option<i64> {
    (offset % 10 != 7).then_some(1_767_225_600_000 + offset)
}

/// The standard load at a slow pace (so that hours pass) with few products (so that stock runs low), some orders two hours late, and some
/// bad records; partitioned by key.
pub(super) fn input(events: u64) -> Partitions {
    let settings =
        LoadSettings { events, dirty_permille: 20, orders_per_day: 86_400, products: 20, users: 300, ..LoadSettings::default() };
    let mut input = Partitions::new();
    for record in OrderLoad::new(settings) {
        let mut value = record.value().map(<[u8]>::to_vec);
        let late = xxh3_64(record.key()).is_multiple_of(40);
        if let Some(Ok(event)) = value.as_deref().map(|value| decode_order(value, &DecodeRules::default())).filter(|_| late) {
            let mut early = Vec::new();
            encode_order(&mut early, &OrderEvent { timestamp: event.timestamp - 7_200_000, ..event });
            value = Some(early);
        }
        // Some producers set headers; one of them like one of ours, as a record that has died in another job has.
        let headers = match xxh3_64(record.key()) % 5 {
            0 => vec![("trace".to_owned(), b"1".to_vec()), ("empty".to_owned(), vec![])],
            1 => vec![("error.topic".to_owned(), b"payments".to_vec()), ("error.class".to_owned(), b"empty".to_vec())],
            _ => vec![],
        };
        let record = Rec { key: Some(record.key().to_vec()), value, headers };
        input.entry(partition_of(record.key.as_deref().unwrap())).or_default().push(record);
    }
    input
}

impl Job {
    pub(super) fn new(rules: JobRules, input: Partitions) -> Self {
        let mut topics: BTreeMap<Topic, Partitions> =
            Topic::OUTPUTS.into_iter().map(|topic| (topic, Partitions::new())).collect();
        let committed_input = input.keys().map(|partition| (*partition, 0..0)).collect();
        topics.insert(Topic::Orders, input);
        let committed = Committed {
            input_topic: "orders".into(),
            input: committed_input,
            watermark: i64::MIN,
            drained: false,
            waiting: vec![],
        };
        Self { rules, topics, committed, state: State { watermark: i64::MIN, ..State::default() } }
    }

    /// A job that has read the standard input whole.
    pub(super) fn done(rules: JobRules, events: u64) -> Self {
        let mut job = Self::new(rules, input(events));
        job.run(u64::MAX);
        job
    }

    /// Reads up to `records`, partitions in uneven turns, and commits.
    pub(super) fn run(&mut self, records: u64) {
        let input = self.topics[&Topic::Orders].clone();
        let mut left = records;
        for turn in 0_u64.. {
            let mut idle = true;
            for (partition, all) in &input {
                let run = xxh3_64(&(turn * 10 + *partition as u64).to_le_bytes()) % 30;
                for _ in 0..run {
                    let offset = self.committed.input[partition].end;
                    if left > 0 && offset < all.len() as i64 {
                        self.take(*partition, offset, &all[offset as usize]);
                        self.committed.input.get_mut(partition).unwrap().end += 1;
                        left -= 1;
                    }
                }
                idle &= left == 0 || self.committed.input[partition].end == all.len() as i64;
            }
            if idle {
                break;
            }
        }
        self.committed.watermark = self.state.watermark;
        self.committed.waiting = self.state.waiting.values().flatten().cloned().collect();
    }

    /// Everything out: all windows fire, all batches are written.
    pub(super) fn drain(&mut self) {
        self.fire(i64::MAX);
        for (worker, events) in std::mem::take(&mut self.state.waiting) {
            if !events.is_empty() {
                self.batch(worker, &events);
            }
        }
        self.committed.watermark = i64::MAX;
        self.committed.waiting.clear();
        self.committed.drained = true;
    }

    pub(super) fn emit(&mut self, topic: Topic, key: &str, value: Vec<u8>, headers: &[(&str, Vec<u8>)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let record = Rec { key: Some(key.as_bytes().to_vec()), value: Some(value), headers };
        self.topics.get_mut(&topic).unwrap().entry(partition_of(key.as_bytes())).or_default().push(record);
    }

    fn take(&mut self, partition: i32, offset: i64, record: &Rec) {
        let limits = DecodeRules {
            min_timestamp: self.rules.min_timestamp,
            max_timestamp: self.rules.max_timestamp,
            max_record_bytes: self.rules.max_record_bytes,
            max_id_bytes: self.rules.max_id_bytes,
        };
        let value = record.value.clone().unwrap_or_default();
        let event = match decode_order(&value, &limits) {
            Ok(event) => event,
            Err(error) => {
                let reason = dead_letter::Reason {
                    topic: "orders",
                    partition,
                    offset,
                    class: error.class.as_str(),
                    message: &error.message,
                    timestamp: timestamp(offset),
                    stage: "orders",
                    job: "orders",
                    checkpoint: offset as u64 / 100,
                };
                let ours = dead_letter::headers(&reason).into_iter().map(|(name, value)| (name.to_owned(), value));
                let letter = Rec { headers: record.headers.iter().cloned().chain(ours).collect(), ..record.clone() };
                let partition = partition_of(record.key.as_deref().unwrap_or_default());
                self.topics.get_mut(&Topic::DeadLetters).unwrap().entry(partition).or_default().push(letter);
                return;
            }
        };
        self.accept(&event, value);
        let seen = self.state.watermarks.entry(partition).or_insert(i64::MIN);
        *seen = (event.timestamp - OUT_OF_ORDER).max(*seen);
        if self.state.watermarks.len() == self.topics[&Topic::Orders].len() {
            self.fire(*self.state.watermarks.values().min().unwrap());
        }
    }

    fn accept(&mut self, event: &OrderEvent, value: Vec<u8>) {
        let identity = match self.rules.identity {
            Identity::Event => Some(event.event_type),
            Identity::Order => None,
        };
        let written = self.state.seen.get(&(event.order_id.to_string(), identity));
        if written.is_some_and(|written| self.state.watermark < written + self.rules.dedup_ttl) {
            return;
        }
        self.state.seen.insert((event.order_id.to_string(), identity), event.timestamp);

        let youngest = self.state.orders.get(event.order_id.as_str()).and_then(|order| order.2.iter().flatten().max());
        if youngest.is_some_and(|youngest| youngest + self.rules.tracking_ttl <= self.state.watermark) {
            self.state.orders.remove(event.order_id.as_str());
        }
        let order = self.state.orders.entry(event.order_id.to_string()).or_insert((
            event.user_id.to_string(),
            Status::Created,
            [None; 5],
        ));
        let before = order.2;
        order.1 = order.1.max(Status::after(event.event_type));
        order.2[event.event_type as usize] = Some(event.timestamp);
        let (user_id, status, [created_time, payment_time, shipping_time, delivery_time, cancellation_time]) = order.clone();
        let status = OrderStatus {
            order_id: event.order_id.clone(),
            user_id: user_id.into(),
            status,
            created_time,
            payment_time,
            shipping_time,
            delivery_time,
            cancellation_time,
        };
        let mut out = Vec::new();
        encode_order_status(&mut out, &status);
        self.emit(Topic::OrderStatus, &event.order_id, out, &[]);

        let (created, cancelled) =
            (before[EventType::Created as usize].is_some(), before[EventType::Cancelled as usize].is_some());
        match event.event_type {
            EventType::Created => {
                if !cancelled {
                    self.stock(event, -1);
                }
                self.purchase(event, &value);
            }
            EventType::Cancelled if created => self.stock(event, 1),
            _ => {}
        }

        let worker = xxh3_64(event.order_id.as_bytes()) % WORKERS;
        let waiting = self.state.waiting.entry(worker).or_default();
        let together = waiting.iter().map(|event| event.len() + 1).sum::<usize>() + value.len();
        if !waiting.is_empty() && together > self.rules.max_record_bytes {
            let events = std::mem::take(waiting);
            self.batch(worker, &events);
        }
        let waiting = self.state.waiting.entry(worker).or_default();
        waiting.push(value);
        if waiting.len() as u64 == self.rules.batch_size {
            let events = std::mem::take(waiting);
            self.batch(worker, &events);
        }
    }

    fn batch(&mut self, worker: u64, events: &[Vec<u8>]) {
        self.state.batches += 1;
        let id = format!("{worker}-{}", self.state.batches);
        let mut out = Vec::new();
        encode_order_batch(&mut out, &id, events.iter().map(Vec::as_slice));
        self.emit(Topic::OrderBatches, &id, out, &[]);
    }

    fn stock(&mut self, event: &OrderEvent, sign: i64) {
        for item in &event.items {
            let stock = self.state.stock.entry(item.product_id.to_string()).or_insert(self.rules.initial_stock);
            let change = sign * i64::from(item.quantity);
            *stock += change;
            let (stock, threshold, timestamp) = (*stock, self.rules.low_stock_threshold, event.timestamp);
            let level = InventoryLevel {
                product_id: item.product_id.clone(),
                order_id: event.order_id.clone(),
                change,
                stock,
                timestamp,
            };
            let mut out = Vec::new();
            encode_inventory_level(&mut out, &level);
            self.emit(Topic::InventoryLevels, &item.product_id, out, &[]);
            if stock < threshold && (self.rules.alert == Alert::Every || stock - change >= threshold) {
                let mut out = Vec::new();
                encode_low_stock_alert(
                    &mut out,
                    &LowStockAlert { product_id: item.product_id.clone(), stock, threshold, timestamp },
                );
                self.emit(Topic::LowStockAlerts, &item.product_id, out, &[]);
            }
        }
    }

    fn purchase(&mut self, event: &OrderEvent, value: &[u8]) {
        let window = self.rules.window;
        let start = event.timestamp.div_euclid(window) * window;
        let closes = start + window - 1;
        if self.state.watermark >= closes + self.rules.allowed_lateness {
            return self.emit(Topic::LateOrders, &event.order_id, value.to_vec(), &late_order::headers(self.state.watermark));
        }
        let stats = self.state.windows.entry((start, event.user_id.to_string())).or_insert_with(|| PurchaseStats {
            user_id: event.user_id.clone(),
            window_start: start,
            window_end: start + window,
            order_count: 0,
            item_count: 0,
            total_amount: Decimal::ZERO,
            average_order_value: Decimal::ZERO,
            category_count: BTreeMap::new(),
        });
        stats.order_count += 1;
        stats.item_count += u64::from(event.item_count);
        stats.total_amount += event.amount;
        stats.average_order_value = average_order_value(stats.total_amount, stats.order_count);
        *stats.category_count.entry(event.category.clone()).or_default() += 1;
        if self.state.watermark >= closes {
            let stats = stats.clone();
            self.emit_stats(&stats);
        }
    }

    fn emit_stats(&mut self, stats: &PurchaseStats) {
        let mut out = Vec::new();
        match stats.with_room(self.rules.max_record_bytes) {
            None => {
                encode_purchase_stats(&mut out, stats);
                self.emit(Topic::PurchaseStats, &stats.user_id, out, &[]);
            }
            Some((fewer, omitted)) => {
                encode_purchase_stats(&mut out, &fewer);
                let headers = [("stats.omitted_categories", omitted.to_string().into_bytes())];
                self.emit(Topic::PurchaseStats, &stats.user_id, out, &headers);
            }
        }
    }

    fn fire(&mut self, watermark: i64) {
        let before = self.state.watermark;
        self.state.watermark = watermark.max(before);
        let closed = |stats: &PurchaseStats, at: i64| at >= stats.window_end - 1;
        let due: Vec<PurchaseStats> = self
            .state
            .windows
            .values()
            .filter(|stats| closed(stats, self.state.watermark) && !closed(stats, before))
            .cloned()
            .collect();
        for stats in due {
            self.emit_stats(&stats);
        }
        let (watermark, lateness) = (self.state.watermark, self.rules.allowed_lateness);
        self.state.windows.retain(|_, stats| watermark < (stats.window_end - 1).saturating_add(lateness));
    }

    pub(super) fn records(&mut self, topic: Topic) -> &mut Partitions {
        self.topics.get_mut(&topic).unwrap()
    }
}

/// A job's topics as the audit reads them.
pub(super) struct Topical<'a>(pub &'a Job);

impl Topics for Topical<'_> {
    fn scan(
        &mut self,
        topic: Topic,
        ranges: Option<&BTreeMap<i32, Range<i64>>>,
        each: &mut dyn FnMut(&Record<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for (partition, records) in &self.0.topics[&topic] {
            let range = ranges.map_or(Some(0..i64::MAX), |ranges| ranges.get(partition).cloned());
            for (offset, record) in records.iter().enumerate() {
                let offset = offset as i64;
                if range.as_ref().is_some_and(|range| range.contains(&offset)) {
                    let headers: Vec<(&str, &[u8])> =
                        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                    each(&Record {
                        partition: *partition,
                        offset,
                        key: record.key.as_deref(),
                        value: record.value.as_deref(),
                        timestamp: timestamp(offset),
                        headers: &headers,
                    })?;
                }
            }
        }
        Ok(())
    }
}
