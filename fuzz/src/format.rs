//! The room `src/format` of the program, but for the registry, which decodes nothing.
#![allow(dead_code)]

#[path = "../../src/format/avro/mod.rs"]
pub mod avro;
#[path = "../../src/format/decode.rs"]
mod decode;
#[path = "../../src/format/decode_careful.rs"]
mod decode_careful;
#[path = "../../src/format/decode_fast.rs"]
mod decode_fast;
#[path = "../../src/format/encode.rs"]
mod encode;
#[path = "../../src/format/findings.rs"]
mod findings;
#[path = "../../src/format/json_text.rs"]
mod json_text;
#[path = "../../src/format/money.rs"]
mod money;
#[path = "../../src/format/order_event.rs"]
mod order_event;
#[path = "../../src/format/outputs.rs"]
mod outputs;

pub use decode::{DecodeError, DecodeRules, ErrorClass, MAX_DEPTH, decode_order, decode_order_carefully};
pub use encode::{
    encode_inventory_level, encode_low_stock_alert, encode_order, encode_order_batch, encode_order_status, encode_purchase_stats,
};
pub use json_text::write_text;
pub use money::{MAX_MONEY, average_order_value, write_money};
pub use order_event::{EventType, Item, OrderEvent};
pub use outputs::{InventoryLevel, LowStockAlert, OrderBatch, OrderStatus, PurchaseStats, Status};
