//! How many events a batch has, by its operator on its own.

use super::super::ReceivedOrder;
use super::*;
use crate::format::{EventType, Formats, Item, OrderBatch, OrderEvent, avro::OwnSchema};
use crate::stream::{Harness, Outputs};
use rust_decimal::Decimal;
use std::sync::Arc;

/// Most bytes of the events of a batch.
const ROOM: usize = 4_000;

fn options(batch_size: usize, order_batches: Encoding) -> Options {
    Options {
        formats: Formats { order_batches, ..Formats::json() },
        rules: DecodeRules { max_record_bytes: ROOM, ..DecodeRules::default() },
        batch_size,
        ..Options::of_an_operator()
    }
}

/// An order of exactly so many bytes as JSON.
fn order(number: usize, bytes: usize) -> Order {
    let item =
        |name: String| Item { product_id: "P".into(), product_name: name.into(), quantity: 1, price: Decimal::new(250, 2) };
    let event = |name: String| OrderEvent {
        order_id: format!("O-{number:03}").into(),
        user_id: "U".into(),
        event_type: EventType::Created,
        amount: Decimal::new(250, 2),
        item_count: 1,
        category: "books".into(),
        items: [item(name)].into_iter().collect(),
        timestamp: 1_767_225_600_000,
    };
    let json = |event: &OrderEvent| {
        let mut out = Vec::new();
        encode_order(&mut out, event);
        out
    };
    let without = json(&event(String::new())).len();
    let event = event("x".repeat(bytes - without));
    Arc::new(ReceivedOrder { raw: json(&event).into(), event })
}

type Run = Harness<CompactString, Order, Outputs<Batch>>;

fn run(options: &Options) -> Run {
    Harness::new(|_, orders| Outputs::of(&attach(orders, options))).unwrap()
}

fn send(run: &mut Run, order: Order) {
    run.record(order.event.timestamp, order.event.order_id.clone(), order).unwrap();
}

/// Sizes of the batches since the last call; each holds what it says.
fn sizes(run: &Run) -> Vec<u64> {
    let size = |(_, batch): (i64, Batch)| {
        let read: OrderBatch = serde_json::from_slice(&batch.value).unwrap();
        assert_eq!((read.batch_id.as_str(), read.size), (batch.id.as_str(), read.orders.len() as u64));
        read.size
    };
    run.outputs.take().into_iter().map(size).collect()
}

#[test]
fn a_batch_ends_with_its_size_or_in_front_of_what_has_no_room_in_it() {
    let mut run = run(&options(5, Encoding::Json));
    // given events of which more than five have room
    (0..12).for_each(|number| send(&mut run, order(number, 300)));
    assert_eq!(sizes(&run), [5, 5]);
    // when one comes that just has room behind the two that wait: 2 * 300 + 3398 and the two commas
    send(&mut run, order(12, 3_398));
    assert_eq!(sizes(&run), [0_u64; 0]);
    // then the next one closes the batch, and begins another
    send(&mut run, order(13, 300));
    assert_eq!(sizes(&run), [3]);
    // and one that lacks one byte of room closes what waits
    send(&mut run, order(14, 3_700));
    assert_eq!(sizes(&run), [1]);
    // events as large as there can be are alone, each
    (15..18).for_each(|number| send(&mut run, order(number, ROOM)));
    assert_eq!(sizes(&run), [1, 1, 1]);
    run.end().unwrap();
    assert_eq!(sizes(&run), [1]);
}

#[test]
fn no_batch_is_larger_than_its_events_may_be_and_nothing_is_lost() {
    for encoding in [Encoding::Json, Encoding::single_object(OwnSchema::OrderBatch)] {
        let mut run = run(&options(7, encoding));
        let lengths = [300, 900, 300, 2_500, 4_000, 300, 300, 1_700, 350, 3_600];
        (0..200).for_each(|number| send(&mut run, order(number, lengths[number * 7 % lengths.len()])));
        run.end().unwrap();
        let batches = run.outputs.take();
        assert!(batches.iter().all(|(_, batch)| batch.value.len() <= ROOM + 100), "{encoding:?}");
        assert!(batches.len() > 200 / 7);
        let all: Vec<u8> = batches.into_iter().flat_map(|(_, batch)| batch.value).collect();
        let has = |number: usize| {
            let id = format!("O-{number:03}");
            // The first of a batch is in its id, too.
            (1..=2).contains(&all.windows(id.len()).filter(|window| *window == id.as_bytes()).count())
        };
        assert!((0..200).all(has), "{encoding:?}");
    }
}

#[test]
fn what_waits_goes_on_with_another_room_size_and_format() {
    let mut before = run(&options(100, Encoding::Json));
    (0..9).for_each(|number| send(&mut before, order(number, 400)));
    assert!(before.outputs.take().is_empty());
    let folder = tempfile::tempdir().unwrap();
    before.snapshot(folder.path()).unwrap();
    // With less room, and smaller ones
    let mut less = options(4, Encoding::Json);
    less.rules.max_record_bytes = 1_000;
    let mut after = Harness::restore(folder.path(), |_, orders| Outputs::of(&attach(orders, &less))).unwrap();
    send(&mut after, order(9, 400));
    assert_eq!(sizes(&after), [2, 2, 2, 2]);
    after.end().unwrap();
    assert_eq!(sizes(&after), [2]);
    // As Avro, in which the same events are smaller
    let avro = options(4, Encoding::single_object(OwnSchema::OrderBatch));
    let mut after = Harness::restore(folder.path(), |_, orders| Outputs::of(&attach(orders, &avro))).unwrap();
    send(&mut after, order(9, 400));
    let ids: Vec<String> = after.outputs.take().into_iter().map(|(_, batch)| batch.id).collect();
    assert_eq!(ids, ["O-000/CREATED", "O-004/CREATED"]);
}
