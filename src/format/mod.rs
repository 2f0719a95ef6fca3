//! Wire types of the order job and their encodings, as `docs/order-job.md` describes them for users.
//!
//! | item | what it does |
//! | --- | --- |
//! | [`decode_order`] | bytes of an `orders` record to an [`OrderEvent`], or a [`DecodeError`] with a stable class |
//! | [`encode_order`] | the other way, for generators and tests |
//! | [`OrderStatus`], [`PurchaseStats`], [`InventoryLevel`], [`LowStockAlert`], [`OrderBatch`] | the values of the output topics |
//! | [`encode_order_status`] and its neighbours | those values to JSON, appended to a buffer that the caller reuses |
//! | [`Formats`] | which of JSON and Avro each topic has; [`OrderReader`] reads and [`Encoding`] writes accordingly |
//! | [`dead_letter`], [`late_order`], [`purchase_stats`], [`replay`] | names and values of the headers of `dead-letters`, `late-orders`, `purchase-stats` and replayed records |
//!
//! Money is exact from input to output: it is read from the text of the number and never passes through a binary float.
//!
//! ```
//! use sluicegate::format::{DecodeRules, decode_order};
//!
//! let record = br#"{"orderId":"O-1","userId":"U-1","eventType":"CREATED","amount":129.97,"itemCount":3,"category":"books",
//!     "items":[{"productId":"P-7","productName":"Seven","quantity":3,"price":43.32}],"timestamp":1767225600000}"#;
//! let event = decode_order(record, &DecodeRules::default()).unwrap();
//! assert_eq!(event.amount.to_string(), "129.97");
//!
//! let error = decode_order(b"{\"orderId\":", &DecodeRules::default()).unwrap_err();
//! assert_eq!(error.class.as_str(), "malformed_json");
//! ```

pub mod avro;
mod decode;
mod decode_careful;
mod decode_fast;
mod encode;
mod findings;
mod formats;
mod headers;
#[cfg(test)]
pub(crate) mod hostile_tests;
mod json_text;
mod money;
mod order_event;
mod outputs;
pub mod registry;

pub use decode::{DecodeError, DecodeRules, ErrorClass, MAX_DEPTH, decode_order, decode_order_carefully};
pub use encode::{
    encode_inventory_level, encode_low_stock_alert, encode_order, encode_order_batch, encode_order_status, encode_purchase_stats,
};
pub use formats::{Encoding, Format, Formats, Input, OrderReader};
pub use headers::{dead_letter, late_order, purchase_stats, replay};
pub use json_text::write_text;
pub use money::{MAX_MONEY, average_order_value, write_money};
pub use order_event::{EventType, Item, OrderEvent};
pub use outputs::{InventoryLevel, LowStockAlert, OrderBatch, OrderStatus, PurchaseStats, Status};
