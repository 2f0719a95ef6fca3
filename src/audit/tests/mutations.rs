//! One thing is wrong in one output of a correct run: the audit must say which.

use super::reference::{Job, Rec};
use super::*;
use std::sync::OnceLock;

fn correct() -> Job {
    static JOB: OnceLock<Job> = OnceLock::new();
    JOB.get_or_init(|| {
        let job =
            Job::done(JobRules { alert: Alert::Every, window: 600_000, low_stock_threshold: 500, ..JobRules::default() }, 8_000);
        assert_clean(&job);
        job
    })
    .clone()
}

/// Partition and index of the `which`th record of a topic that fits.
fn find(job: &Job, topic: Topic, which: usize, fits: impl Fn(&Rec) -> bool) -> (i32, usize) {
    let all = job.topics[&topic]
        .iter()
        .flat_map(|(partition, records)| records.iter().enumerate().map(|(index, record)| (*partition, index, record)));
    let (partition, index, _) = all.filter(|(_, _, record)| fits(record)).nth(which).unwrap();
    (partition, index)
}

fn at(job: &mut Job, topic: Topic, (partition, index): (i32, usize)) -> &mut Rec {
    &mut job.records(topic).get_mut(&partition).unwrap()[index]
}

fn remove(job: &mut Job, topic: Topic, (partition, index): (i32, usize)) -> Rec {
    job.records(topic).get_mut(&partition).unwrap().remove(index)
}

fn double(job: &mut Job, topic: Topic, place: (i32, usize)) -> Rec {
    let record = at(job, topic, place).clone();
    job.records(topic).get_mut(&place.0).unwrap().insert(place.1 + 1, record.clone());
    record
}

/// Exchanges a record with the next one of the same key.
fn swap(job: &mut Job, topic: Topic, (partition, index): (i32, usize)) -> Rec {
    let records = job.records(topic).get_mut(&partition).unwrap();
    let next =
        (index + 1..records.len()).find(|next| records[*next].key == records[index].key).expect("another record of the key");
    assert_ne!(records[index], records[next]);
    records.swap(index, next);
    records[next].clone()
}

/// The audit refuses, finds differences in these outputs and no others, of that kind in the first, and names the key there.
#[track_caller]
fn refused(job: &Job, outputs: &[Topic], kind: DifferenceKind, key: &str) {
    let report = report_with(job, &Options { shown: 1_000, ..Options::default() });
    assert_eq!(report.verdict(), Verdict::Violated);
    let differing: Vec<Topic> = report.outputs.iter().filter(|output| output.total() > 0).map(|output| output.topic).collect();
    let mut wanted = outputs.to_vec();
    wanted.sort();
    assert_eq!(differing, wanted, "{}", report.to_table());
    let output = report.outputs.iter().find(|output| output.topic == outputs[0]).unwrap();
    let named = output.differences.iter().any(|difference| difference.kind == kind && difference.key.contains(key));
    assert!(named, "no {kind} {key} in\n{}", report.to_table());
    assert!(report.sentence().starts_with("NOT"), "{}", report.sentence());
    assert!(report.to_table().contains(outputs[0].as_str()));
}

use DifferenceKind::{Extra, Missing, Wrong};
use Topic::{DeadLetters, InventoryLevels, LateOrders, LowStockAlerts, OrderBatches, OrderStatus, PurchaseStats};

#[test]
fn the_correct_run_has_something_of_everything() {
    let report = assert_clean(&correct());
    assert_eq!(report.records_in, 8_000);
    assert_eq!(report.accepted + report.copies + report.dead, 8_000);
    assert!(
        report.copies > 80 && report.dead > 120 && report.late > 30 && report.open > 100 && report.waiting > 0,
        "{}",
        report.to_table()
    );
    for output in &report.outputs {
        assert!(output.found > 20 && output.expected == output.found, "{}", report.to_table());
    }
    assert_eq!(report.beyond_ttl + report.beyond_tracking_ttl + report.orders_in_several_partitions + report.undecided, 0);
    assert!(report.sentence().starts_with("Exactly once"));
}

#[test]
fn order_status() {
    let place = find(&correct(), OrderStatus, 500, |record| record.text().contains("\"PAID\""));
    let mut job = correct();
    let gone = remove(&mut job, OrderStatus, place);
    refused(&job, &[OrderStatus], Missing, &gone.key_text());

    let mut job = correct();
    let twice = double(&mut job, OrderStatus, place);
    refused(&job, &[OrderStatus], Extra, &twice.key_text());

    let mut job = correct();
    let moved = swap(&mut job, OrderStatus, place);
    refused(&job, &[OrderStatus], Wrong, &moved.key_text());

    for (from, to) in [
        ("\"PAID\"", "\"SHIPPED\""),
        ("\"createdTime\":1", "\"createdTime\":2"),
        ("\"userId\":\"U-", "\"userId\":\"V-"),
        ("\"shippingTime\":null", "\"shippingTime\":0"),
    ] {
        let mut job = correct();
        at(&mut job, OrderStatus, place).replace(from, to);
        let key = at(&mut job, OrderStatus, place).key_text();
        refused(&job, &[OrderStatus], Wrong, &key);
    }

    let mut job = correct();
    at(&mut job, OrderStatus, place).key = Some(b"O-1".to_vec());
    refused(&job, &[OrderStatus], Wrong, &format!("partition {} offset {}", place.0, place.1));

    let mut job = correct();
    at(&mut job, OrderStatus, place).replace("\"deliveryTime\":null,", "");
    refused(&job, &[OrderStatus], Wrong, &format!("partition {} offset {}", place.0, place.1));

    // Two partitions with records of one order have no order.
    let mut job = correct();
    let moved = remove(&mut job, OrderStatus, place);
    let key = moved.key_text();
    job.records(OrderStatus).get_mut(&((place.0 + 1) % 3)).unwrap().push(moved);
    refused(&job, &[OrderStatus], Wrong, &key);
}

#[test]
fn purchase_stats() {
    let place = find(&correct(), PurchaseStats, 17, |_| true);
    let mut job = correct();
    let gone = remove(&mut job, PurchaseStats, place);
    refused(&job, &[PurchaseStats], Missing, &gone.key_text());

    let mut job = correct();
    let twice = double(&mut job, PurchaseStats, place);
    refused(&job, &[PurchaseStats], Extra, &twice.key_text());

    // The values of two users exchanged, keys and names kept.
    let mut job = correct();
    let (this, other) = (at(&mut job, PurchaseStats, place).clone(), find(&correct(), PurchaseStats, 18, |_| true));
    let that = at(&mut job, PurchaseStats, other).clone();
    let text = |record: &Rec, name: &Rec| Some(record.text().replace(&record.key_text(), &name.key_text()).into_bytes());
    at(&mut job, PurchaseStats, place).value = text(&that, &this);
    at(&mut job, PurchaseStats, other).value = text(&this, &that);
    refused(&job, &[PurchaseStats], Wrong, &this.key_text());

    for (field, to) in [
        ("\"orderCount\":", "\"orderCount\":1"),
        ("\"itemCount\":", "\"itemCount\":1"),
        ("\"totalAmount\":", "\"totalAmount\":1"),
        ("\"averageOrderValue\":", "\"averageOrderValue\":1"),
        ("\"categoryCount\":{\"", "\"categoryCount\":{\"x"),
    ] {
        let mut job = correct();
        at(&mut job, PurchaseStats, place).replace(field, to);
        let key = at(&mut job, PurchaseStats, place).key_text();
        refused(&job, &[PurchaseStats], Wrong, &key);
    }
}

#[test]
fn a_window_that_fired_early_or_without_reason() {
    // A result of a window that is open at the committed watermark.
    let mut job = correct();
    let mut further = correct();
    further.drain();
    let open = further.topics[&PurchaseStats].values().flatten().next_back().unwrap().clone();
    job.emit(PurchaseStats, &open.key_text(), open.value.clone().unwrap(), &[]);
    refused(&job, &[PurchaseStats], Extra, &open.key_text());

    // A result of a user who ordered nothing.
    let mut job = correct();
    let place = find(&job, PurchaseStats, 3, |_| true);
    let record = at(&mut job, PurchaseStats, place).clone();
    let value = record.text().replace(&record.key_text(), "U-nobody").into_bytes();
    job.emit(PurchaseStats, "U-nobody", value, &[]);
    refused(&job, &[PurchaseStats], Extra, "U-nobody");
}

#[test]
fn late_orders() {
    let place = find(&correct(), LateOrders, 5, |_| true);
    let user = |record: &Rec| outputs_user(&record.text());
    // A late order that is not told is missing in its window's sums.
    let mut job = correct();
    let gone = remove(&mut job, LateOrders, place);
    refused(&job, &[PurchaseStats], Missing, &user(&gone));

    let mut job = correct();
    let twice = double(&mut job, LateOrders, place);
    refused(&job, &[LateOrders], Extra, &twice.key_text());

    let mut job = correct();
    at(&mut job, LateOrders, place).replace("\"category\":\"", "\"category\":\"x");
    let key = at(&mut job, LateOrders, place).key_text();
    refused(&job, &[LateOrders, PurchaseStats], Extra, &key);

    // An event that was in time is told as late as well: once in its window, once here.
    let mut job = correct();
    let status = find(&job, OrderStatus, 1_000, |record| record.text().contains("\"CREATED\""));
    let order = at(&mut job, OrderStatus, status).key_text();
    let event = job.topics[&Topic::Orders].values().flatten().find(|record| record.key_text() == order).unwrap().clone();
    job.emit(LateOrders, &order, event.value.clone().unwrap(), &[("late.watermark", b"1767232800000".to_vec())]);
    let report = report_of(&job);
    assert_eq!(report.verdict(), Verdict::Violated, "{}", report.to_table());
    assert!(report.outputs[1].total() + report.outputs[2].total() > 0, "{}", report.to_table());

    for header in ["1", "9999999999999", "soon"] {
        let mut job = correct();
        let record = at(&mut job, LateOrders, place);
        record.headers[0].1 = header.as_bytes().to_vec();
        let key = record.key_text();
        if header == "soon" {
            refused(&job, &[LateOrders, PurchaseStats], Wrong, &format!("partition {} offset {}", place.0, place.1));
        } else {
            refused(&job, &[LateOrders], Wrong, &key);
        }
    }
}

fn outputs_user(event: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(event).unwrap();
    value["userId"].as_str().unwrap().to_owned()
}

fn order_of(record: &Rec) -> String {
    let value: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
    value["orderId"].as_str().unwrap().to_owned()
}

#[test]
fn inventory_levels() {
    // (far above the threshold, so that no alert follows from it)
    let place = find(&correct(), InventoryLevels, 300, |record| record.text().contains("\"stock\":8"));
    let mut job = correct();
    let gone = remove(&mut job, InventoryLevels, place);
    refused(&job, &[InventoryLevels], Missing, &order_of(&gone));
    refused(&job, &[InventoryLevels], Wrong, &gone.key_text());

    let mut job = correct();
    let twice = double(&mut job, InventoryLevels, place);
    refused(&job, &[InventoryLevels], Extra, &order_of(&twice));
    refused(&job, &[InventoryLevels], Wrong, &twice.key_text());

    let mut job = correct();
    let moved = swap(&mut job, InventoryLevels, place);
    refused(&job, &[InventoryLevels], Wrong, &moved.key_text());

    let key = at(&mut correct(), InventoryLevels, place).key_text();
    for (from, to, named) in [
        ("\"stock\":", "\"stock\":1", key.as_str()),
        ("\"change\":-", "\"change\":-4", "O-"),
        ("\"orderId\":\"", "\"orderId\":\"x", "xO-"),
        ("\"timestamp\":1", "\"timestamp\":2", "O-"),
    ] {
        let mut job = correct();
        at(&mut job, InventoryLevels, place).replace(from, to);
        let kind = if named == "xO-" { Extra } else { Wrong };
        refused(&job, &[InventoryLevels], kind, named);
    }
}

#[test]
fn a_lost_change_with_stock_that_runs_on_is_found_by_its_order() {
    // The worst case: a change is lost and nothing in the running stock shows it, because the later ones were computed without it.
    let mut job = correct();
    let place = find(&job, InventoryLevels, 700, |_| true);
    let gone = remove(&mut job, InventoryLevels, place);
    let change: serde_json::Value = serde_json::from_str(&gone.text()).unwrap();
    let change = change["change"].as_i64().unwrap();
    for record in &mut job.records(InventoryLevels).get_mut(&place.0).unwrap()[place.1..] {
        if record.key == gone.key {
            let level: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
            let stock = level["stock"].as_i64().unwrap();
            record.replace(&format!("\"stock\":{stock}"), &format!("\"stock\":{}", stock - change));
        }
    }
    let report = report_of(&job);
    let levels = &report.outputs[3];
    assert_eq!((levels.missing, levels.extra, levels.wrong), (1, 0, 0), "{}", report.to_table());
    assert_eq!(levels.differences[0].key, order_of(&gone));
}

#[test]
fn low_stock_alerts() {
    let place = find(&correct(), LowStockAlerts, 3, |_| true);
    let mut job = correct();
    let gone = remove(&mut job, LowStockAlerts, place);
    refused(&job, &[LowStockAlerts], Missing, &gone.key_text());

    let mut job = correct();
    let twice = double(&mut job, LowStockAlerts, place);
    refused(&job, &[LowStockAlerts], Extra, &twice.key_text());

    let mut job = correct();
    let moved = swap(&mut job, LowStockAlerts, place);
    refused(&job, &[LowStockAlerts], Wrong, &moved.key_text());

    let key = at(&mut correct(), LowStockAlerts, place).key_text();
    for (from, to) in
        [("\"stock\":", "\"stock\":-9"), ("\"threshold\":500", "\"threshold\":501"), ("\"timestamp\":1", "\"timestamp\":2")]
    {
        let mut job = correct();
        at(&mut job, LowStockAlerts, place).replace(from, to);
        refused(&job, &[LowStockAlerts], Wrong, &key);
    }

    // With alerts for crossings only, all the others are too many.
    let mut job = correct();
    job.rules.alert = Alert::Crossing;
    refused(&job, &[LowStockAlerts], Extra, "P-");
}

/// An event of a batch record, as text.
fn event_in(record: &Rec, index: usize) -> String {
    let batch: crate::format::OrderBatch = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
    batch.orders[index].get().to_owned()
}

#[test]
fn order_batches() {
    let place = find(&correct(), OrderBatches, 3, |_| true);
    let record = at(&mut correct(), OrderBatches, place).clone();
    let event = event_in(&record, 42);
    let event_key = order_of(&Rec { value: Some(event.clone().into_bytes()), ..Rec::default() });

    let mut job = correct();
    remove(&mut job, OrderBatches, place);
    refused(&job, &[OrderBatches], Missing, &event_key);

    let mut job = correct();
    double(&mut job, OrderBatches, place);
    refused(&job, &[OrderBatches], Extra, &event_key);
    refused(&job, &[OrderBatches], Wrong, "batch ");

    // One event less.
    let mut job = correct();
    at(&mut job, OrderBatches, place).replace(&format!("{event},"), "");
    refused(&job, &[OrderBatches], Missing, &event_key);
    refused(&job, &[OrderBatches], Wrong, "batch ");

    // One event in the place of another.
    let mut job = correct();
    at(&mut job, OrderBatches, place).replace(&event, &event_in(&record, 41));
    refused(&job, &[OrderBatches], Missing, &event_key);

    // An event with other contents.
    let mut job = correct();
    at(&mut job, OrderBatches, place).replace("\"quantity\":", "\"quantity\":1");
    refused(&job, &[OrderBatches], Wrong, "O-");

    // A wrong size, a wrong text.
    let mut job = correct();
    at(&mut job, OrderBatches, place).replace("\"size\":100", "\"size\":99");
    refused(&job, &[OrderBatches], Wrong, "batch ");
    let mut job = correct();
    at(&mut job, OrderBatches, place).replace("\"size\":100", "\"size\":");
    refused(&job, &[OrderBatches], Wrong, &format!("partition {} offset {}", place.0, place.1));

    // What waits for a batch counts, once.
    let mut job = correct();
    let waiting = job.committed.waiting.pop().unwrap();
    let key = order_of(&Rec { value: Some(waiting.clone()), ..Rec::default() });
    refused(&job, &[OrderBatches], Missing, &key);
    job.committed.waiting.extend([waiting.clone(), waiting]);
    refused(&job, &[OrderBatches], Extra, &key);
}

/// The place of our header of that name: the last one, behind those of the bad record.
fn ours(record: &Rec, name: &str) -> usize {
    record.headers.iter().rposition(|header| header.0 == name).unwrap()
}

#[test]
fn dead_letters() {
    let place = find(&correct(), DeadLetters, 30, |record| !record.text().is_empty());
    let origin = |record: &Rec| {
        let header = |name: &str| String::from_utf8(record.headers[ours(record, name)].1.clone()).unwrap();
        format!("orders partition {} offset {}", header("error.partition"), header("error.offset"))
    };
    let mut job = correct();
    let gone = remove(&mut job, DeadLetters, place);
    refused(&job, &[DeadLetters], Missing, &origin(&gone));

    let mut job = correct();
    let twice = double(&mut job, DeadLetters, place);
    refused(&job, &[DeadLetters], Extra, &origin(&twice));

    // The bytes of two letters exchanged.
    let mut job = correct();
    let other = find(&correct(), DeadLetters, 31, |record| !record.text().is_empty());
    let (this, that) = (at(&mut job, DeadLetters, place).clone(), at(&mut job, DeadLetters, other).clone());
    at(&mut job, DeadLetters, place).value = that.value.clone();
    at(&mut job, DeadLetters, other).value = this.value.clone();
    refused(&job, &[DeadLetters], Wrong, &origin(&this));

    let change = |name: &str, value: &str| {
        let mut job = correct();
        let letter = at(&mut job, DeadLetters, place);
        let index = ours(letter, name);
        letter.headers[index].1 = value.as_bytes().to_vec();
        job
    };
    let position = format!("partition {} offset {}", place.0, place.1);
    refused(&change("error.class", "other"), &[DeadLetters], Wrong, &origin(&this));
    refused(&change("error.offset", "999999"), &[DeadLetters], Missing, &origin(&this));
    refused(&change("error.offset", "999999"), &[DeadLetters], Extra, "offset 999999");
    refused(&change("error.partition", "one"), &[DeadLetters], Wrong, &position);
    refused(&change("error.topic", "payments"), &[DeadLetters], Wrong, &position);
    refused(&change("error.message", ""), &[DeadLetters], Wrong, &position);
    refused(&change("error.stage", ""), &[DeadLetters], Wrong, &position);
    refused(&change("error.job", ""), &[DeadLetters], Wrong, &position);
    refused(&change("error.checkpoint", "-1"), &[DeadLetters], Wrong, &position);

    // A letter for a record that is good.
    let mut job = correct();
    let good = job.topics[&Topic::Orders][&0].iter().position(|record| record.text().ends_with('}')).unwrap();
    let letter = at(&mut job, DeadLetters, place);
    let (partition, offset) = (ours(letter, "error.partition"), ours(letter, "error.offset"));
    letter.headers[partition].1 = b"0".to_vec();
    letter.headers[offset].1 = good.to_string().into_bytes();
    refused(&job, &[DeadLetters], Extra, &format!("orders partition 0 offset {good}"));
}

#[test]
fn a_dead_letter_keeps_all_of_its_record() {
    // given a letter of a record with a timestamp and headers, two of them named like ours
    let place = find(&correct(), DeadLetters, 0, |record| {
        record.headers.len() == 2 + 9 && record.headers.iter().filter(|header| header.0 == "error.topic").count() == 2
    });
    let changed = |change: &dyn Fn(&mut Rec)| {
        let mut job = correct();
        change(at(&mut job, DeadLetters, place));
        job
    };
    // when key, a header, or the timestamp is another one, or absent, or a header was added, then it is told
    let changes: [&dyn Fn(&mut Rec); 7] = [
        &|letter| letter.key = None,
        &|letter| letter.key = Some(b"other".to_vec()),
        &|letter| letter.headers[0].1.push(b'x'),
        &|letter| letter.headers[1].0.push('x'),
        &|letter| drop(letter.headers.remove(1)),
        &|letter| letter.headers.insert(0, ("added".to_owned(), b"1".to_vec())),
        &|letter| {
            let index = ours(letter, "error.timestamp");
            letter.headers[index].1 = b"1".to_vec();
        },
    ];
    for change in changes {
        refused(&changed(change), &[DeadLetters], Wrong, "orders partition");
    }
    let no_timestamp = changed(&|letter| {
        let index = ours(letter, "error.timestamp");
        letter.headers.remove(index);
    });
    refused(&no_timestamp, &[DeadLetters], Wrong, "orders partition");
    let not_a_number = changed(&|letter| {
        let index = ours(letter, "error.timestamp");
        letter.headers[index].1 = b"soon".to_vec();
    });
    refused(&not_a_number, &[DeadLetters], Wrong, &format!("partition {} offset {}", place.0, place.1));
}

#[test]
fn a_copy_that_was_accepted_is_found_in_every_output_that_it_reaches() {
    // given a job that forgets to drop copies
    let rules = JobRules { window: 600_000, ..JobRules::default() };
    let mut job = Job::new(JobRules { dedup_ttl: i64::MIN / 2, ..rules.clone() }, super::reference::input(8_000));
    job.run(u64::MAX);
    // when it is judged by the rules that it should have kept
    job.rules = rules;
    let report = report_of(&job);
    // then status, stock, windows and batches differ
    for output in &report.outputs[..6] {
        let reached = !matches!(output.topic, LateOrders | LowStockAlerts);
        assert!(!reached || output.total() > 0, "{}", report.to_table());
    }
}

#[test]
fn input_that_was_skipped_or_read_twice_is_found() {
    // given a job that committed offsets without having read the last record of a partition
    let mut job = Job::new(JobRules::default(), super::reference::input(5_000));
    let last = job.records(Topic::Orders).get_mut(&1).unwrap().pop().unwrap();
    job.run(u64::MAX);
    assert_clean(&job);
    job.records(Topic::Orders).get_mut(&1).unwrap().push(last.clone());
    job.committed.input.get_mut(&1).unwrap().end += 1;
    let report = report_of(&job);
    for topic in [OrderStatus, OrderBatches] {
        let output = report.outputs.iter().find(|output| output.topic == topic).unwrap();
        assert_eq!((output.missing, output.extra, output.wrong), (1, 0, 0), "{}", report.to_table());
        assert!(output.differences[0].key.starts_with(&last.key_text()));
    }
}
