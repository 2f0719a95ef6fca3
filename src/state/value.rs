//! Values of state: a header byte, perhaps an event time, then MessagePack with named fields.
//!
//! ```text
//! 01        · MessagePack                 plain
//! 81 · i64  · MessagePack                 with the event time (ms, big endian) from which time to live counts
//! ```
//!
//! The low seven bits of the header are the format's version. Named fields let a job add a field with `#[serde(default)]`
//! and read what it wrote before, and let any value be shown as JSON without the job's types.

use super::{ValueShape, ValueType, trace};
use crate::protocol::Failure;
use compact_str::CompactString;
use serde::{Serialize, de::DeserializeOwned};
use std::panic::catch_unwind;

const VERSION: u8 = 1;
const TIMED: u8 = 0x80;

/// What can be the value of a state.
pub trait StateValue: Serialize + DeserializeOwned + Send + 'static {
    /// Bytes on the heap, beyond `size_of::<Self>()`: what the memory budget counts. An estimate will do.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// Event time in ms from which the time to live of this entry counts; `None` = it does not expire.
    fn written_at(&self) -> Option<i64> {
        None
    }

    /// Writes what follows the header.
    fn write_body(&self, out: &mut Vec<u8>) -> Result<(), rmp_serde::encode::Error> {
        self.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
    }

    /// Reads what [`Self::write_body`] wrote; `written_at` is from the header.
    fn read_body(written_at: Option<i64>, body: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        let _ = written_at;
        rmp_serde::from_slice(body)
    }

    /// What the bytes look like. It goes into manifests, and a program whose type cannot read what an older one wrote is refused when
    /// it starts. Found out from `Deserialize`; to be said where [`Self::write_body`] writes something else.
    #[must_use]
    fn value_type() -> ValueType {
        trace::value_type::<Self>()
    }
}

/// A value with the event time at which it was written, kept in the header only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<V> {
    /// Event time in ms from which the time to live counts.
    pub written_at: i64,
    /// The value.
    pub value: V,
}

impl<V: Serialize> Serialize for Timed<V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de, V: serde::Deserialize<'de>> serde::Deserialize<'de> for Timed<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { written_at: 0, value: V::deserialize(deserializer)? })
    }
}

impl<V: StateValue> StateValue for Timed<V> {
    fn heap_bytes(&self) -> usize {
        self.value.heap_bytes()
    }

    fn written_at(&self) -> Option<i64> {
        Some(self.written_at)
    }

    fn write_body(&self, out: &mut Vec<u8>) -> Result<(), rmp_serde::encode::Error> {
        self.value.write_body(out)
    }

    fn read_body(written_at: Option<i64>, body: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        // A state that had no time to live when this was written: as old as can be.
        let at = written_at.unwrap_or(i64::MIN);
        Ok(Self { written_at: at, value: V::read_body(written_at, body)? })
    }

    fn value_type() -> ValueType {
        V::value_type()
    }
}

macro_rules! plain_values {
    ($($type:ty),*) => { $(impl StateValue for $type {})* };
}
plain_values!((), bool, u8, i32, u32, i64, u64);

impl StateValue for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl StateValue for CompactString {
    fn heap_bytes(&self) -> usize {
        if self.is_heap_allocated() { self.capacity() } else { 0 }
    }
}

impl<V: StateValue> StateValue for Option<V> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, StateValue::heap_bytes)
    }
}

impl<V: StateValue> StateValue for Vec<V> {
    fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<V>() + self.iter().map(StateValue::heap_bytes).sum::<usize>()
    }
}

/// Appends the stored form of `value`.
pub fn encode_value<V: StateValue>(value: &V, out: &mut Vec<u8>) -> Result<(), Failure> {
    match value.written_at() {
        None => out.push(VERSION),
        Some(at) => {
            out.push(VERSION | TIMED);
            out.extend_from_slice(&at.to_be_bytes());
        }
    }
    value.write_body(out).map_err(|error| {
        Failure::fatal(format!("a state value of type {} cannot be stored: {error}", std::any::type_name::<V>()))
    })
}

/// Reads the stored form of a value.
///
/// # Errors
/// Refused: it does not fit the type. That is the same whenever it is tried again; a type that panics over it says no more.
pub fn decode_value<V: StateValue>(bytes: &[u8]) -> Result<V, Failure> {
    let (at, body) = split_header(bytes)?;
    match catch_unwind(|| V::read_body(at, body)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(does_not_fit::<V>(bytes, &error)),
        Err(_) => Err(does_not_fit::<V>(bytes, &"its decoding panicked")),
    }
}

#[cold]
fn does_not_fit<V>(bytes: &[u8], why: &dyn std::fmt::Display) -> Failure {
    let stored = super::inspect::value_to_json(bytes).map_or_else(
        |_| "no readable value".to_owned(),
        |json| {
            let mut shape = ValueShape::default();
            shape.learn(&json);
            format!("{json}, which is {shape}")
        },
    );
    Failure::refused(format!("stored state does not fit the type {}: {why}; stored is {stored}", std::any::type_name::<V>()))
}

/// Splits a stored value into the event time of its header and its MessagePack.
pub fn split_header(bytes: &[u8]) -> Result<(Option<i64>, &[u8]), Failure> {
    let Some((&header, rest)) = bytes.split_first() else {
        return Err(Failure::refused("a stored state value is empty: the checkpoint is damaged"));
    };
    if header & !TIMED != VERSION {
        return Err(Failure::refused(format!(
            "a stored state value has format version {}, this program reads version {VERSION}: use the newer program that wrote it",
            header & !TIMED
        )));
    }
    if header & TIMED == 0 {
        return Ok((None, rest));
    }
    match rest.split_first_chunk::<8>() {
        Some((at, body)) => Ok((Some(i64::from_be_bytes(*at)), body)),
        None => Err(Failure::refused("a stored state value ends within its header: the checkpoint is damaged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Old {
        count: u32,
        name: String,
    }
    impl StateValue for Old {}

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct New {
        name: String,
        count: u64,
        #[serde(default)]
        last_activity: Option<i64>,
    }
    impl StateValue for New {}

    fn encoded<V: StateValue>(value: &V) -> Vec<u8> {
        let mut out = Vec::new();
        encode_value(value, &mut out).unwrap();
        out
    }

    #[test]
    fn the_bytes_of_values_never_change() {
        assert_eq!(encoded(&Old { count: 7, name: "a".into() }), b"\x01\x82\xa5count\x07\xa4name\xa1a");
        assert_eq!(encoded(&Timed { written_at: 258, value: () }), b"\x81\0\0\0\0\0\0\x01\x02\xc0");
        assert_eq!(encoded(&vec![1_u8, 200]), b"\x01\x92\x01\xcc\xc8");
    }

    #[test]
    fn a_field_added_with_a_default_and_a_widened_number_read_what_was_written_before() {
        let bytes = encoded(&Old { count: 7, name: "a".into() });
        assert_eq!(decode_value::<New>(&bytes).unwrap(), New { name: "a".into(), count: 7, last_activity: None });
    }

    #[test]
    fn a_timed_value_keeps_its_time() {
        let value = Timed { written_at: -3, value: Old { count: 1, name: "n".into() } };
        assert_eq!(decode_value::<Timed<Old>>(&encoded(&value)).unwrap(), value);
        let plain = encoded(&value.value);
        assert_eq!(decode_value::<Timed<Old>>(&plain).unwrap().written_at, i64::MIN);
    }

    #[test]
    fn a_type_that_panics_over_a_stored_value_is_refused_with_it() {
        #[derive(Debug, Serialize)]
        struct Picky;
        impl<'de> Deserialize<'de> for Picky {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let number = u32::deserialize(from)?;
                assert!(number < 5, "too large");
                Ok(Self)
            }
        }
        impl StateValue for Picky {}
        assert!(decode_value::<Picky>(&encoded(&4_u32)).is_ok());
        let error = decode_value::<Picky>(&encoded(&5_u32)).unwrap_err();
        assert!(error.message.contains("panicked; stored is 5, which is integer"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_is_stored() {
        let error = decode_value::<Old>(&encoded(&5_u64)).unwrap_err();
        assert!(error.message.contains("Old") && error.message.contains("stored is 5"), "{error}");
        assert!(decode_value::<u64>(b"").unwrap_err().message.contains("empty"));
        assert!(decode_value::<u64>(b"\x02\x05").unwrap_err().message.contains("version 2"));
        assert!(decode_value::<u64>(b"\x81\0").unwrap_err().message.contains("header"));
    }
}
