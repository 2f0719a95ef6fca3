//! Values to Avro with our own schemas, appended to a buffer. The same value gives the same bytes, always: maps are written in the order of
//! their keys, arrays and maps in one block, decimals with the fewest bytes.

use super::decimal;
use crate::format::{EventType, InventoryLevel, LowStockAlert, OrderEvent, OrderStatus, PurchaseStats, Status};
use rust_decimal::{Decimal, RoundingStrategy};

/// A zig-zag variable-length number.
#[inline]
pub(super) fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A count, of which no table has more than fit.
fn count(out: &mut Vec<u8>, value: u64) {
    long(out, i64::try_from(value).unwrap_or(i64::MAX));
}

#[inline]
fn text(out: &mut Vec<u8>, value: &str) {
    long(out, value.len() as i64);
    out.extend_from_slice(value.as_bytes());
}

fn money(out: &mut Vec<u8>, value: Decimal) {
    let mut value =
        if value.scale() > 2 { value.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven) } else { value };
    value.rescale(2);
    decimal::write(out, value.mantissa());
}

fn time(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(2);
            long(out, value);
        }
    }
}

/// An array or map of `length`: one block, if it is not empty, and the end.
fn blocks(out: &mut Vec<u8>, length: usize, each: impl FnOnce(&mut Vec<u8>)) {
    if length > 0 {
        long(out, length as i64);
        each(out);
    }
    out.push(0);
}

/// Place of the symbol in the enum: 0 is UNKNOWN, which is never written.
const fn event_type(value: EventType) -> u8 {
    match value {
        EventType::Created => 1,
        EventType::PaymentCompleted => 2,
        EventType::Shipped => 3,
        EventType::Delivered => 4,
        EventType::Cancelled => 5,
    }
}

const fn status(value: Status) -> u8 {
    match value {
        Status::Created => 1,
        Status::Paid => 2,
        Status::Shipped => 3,
        Status::Delivered => 4,
        Status::Cancelled => 5,
    }
}

/// Appends an `OrderEvent`.
pub fn encode_order(out: &mut Vec<u8>, event: &OrderEvent) {
    text(out, &event.order_id);
    text(out, &event.user_id);
    out.push(event_type(event.event_type) << 1);
    money(out, event.amount);
    long(out, event.item_count.into());
    text(out, &event.category);
    blocks(out, event.items.len(), |out| {
        for item in &event.items {
            text(out, &item.product_id);
            text(out, &item.product_name);
            long(out, item.quantity.into());
            money(out, item.price);
        }
    });
    long(out, event.timestamp);
}

/// Appends an `OrderStatus`.
pub fn encode_order_status(out: &mut Vec<u8>, value: &OrderStatus) {
    text(out, &value.order_id);
    text(out, &value.user_id);
    out.push(status(value.status) << 1);
    time(out, value.created_time);
    time(out, value.payment_time);
    time(out, value.shipping_time);
    time(out, value.delivery_time);
    time(out, value.cancellation_time);
}

/// Appends a `PurchaseStats`.
pub fn encode_purchase_stats(out: &mut Vec<u8>, value: &PurchaseStats) {
    text(out, &value.user_id);
    long(out, value.window_start);
    long(out, value.window_end);
    count(out, value.order_count);
    count(out, value.item_count);
    money(out, value.total_amount);
    money(out, value.average_order_value);
    blocks(out, value.category_count.len(), |out| {
        for (category, orders) in &value.category_count {
            text(out, category);
            count(out, *orders);
        }
    });
}

/// Appends an `InventoryLevel`.
pub fn encode_inventory_level(out: &mut Vec<u8>, value: &InventoryLevel) {
    text(out, &value.product_id);
    text(out, &value.order_id);
    long(out, value.change);
    long(out, value.stock);
    long(out, value.timestamp);
}

/// Appends a `LowStockAlert`.
pub fn encode_low_stock_alert(out: &mut Vec<u8>, value: &LowStockAlert) {
    text(out, &value.product_id);
    long(out, value.stock);
    long(out, value.threshold);
    long(out, value.timestamp);
}

/// Appends an `OrderBatch`; `orders` are `count` events one behind the other, as [`encode_order`] writes them.
pub fn encode_order_batch(out: &mut Vec<u8>, batch_id: &str, number: usize, orders: &[u8]) {
    text(out, batch_id);
    long(out, number as i64);
    blocks(out, number, |out| out.extend_from_slice(orders));
}
