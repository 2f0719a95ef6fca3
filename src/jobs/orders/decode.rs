//! Stage 1: from bytes to an order event, or to the dead letters.

use super::{Order, ReceivedOrder};
use crate::format::{DecodeRules, decode_order};
use crate::stream::{Decode, RawRecord, Timestamp, Undecodable};
use std::sync::Arc;

/// Decodes JSON order events.
pub struct OrderDecoder {
    rules: DecodeRules,
}

impl OrderDecoder {
    /// Refuses what breaks `rules`.
    pub fn new(rules: DecodeRules) -> Self {
        Self { rules }
    }
}

impl Decode for OrderDecoder {
    type Out = Order;

    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, Order), Undecodable> {
        let raw = record.value.unwrap_or_default();
        let event = decode_order(raw, &self.rules)
            .map_err(|error| Undecodable { class: error.class.as_str(), message: error.message })?;
        Ok((event.timestamp, Arc::new(ReceivedOrder { event, raw: raw.into() })))
    }
}
