//! What is measured of one decoder and encoder.

use crate::Result;
use serde::Deserialize;
use sluicegate::{
    connectors::orders_load::{LoadSettings, OrderLoad},
    format::{DecodeRules, Encoding, EventType, OrderEvent, avro::OwnSchema, decode_order},
};
use std::{hint::black_box, time::Instant};

pub const JSON: &str = "json";
pub const AVRO: &str = "avro";
pub const SINGLE_OBJECT: &str = "avro-single-object";
/// Number of the schema in Confluent's framing: no registry has given it out.
pub const ID: u32 = 1;

/// The same events in each format.
pub struct Load {
    /// Format and records.
    pub formats: Vec<(&'static str, Vec<Vec<u8>>)>,
}

impl Load {
    /// The first `events` of the standard load.
    pub fn of(events: usize) -> Self {
        let settings = LoadSettings { events: events as u64, ..LoadSettings::default() };
        let json: Vec<Vec<u8>> = OrderLoad::new(settings).filter_map(|record| record.value().map(<[u8]>::to_vec)).collect();
        let rules = DecodeRules::default();
        let decoded: Vec<OrderEvent> = json.iter().filter_map(|record| decode_order(record, &rules).ok()).collect();
        let write = |encoding: Encoding| {
            let record = |event| {
                let mut out = Vec::new();
                encoding.order(&mut out, event);
                out
            };
            decoded.iter().map(record).collect()
        };
        let single = write(Encoding::single_object(OwnSchema::OrderEvent));
        Self { formats: vec![(JSON, json), (AVRO, write(Encoding::framed(ID))), (SINGLE_OBJECT, single)] }
    }

    pub fn records(&self, format: &str) -> &[Vec<u8>] {
        self.formats.iter().find(|(name, _)| *name == format).map_or(&[], |(_, records)| records)
    }
}

/// What all events have together: equal for everybody who reads them right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Sums {
    pub events: u64,
    /// Amounts and prices, in hundredths.
    pub cents: i64,
    /// Counts and quantities.
    pub pieces: u64,
    /// Bytes of all texts as UTF-8.
    pub letters: u64,
    /// Places of the event types in the documentation, from 0.
    pub types: u64,
    /// Seconds and milliseconds are both in it.
    pub milliseconds: i64,
}

impl Sums {
    pub fn text(&mut self, text: &str) {
        self.letters += text.len() as u64;
    }

    pub fn event(&mut self, event: &OrderEvent) {
        let hundredths = |money: rust_decimal::Decimal| {
            let mut money = money;
            money.rescale(2);
            money.mantissa() as i64
        };
        self.events += 1;
        self.cents += hundredths(event.amount) + event.items.iter().map(|item| hundredths(item.price)).sum::<i64>();
        self.pieces += u64::from(event.item_count) + event.items.iter().map(|item| u64::from(item.quantity)).sum::<u64>();
        for text in [&event.order_id, &event.user_id, &event.category] {
            self.text(text);
        }
        for item in &event.items {
            self.text(&item.product_id);
            self.text(&item.product_name);
        }
        self.types += EventType::ALL.iter().position(|kind| *kind == event.event_type).unwrap_or(99) as u64;
        self.milliseconds += event.timestamp;
    }
}

/// One line of the table, as the programs in other languages print it.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    pub format: String,
    pub who: String,
    /// Nanoseconds for an event, the median of the rounds.
    pub decode: f64,
    pub encode: f64,
    /// Bytes of an event as it writes them.
    pub bytes: f64,
    /// FNV-1a of all bytes that it writes.
    pub hash: u64,
    pub sums: Sums,
}

impl Row {
    pub fn is_measured(&self) -> bool {
        self.decode > 0.0 && self.encode > 0.0 && self.bytes > 0.0
    }

    /// Measures a decoder and an encoder in this process.
    pub fn measure<T>(
        (format, who): (&str, &str),
        records: &[Vec<u8>],
        rounds: usize,
        decode: impl Fn(&[u8]) -> Result<T>,
        encode: impl Fn(&mut Vec<u8>, &T) -> Result,
        add: impl Fn(&mut Sums, &T) -> Result,
    ) -> Result<Self> {
        let values: Vec<T> = records.iter().map(|record| decode(record)).collect::<Result<_>>()?;
        let (mut sums, mut out, mut bytes, mut hash) = (Sums::default(), Vec::new(), 0, 0xcbf2_9ce4_8422_2325_u64);
        for value in &values {
            add(&mut sums, value)?;
            out.clear();
            encode(&mut out, value)?;
            bytes += out.len();
            hash = out.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        }
        let decoding = median(rounds, records.len(), || {
            for record in records {
                black_box(decode(black_box(record))?);
            }
            Ok(())
        })?;
        let encoding = median(rounds, records.len(), || {
            for value in &values {
                out.clear();
                encode(&mut out, black_box(value))?;
                black_box(&out);
            }
            Ok(())
        })?;
        let bytes = bytes as f64 / records.len() as f64;
        Ok(Self { format: format.to_owned(), who: who.to_owned(), decode: decoding, encode: encoding, bytes, hash, sums })
    }
}

/// Nanoseconds for one of `events`.
fn median(rounds: usize, events: usize, mut round: impl FnMut() -> Result) -> Result<f64> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begin = Instant::now();
        round()?;
        times.push(begin.elapsed().as_nanos() as f64 / events as f64);
    }
    times.sort_by(f64::total_cmp);
    times.get(rounds / 2).copied().ok_or_else(|| "no round".into())
}
