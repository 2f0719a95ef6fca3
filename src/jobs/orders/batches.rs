//! Stage 7: accepted events in batches, gathered per task. What waits at a checkpoint is part of the checkpoint.

use super::{Options, Order, names};
use crate::format::encode_order_batch;
use crate::stream::{Emit, Failure, Halt, Key, KeyedProcess, KeyedStream, OperatorContext, Redistribution, Stream, Timestamp};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One record of `order-batches`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `<orderId>/<eventType>` of its first event: as every event is in one batch only, no two batches share it.
    pub id: String,
    /// The record's value.
    pub json: Vec<u8>,
}

/// An event that waits for its batch, as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    /// `<orderId>/<eventType>`.
    id: String,
    /// The event's JSON, as the producer wrote it.
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

    fn json(&self) -> &[u8] {
        match self {
            Self::Received(order) => &order.raw,
            Self::Restored(kept) => kept.event.as_bytes(),
        }
    }
}

struct Batches {
    size: usize,
    waiting: Vec<Waiting>,
}

/// Gathers accepted events.
pub fn attach(accepted: &KeyedStream<CompactString, Order>, options: &Options) -> Stream<Batch> {
    let size = options.batch_size;
    accepted.process(names::BATCHES, |_| {
        move |context: &mut OperatorContext<'_, '_>| {
            let restored = context.restored(Redistribution::Split);
            let kept = restored.into_iter().map(serde_json::from_value).collect::<Result<Vec<Kept>, _>>();
            let kept = kept.map_err(|error| Failure::refused(format!("manifest: an event that waits for its batch: {error}")))?;
            Ok(Batches { size, waiting: kept.into_iter().map(Waiting::Restored).collect() })
        }
    })
}

impl Batches {
    fn emit(&mut self, count: usize, out: &mut Emit<'_, Batch>) -> Result<(), Halt> {
        let rest = self.waiting.split_off(count.min(self.waiting.len()));
        let batch = std::mem::replace(&mut self.waiting, rest);
        let Some(first) = batch.first() else { return Ok(()) };
        let bytes = batch.iter().map(|waiting| waiting.json().len() + 1).sum::<usize>();
        let mut json = Vec::with_capacity(bytes + 64);
        let id = first.id();
        encode_order_batch(&mut json, &id, batch.iter().map(Waiting::json));
        out.push(Batch { id, json })
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
            let event = String::from_utf8(waiting.json().to_vec()).map_err(|error| error.to_string())?;
            serde_json::to_value(Kept { id: waiting.id(), event }).map_err(|error| error.to_string())
        };
        let elements = self.waiting.iter().map(keep).collect::<Result<_, String>>();
        Ok(elements.map_err(|error| Failure::attempt(format!("an event that waits for its batch: {error}")))?)
    }
}
