//! Stage 5: what each user bought in each window.

use super::Order;
use crate::format::{PurchaseStats, average_order_value};
use crate::stream::{Aggregate, StateValue, Window};
use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sums of one user in one window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sums {
    order_count: u64,
    item_count: u64,
    total_amount: Decimal,
    category_count: BTreeMap<CompactString, u64>,
}

impl StateValue for Sums {
    fn heap_bytes(&self) -> usize {
        // A node of the map holds up to 11 entries of 32 bytes.
        if self.category_count.is_empty() { 0 } else { 400 + self.category_count.len() * 8 }
    }
}

/// Adds up `CREATED` events.
#[derive(Debug, Clone, Copy)]
pub struct Purchases;

impl Aggregate<CompactString, Order> for Purchases {
    type Accumulator = Sums;
    type Out = PurchaseStats;

    fn create(&self) -> Sums {
        Sums::default()
    }

    fn add(&self, sums: &mut Sums, order: &Order) {
        let event = &order.event;
        sums.order_count += 1;
        sums.item_count += u64::from(event.item_count);
        sums.total_amount += event.amount;
        *sums.category_count.entry(event.category.clone()).or_default() += 1;
    }

    fn merge(&self, into: &mut Sums, from: Sums) {
        into.order_count += from.order_count;
        into.item_count += from.item_count;
        into.total_amount += from.total_amount;
        for (category, count) in from.category_count {
            *into.category_count.entry(category).or_default() += count;
        }
    }

    fn result(&self, user: &CompactString, window: Window, sums: &Sums) -> PurchaseStats {
        PurchaseStats {
            user_id: user.clone(),
            window_start: window.start,
            window_end: window.end,
            order_count: sums.order_count,
            item_count: sums.item_count,
            total_amount: sums.total_amount,
            average_order_value: average_order_value(sums.total_amount, sums.order_count),
            category_count: sums.category_count.clone(),
        }
    }
}
