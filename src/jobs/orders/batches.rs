//! Stage 7: accepted events in batches, gathered per task. What waits at a checkpoint is part of the checkpoint.

use super::{Options, Order, names};
use crate::format::{DecodeRules, Encoding, Format, avro, decode_order, encode_order, encode_order_batch};
use crate::stream::{Emit, Failure, Halt, Key, KeyedProcess, KeyedStream, OperatorContext, Redistribution, Stream, Timestamp};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// One record of `order-batches`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `<orderId>/<eventType>` of its first event: as every event is in one batch only, no two batches share it.
    pub id: String,
    /// The record's value.
    pub value: Vec<u8>,
}

/// An event that waits for its batch, as a checkpoint keeps it: whatever the formats of the topics are, so that they may change between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    /// `<orderId>/<eventType>`.
    id: String,
    /// The event as JSON: as the producer wrote it, if it did so in JSON.
    event: String,
}

/// An event that waits for its batch.
enum Waiting {
    Received(Order),
    Restored(Kept),
}

impl Waiting {
    fn id(&self) -> String {
        match self {
            Self::Received(order) => format!("{}/{}", order.event.order_id, order.event.event_type.as_str()),
            Self::Restored(kept) => kept.id.clone(),
        }
    }

    /// The event as JSON; `raw` says that it came so.
    fn json(&self, raw: bool) -> Cow<'_, [u8]> {
        match self {
            Self::Received(order) if raw => Cow::Borrowed(&order.raw),
            Self::Received(order) => {
                let mut json = Vec::with_capacity(512);
                encode_order(&mut json, &order.event);
                Cow::Owned(json)
            }
            Self::Restored(kept) => Cow::Borrowed(kept.event.as_bytes()),
        }
    }

    /// Appends the event as Avro, without a header.
    fn avro(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Received(order) => avro::encode_order(out, &order.event),
            Self::Restored(kept) => {
                // It was accepted once, perhaps under other settings.
                let any = DecodeRules { min_timestamp: i64::MIN, max_timestamp: i64::MAX, max_record_bytes: usize::MAX };
                let event = decode_order(kept.event.as_bytes(), &any);
                let event =
                    event.map_err(|error| Failure::attempt(format!("event {}, which waits for its batch: {error}", kept.id)))?;
                avro::encode_order(out, &event);
            }
        }
        Ok(())
    }
}

struct Batches {
    size: usize,
    encoding: Encoding,
    /// Whether events come as JSON.
    json_input: bool,
    waiting: Vec<Waiting>,
}

/// Gathers accepted events.
pub fn attach(accepted: &KeyedStream<CompactString, Order>, options: &Options) -> Stream<Batch> {
    let (size, encoding) = (options.batch_size, options.formats.order_batches);
    let json_input = options.formats.orders.format() == Format::Json;
    accepted.process(names::BATCHES, |_| {
        move |context: &mut OperatorContext<'_, '_>| {
            let restored = context.restored(Redistribution::Split);
            let kept = restored.into_iter().map(serde_json::from_value).collect::<Result<Vec<Kept>, _>>();
            let kept = kept.map_err(|error| Failure::refused(format!("manifest: an event that waits for its batch: {error}")))?;
            Ok(Batches { size, encoding, json_input, waiting: kept.into_iter().map(Waiting::Restored).collect() })
        }
    })
}

impl Batches {
    fn emit(&mut self, count: usize, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        let rest = self.waiting.split_off(count.min(self.waiting.len()));
        let batch = std::mem::replace(&mut self.waiting, rest);
        let Some(first) = batch.first() else { return Ok(()) };
        let id = first.id();
        let mut value = Vec::new();
        match self.encoding {
            Encoding::Json => {
                let events: Vec<_> = batch.iter().map(|waiting| waiting.json(self.json_input)).collect();
                value.reserve_exact(events.iter().map(|json| json.len() + 1).sum::<usize>() + 64);
                encode_order_batch(&mut value, &id, events.iter().map(AsRef::as_ref));
            }
            Encoding::Avro(header) => {
                let mut events = Vec::with_capacity(batch.len() * 160);
                batch.iter().try_for_each(|waiting| waiting.avro(&mut events))?;
                value.reserve_exact(events.len() + 64);
                value.extend_from_slice(header.as_bytes());
                avro::encode_order_batch(&mut value, &id, batch.len(), &events);
            }
        }
        out.push(Batch { id, value })
    }
}

impl KeyedProcess<CompactString, Order> for Batches {
    type Out = Batch;

    fn process(&mut self, _: &Key<CompactString>, _: Timestamp, order: Order, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        self.waiting.push(Waiting::Received(order));
        // More than one batch waits after a restart with fewer tasks.
        while self.waiting.len() >= self.size {
            self.emit(self.size, out)?;
        }
        Ok(())
    }

    fn on_end(&mut self, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        while !self.waiting.is_empty() {
            self.emit(self.size, out)?;
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Value>, Halt> {
        let keep = |waiting: &Waiting| {
            let event = String::from_utf8(waiting.json(self.json_input).into_owned()).map_err(|error| error.to_string())?;
            serde_json::to_value(Kept { id: waiting.id(), event }).map_err(|error| error.to_string())
        };
        let elements = self.waiting.iter().map(keep).collect::<Result<_, String>>();
        Ok(elements.map_err(|error| Failure::attempt(format!("an event that waits for its batch: {error}")))?)
    }
}
