//! Looking into state without the job's types.

use super::value::split_header;
use crate::protocol::Failure;
use serde_json::Value;

/// A stored value as JSON; bytes become arrays of numbers.
pub fn value_to_json(bytes: &[u8]) -> Result<Value, Failure> {
    let (_, body) = split_header(bytes)?;
    rmp_serde::from_slice(body).map_err(|error| Failure::refused(format!("a stored state value is not MessagePack: {error}")))
}

/// The event time in ms from which the time to live of a stored value counts, when it has one.
pub fn written_at(bytes: &[u8]) -> Result<Option<i64>, Failure> {
    split_header(bytes).map(|(at, _)| at)
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
}
