//! Avro: straight between bytes and the job's types.
//!
//! ```text
//!   Confluent framing       00 │ schema id, 4 bytes, highest first │ Avro
//!   single-object encoding  c3 01 │ CRC-64-AVRO of the schema, 8 bytes, lowest first │ Avro
//! ```
//!
//! A record is read with the schema that it was written with. [`Plan`] is that schema resolved with ours, made once for each; running it takes one
//! pass over the bytes and makes nothing but the event (`docs/decisions/0037-avro-is-read-by-a-plan.md`). Own values are always written with our own
//! schemas, so writing them is a function each.

mod canonical;
mod cursor;
mod decimal;
mod decode;
mod encode;
mod framing;
mod plan;
mod reader;
mod schemas;
mod skip;
#[cfg(test)]
mod tests;

pub use canonical::fingerprint;
pub use encode::{
    encode_inventory_level, encode_low_stock_alert, encode_order, encode_order_batch, encode_order_status, encode_purchase_stats,
};
pub use framing::{Header, WriterSchema};
pub use plan::Plan;
pub use reader::ReaderSchema;
pub use schemas::OwnSchema;
