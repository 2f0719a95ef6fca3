//! Looking into state without the job's types.

use super::value::split_header;
use crate::protocol::Failure;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// A stored value as JSON. What JSON has no word for: bytes become arrays of numbers, keys of maps become texts, numbers that are
/// none (NaN, infinity) become texts.
pub fn value_to_json(bytes: &[u8]) -> Result<Value, Failure> {
    let (_, body) = split_header(bytes)?;
    let Shown(value) = rmp_serde::from_slice(body)
        .map_err(|error| Failure::refused(format!("a stored state value is not MessagePack: {error}")))?;
    Ok(value)
}

/// The event time in ms from which the time to live of a stored value counts, when it has one.
pub fn written_at(bytes: &[u8]) -> Result<Option<i64>, Failure> {
    split_header(bytes).map(|(at, _)| at)
}

/// Any MessagePack as JSON. `serde_json::Value` reads only maps whose keys are texts.
struct Shown(Value);

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shows).map(Self)
    }
}

struct Shows;

impl<'de> Visitor<'de> for Shows {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    /// An extension type of MessagePack: its number and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Shown(element)) = elements.next_element()? {
            all.push(element);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((Shown(key), Shown(value))) = entries.next_entry()? {
            let key = match key {
                Value::String(text) => text,
                other => other.to_string(),
            };
            all.insert(key, value);
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{StateValue, Timed, encode_value};
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    #[derive(Serialize, Deserialize)]
    enum Status {
        Created,
        Cancelled { reason: String },
    }

    #[derive(Serialize, Deserialize)]
    struct Order {
        status: Status,
        before: Status,
        total: rust_decimal::Decimal,
        paid: Option<i64>,
    }
    impl StateValue for Order {}

    #[test]
    fn any_value_is_shown_as_json_without_its_type() {
        let order = Order {
            status: Status::Cancelled { reason: "lost".into() },
            before: Status::Created,
            total: "12.50".parse().unwrap(),
            paid: None,
        };
        let mut bytes = Vec::new();
        encode_value(&Timed { written_at: 9, value: order }, &mut bytes).unwrap();
        assert_eq!(
            value_to_json(&bytes).unwrap(),
            json!({"status": {"Cancelled": {"reason": "lost"}}, "before": "Created", "total": "12.50", "paid": null})
        );
        assert_eq!(written_at(&bytes).unwrap(), Some(9));
    }

    #[test]
    fn what_json_has_no_word_for_is_shown_all_the_same() {
        #[derive(Serialize, Deserialize)]
        struct Odd {
            per_hour: std::collections::BTreeMap<i64, (u8, bool)>,
            ratio: f64,
            share: f64,
            raw: Bytes,
        }
        impl StateValue for Odd {}

        struct Bytes(Vec<u8>);
        impl Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for Bytes {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Vec::deserialize(deserializer).map(Self)
            }
        }

        let odd = Odd { per_hour: [(-7, (1, true))].into(), ratio: f64::NAN, share: 0.5, raw: Bytes(vec![1, 255]) };
        let mut bytes = Vec::new();
        encode_value(&odd, &mut bytes).unwrap();
        assert_eq!(
            value_to_json(&bytes).unwrap(),
            json!({"per_hour": {"-7": [1, true]}, "ratio": "NaN", "share": 0.5, "raw": [1, 255]})
        );
        assert!(value_to_json(b"\x01\xc1").unwrap_err().message.contains("not MessagePack"));
    }
}
