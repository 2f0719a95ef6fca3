//! A reader that checks all the time what becomes visible, as any consumer downstream would see it.
//!
//! Two outputs carry in themselves what exactly-once means. Each record of `order-status` has one more time set than the record of
//! the same order before it: a doubled one sets none, a lost one leaves a step of two. Each record of `inventory-levels` has the
//! stock of the product's record before it plus its change. So a gap, a double or a wrong order is seen at once, and by its key.

use super::reader::Reader;
use crate::{Result, job::Job, topics::Record};
use serde::Deserialize;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// More of them say no more.
const KEPT: usize = 20;

/// What the checker has seen.
#[derive(Debug, Default)]
struct Seen {
    records: AtomicU64,
    wrong: AtomicU64,
    first: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// A thread that reads and checks until it is asked for its result.
pub(super) struct Checker {
    seen: Arc<Seen>,
    thread: thread::JoinHandle<Result<()>>,
}

/// The result.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Records that were checked.
    pub records: u64,
    /// Those that did not follow from the one before them.
    pub wrong: u64,
    /// The first of these.
    pub first: Vec<String>,
}

impl Checker {
    pub(super) fn start(job: &Job, reader: &Path) -> Result<Self> {
        let (status, levels) = (job.output("order-status"), job.output("inventory-levels"));
        let mut reader = Reader::start(reader, job.bootstrap(), &[status.clone(), levels])?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = thread::Builder::new().name("checker".into()).spawn(move || check(&mut reader, &status, &shared))?;
        Ok(Self { seen, thread })
    }

    pub(super) fn wrong(&self) -> u64 {
        self.seen.wrong.load(Ordering::Relaxed)
    }

    /// Reads what is left and ends.
    pub(super) fn finish(self) -> Result<Checked> {
        self.seen.ended.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| crate::anyhow!("the checker panicked"))??;
        let first = self.seen.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Checked { records: self.seen.records.load(Ordering::Relaxed), wrong: self.seen.wrong.load(Ordering::Relaxed), first })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    order_id: String,
    created_time: Option<i64>,
    payment_time: Option<i64>,
    shipping_time: Option<i64>,
    delivery_time: Option<i64>,
    cancellation_time: Option<i64>,
}

impl Status {
    fn times(&self) -> usize {
        let times = [self.created_time, self.payment_time, self.shipping_time, self.delivery_time, self.cancellation_time];
        times.into_iter().flatten().count()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Level {
    product_id: String,
    change: i64,
    stock: i64,
}

/// What the last record of each key was.
#[derive(Default)]
struct Last {
    times: HashMap<String, usize>,
    stock: HashMap<String, i64>,
}

impl Last {
    /// Why `record` does not follow from what was before it.
    fn check(&mut self, is_status: bool, value: &[u8]) -> Result<(), String> {
        if is_status {
            let status: Status = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            let times = status.times();
            let before = self.times.insert(status.order_id.clone(), times).unwrap_or(0);
            if times != before + 1 {
                return Err(format!("order {}: {times} times are set, after {before}", status.order_id));
            }
        } else {
            let level: Level = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            let before = self.stock.insert(level.product_id.clone(), level.stock);
            if before.is_some_and(|before| before + level.change != level.stock) {
                return Err(format!(
                    "product {}: stock {} by {:+}, after {before:?}",
                    level.product_id, level.stock, level.change
                ));
            }
        }
        Ok(())
    }
}

fn check(reader: &mut Reader, status: &str, seen: &Seen) -> Result<()> {
    let mut last = Last::default();
    loop {
        // At the end everything is committed: what does not come within this time does not come.
        let Some(record) = reader.next(Duration::from_secs(2))? else {
            if seen.ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            continue;
        };
        seen.records.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = last.check(record.topic == status, record.value.as_deref().unwrap_or_default()) {
            note(seen, &record, &why);
        }
    }
}

fn note(seen: &Seen, record: &Record, why: &str) {
    seen.wrong.fetch_add(1, Ordering::Relaxed);
    let mut first = seen.first.lock().unwrap_or_else(PoisonError::into_inner);
    if first.len() < KEPT {
        first.push(format!("{} partition {} offset {}: {why}", record.topic, record.partition, record.offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(order: &str, created: &str, paid: &str) -> Vec<u8> {
        format!(
            "{{\"orderId\":\"{order}\",\"userId\":\"U\",\"status\":\"PAID\",\"createdTime\":{created},\"paymentTime\":{paid},\
             \"shippingTime\":null,\"deliveryTime\":null,\"cancellationTime\":null}}"
        )
        .into_bytes()
    }

    fn level(change: i64, stock: i64) -> Vec<u8> {
        format!("{{\"productId\":\"P\",\"orderId\":\"O\",\"change\":{change},\"stock\":{stock},\"timestamp\":1}}").into_bytes()
    }

    #[test]
    fn steps_of_one_are_right_and_doubles_and_gaps_are_named() {
        let mut last = Last::default();
        assert_eq!(last.check(true, &status("A", "1", "null")), Ok(()));
        assert_eq!(last.check(true, &status("A", "1", "2")), Ok(()));
        assert!(last.check(true, &status("A", "1", "2")).unwrap_err().contains("order A: 2 times are set, after 2"));
        assert!(last.check(true, &status("B", "1", "2")).unwrap_err().contains("order B: 2 times are set, after 0"));
    }

    #[test]
    fn stock_follows_from_the_change_and_a_doubled_change_is_named() {
        let mut last = Last::default();
        assert_eq!(last.check(false, &level(-2, 998)), Ok(()));
        assert_eq!(last.check(false, &level(2, 1000)), Ok(()));
        assert!(last.check(false, &level(2, 1000)).unwrap_err().contains("product P"));
    }
}
