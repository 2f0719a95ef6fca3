//! Our own schemas: the files in `schemas/`, part of the program.

use apache_avro::Schema;
use std::sync::LazyLock;

/// Marks a record in single-object encoding; the fingerprint of its schema follows, 8 bytes.
pub(super) const SINGLE_OBJECT: [u8; 2] = [0xc3, 0x01];

/// A schema of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnSchema {
    /// `orders` and `late-orders`.
    OrderEvent,
    /// `order-status`.
    OrderStatus,
    /// `purchase-stats`.
    PurchaseStats,
    /// `inventory-levels`.
    InventoryLevel,
    /// `low-stock-alerts`.
    LowStockAlert,
    /// `order-batches`.
    OrderBatch,
}

impl OwnSchema {
    /// All of them.
    pub const ALL: [OwnSchema; 6] =
        [Self::OrderEvent, Self::OrderStatus, Self::PurchaseStats, Self::InventoryLevel, Self::LowStockAlert, Self::OrderBatch];

    /// The file, as it is in `schemas/`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::OrderEvent => include_str!("../../../schemas/order-event.avsc"),
            Self::OrderStatus => include_str!("../../../schemas/order-status.avsc"),
            Self::PurchaseStats => include_str!("../../../schemas/purchase-stats.avsc"),
            Self::InventoryLevel => include_str!("../../../schemas/inventory-level.avsc"),
            Self::LowStockAlert => include_str!("../../../schemas/low-stock-alert.avsc"),
            Self::OrderBatch => include_str!("../../../schemas/order-batch.avsc"),
        }
    }

    /// Full name of the record.
    #[must_use]
    pub const fn record_name(self) -> &'static str {
        match self {
            Self::OrderEvent => "sluicegate.orders.OrderEvent",
            Self::OrderStatus => "sluicegate.orders.OrderStatus",
            Self::PurchaseStats => "sluicegate.orders.PurchaseStats",
            Self::InventoryLevel => "sluicegate.orders.InventoryLevel",
            Self::LowStockAlert => "sluicegate.orders.LowStockAlert",
            Self::OrderBatch => "sluicegate.orders.OrderBatch",
        }
    }

    /// The schema, parsed.
    #[must_use]
    pub fn schema(self) -> &'static Schema {
        let index = Self::ALL.iter().position(|own| *own == self).unwrap_or_default();
        PARSED.get(index).unwrap_or(&Schema::Null)
    }
}

static PARSED: LazyLock<Vec<Schema>> =
    // A test parses them all: none is lost here.
    LazyLock::new(|| OwnSchema::ALL.iter().filter_map(|own| Schema::parse_str(own.text()).ok()).collect());

pub(super) fn order_event() -> &'static Schema {
    OwnSchema::OrderEvent.schema()
}
