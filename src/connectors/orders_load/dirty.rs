//! Bad records: a good one, spoiled in one way.

use super::draw::Draw;
use crate::format::ErrorClass::{
    self, DuplicateField, Empty, EmptyId, InexactMoney, InvalidUtf8, MalformedJson, MissingField, NegativeNumber,
    NumberOutOfRange, QuantityBelowOne, TimestampOutOfRange, UnknownEventType, WrongType,
};

/// What to do to the record.
enum Spoil {
    /// Put other bytes in the place of the value of this field (the first one of that name).
    Value(&'static str, &'static [u8]),
    /// Give the field another name.
    Rename(&'static str, &'static str),
    /// Write this in front of all fields.
    Insert(&'static [u8]),
    /// Leave only the first part.
    CutOff,
    /// Other bytes for all.
    Replace(&'static [u8]),
    /// No value at all.
    Tombstone,
}

use Spoil::{CutOff, Insert, Rename, Replace, Tombstone, Value};

/// Every class of JSON but `too_large` and `too_deep`, several ways each. The load is the same in every version, so that nothing is added.
const WAYS: [(ErrorClass, Spoil); 32] = [
    (MalformedJson, CutOff),
    (Empty, Tombstone),
    (InvalidUtf8, Value("category", b"\"caf\xe9\"")),
    (DuplicateField, Insert(b"\"orderId\":\"O-0\",")),
    (MissingField, Rename("userId", "user")),
    (WrongType, Value("amount", b"\"12.50\"")),
    (UnknownEventType, Value("eventType", b"\"RETURNED\"")),
    (EmptyId, Value("orderId", b"\"\"")),
    (NegativeNumber, Value("amount", b"-12.50")),
    (NumberOutOfRange, Value("price", b"1e400")),
    (InexactMoney, Value("price", b"1.005")),
    (QuantityBelowOne, Value("quantity", b"0")),
    (TimestampOutOfRange, Value("timestamp", b"1767225600")),
    (MalformedJson, Value("amount", b"NaN")),
    (Empty, Replace(b"")),
    (MissingField, Rename("items", "lines")),
    (WrongType, Value("items", b"null")),
    (UnknownEventType, Value("eventType", b"\"created\"")),
    (EmptyId, Value("productId", b"\"\"")),
    (NegativeNumber, Value("itemCount", b"-1")),
    (NumberOutOfRange, Value("itemCount", b"4294967296")),
    (QuantityBelowOne, Value("quantity", b"-2")),
    (TimestampOutOfRange, Value("timestamp", b"17672256000000")),
    (MalformedJson, Replace(b"order 17 created")),
    (WrongType, Replace(b"[]")),
    (MissingField, Replace(b"{}")),
    (WrongType, Value("timestamp", b"\"2026-01-01T00:00:00Z\"")),
    (EmptyId, Value("userId", b"\"\"")),
    (NegativeNumber, Value("price", b"-0.01")),
    (InexactMoney, Value("amount", b"33.333333333333336")),
    (MalformedJson, Value("category", b"\"half a pair: \\ud83d\"")),
    (WrongType, Value("quantity", b"1.5")),
];

/// Spoils the JSON of an event. `number` counts the bad records, so that the ways come in turn; returns the class, and whether the
/// value is to be null.
pub(super) fn spoil(value: &mut Vec<u8>, number: u64, draw: &mut Draw) -> (ErrorClass, bool) {
    let way = WAYS.get((number % WAYS.len() as u64) as usize);
    let (class, way) = way.map_or((Empty, &Tombstone), |(class, way)| (*class, way));
    match way {
        CutOff => {
            let kept = 1 + draw.below(value.len() as u32 - 2) as usize;
            value.truncate(kept);
        }
        Replace(bytes) => {
            value.clear();
            value.extend_from_slice(bytes);
        }
        Tombstone => value.clear(),
        Insert(bytes) => {
            value.splice(1..1, bytes.iter().copied());
        }
        Rename(from, to) => {
            let from = format!("\"{from}\":");
            if let Some(at) = find(value, from.as_bytes(), 0) {
                value.splice(at..at + from.len(), format!("\"{to}\":").into_bytes());
            }
        }
        Value(name, bytes) => {
            let name = format!("\"{name}\":");
            if let Some(at) = find(value, name.as_bytes(), 0) {
                let start = at + name.len();
                let end = end_of_value(value, start);
                value.splice(start..end, bytes.iter().copied());
            }
        }
    }
    (class, matches!(way, Tombstone))
}

fn find(value: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    value.get(from..)?.windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

/// Where the value at `start` ends, in the JSON that this load writes: no nesting in arrays but objects, no escapes, no commas in strings.
fn end_of_value(value: &[u8], start: usize) -> usize {
    let rest = value.get(start..).unwrap_or_default();
    let length = match rest.first() {
        Some(b'[') => rest.iter().position(|byte| *byte == b']').map(|at| at + 1),
        _ => rest.iter().position(|byte| matches!(byte, b',' | b'}')),
    };
    start + length.unwrap_or(rest.len())
}
