//! Stage 3: an event that was accepted before is dropped and counted.
//!
//! One entry per order holds the event times at which its events were accepted: a fifth of the entries that one per
//! (order, event type) would take.

use super::{Identity, Options, Order, lifetime::Lifetime, names};
use crate::format::EventType;
use crate::stream::{
    Emit, Halt, Key, KeyedProcess, KeyedStream, OperatorContext, OperatorCounter, OperatorEvents, StateValue, Timestamp,
    ValueState,
};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Event times of an order's accepted events, by event type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_completed: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipped: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<Timestamp>,
}

impl StateValue for Seen {
    /// The entry expires as a whole when its youngest event has.
    fn written_at(&self) -> Option<Timestamp> {
        self.all().into_iter().flatten().max()
    }
}

impl Seen {
    fn slot(&mut self, event: EventType) -> &mut Option<Timestamp> {
        match event {
            EventType::Created => &mut self.created,
            EventType::PaymentCompleted => &mut self.payment_completed,
            EventType::Shipped => &mut self.shipped,
            EventType::Delivered => &mut self.delivered,
            EventType::Cancelled => &mut self.cancelled,
        }
    }

    fn at(&self, event: EventType) -> Option<Timestamp> {
        match event {
            EventType::Created => self.created,
            EventType::PaymentCompleted => self.payment_completed,
            EventType::Shipped => self.shipped,
            EventType::Delivered => self.delivered,
            EventType::Cancelled => self.cancelled,
        }
    }

    fn all(&self) -> [Option<Timestamp>; 5] {
        [self.created, self.payment_completed, self.shipped, self.delivered, self.cancelled]
    }
}

struct Dedup {
    seen: ValueState<CompactString, Seen>,
    identity: Identity,
    lifetime: Lifetime,
    accepted: OperatorCounter,
    duplicates: OperatorCounter,
}

/// Drops duplicates.
pub fn attach(orders: &KeyedStream<CompactString, Order>, options: &Options) -> KeyedStream<CompactString, Order> {
    let identity = options.identity;
    let ttl = options.deduplication_ttl;
    orders.process_keyed(names::DEDUP, |declare| {
        let seen = declare.value_with_ttl::<CompactString, Seen>("seen", ttl);
        move |context: &mut OperatorContext<'_, '_>| {
            Ok(Dedup {
                seen: context.state(&seen)?,
                identity,
                lifetime: Lifetime::of(ttl, context),
                accepted: context.counter(OperatorEvents::Accepted),
                duplicates: context.counter(OperatorEvents::Duplicates),
            })
        }
    })
}

impl KeyedProcess<CompactString, Order> for Dedup {
    type Out = Order;

    fn process(
        &mut self,
        key: &Key<CompactString>,
        timestamp: Timestamp,
        order: Order,
        out: &mut Emit<'_, Order>,
    ) -> Result<(), Halt> {
        let remembered = |accepted: Timestamp| self.lifetime.covers(accepted);
        let event = order.event.event_type;
        let identity = self.identity;
        let is_duplicate = self.seen.read(key, |seen| {
            let Some(seen) = seen else { return false };
            match identity {
                Identity::Event => seen.at(event).is_some_and(remembered),
                Identity::Order => seen.all().into_iter().flatten().any(remembered),
            }
        })?;
        if is_duplicate {
            self.duplicates.add(1);
            return Ok(());
        }
        self.seen.update(key, Seen::default, |seen| *seen.slot(event) = Some(timestamp))?;
        self.accepted.add(1);
        out.push(order)
    }

    fn on_watermark(&mut self, watermark: Timestamp, _: &mut Emit<'_, Order>) -> Result<(), Halt> {
        self.lifetime.advance(watermark);
        Ok(())
    }
}
