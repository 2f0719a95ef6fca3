//! What the bytes of a key mean, without the job's types.

use super::key::{StateKey, decode_text, take};
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

    /// Encodes a key that a person wrote: for a pair, an array. Says what is wanted when it does not fit.
    pub fn encode_json(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), Failure> {
        let wanted = || Failure::fatal(format!("key {value} does not fit this state: wanted {self}"));
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
}
