//! For how long an order is known, by its operators on their own.

use super::super::{ReceivedOrder, dedup};
use super::*;
use crate::format::{Item, OrderEvent};
use crate::stream::{Harness, MAX_WATERMARK, Outputs};
use rust_decimal::Decimal;
use std::sync::Arc;

const DAY: i64 = 86_400_000;

fn order(id: &str, event_type: EventType, timestamp: Timestamp) -> Order {
    let item = Item { product_id: "P-1".into(), product_name: "One".into(), quantity: 2, price: Decimal::new(250, 2) };
    let event = OrderEvent {
        order_id: id.into(),
        // The user is that of the first event that is known.
        user_id: format!("U-{event_type}").into(),
        event_type,
        amount: Decimal::new(500, 2),
        item_count: 2,
        category: "books".into(),
        items: [item].into_iter().collect(),
        timestamp,
    };
    Arc::new(ReceivedOrder { event, raw: [].into() })
}

type Tracking = (Outputs<OrderStatus>, Outputs<StockChange>);
type Run = Harness<CompactString, Order, Tracking>;

/// Deduplication and tracking, as the job has them one behind the other.
fn tracking(app: &App, orders: &KeyedStream<CompactString, Order>) -> Tracking {
    let (status, changes) = attach(app, &dedup::attach(orders, &Options::of_an_operator()), &Options::of_an_operator());
    (Outputs::of(&status), Outputs::of(&changes))
}

fn send(run: &mut Run, id: &str, event_type: EventType, timestamp: Timestamp) {
    run.record(timestamp, id.into(), order(id, event_type, timestamp)).unwrap();
}

/// User, status, and the times of creation, payment and cancellation of the only record since the last call.
fn status(run: &Run) -> (String, Status, [Option<Timestamp>; 3]) {
    let all = run.outputs.0.take();
    assert_eq!(all.len(), 1, "{all:?}");
    let status = &all[0].1;
    (status.user_id.to_string(), status.status, [status.created_time, status.payment_time, status.cancellation_time])
}

use EventType::{Cancelled, Created, PaymentCompleted};

#[test]
fn an_order_is_known_until_event_time_reaches_its_youngest_event_plus_the_time_to_live() {
    for (watermark, known) in [(7 + 2 * DAY - 1, true), (7 + 2 * DAY, false)] {
        // given an order whose youngest event is at 7, and event time shortly before and at the end of its time to live
        let mut run = Harness::new(tracking).unwrap();
        send(&mut run, "O-1", PaymentCompleted, 7);
        send(&mut run, "O-1", Created, 5);
        assert_eq!(run.outputs.0.take().len(), 2);
        assert_eq!(run.outputs.1.take().len(), 1);
        run.watermark(watermark).unwrap();
        // when it is cancelled
        send(&mut run, "O-1", Cancelled, watermark);
        // then the stock is given back if it is known, and else it is an order that was never made
        let changes = run.outputs.1.take();
        if known {
            let all = [Some(5), Some(7), Some(watermark)];
            assert_eq!(status(&run), ("U-PAYMENT_COMPLETED".into(), Status::Cancelled, all));
            assert_eq!(changes.len(), 1);
            assert_eq!((changes[0].1.change, changes[0].0), (2, watermark));
        } else {
            assert_eq!(status(&run), ("U-CANCELLED".into(), Status::Cancelled, [None, None, Some(watermark)]));
            assert!(changes.is_empty(), "{changes:?}");
        }
    }
}

#[test]
fn each_event_lets_the_time_of_its_order_begin_again() {
    let mut run = Harness::new(tracking).unwrap();
    for (event, at) in [(Created, 0), (PaymentCompleted, 2 * DAY - 1), (Cancelled, 4 * DAY - 2)] {
        run.watermark(at).unwrap();
        send(&mut run, "O-1", event, at);
    }
    let last = run.outputs.0.take().pop().unwrap().1;
    assert_eq!((last.created_time, last.payment_time), (Some(0), Some(2 * DAY - 1)));
}

#[test]
fn an_order_that_begins_anew_is_new_in_all() {
    // given an order that was cancelled, and forgotten
    let mut run = Harness::new(tracking).unwrap();
    send(&mut run, "O-1", Created, 0);
    send(&mut run, "O-1", Cancelled, 0);
    run.watermark(2 * DAY).unwrap();
    drop((run.outputs.0.take(), run.outputs.1.take()));
    // when one of the same name is made
    send(&mut run, "O-1", Created, 2 * DAY);
    // then it takes from the stock, and is followed from there
    assert_eq!(status(&run), ("U-CREATED".into(), Status::Created, [Some(2 * DAY), None, None]));
    assert_eq!(run.outputs.1.take()[0].1.change, -2);
    send(&mut run, "O-1", PaymentCompleted, 2 * DAY + 1);
    assert_eq!(status(&run).2, [Some(2 * DAY), Some(2 * DAY + 1), None]);
}

#[test]
fn a_drain_lets_nothing_be_forgotten() {
    let mut run = Harness::new(tracking).unwrap();
    send(&mut run, "O-1", Created, 0);
    run.watermark(MAX_WATERMARK).unwrap();
    drop(run.outputs.0.take());
    send(&mut run, "O-1", PaymentCompleted, 1);
    assert_eq!(status(&run).2, [Some(0), Some(1), None]);
    // nor in a job that goes on from there
    let folder = tempfile::tempdir().unwrap();
    run.snapshot(folder.path()).unwrap();
    let mut run = Harness::restore(folder.path(), tracking).unwrap();
    send(&mut run, "O-1", Cancelled, 2);
    assert_eq!(status(&run).2, [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_replay_from_any_checkpoint_comes_to_the_same_answers() {
    enum Step {
        Event(&'static str, EventType, Timestamp),
        Watermark(Timestamp),
    }
    use Step::{Event, Watermark};
    // given events of two orders with gaps around both times to live, and copies
    let steps = [
        Event("O-1", Created, 0),
        Event("O-2", Created, 10),
        Watermark(DAY),
        Event("O-1", Created, 0),
        Event("O-1", PaymentCompleted, DAY),
        Watermark(2 * DAY + 9),
        Event("O-2", Cancelled, 2 * DAY + 9),
        Watermark(3 * DAY),
        Event("O-1", Cancelled, 3 * DAY),
        Event("O-2", Created, 10),
        Watermark(4 * DAY + 9),
        Event("O-2", PaymentCompleted, 4 * DAY + 9),
        Event("O-1", PaymentCompleted, 4 * DAY + 9),
    ];
    let go = |run: &mut Run, steps: &[Step]| {
        for step in steps {
            match step {
                Event(id, event, at) => send(run, id, *event, *at),
                Watermark(at) => run.watermark(*at).unwrap(),
            }
        }
    };
    for cut in 0..=steps.len() {
        // when it goes on from a checkpoint after any of them, and without one
        let folder = tempfile::tempdir().unwrap();
        let mut run = Harness::new(tracking).unwrap();
        go(&mut run, &steps[..cut]);
        run.snapshot(folder.path()).unwrap();
        drop((run.outputs.0.take(), run.outputs.1.take()));
        let mut again = Harness::restore(folder.path(), tracking).unwrap();
        go(&mut run, &steps[cut..]);
        go(&mut again, &steps[cut..]);
        // then outputs and state are the same
        assert_eq!(run.outputs.0.take(), again.outputs.0.take(), "cut at {cut}");
        assert_eq!(run.outputs.1.take(), again.outputs.1.take(), "cut at {cut}");
        for (operator, state) in [("dedup", "seen"), ("track", "order")] {
            assert_eq!(run.state(operator, state).unwrap(), again.state(operator, state).unwrap(), "cut at {cut}");
        }
    }
}

/// As orders were stored before tracking had a time to live.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timeless {
    user_id: CompactString,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shipping_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancellation_time: Option<Timestamp>,
}

impl StateValue for Timeless {}

struct Before(ValueState<CompactString, Timeless>);

impl KeyedProcess<CompactString, Order> for Before {
    type Out = ();

    fn process(&mut self, key: &Key<CompactString>, at: Timestamp, order: Order, _: &mut Emit<'_, ()>) -> Result<(), Halt> {
        let value = Timeless {
            user_id: order.event.user_id.clone(),
            status: Status::Created,
            created_time: Some(at),
            payment_time: None,
            shipping_time: None,
            delivery_time: None,
            cancellation_time: None,
        };
        self.0.put(key, value)
    }
}

#[test]
fn orders_of_a_checkpoint_from_before_there_was_a_time_to_live_are_known_and_forgotten_like_others() {
    // given a checkpoint of two orders
    let folder = tempfile::tempdir().unwrap();
    let mut before = Harness::new(|_, orders: &KeyedStream<CompactString, Order>| {
        let _ = orders.process(names::TRACK, |declare| {
            let orders = declare.value::<CompactString, Timeless>("order");
            move |context: &mut OperatorContext<'_, '_>| Ok(Before(context.state(&orders)?))
        });
    })
    .unwrap();
    for id in ["O-1", "O-2"] {
        before.record(5, id.into(), order(id, Created, 5)).unwrap();
    }
    before.snapshot(folder.path()).unwrap();
    // when tracking goes on from it, then they are known
    let mut run = Harness::restore(folder.path(), |app, orders| {
        let (status, changes) = attach(app, orders, &Options::of_an_operator());
        (Outputs::of(&status), Outputs::of(&changes))
    })
    .unwrap();
    run.watermark(5 + 2 * DAY - 1).unwrap();
    send(&mut run, "O-1", PaymentCompleted, 2 * DAY);
    assert_eq!(status(&run).2, [Some(5), Some(2 * DAY), None]);
    // and forgotten when their time is over
    run.watermark(5 + 2 * DAY).unwrap();
    send(&mut run, "O-2", PaymentCompleted, 2 * DAY);
    assert_eq!(status(&run), ("U-PAYMENT_COMPLETED".into(), Status::Paid, [None, Some(2 * DAY), None]));
    // and its own checkpoint is one like any other
    let later = tempfile::tempdir().unwrap();
    run.snapshot(later.path()).unwrap();
    let mut again = Harness::restore(later.path(), |app, orders| {
        let (status, changes) = attach(app, orders, &Options::of_an_operator());
        (Outputs::of(&status), Outputs::of(&changes))
    })
    .unwrap();
    send(&mut again, "O-1", Cancelled, 2 * DAY + 6);
    assert_eq!(status(&again).2, [Some(5), Some(2 * DAY), Some(2 * DAY + 6)]);
}
