//! Right runs of every sort, to which the audit must say yes.

use super::reference::{Job, Rec, input};
use super::*;
use crate::format::{EventType, Item, OrderEvent, encode_order};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

const DAY: i64 = 86_400_000;
const START: i64 = 1_767_225_600_000;

fn event(order: &str, event_type: EventType, timestamp: i64) -> Rec {
    let item = Item { product_id: "P-1".into(), product_name: "One".into(), quantity: 2, price: Decimal::new(250, 2) };
    let event = OrderEvent {
        order_id: order.into(),
        user_id: "U-1".into(),
        event_type,
        amount: Decimal::new(500, 2),
        item_count: 2,
        category: "books".into(),
        items: [item].into_iter().collect(),
        timestamp,
    };
    let mut value = Vec::new();
    encode_order(&mut value, &event);
    Rec { key: Some(order.as_bytes().to_vec()), value: Some(value), headers: vec![] }
}

#[test]
fn every_setting_of_the_job() {
    let rules = JobRules::default();
    for rules in [
        JobRules { identity: Identity::Order, ..rules.clone() },
        JobRules { alert: Alert::Every, low_stock_threshold: 500, ..rules.clone() },
        JobRules { batch_size: 7, initial_stock: 5, window: 600_000, ..rules.clone() },
        JobRules { allowed_lateness: 5 * 3_600_000, ..rules.clone() },
        JobRules { max_record_bytes: 330, max_timestamp: START + 3_000_000, ..rules },
    ] {
        assert_clean(&Job::done(rules, 10_000));
    }
}

#[test]
fn the_reference_is_not_trivial_under_these_settings() {
    let report = assert_clean(&Job::done(JobRules { allowed_lateness: 5 * 3_600_000, ..JobRules::default() }, 20_000));
    let windows = assert_clean(&Job::done(JobRules::default(), 20_000)).outputs[1].found;
    assert!(report.late == 0 && report.outputs[1].found > windows, "{}", report.to_table());
    let report = assert_clean(&Job::done(JobRules { max_record_bytes: 330, ..JobRules::default() }, 10_000));
    assert!(report.dead > 2_000);
}

#[test]
fn a_commit_anywhere_in_the_input() {
    let mut job = Job::new(JobRules::default(), input(5_000));
    assert_clean(&job);
    for _ in 0..20 {
        job.run(301);
        assert_clean(&job);
    }
    assert_eq!(report_of(&job).records_in, 5_000);
}

/// Events of 100 KB, of which nine are as many as there is room for in a batch, between small ones.
fn with_large_events() -> Job {
    let mut all = input(1_200);
    for (number, record) in all.values_mut().flatten().enumerate() {
        if number % 8 == 0 && record.value.as_ref().is_some_and(|value| value.ends_with(b"}")) {
            let padding = format!(",\"padding\":\"{}\"}}", "x".repeat(100_000));
            let value = record.value.as_mut().unwrap();
            value.pop();
            value.extend_from_slice(padding.as_bytes());
        }
    }
    let mut job = Job::new(JobRules::default(), all);
    job.run(u64::MAX);
    job
}

#[test]
fn a_batch_has_fewer_events_where_the_next_one_had_no_room() {
    let read = |record: &Rec| serde_json::from_slice::<crate::format::OrderBatch>(record.value.as_ref().unwrap()).unwrap();
    let mut job = with_large_events();
    let sizes: Vec<u64> = job.topics[&Topic::OrderBatches].values().flatten().map(|record| read(record).size).collect();
    assert!(sizes.iter().any(|size| *size < 100), "{sizes:?}");
    assert_clean(&job);
    // and one that was closed behind its first event, in which there was room for any other, is told
    let record = job.topics.get_mut(&Topic::OrderBatches).unwrap().values_mut().flatten().next().unwrap();
    let batch = read(&*record);
    let events: Vec<&[u8]> = batch.orders.iter().map(|order| order.get().as_bytes()).collect();
    let write = |id: &str, events: &[&[u8]]| {
        let mut out = Vec::new();
        crate::format::encode_order_batch(&mut out, id, events.iter().copied());
        out
    };
    *record = Rec { key: Some(b"first".to_vec()), value: Some(write("first", &events[..1])), headers: vec![] };
    job.emit(Topic::OrderBatches, "others", write("others", &events[1..]), &[]);
    let report = report_of(&job);
    let output = report.outputs.iter().find(|output| output.topic == Topic::OrderBatches).unwrap();
    let told = output.differences.iter().any(|difference| difference.key == "batches with fewer events");
    assert!(told && report.verdict() == Verdict::Violated, "{}", report.to_table());
}

#[test]
fn statistics_leave_out_the_categories_that_have_no_room() {
    // given a user who buys from more categories than a record of 1,500 bytes has room for: the first one twice
    let rules = JobRules { max_record_bytes: 1_500, ..JobRules::default() };
    let created = |number: usize| {
        let mut record = event(&format!("O-{number}"), EventType::Created, START + number as i64);
        record.replace("\"category\":\"books\"", &format!("\"category\":\"category {:03}\"", number.saturating_sub(1)));
        record
    };
    let mut job = Job::new(rules, BTreeMap::from([(0, (0..60).map(created).collect())]));
    job.run(u64::MAX);
    job.drain();
    // when the audit reads its statistics
    assert_clean(&job);
    let all = job.topics[&Topic::PurchaseStats].values().flatten();
    let [record] = all.collect::<Vec<_>>()[..] else { panic!("not one record") };
    // then 15 of 96 bytes each are there, the largest of them, and the header counts the others
    let stats: crate::format::PurchaseStats = serde_json::from_str(&record.text()).unwrap();
    assert_eq!((stats.order_count, stats.category_count.len()), (60, 15));
    assert_eq!(stats.category_count["category 000"], 2);
    assert_eq!(record.headers, [("stats.omitted_categories".to_owned(), b"44".to_vec())]);
    // and another number, or another choice, is told
    let changed = |change: &dyn Fn(&mut Rec)| {
        let mut job = job.clone();
        job.topics.get_mut(&Topic::PurchaseStats).unwrap().values_mut().flatten().for_each(change);
        report_of(&job).verdict()
    };
    assert_eq!(changed(&|record| record.headers[0].1 = b"43".to_vec()), Verdict::Violated);
    assert_eq!(changed(&|record| record.headers.clear()), Verdict::Violated);
    assert_eq!(changed(&|record| record.replace("category 001", "category 050")), Verdict::Violated);
    assert_eq!(changed(&|_| ()), Verdict::Clean);
}

#[test]
fn a_drain_leaves_nothing_open_and_nothing_waiting() {
    let mut job = Job::done(JobRules::default(), 10_000);
    job.drain();
    let report = assert_clean(&job);
    assert_eq!((report.open, report.waiting), (0, 0));
    // and smaller batches are only forgiven to a drain
    job.committed.drained = false;
    assert_eq!(report_of(&job).verdict(), Verdict::Violated);
}

#[test]
fn a_job_that_began_in_the_middle_of_the_topic() {
    let mut job = Job::new(JobRules::default(), input(5_000));
    for range in job.committed.input.values_mut() {
        *range = 500..500;
    }
    job.run(u64::MAX);
    assert_eq!(assert_clean(&job).records_in, 3_500);
}

#[test]
fn small_buckets_give_the_same_report() {
    // given a run with faults
    let mut job = Job::done(JobRules::default(), 20_000);
    for topic in Topic::OUTPUTS {
        let records = job.records(topic).values_mut().max_by_key(|records| records.len()).unwrap();
        records.remove(records.len() / 2);
    }
    // when it is audited in one bucket, and in very many
    let options = |bucket_events| Options { bucket_events, shown: 1_000_000, ..Options::default() };
    let sorted = |options| {
        let mut report = report_with(&job, &options);
        for output in &mut report.outputs {
            output.differences.sort_by(|left, right| (&left.key, &left.expected).cmp(&(&right.key, &right.expected)));
        }
        report
    };
    // then both say the same
    assert_eq!(sorted(options(1_000_000)), sorted(options(50)));
    assert_eq!(report_of(&job), report_of(&job));
}

#[test]
fn copies_beyond_the_time_to_live_are_right_either_way() {
    // given an order that comes again a day later (the watermark has passed its time to live), in all partitions' time
    let mut records = vec![event("O-1", EventType::Created, START), event("O-1", EventType::PaymentCompleted, START + 1_000)];
    records.push(event("O-2", EventType::Created, START + DAY + 60_000));
    records.push(event("O-1", EventType::Created, START));
    records.push(event("O-1", EventType::PaymentCompleted, START + 1_000));
    let topic: BTreeMap<i32, Vec<Rec>> = [(0, records)].into();
    // when the job forgot them, and when it did not
    let mut forgot = Job::new(JobRules::default(), topic.clone());
    forgot.run(u64::MAX);
    let mut kept = Job::new(JobRules { dedup_ttl: 10 * DAY, ..JobRules::default() }, topic);
    kept.run(u64::MAX);
    kept.rules.dedup_ttl = DAY;
    // then both are right, and the audit says that it took the outputs' word
    let (forgot, kept) = (assert_clean(&forgot), assert_clean(&kept));
    assert_eq!((forgot.accepted, kept.accepted), (5, 3));
    assert_eq!((forgot.beyond_ttl, kept.beyond_ttl), (2, 2));
    assert!(forgot.to_table().contains("copies beyond the ttl"));
}

#[test]
fn an_order_of_which_nothing_was_heard_for_the_time_to_live_of_tracking_is_right_as_one_and_as_two() {
    // given an order that is cancelled two days after it was made, and one that is cancelled at once
    let topic: BTreeMap<i32, Vec<Rec>> = [(
        0,
        vec![
            event("O-1", EventType::Created, START),
            event("O-2", EventType::Created, START + 1_000),
            event("O-2", EventType::Cancelled, START + 2_000),
            event("O-3", EventType::Created, START + 2 * DAY + 60_000),
            event("O-1", EventType::Cancelled, START + 2 * DAY + 60_000),
        ],
    )]
    .into();
    let rules = JobRules { tracking_ttl: 2 * DAY, ..JobRules::default() };
    // when the job had forgotten it, and when it had not
    let mut forgot = Job::new(rules.clone(), topic.clone());
    forgot.run(u64::MAX);
    let mut kept = Job::new(JobRules { tracking_ttl: 10 * DAY, ..rules.clone() }, topic);
    kept.run(u64::MAX);
    kept.rules = rules;
    // then both are right, and the audit says that it took the outputs' word
    let (forgotten, known) = (assert_clean(&forgot), assert_clean(&kept));
    assert_eq!(
        (forgotten.outputs[3].found, known.outputs[3].found),
        (4, 5),
        "stock is given back only of an order that is known"
    );
    assert_eq!((forgotten.beyond_tracking_ttl, known.beyond_tracking_ttl, known.beyond_ttl), (1, 1, 0));
    assert!(forgotten.to_table().contains("events beyond tracking_ttl"), "{}", forgotten.to_table());
    // but status and stock have to agree on which of the two it was
    let lost = kept.records(Topic::InventoryLevels).values_mut().next().unwrap().pop().unwrap();
    assert!(lost.text().contains("O-1"), "{}", lost.text());
    assert_eq!(report_of(&kept).verdict(), Verdict::Violated);
    // and within the time to live it is one
    forgot.rules.tracking_ttl = 3 * DAY;
    let report = report_of(&forgot);
    assert_eq!((report.verdict(), report.beyond_tracking_ttl), (Verdict::Violated, 0));
    // and the order without such a gap is judged as ever
    let mut job = forgot.clone();
    job.rules.tracking_ttl = 2 * DAY;
    let cancelled = |record: &Rec| record.text().contains("O-2") && record.text().contains("CANCELLED");
    job.records(Topic::OrderStatus).values_mut().for_each(|records| records.retain(|record| !cancelled(record)));
    assert_eq!(report_of(&job).outputs[0].missing, 1);
}

#[test]
fn orders_that_are_late_by_more_than_the_times_to_live() {
    // given orders that are two hours late, each event of which is forgotten at once
    let hour = 3_600_000;
    let rules = JobRules { dedup_ttl: hour, tracking_ttl: hour, ..JobRules::default() };
    let report = assert_clean(&Job::done(rules, 20_000));
    assert!(report.beyond_ttl > 0 && report.beyond_tracking_ttl > 0 && report.undecided == 0, "{}", report.to_table());
}

#[test]
fn an_order_in_two_partitions_because_partitions_were_added() {
    let first = vec![event("O-1", EventType::Created, START), event("O-1", EventType::PaymentCompleted, START + 1_000)];
    let second = vec![event("O-1", EventType::Shipped, START + 2_000), event("O-1", EventType::Cancelled, START + 3_000)];
    for turn in 0..2 {
        // given that either partition is read first
        let mut job = Job::new(JobRules::default(), [(0, first.clone()), (1, second.clone())].into());
        for partition in if turn == 0 { [0, 1] } else { [1, 0] } {
            let all = job.committed.input.clone();
            job.committed.input.retain(|name, _| *name == partition);
            let topic = job.records(Topic::Orders).clone();
            job.records(Topic::Orders).retain(|name, _| *name == partition);
            job.run(u64::MAX);
            let end = job.committed.input[&partition].clone();
            job.committed.input = all;
            job.committed.input.insert(partition, end);
            *job.records(Topic::Orders) = topic;
        }
        // when it is audited, then the interleaving is found
        let report = assert_clean(&job);
        assert_eq!((report.orders_in_several_partitions, report.accepted), (1, 4));
        // but a lost record is still a lost record
        job.records(Topic::OrderStatus).values_mut().next().unwrap().remove(1);
        assert_eq!(report_of(&job).verdict(), Verdict::Violated);
    }
}

#[test]
fn an_order_that_came_ten_thousand_times() {
    let mut records = vec![event("O-1", EventType::Created, START); 10_000];
    records.push(event("O-2", EventType::Created, START + 2 * DAY));
    records.push(event("O-1", EventType::Created, START));
    let mut job = Job::new(JobRules { dedup_ttl: 10 * DAY, ..JobRules::default() }, [(0, records)].into());
    job.run(u64::MAX);
    assert_eq!(assert_clean(&job).copies, 10_000);
    job.rules.dedup_ttl = DAY;
    assert_eq!(assert_clean(&job).beyond_ttl, 1);
}

#[test]
fn an_order_that_is_first_seen_by_another_event() {
    let records = vec![
        event("O-1", EventType::Shipped, START),
        event("O-2", EventType::Cancelled, START),
        event("O-2", EventType::Created, START - 1),
        event("O-3", EventType::Created, START),
        event("O-3", EventType::Cancelled, START),
        event("O-3", EventType::Delivered, START + 1),
    ];
    let mut job = Job::new(JobRules::default(), [(0, records)].into());
    job.run(u64::MAX);
    let report = assert_clean(&job);
    assert_eq!(report.outputs[3].found, 2);
}

#[test]
fn progress_is_told_for_every_step() {
    let job = Job::done(JobRules::default(), 1_000);
    let mut steps = Vec::new();
    audit(&mut super::Topical(&job), &job.committed, &job.rules, &Options::default(), &mut |progress| steps.push(progress.step))
        .unwrap();
    for topic in Topic::OUTPUTS {
        assert!(steps.contains(&Step::Reading(topic)));
    }
    assert_eq!(steps.first(), Some(&Step::Reading(Topic::Orders)));
    assert_eq!(steps.last(), Some(&Step::Judging));
}

#[test]
fn the_report_as_json_has_verdict_and_sentence() {
    let json = assert_clean(&Job::done(JobRules::default(), 1_000)).to_json();
    assert_eq!(json["verdict"], "clean");
    assert_eq!(json["outputs"][0]["topic"], "order-status");
    assert_eq!(json["outputs"][0]["missing"], 0);
    assert!(json["sentence"].as_str().unwrap().contains("1,000 committed input records"));
}
