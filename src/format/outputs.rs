//! Values of the output topics. Serde reads and writes the same JSON as the encoders; it serves tests, tools and other rooms.

use super::{EventType, money};
use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, fmt};

/// How far an order has come. Ordered: a later one is never replaced by an earlier one, and `Cancelled` is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// After `CREATED`.
    Created,
    /// After `PAYMENT_COMPLETED`.
    Paid,
    /// After `SHIPPED`.
    Shipped,
    /// After `DELIVERED`.
    Delivered,
    /// After `CANCELLED`.
    Cancelled,
}

impl Status {
    /// The wire name, for example `PAID`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Paid => "PAID",
            Self::Shipped => "SHIPPED",
            Self::Delivered => "DELIVERED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The status that an event alone would give.
    #[must_use]
    pub const fn after(event: EventType) -> Self {
        match event {
            EventType::Created => Self::Created,
            EventType::PaymentCompleted => Self::Paid,
            EventType::Shipped => Self::Shipped,
            EventType::Delivered => Self::Delivered,
            EventType::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A record of `order-status`, key `orderId`: the order after one more accepted event. Times are event times in milliseconds since
/// the epoch, `null` when not reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatus {
    /// The order.
    pub order_id: CompactString,
    /// Who placed it, as its first accepted event says.
    pub user_id: CompactString,
    /// The furthest status reached.
    pub status: Status,
    /// Time of `CREATED`.
    pub created_time: Option<i64>,
    /// Time of `PAYMENT_COMPLETED`.
    pub payment_time: Option<i64>,
    /// Time of `SHIPPED`.
    pub shipping_time: Option<i64>,
    /// Time of `DELIVERED`.
    pub delivery_time: Option<i64>,
    /// Time of `CANCELLED`.
    pub cancellation_time: Option<i64>,
}

/// A record of `purchase-stats`, key `userId`: what a user ordered in one window of event time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseStats {
    /// The user.
    pub user_id: CompactString,
    /// First millisecond of the window, since the epoch.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// Number of `CREATED` events.
    pub order_count: u64,
    /// Sum of their `itemCount`.
    pub item_count: u64,
    /// Sum of their `amount`, two places.
    #[serde(with = "money::json")]
    pub total_amount: Decimal,
    /// [`average_order_value`](super::average_order_value) of the two.
    #[serde(with = "money::json")]
    pub average_order_value: Decimal,
    /// Orders by category.
    pub category_count: BTreeMap<CompactString, u64>,
}

impl PurchaseStats {
    /// Most bytes that a category may take in a record beside its name: quotes, colon, comma and the longest count.
    const CATEGORY: usize = 24;

    /// The same with fewer categories, and how many were left out, if all of them have no room in `bytes`; none if they have. A category
    /// takes six times the bytes of its name (all of them escaped) and 24. Those with the most orders stay, of equal ones those whose name comes first.
    #[must_use]
    pub fn with_room(&self, bytes: usize) -> Option<(Self, usize)> {
        let takes = |name: &CompactString| 6 * name.len() + Self::CATEGORY;
        if self.category_count.keys().map(takes).sum::<usize>() <= bytes {
            return None;
        }
        let mut all: Vec<(&CompactString, u64)> = self.category_count.iter().map(|(name, count)| (name, *count)).collect();
        // It is sorted by name, and the sort keeps that order among equal counts.
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut room = bytes;
        let fits = |(name, _): &&(&CompactString, u64)| {
            let rest = room.checked_sub(takes(name));
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        let category_count: BTreeMap<_, _> = all.iter().take_while(fits).map(|(name, count)| ((*name).clone(), *count)).collect();
        let omitted = all.len() - category_count.len();
        Some((Self { category_count, ..self.clone() }, omitted))
    }
}

/// A record of `inventory-levels`, key `productId`: one change of a product's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryLevel {
    /// The product.
    pub product_id: CompactString,
    /// The order whose event changed it.
    pub order_id: CompactString,
    /// Pieces; negative when taken, positive when given back.
    pub change: i64,
    /// Pieces left after the change; may be negative.
    pub stock: i64,
    /// Event time in milliseconds since the epoch.
    pub timestamp: i64,
}

/// A record of `low-stock-alerts`, key `productId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LowStockAlert {
    /// The product.
    pub product_id: CompactString,
    /// Pieces left after the change that raised the alert.
    pub stock: i64,
    /// The threshold that the stock fell below.
    pub threshold: i64,
    /// Event time of the change in milliseconds since the epoch.
    pub timestamp: i64,
}

/// A record of `order-batches`: accepted events, each exactly as its producer wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderBatch {
    /// Never used twice by a job.
    pub batch_id: CompactString,
    /// Number of events.
    pub size: u64,
    /// The events.
    pub orders: Vec<Box<RawValue>>,
}
