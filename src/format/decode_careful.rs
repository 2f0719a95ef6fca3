//! The reader that decides: every rule, every reason. serde_json checks the grammar; each field is then judged by its own text.

use super::findings::Findings;
use super::money::read_money;
use super::{DecodeError, DecodeRules, ErrorClass, EventType, Item, MAX_DEPTH, OrderEvent, decode::too_long};
use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::{borrow::Cow, fmt};

/// Reads an order event from text that is UTF-8 and within the size limit.
pub(super) fn decode(text: &str, rules: &DecodeRules) -> Result<OrderEvent, DecodeError> {
    // Grammar first, whole: a cut-off record must not look like one of a wrong type because its beginning does.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(DecodeError { class: ErrorClass::MalformedJson, message: error.to_string() });
    }
    // The grammar is right, so it is enough to count; serde_json itself skips brackets without recursion, at any depth.
    let depth = depth(text);
    if depth > MAX_DEPTH {
        let message = format!("the record has {depth} levels of objects and arrays; allowed are at most {MAX_DEPTH}");
        return Err(DecodeError { class: ErrorClass::TooDeep, message });
    }
    let mut found = Findings::default();
    let event = read_event(text, rules, &mut found);
    match (found.worst, event) {
        (None, Some(event)) => Ok(event),
        (Some(error), _) => Err(error),
        (None, None) => Err(DecodeError { class: ErrorClass::WrongType, message: "the record is not an order event".into() }),
    }
}

/// How deep the brackets of a JSON text are nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted) = (0_usize, 0, false);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

const ORDER_FIELDS: [&str; 8] = ["orderId", "userId", "eventType", "amount", "itemCount", "category", "items", "timestamp"];
const ITEM_FIELDS: [&str; 4] = ["productId", "productName", "quantity", "price"];

fn read_event(text: &str, rules: &DecodeRules, found: &mut Findings) -> Option<OrderEvent> {
    let fields: Fields<'_, 8> = read_fields(text, &ORDER_FIELDS, "the record", found)?;
    let [order_id, user_id, event_type, amount, item_count, category, items, timestamp] = fields.each("", &ORDER_FIELDS, found);
    // Every field is judged, also when one before it failed: the class is the first in precedence, not in place.
    let order_id = order_id.and_then(|field| field.id(rules, found));
    let user_id = user_id.and_then(|field| field.id(rules, found));
    let event_type = event_type.and_then(|field| field.event_type(found));
    let amount = amount.and_then(|field| field.money(found));
    let item_count = item_count.and_then(|field| field.count(found, 0));
    let category = category.and_then(|field| field.short(rules, found));
    let items = items.and_then(|field| field.items(rules, found));
    let timestamp = timestamp.and_then(|field| field.timestamp(rules, found));
    Some(OrderEvent {
        order_id: order_id?,
        user_id: user_id?,
        event_type: event_type?,
        amount: amount?,
        item_count: item_count?,
        category: category?,
        items: items?,
        timestamp: timestamp?,
    })
}

fn read_item(text: &str, index: usize, rules: &DecodeRules, found: &mut Findings) -> Option<Item> {
    let place = format!("items[{index}]");
    let fields: Fields<'_, 4> = read_fields(text, &ITEM_FIELDS, &place, found)?;
    let prefix = format!("{place}.");
    let [product_id, product_name, quantity, price] = fields.each(&prefix, &ITEM_FIELDS, found);
    let product_id = product_id.and_then(|field| field.id(rules, found));
    let product_name = product_name.and_then(|field| field.text(found));
    let quantity = quantity.and_then(|field| field.count(found, 1));
    let price = price.and_then(|field| field.money(found));
    Some(Item { product_id: product_id?, product_name: product_name?, quantity: quantity?, price: price? })
}

/// The texts of the known fields of one object, the first copy of each.
struct Fields<'a, const N: usize> {
    values: [Option<&'a str>; N],
    twice: [bool; N],
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Notes what is missing or double, and gives each field its place.
    fn each<'n>(self, prefix: &'n str, names: &'n [&'static str; N], found: &mut Findings) -> [Option<Field<'a, 'n>>; N] {
        let mut index = 0;
        self.values.map(|value| {
            let name = names.get(index).copied().unwrap_or_default();
            if self.twice.get(index) == Some(&true) {
                found.note(ErrorClass::DuplicateField, || format!("the field {prefix}{name} is there more than once"));
            }
            if value.is_none() {
                found.note(ErrorClass::MissingField, || format!("the field {prefix}{name} is missing"));
            }
            index += 1;
            value.map(|text| Field { prefix, name, text })
        })
    }
}

fn read_fields<'a, const N: usize>(
    text: &'a str,
    names: &'static [&'static str; N],
    place: &str,
    found: &mut Findings,
) -> Option<Fields<'a, N>> {
    struct Object<const N: usize>(&'static [&'static str; N]);

    impl<'de, const N: usize> Visitor<'de> for Object<N> {
        type Value = Fields<'de, N>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Fields { values: [None; N], twice: [false; N] };
            while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                match self.0.iter().position(|known| *known == name) {
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                    Some(index) => {
                        let value = map.next_value::<&'de RawValue>()?;
                        match fields.values.get_mut(index) {
                            Some(slot @ None) => *slot = Some(value.get()),
                            _ => fields.twice.get_mut(index).into_iter().for_each(|twice| *twice = true),
                        }
                    }
                }
            }
            Ok(fields)
        }
    }

    // By the first byte, not by serde_json's error: it calls 1e999 a syntax error as soon as it wants its value.
    if !text.trim_start().starts_with('{') {
        found.note(ErrorClass::WrongType, || format!("{place} is {}; wanted is an object", shown(text)));
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match reader.deserialize_map(Object(names)) {
        Ok(fields) => Some(fields),
        Err(error) => {
            found.note(ErrorClass::MalformedJson, || format!("{place}: {error}"));
            None
        }
    }
}

/// A field's name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The text of one field's value, and its place for messages.
struct Field<'a, 'n> {
    prefix: &'n str,
    name: &'static str,
    text: &'a str,
}

impl Field<'_, '_> {
    fn note(&self, found: &mut Findings, class: ErrorClass, wanted: &str) {
        found.note(class, || format!("{}{} is {}; {wanted}", self.prefix, self.name, shown(self.text)));
    }

    fn string(&self, found: &mut Findings) -> Option<Cow<'_, str>> {
        if !self.text.starts_with('"') {
            self.note(found, ErrorClass::WrongType, "wanted is a string");
            return None;
        }
        match serde_json::from_str::<Name<'_>>(self.text) {
            Ok(Name(text)) => Some(text),
            Err(error) => {
                found.note(ErrorClass::MalformedJson, || format!("{}{}: {error}", self.prefix, self.name));
                None
            }
        }
    }

    fn text(&self, found: &mut Findings) -> Option<CompactString> {
        self.string(found).map(CompactString::from)
    }

    fn short(&self, rules: &DecodeRules, found: &mut Findings) -> Option<CompactString> {
        let text = self.text(found)?;
        if text.len() > rules.max_id_bytes {
            let place = format_args!("{}{}", self.prefix, self.name);
            found.note(ErrorClass::TooLong, || too_long(&place, text.len(), rules));
            return None;
        }
        Some(text)
    }

    fn id(&self, rules: &DecodeRules, found: &mut Findings) -> Option<CompactString> {
        let text = self.short(rules, found)?;
        if text.is_empty() {
            self.note(found, ErrorClass::EmptyId, "an identifier has at least one character");
            return None;
        }
        Some(text)
    }

    fn event_type(&self, found: &mut Findings) -> Option<EventType> {
        let text = self.string(found)?;
        let kind = EventType::from_wire(&text);
        if kind.is_none() {
            let wanted = "allowed are CREATED, PAYMENT_COMPLETED, SHIPPED, DELIVERED and CANCELLED";
            self.note(found, ErrorClass::UnknownEventType, wanted);
        }
        kind
    }

    fn is_number(&self) -> bool {
        self.text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }

    /// Sign and digits of a whole number.
    fn whole(&self, found: &mut Findings) -> Option<(bool, &str)> {
        if !self.is_number() || self.text.contains(['.', 'e', 'E']) {
            self.note(found, ErrorClass::WrongType, "wanted is a whole number");
            return None;
        }
        match self.text.strip_prefix('-') {
            Some(digits) => Some((digits != "0", digits)),
            None => Some((false, self.text)),
        }
    }

    fn count(&self, found: &mut Findings, least: u32) -> Option<u32> {
        let (negative, digits) = self.whole(found)?;
        if negative && least == 0 {
            self.note(found, ErrorClass::NegativeNumber, "allowed are 0 and more");
            return None;
        }
        let value = if negative { Ok(0) } else { digits.parse::<u32>() };
        match value {
            Err(_) => {
                self.note(found, ErrorClass::NumberOutOfRange, "allowed are at most 4294967295");
                None
            }
            Ok(value) if value < least => {
                self.note(found, ErrorClass::QuantityBelowOne, "allowed are 1 and more");
                None
            }
            Ok(value) => Some(value),
        }
    }

    fn money(&self, found: &mut Findings) -> Option<Decimal> {
        if !self.is_number() {
            self.note(found, ErrorClass::WrongType, "wanted is a number");
            return None;
        }
        let money = read_money(self.text);
        if money.negative {
            self.note(found, ErrorClass::NegativeNumber, "allowed are 0 and more");
        }
        if money.too_large {
            self.note(found, ErrorClass::NumberOutOfRange, "allowed are at most 999999999999999.99");
        }
        if money.inexact {
            self.note(found, ErrorClass::InexactMoney, "allowed are two places, because money is exact");
        }
        (!money.negative && !money.too_large && !money.inexact).then(|| Decimal::new(money.cents, 2))
    }

    fn timestamp(&self, rules: &DecodeRules, found: &mut Findings) -> Option<i64> {
        let (negative, digits) = self.whole(found)?;
        let value = digits.parse::<i64>().ok().map(|value| if negative { -value } else { value });
        match value {
            Some(value) if (rules.min_timestamp..=rules.max_timestamp).contains(&value) => Some(value),
            _ => {
                let wanted =
                    format!("allowed are {} to {} (milliseconds since the epoch)", rules.min_timestamp, rules.max_timestamp);
                self.note(found, ErrorClass::TimestampOutOfRange, &wanted);
                None
            }
        }
    }

    fn items(&self, rules: &DecodeRules, found: &mut Findings) -> Option<SmallVec<[Item; 3]>> {
        match serde_json::from_str::<Vec<&RawValue>>(self.text) {
            Ok(items) => {
                // Each is judged, but after one that is bad none is kept: a text of a megabyte can hold half a million bad ones.
                let mut good = Some(SmallVec::new());
                for (index, item) in items.iter().enumerate() {
                    match (read_item(item.get(), index, rules, found), &mut good) {
                        (Some(item), Some(good)) => good.push(item),
                        (Some(_), None) => {}
                        (None, _) => good = None,
                    }
                }
                good
            }
            Err(_) => {
                self.note(found, ErrorClass::WrongType, "wanted is an array");
                None
            }
        }
    }
}

/// The beginning of a value, for a message of bounded length in one line.
fn shown(text: &str) -> String {
    const MOST: usize = 64;
    let mut short: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
