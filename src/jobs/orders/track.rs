//! Stage 4: each order's way through its life, and what it means for the stock.

use super::{Options, Order, lifetime::Lifetime, names};
use crate::format::{EventType, OrderStatus, Status};
use crate::stream::{
    App, Emit, Halt, Key, KeyedProcess, KeyedStream, OperatorContext, Output, StateValue, Stream, Timestamp, ValueState,
};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// What is known of an order. Times are event times; a time not reached is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tracked {
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

impl StateValue for Tracked {
    /// Its youngest event: the order is forgotten when nothing was heard of it for the time to live.
    fn written_at(&self) -> Option<Timestamp> {
        let times = [self.created_time, self.payment_time, self.shipping_time, self.delivery_time, self.cancellation_time];
        times.into_iter().flatten().max()
    }
}

impl Tracked {
    fn first_seen_by(order: &Order) -> Self {
        Self {
            user_id: order.event.user_id.clone(),
            status: Status::after(order.event.event_type),
            created_time: None,
            payment_time: None,
            shipping_time: None,
            delivery_time: None,
            cancellation_time: None,
        }
    }

    /// Takes one event; returns the factor by which it changes the stock of its items.
    fn accept(&mut self, event: EventType, timestamp: Timestamp) -> i64 {
        let effect = match event {
            EventType::Created if self.cancellation_time.is_none() => -1,
            EventType::Cancelled if self.created_time.is_some() => 1,
            _ => 0,
        };
        let time = match event {
            EventType::Created => &mut self.created_time,
            EventType::PaymentCompleted => &mut self.payment_time,
            EventType::Shipped => &mut self.shipping_time,
            EventType::Delivered => &mut self.delivery_time,
            EventType::Cancelled => &mut self.cancellation_time,
        };
        *time = Some(timestamp);
        // The furthest status wins, and CANCELLED is the furthest of all.
        self.status = self.status.max(Status::after(event));
        effect
    }

    fn status(&self, order_id: &CompactString) -> OrderStatus {
        OrderStatus {
            order_id: order_id.clone(),
            user_id: self.user_id.clone(),
            status: self.status,
            created_time: self.created_time,
            payment_time: self.payment_time,
            shipping_time: self.shipping_time,
            delivery_time: self.delivery_time,
            cancellation_time: self.cancellation_time,
        }
    }
}

/// A change of one product's stock by one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockChange {
    /// Which product.
    pub product_id: CompactString,
    /// Which order.
    pub order_id: CompactString,
    /// By how much; negative when it is taken.
    pub change: i64,
}

struct Track {
    orders: ValueState<CompactString, Tracked>,
    lifetime: Lifetime,
    changes: Output<StockChange>,
}

/// Follows orders; the second stream holds what they change in the stock.
pub fn attach(
    app: &App,
    accepted: &KeyedStream<CompactString, Order>,
    options: &Options,
) -> (Stream<OrderStatus>, Stream<StockChange>) {
    let ttl = options.tracking_ttl;
    let changes = app.side_output::<StockChange>();
    let side = changes.clone();
    let tracked = accepted.process(names::TRACK, |declare| {
        let orders = declare.value_with_ttl::<CompactString, Tracked>("order", ttl);
        move |context: &mut OperatorContext<'_, '_>| {
            let lifetime = Lifetime::of(ttl, context);
            Ok(Track { orders: context.state(&orders)?, lifetime, changes: context.output(&side)? })
        }
    });
    let changes = changes.stream(&tracked);
    (tracked, changes)
}

impl KeyedProcess<CompactString, Order> for Track {
    type Out = OrderStatus;

    fn process(
        &mut self,
        key: &Key<CompactString>,
        timestamp: Timestamp,
        order: Order,
        out: &mut Emit<'_, OrderStatus>,
    ) -> Result<(), Halt> {
        let event = &order.event;
        let lifetime = &self.lifetime;
        let (status, effect) = self.orders.update(
            key,
            || Tracked::first_seen_by(&order),
            |tracked| {
                // It may be there for some time after it was forgotten: it must not be seen, or a replay could come to another answer.
                if tracked.written_at().is_some_and(|youngest| !lifetime.covers(youngest)) {
                    *tracked = Tracked::first_seen_by(&order);
                }
                let effect = tracked.accept(event.event_type, timestamp);
                (tracked.status(&key.value), effect)
            },
        )?;
        out.push(status)?;
        if effect != 0 {
            for item in &event.items {
                let change = StockChange {
                    product_id: item.product_id.clone(),
                    order_id: event.order_id.clone(),
                    change: effect * i64::from(item.quantity),
                };
                self.changes.push(timestamp, change)?;
            }
        }
        Ok(())
    }
    fn on_watermark(&mut self, watermark: Timestamp, _: &mut Emit<'_, OrderStatus>) -> Result<(), Halt> {
        self.lifetime.advance(watermark);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
