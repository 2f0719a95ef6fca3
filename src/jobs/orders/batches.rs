//! Stage 7: accepted events in batches, gathered per task. What waits at a checkpoint is part of the checkpoint.
//!
//! A batch is one record, and has to be one that Kafka takes: it is closed in front of an event with which its events would have more bytes than a
//! record of the input may have. A single one always has room (docs/decisions/0043-no-valid-record-makes-an-output-too-large.md).

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
                let event = decode_order(kept.event.as_bytes(), &DecodeRules::ANY);
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
    /// Most bytes that the events of a batch have together.
    room: usize,
    encoding: Encoding,
    /// Whether events come as JSON.
    json_input: bool,
    waiting: Vec<Waiting>,
    /// What waits, as the topic has it, one behind the other, and where each ends.
    encoded: Vec<u8>,
    ends: Vec<usize>,
}

/// Gathers accepted events.
pub fn attach(accepted: &KeyedStream<CompactString, Order>, options: &Options) -> Stream<Batch> {
    let (size, room, encoding) = (options.batch_size, options.rules.max_record_bytes, options.formats.order_batches);
    let json_input = options.formats.orders.format() == Format::Json;
    accepted.process(names::BATCHES, |_| {
        move |context: &mut OperatorContext<'_, '_>| {
            let restored = context.restored(Redistribution::Split);
            let kept = restored.into_iter().map(serde_json::from_value).collect::<Result<Vec<Kept>, _>>();
            let kept = kept.map_err(|error| Failure::refused(format!("manifest: an event that waits for its batch: {error}")))?;
            let mut batches = Batches { size, room, encoding, json_input, waiting: vec![], encoded: vec![], ends: vec![] };
            kept.into_iter().try_for_each(|kept| batches.hold(Waiting::Restored(kept)))?;
            Ok(batches)
        }
    })
}

impl Batches {
    fn hold(&mut self, waiting: Waiting) -> Result<(), Failure> {
        match self.encoding {
            Encoding::Json => self.encoded.extend_from_slice(&waiting.json(self.json_input)),
            Encoding::Avro(_) => waiting.avro(&mut self.encoded)?,
        }
        self.ends.push(self.encoded.len());
        self.waiting.push(waiting);
        Ok(())
    }

    /// Bytes of the first `count` events, which end at `end`: as JSON they have commas between them.
    fn bytes(&self, count: usize, end: usize) -> usize {
        match self.encoding {
            Encoding::Json => end + count.saturating_sub(1),
            Encoding::Avro(_) => end,
        }
    }

    /// How many of those that wait are in the next batch: as many as are wanted, or as there is room for.
    fn next(&self) -> usize {
        let fits = |(index, end): &(usize, &usize)| *index == 0 || self.bytes(index + 1, **end) <= self.room;
        self.ends.iter().enumerate().take(self.size).take_while(fits).count()
    }

    /// Whether the next batch can have no more than it has.
    fn is_full(&self) -> bool {
        let held = self.waiting.len();
        held >= self.size || (held > 1 && self.bytes(held, self.encoded.len()) > self.room)
    }

    fn emit(&mut self, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        let count = self.next();
        let Some(first) = self.waiting.first() else { return Ok(()) };
        let id = first.id();
        let ends = self.ends.iter().copied().take(count);
        let end = ends.clone().next_back().unwrap_or_default();
        let mut value = Vec::with_capacity(end + count + 64);
        match self.encoding {
            Encoding::Json => {
                let begins = std::iter::once(0).chain(ends.clone());
                let events: Vec<&[u8]> =
                    begins.zip(ends).map(|(begin, end)| self.encoded.get(begin..end).unwrap_or_default()).collect();
                encode_order_batch(&mut value, &id, events.into_iter());
            }
            Encoding::Avro(header) => {
                value.extend_from_slice(header.as_bytes());
                avro::encode_order_batch(&mut value, &id, count, self.encoded.get(..end).unwrap_or_default());
            }
        }
        self.waiting.drain(..count);
        self.encoded.drain(..end);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|rest| *rest -= end);
        out.push(Batch { id, value })
    }
}

impl KeyedProcess<CompactString, Order> for Batches {
    type Out = Batch;

    fn process(&mut self, _: &Key<CompactString>, _: Timestamp, order: Order, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        self.hold(Waiting::Received(order))?;
        // More than one batch waits after a restart with fewer tasks.
        while self.is_full() {
            self.emit(out)?;
        }
        Ok(())
    }

    fn on_end(&mut self, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        while !self.waiting.is_empty() {
            self.emit(out)?;
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

#[cfg(test)]
mod tests;
