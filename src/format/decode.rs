//! From the bytes of an `orders` record to a checked event.

use super::{OrderEvent, decode_careful, decode_fast};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most levels of objects and arrays in a JSON record, the order itself being the first; an item is in the third. Our own readers take any
/// depth, but a late event and an event in a batch are passed on as they came, and usual readers of JSON give up at 64, 128 or 1000 levels.
pub const MAX_DEPTH: usize = 32;

/// Why a record was refused. The wire names ([`as_str`](Self::as_str)) are stable: they are what the header `error.class` of a dead
/// letter says, and what metrics are labelled with.
///
/// When a record breaks several rules, the class is the first of them in this order, and the message speaks of the first place
/// in the record where that rule is broken (order of the fields as documented).
///
/// | class | the record is refused because |
/// | --- | --- |
/// | `too_large` | it has more bytes than [`DecodeRules::max_record_bytes`], or is Avro, breaks no other rule, and would have more as JSON |
/// | `empty` | it has no bytes: a tombstone (null value) or an empty value |
/// | `invalid_utf8` | its bytes are not UTF-8 |
/// | `malformed_json` | it is not one JSON text (RFC 8259): cut off, trailing bytes, `NaN`, a raw control character in a string, a byte order mark, or a name or string that has to be read holds half of a surrogate pair |
/// | `too_deep` | its brackets are nested deeper than [`MAX_DEPTH`] levels, wherever that is |
/// | `malformed_avro` | it has not the header of its topic's framing, or its bytes are not what its writer's schema says: cut off, trailing bytes, a length or a symbol that cannot be, values nested deeper than 64 levels |
/// | `unknown_schema` | nobody knows the schema that its header names: the registry says so, or without one, none of the schemas at hand has this fingerprint |
/// | `incompatible_schema` | its writer's schema cannot be resolved with ours |
/// | `duplicate_field` | a known field is there twice, in the order or in one item |
/// | `missing_field` | one of `orderId`, `userId`, `eventType`, `amount`, `itemCount`, `category`, `items`, `timestamp`, or in an item `productId`, `productName`, `quantity`, `price`, is not there |
/// | `wrong_type` | the record or an item is not an object, `items` is not an array, or a field is `null`, a string for a number, a number for a string, or a fraction (`2.0`, `2e0`) for a count or the timestamp |
/// | `unknown_event_type` | `eventType` is none of the five, upper case |
/// | `empty_id` | `orderId`, `userId` or a `productId` is `""` |
/// | `too_long` | `orderId`, `userId`, `category` or a `productId` has more than [`DecodeRules::max_id_bytes`] bytes |
/// | `negative_number` | `amount`, `price` or `itemCount` is below zero |
/// | `number_out_of_range` | `amount` or `price` is above 999999999999999.99, `itemCount` or `quantity` above 4294967295 |
/// | `inexact_money` | `amount` or `price` is not a whole number of hundredths (`1.005`) |
/// | `quantity_below_one` | a `quantity` is 0 or negative |
/// | `timestamp_out_of_range` | `timestamp` is outside [`DecodeRules::min_timestamp`] ..= [`DecodeRules::max_timestamp`] |
///
/// What is accepted, because producers do it: unknown fields anywhere (whatever they hold, up to [`MAX_DEPTH`] levels), fields in any order, white space, escapes in
/// names and strings, money as `50`, `49.9`, `49.990`, `5e1` or `-0.0`, an empty `items` array, an empty `category` or `productName`, the same
/// product twice. What is *not* judged: whether `amount` and `itemCount` are the sums of the items (discounts and shipping are a producer's
/// own affair), and whether the record's key is the `orderId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// More bytes than allowed.
    TooLarge,
    /// No bytes at all.
    Empty,
    /// Bytes that are not UTF-8.
    #[serde(rename = "invalid_utf8")]
    InvalidUtf8,
    /// Not one JSON text.
    MalformedJson,
    /// Brackets nested deeper than [`MAX_DEPTH`] levels.
    TooDeep,
    /// Not what its framing and its writer's schema say.
    MalformedAvro,
    /// Written with a schema that nobody knows.
    UnknownSchema,
    /// Written with a schema that cannot be resolved with ours.
    IncompatibleSchema,
    /// A known field twice.
    DuplicateField,
    /// A known field not there.
    MissingField,
    /// A value of another JSON type than documented.
    WrongType,
    /// An `eventType` that nobody knows.
    UnknownEventType,
    /// An identifier without a character.
    EmptyId,
    /// An identifier or a category with more bytes than allowed.
    TooLong,
    /// Money or a count below zero.
    NegativeNumber,
    /// Money or a count above what is documented.
    NumberOutOfRange,
    /// Money with a fraction of a hundredth.
    InexactMoney,
    /// A quantity of 0 or less.
    QuantityBelowOne,
    /// An event time outside the configured sane range.
    TimestampOutOfRange,
}

impl ErrorClass {
    /// All of them, in order of precedence.
    pub const ALL: [ErrorClass; 19] = [
        Self::TooLarge,
        Self::Empty,
        Self::InvalidUtf8,
        Self::MalformedJson,
        Self::TooDeep,
        Self::MalformedAvro,
        Self::UnknownSchema,
        Self::IncompatibleSchema,
        Self::DuplicateField,
        Self::MissingField,
        Self::WrongType,
        Self::UnknownEventType,
        Self::EmptyId,
        Self::TooLong,
        Self::NegativeNumber,
        Self::NumberOutOfRange,
        Self::InexactMoney,
        Self::QuantityBelowOne,
        Self::TimestampOutOfRange,
    ];

    /// The stable wire name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Empty => "empty",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MalformedJson => "malformed_json",
            Self::TooDeep => "too_deep",
            Self::MalformedAvro => "malformed_avro",
            Self::UnknownSchema => "unknown_schema",
            Self::IncompatibleSchema => "incompatible_schema",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::UnknownEventType => "unknown_event_type",
            Self::EmptyId => "empty_id",
            Self::TooLong => "too_long",
            Self::NegativeNumber => "negative_number",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::InexactMoney => "inexact_money",
            Self::QuantityBelowOne => "quantity_below_one",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A record that was refused: what goes into the headers of its dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The rule.
    pub class: ErrorClass,
    /// Field, value and what is allowed, in one line of at most a few hundred bytes.
    pub message: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

impl std::error::Error for DecodeError {}

/// The limits that a job's settings may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodeRules {
    /// Earliest event time that is sane, in milliseconds since the epoch, itself included.
    pub min_timestamp: i64,
    /// Latest event time that is sane, in milliseconds since the epoch, itself included. One record from the far future would
    /// move the watermark there, and make everything after it late.
    pub max_timestamp: i64,
    /// Most bytes of a record's value.
    pub max_record_bytes: usize,
    /// Most bytes of an `orderId`, a `userId`, a `category` and a `productId`, as UTF-8. They are keys of output records and of state, and
    /// several of them are in one record: none of these outgrows what a broker takes.
    pub max_id_bytes: usize,
}

impl Default for DecodeRules {
    /// From 2000-01-01 to 2100-01-01 (UTC), 900 KiB and 1 KiB: the defaults of the settings.
    fn default() -> Self {
        let (min_timestamp, max_timestamp) = (946_684_800_000, 4_102_444_800_000);
        Self { min_timestamp, max_timestamp, max_record_bytes: 900 * 1024, max_id_bytes: 1024 }
    }
}

impl DecodeRules {
    /// For what was accepted once, perhaps under other settings: no limit.
    pub const ANY: Self =
        Self { min_timestamp: i64::MIN, max_timestamp: i64::MAX, max_record_bytes: usize::MAX, max_id_bytes: usize::MAX };
}

/// Reads the value of one `orders` record (an absent value as no bytes).
///
/// A schema-directed reader takes what usual producers write; whatever surprises it (an escape, an exponent, an object in an unknown
/// field, a broken rule) is read again by the careful one, which alone decides what is refused and why.
///
/// # Errors
///
/// The broken rule; see [`ErrorClass`].
pub fn decode_order(bytes: &[u8], rules: &DecodeRules) -> Result<OrderEvent, DecodeError> {
    let text = as_text(bytes, rules)?;
    match decode_fast::decode(text, rules) {
        Some(event) => Ok(event),
        None => decode_careful::decode(text, rules),
    }
}

/// Refuses what is empty or too large, whatever its format is.
pub(super) fn has_a_size(bytes: &[u8], rules: &DecodeRules) -> Result<(), DecodeError> {
    if bytes.len() > rules.max_record_bytes {
        let message = format!("the record has {} bytes; allowed are at most {}", bytes.len(), rules.max_record_bytes);
        return Err(DecodeError { class: ErrorClass::TooLarge, message });
    }
    if bytes.is_empty() {
        return Err(DecodeError {
            class: ErrorClass::Empty,
            message: "the record has no value (a tombstone, or no bytes)".into(),
        });
    }
    Ok(())
}

/// Says of an identifier or a category that it is longer than is allowed.
pub(super) fn too_long(place: &dyn fmt::Display, bytes: usize, rules: &DecodeRules) -> String {
    format!("{place} has {bytes} bytes; allowed are at most {} (source.max_id_bytes)", rules.max_id_bytes)
}

/// What both readers of JSON want of the bytes before they look at them.
fn as_text<'a>(bytes: &'a [u8], rules: &DecodeRules) -> Result<&'a str, DecodeError> {
    has_a_size(bytes, rules)?;
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the byte at position {} does not belong to UTF-8 text", error.valid_up_to());
        DecodeError { class: ErrorClass::InvalidUtf8, message }
    })
}

/// The same without the fast reader: what it must agree with. For tests.
///
/// # Errors
///
/// As [`decode_order`].
#[doc(hidden)]
pub fn decode_order_carefully(bytes: &[u8], rules: &DecodeRules) -> Result<OrderEvent, DecodeError> {
    let text = as_text(bytes, rules)?;
    decode_careful::decode(text, rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"orderId":"O-1","userId":"U-1","eventType":"CREATED","amount":99.98,"itemCount":2,"category":"books","items":[{"productId":"P-1","productName":"One","quantity":2,"price":49.99}],"timestamp":1767225600000}"#;

    const LONG: &str = {
        const TEXT: [u8; 1027] = {
            let mut text = [b'x'; 1027];
            text[0] = b'"';
            text[1026] = b'"';
            text
        };
        match std::str::from_utf8(&TEXT) {
            Ok(text) => text,
            Err(_) => panic!(),
        }
    };

    fn class_of(text: &str) -> Result<OrderEvent, &'static str> {
        decode_order(text.as_bytes(), &DecodeRules::default()).map_err(|error| error.class.as_str())
    }

    fn with(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replacen(from, to, 1)
    }

    #[test]
    fn each_broken_rule_has_its_class() {
        for (from, to, class) in [
            ("}]", "}", "malformed_json"),
            ("99.98", "NaN", "malformed_json"),
            ("99.98", "099.98", "malformed_json"),
            ("99.98", "+99.98", "malformed_json"),
            ("99.98", "99.", "malformed_json"),
            ("O-1", "O\\ud800", "malformed_json"),
            ("O-1", "O\t1", "malformed_json"),
            ("O-1", "O\\x", "malformed_json"),
            ("{\"orderId\"", "\u{feff}{\"orderId\"", "malformed_json"),
            ("\"userId\"", "\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],\"userId\"", "too_deep"),
            ("\"userId\"", "\"orderId\"", "duplicate_field"),
            ("{\"orderId\"", "{\"order\\u0049d\":\"x\",\"orderId\"", "duplicate_field"),
            ("\"price\"", "\"quantity\":1,\"price\"", "duplicate_field"),
            ("\"userId\"", "\"user\"", "missing_field"),
            (",\"price\":49.99", "", "missing_field"),
            ("\"items\"", "\"item\"", "missing_field"),
            ("\"O-1\"", "null", "wrong_type"),
            ("\"O-1\"", "1", "wrong_type"),
            ("\"O-1\"", "1e999", "wrong_type"),
            ("[{\"productId\"", "[1e999,{\"productId\"", "wrong_type"),
            ("99.98", "\"99.98\"", "wrong_type"),
            (":2,\"category\"", ":2.0,\"category\"", "wrong_type"),
            (":2,\"category\"", ":2e0,\"category\"", "wrong_type"),
            (":2,\"category\"", ":true,\"category\"", "wrong_type"),
            ("1767225600000", "\"2026-01-01\"", "wrong_type"),
            ("[{", "{\"x\":[{", "malformed_json"),
            ("[{\"productId\"", "[1,{\"productId\"", "wrong_type"),
            ("CREATED", "created", "unknown_event_type"),
            ("CREATED", "", "unknown_event_type"),
            ("\"O-1\"", "\"\"", "empty_id"),
            ("\"U-1\"", "\"\"", "empty_id"),
            ("\"P-1\"", "\"\"", "empty_id"),
            ("\"O-1\"", LONG, "too_long"),
            ("\"U-1\"", LONG, "too_long"),
            ("\"P-1\"", LONG, "too_long"),
            ("\"books\"", LONG, "too_long"),
            ("99.98", "-99.98", "negative_number"),
            ("49.99", "-0.01", "negative_number"),
            (":2,\"category\"", ":-1,\"category\"", "negative_number"),
            ("99.98", "1e400", "number_out_of_range"),
            ("99.98", "1000000000000000", "number_out_of_range"),
            (":2,\"category\"", ":4294967296,\"category\"", "number_out_of_range"),
            ("\"quantity\":2", "\"quantity\":99999999999999999999", "number_out_of_range"),
            ("99.98", "1.005", "inexact_money"),
            ("\"quantity\":2", "\"quantity\":0", "quantity_below_one"),
            ("\"quantity\":2", "\"quantity\":-0", "quantity_below_one"),
            ("\"quantity\":2", "\"quantity\":-3", "quantity_below_one"),
            ("1767225600000", "946684799999", "timestamp_out_of_range"),
            ("1767225600000", "4102444800001", "timestamp_out_of_range"),
            ("1767225600000", "-1", "timestamp_out_of_range"),
            ("1767225600000", "99999999999999999999", "timestamp_out_of_range"),
        ] {
            let record = with(from, to);
            assert_eq!(class_of(&record), Err(class), "{from} -> {to}: {record}");
        }
        assert_eq!(class_of(&"[".repeat(800_000)), Err("malformed_json"));
        assert_eq!(class_of(&format!("{}{}", "[".repeat(400_000), "]".repeat(400_000))), Err("too_deep"));
        assert_eq!(class_of("[]"), Err("wrong_type"));
        assert_eq!(class_of("[1,2"), Err("malformed_json"));
        assert_eq!(class_of("1e999"), Err("wrong_type"));
        assert_eq!(class_of(""), Err("empty"));
        assert_eq!(class_of("{}"), Err("missing_field"));
        assert_eq!(class_of(&format!("{GOOD}x")), Err("malformed_json"));
        let rules = DecodeRules { max_record_bytes: GOOD.len() - 1, ..DecodeRules::default() };
        assert_eq!(decode_order(GOOD.as_bytes(), &rules).unwrap_err().class, ErrorClass::TooLarge);
        assert_eq!(decode_order(b"{\"orderId\":\"\xff\"}", &DecodeRules::default()).unwrap_err().class, ErrorClass::InvalidUtf8);
    }

    #[test]
    fn what_reasonable_producers_write_is_accepted() {
        let good = class_of(GOOD).unwrap();
        for (from, to) in [
            ("{\"orderId\"", " \r\n\t{ \"orderId\" "),
            ("{\"orderId\"", "{\"unknown\":[{\"deep\":[1e999,\"\\ud800\"]}],\"unknown\":null,\"orderId\""),
            ("{\"orderId\"", "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[[\\\"[\"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],\"orderId\""),
            ("\"price\"", "\"colour\":\"red\",\"price\""),
            ("O-1", "\\u004f-1"),
            ("eventType", "event\\u0054ype"),
            ("99.98", "99.980"),
            ("99.98", "9998e-2"),
            ("99.98", "0.9998E+2"),
        ] {
            assert_eq!(class_of(&with(from, to)), Ok(good.clone()), "{from} -> {to}");
        }
        for (from, to) in [
            ("99.98", "50"),
            ("99.98", "49.9"),
            ("99.98", "-0.0"),
            (":2,\"category\"", ":-0,\"category\""),
            ("books", ""),
            ("One", ""),
        ] {
            assert!(class_of(&with(from, to)).is_ok(), "{from} -> {to}");
        }
        let without_items = with(r#"{"productId":"P-1","productName":"One","quantity":2,"price":49.99}"#, "");
        assert_eq!(class_of(&without_items).unwrap().items.len(), 0);
    }

    #[test]
    fn of_several_broken_rules_the_first_in_the_table_is_named() {
        let record = with("99.98", "-1.005").replacen("\"O-1\"", "\"\"", 1).replacen("\"quantity\":2", "\"quantity\":0", 1);
        let error = decode_order(record.as_bytes(), &DecodeRules::default()).unwrap_err();
        assert_eq!(error.to_string(), "empty_id: orderId is \"\"; an identifier has at least one character");
    }

    #[test]
    fn a_message_names_field_value_and_what_is_allowed_in_bounded_length() {
        let long = "X".repeat(10_000);
        let error = decode_order(with("CREATED", &long).as_bytes(), &DecodeRules::default()).unwrap_err();
        assert!(
            error.message.starts_with("eventType is \"XXXX") && error.message.contains("PAYMENT_COMPLETED"),
            "{}",
            error.message
        );
        assert!(error.message.len() < 300, "{}", error.message.len());
        let error = decode_order(with("49.99", "4.999").as_bytes(), &DecodeRules::default()).unwrap_err();
        assert_eq!(error.message, "items[0].price is 4.999; allowed are two places, because money is exact");
    }

    #[test]
    fn deep_nesting_is_not_a_stack_overflow() {
        let deep = "[".repeat(400_000) + &"]".repeat(400_000);
        assert_eq!(class_of(&with("{\"orderId\"", &format!("{{\"deep\":{deep},\"orderId\""))), Err("too_deep"));
        assert_eq!(class_of(&with("\"books\"", &deep)), Err("too_deep"));
    }

    #[test]
    fn the_documentation_has_every_class_in_order_of_precedence() {
        let page = include_str!("../../docs/order-job.md");
        let places: Vec<usize> = ErrorClass::ALL.iter().map(|class| page.find(&format!("\n| `{class}` |")).unwrap()).collect();
        assert!(places.is_sorted());
    }

    #[test]
    fn serde_and_as_str_agree_on_the_names_of_classes() {
        for class in ErrorClass::ALL {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{class}\""));
        }
        assert!(ErrorClass::ALL.is_sorted());
    }
}
