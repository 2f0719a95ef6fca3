//! The input of the order job: one step in the life of an order.

use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;

/// What happened to an order. The order of the variants is the order of their wire names in the documentation, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// The order was placed.
    Created,
    /// It was paid.
    PaymentCompleted,
    /// It left the house.
    Shipped,
    /// It arrived.
    Delivered,
    /// It was called off.
    Cancelled,
}

impl EventType {
    /// All of them.
    pub const ALL: [EventType; 5] = [Self::Created, Self::PaymentCompleted, Self::Shipped, Self::Delivered, Self::Cancelled];

    /// The wire name, for example `PAYMENT_COMPLETED`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::PaymentCompleted => "PAYMENT_COMPLETED",
            Self::Shipped => "SHIPPED",
            Self::Delivered => "DELIVERED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The type with this wire name; upper and lower case are different.
    #[must_use]
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One product of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Not empty.
    pub product_id: CompactString,
    /// For people; may be empty.
    pub product_name: CompactString,
    /// Pieces, at least 1.
    pub quantity: u32,
    /// Price of one piece, with two places, 0 or more.
    pub price: Decimal,
}

/// One record of the topic `orders`, checked by [`decode_order`](super::decode_order).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// Not empty.
    pub order_id: CompactString,
    /// Not empty.
    pub user_id: CompactString,
    /// What happened.
    pub event_type: EventType,
    /// Sum of quantity times price as the producer says, with two places, 0 or more.
    pub amount: Decimal,
    /// Sum of the quantities as the producer says.
    pub item_count: u32,
    /// Kind of goods; may be empty.
    pub category: CompactString,
    /// The products, in the producer's order; a product may appear twice.
    pub items: SmallVec<[Item; 3]>,
    /// Event time in milliseconds since the epoch, UTC.
    pub timestamp: i64,
}
