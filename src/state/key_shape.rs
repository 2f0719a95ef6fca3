//! What the bytes of a key mean, without the job's types.

use super::key::{StateKey, TEXT_END, decode_text, take};
use crate::protocol::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Shape of an encoded key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyShape {
    /// Nothing: one entry per key group.
    Unit,
    /// UTF-8 text.
    Text,
    /// Unsigned byte.
    U8,
    /// Unsigned integer.
    U64,
    /// Signed integer.
    I64,
    /// Two keys, one after the other.
    Pair(Box<KeyShape>, Box<KeyShape>),
}

impl KeyShape {
    /// Reads an encoded key (without its key group) of this shape: a text or number; a pair is an array.
    pub fn to_json(&self, bytes: &[u8]) -> Result<Value, Failure> {
        match self.split(bytes)? {
            (value, []) => Ok(value),
            (value, rest) => {
                Err(Failure::refused(format!("state key {value} is followed by {} bytes that do not belong to it", rest.len())))
            }
        }
    }

    /// Reads a key as it stands on a command line: a text as it is, a number in digits, a pair as a JSON array. The last part of
    /// the array may be left away where the beginning of a key is wanted.
    ///
    /// # Errors
    /// Fatal: it is neither; the words say what is wanted and how that is written.
    pub fn parse(&self, written: &str) -> Result<Value, Failure> {
        match self {
            Self::Text => Ok(Value::from(written)),
            _ => serde_json::from_str(written).map_err(|_| self.unfit(written)),
        }
    }

    /// A key (from [`Self::to_json`]) in the words that [`Self::parse`] reads.
    #[must_use]
    pub fn show(&self, key: &Value) -> String {
        match (self, key) {
            (Self::Text, Value::String(text)) => text.clone(),
            _ => key.to_string(),
        }
    }

    /// Encodes a key: for a pair, an array.
    ///
    /// # Errors
    /// Fatal: it does not fit; the words say what is wanted.
    pub fn encode_json(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), Failure> {
        let wanted = || self.unfit(value);
        match self {
            Self::Unit => {}
            Self::Text => value.as_str().ok_or_else(wanted)?.to_owned().encode(out),
            Self::U8 => value.as_u64().and_then(|n| u8::try_from(n).ok()).ok_or_else(wanted)?.encode(out),
            Self::U64 => value.as_u64().ok_or_else(wanted)?.encode(out),
            Self::I64 => value.as_i64().ok_or_else(wanted)?.encode(out),
            Self::Pair(first, second) => match value.as_array().map(Vec::as_slice) {
                Some([a, b]) => {
                    first.encode_json(a, out)?;
                    second.encode_json(b, out)?;
                }
                _ => return Err(wanted()),
            },
        }
        Ok(())
    }

    /// Encodes what keys begin with. The last part that is given may be the beginning of a text; every part before it, and a
    /// number, is whole. With null for the second part of a pair, the first is whole, and the second anything.
    ///
    /// # Errors
    /// As [`Self::encode_json`].
    pub fn encode_prefix(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), Failure> {
        match (self, value.as_array().map(Vec::as_slice)) {
            (Self::Text, _) => {
                self.encode_json(value, out)?;
                out.truncate(out.len() - TEXT_END);
                Ok(())
            }
            (Self::Pair(..), Some([])) => Ok(()),
            (Self::Pair(first, _), Some([a])) => first.encode_prefix(a, out),
            (Self::Pair(first, _), Some([a, Value::Null])) => first.encode_json(a, out),
            (Self::Pair(first, second), Some([a, b])) => {
                first.encode_json(a, out)?;
                second.encode_prefix(b, out)
            }
            _ => self.encode_json(value, out),
        }
    }

    #[cold]
    fn unfit(&self, given: impl std::fmt::Display) -> Failure {
        Failure::fatal(format!("key {given} does not fit this state: wanted {self}, written like {}", self.example()))
    }

    /// A key of this shape, for messages.
    fn example(&self) -> Value {
        match self {
            Self::Unit => Value::Null,
            Self::Text => Value::from("text"),
            Self::U8 => Value::from(7),
            Self::U64 => Value::from(42),
            Self::I64 => Value::from(-42),
            Self::Pair(first, second) => Value::from(vec![first.example(), second.example()]),
        }
    }

    fn split<'b>(&self, bytes: &'b [u8]) -> Result<(Value, &'b [u8]), Failure> {
        Ok(match self {
            Self::Unit => (Value::Null, bytes),
            Self::Text => {
                let (text, rest) = decode_text(bytes)?;
                (Value::from(text.as_str()), rest)
            }
            Self::U8 => {
                let ([byte], rest) = take(bytes)?;
                (Value::from(byte), rest)
            }
            Self::U64 => {
                let (number, rest) = u64::decode(bytes)?;
                (Value::from(number), rest)
            }
            Self::I64 => {
                let (number, rest) = i64::decode(bytes)?;
                (Value::from(number), rest)
            }
            Self::Pair(first, second) => {
                let (a, rest) = first.split(bytes)?;
                let (b, rest) = second.split(rest)?;
                (Value::from(vec![a, b]), rest)
            }
        })
    }
}

impl std::fmt::Display for KeyShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unit => f.write_str("nothing"),
            Self::Text => f.write_str("text"),
            Self::U8 => f.write_str("an integer from 0 to 255"),
            Self::U64 => f.write_str("an integer of 64 bits, not negative"),
            Self::I64 => f.write_str("an integer of 64 bits"),
            Self::Pair(a, b) => write!(f, "[{a}, {b}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_shown_and_read_by_its_shape_alone() {
        let shape = <(i64, (String, u8))>::shape();
        let key = (-5_i64, (String::from("U-1"), 3_u8));
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        assert_eq!(shape.to_json(&bytes).unwrap(), json!([-5, ["U-1", 3]]));

        let mut back = Vec::new();
        shape.encode_json(&json!([-5, ["U-1", 3]]), &mut back).unwrap();
        assert_eq!(back, bytes);

        let error = shape.encode_json(&json!([-5, "U-1"]), &mut back).unwrap_err();
        assert!(error.message.contains("wanted [text, an integer from 0 to 255]"), "{error}");
        bytes.push(9);
        assert!(shape.to_json(&bytes).is_err());
    }

    #[test]
    fn a_key_on_the_command_line_is_read_by_the_shape() {
        for (shape, written, key) in [
            (KeyShape::Text, "O-1", json!("O-1")),
            (KeyShape::Text, "42", json!("42")),
            (KeyShape::Text, "[\"a\"]", json!("[\"a\"]")),
            (KeyShape::U64, "18446744073709551615", json!(u64::MAX)),
            (KeyShape::I64, "-5", json!(-5)),
            (<(i64, String)>::shape(), "[-5,\"U-1\"]", json!([-5, "U-1"])),
        ] {
            let read = shape.parse(written).unwrap();
            assert_eq!(read, key, "{written}");
            shape.encode_json(&read, &mut Vec::new()).unwrap();
            assert_eq!(shape.show(&read), written);
        }
        for (shape, written, wanted) in [
            (KeyShape::U64, "O-1", "an integer of 64 bits, not negative, written like 42"),
            (KeyShape::U64, "-1", "not negative"),
            (KeyShape::U8, "256", "an integer from 0 to 255"),
            (KeyShape::I64, "1.5", "written like -42"),
            (<(i64, String)>::shape(), "U-1", "[an integer of 64 bits, text], written like [-42,\"text\"]"),
            (<(i64, String)>::shape(), "[5]", "[an integer of 64 bits, text]"),
        ] {
            let read = shape.parse(written).and_then(|key| shape.encode_json(&key, &mut Vec::new()));
            let error = read.unwrap_err().message;
            assert!(error.contains(written) && error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_prefix_is_whole_parts_and_the_beginning_of_a_text() {
        let encoded = |shape: &KeyShape, key: serde_json::Value| {
            let mut out = Vec::new();
            shape.encode_json(&key, &mut out).unwrap();
            out
        };
        let begins = |shape: &KeyShape, prefix: serde_json::Value, key: serde_json::Value| {
            let mut start = Vec::new();
            shape.encode_prefix(&prefix, &mut start).unwrap();
            encoded(shape, key).starts_with(&start)
        };
        let (text, pair) = (KeyShape::Text, <(i64, String)>::shape());
        assert!(begins(&text, json!("U-1"), json!("U-1")) && begins(&text, json!("U-1"), json!("U-17")));
        assert!(!begins(&text, json!("U-1"), json!("U-2")));
        assert!(begins(&pair, json!([]), json!([5, "U-1"])) && begins(&pair, json!([5]), json!([5, "U-1"])));
        assert!(begins(&pair, json!([5, "U"]), json!([5, "U-1"])) && !begins(&pair, json!([5, "V"]), json!([5, "U-1"])));
        // one before null is whole, whatever follows it
        let map = <(String, i64)>::shape();
        assert!(begins(&map, json!(["U-1"]), json!(["U-17", 5])) && !begins(&map, json!(["U-1", null]), json!(["U-17", 5])));
        assert!(begins(&map, json!(["U-1", null]), json!(["U-1", 5])));
        // a part before the last is whole
        let names = <(String, String)>::shape();
        assert!(begins(&names, json!(["U-1"]), json!(["U-17", "x"])));
        assert!(
            !begins(&names, json!(["U-1", ""]), json!(["U-17", "x"])) && begins(&names, json!(["U-1", ""]), json!(["U-1", "x"]))
        );
        assert!(pair.encode_prefix(&json!(["U"]), &mut Vec::new()).unwrap_err().message.contains("wanted an integer of 64 bits"));
        assert!(pair.encode_prefix(&json!([1, "U", 2]), &mut Vec::new()).is_err());
    }
}
