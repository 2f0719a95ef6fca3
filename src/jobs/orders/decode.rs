//! Stage 1: from bytes to an order event, or to the dead letters.

use super::{Order, ReceivedOrder};
use crate::format::{DecodeRules, Input, OrderReader};
use crate::stream::{Decode, RawRecord, Timestamp, Undecodable};
use std::sync::Arc;

/// Decodes order events.
pub struct OrderDecoder {
    reader: OrderReader,
}

impl OrderDecoder {
    /// Reads `input`, and refuses what breaks `rules`.
    pub fn new(input: Input, rules: DecodeRules) -> Self {
        Self { reader: OrderReader::new(input, rules) }
    }
}

impl Decode for OrderDecoder {
    type Out = Order;

    #[inline]
    fn is_ready(&mut self, record: &RawRecord<'_>) -> bool {
        self.reader.is_ready(record.value.unwrap_or_default())
    }

    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, Order), Undecodable> {
        let raw = record.value.unwrap_or_default();
        let event = self.reader.read(raw).map_err(|error| Undecodable { class: error.class.as_str(), message: error.message })?;
        Ok((event.timestamp, Arc::new(ReceivedOrder { event, raw: raw.into() })))
    }
}
