//! The rules for input records, written down a second time. Not one line is shared with the job's decoder; a property test asks both.

use super::json::{Hundredths, NotJson, Shape, Value};
use super::{EventKind, JobRules};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// An input record that no rule speaks against, as far as the outputs depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Event {
    pub order: CompactString,
    pub user: CompactString,
    pub kind: EventKind,
    /// In hundredths.
    pub amount: i64,
    pub pieces: u32,
    pub category: CompactString,
    /// Product and quantity.
    pub items: Vec<(CompactString, u32)>,
    /// Milliseconds since the epoch.
    pub time: i64,
}

/// Classes of bad records, the first that applies is the one that counts (see the documentation of the order job).
const PRECEDENCE: [&str; 19] = [
    "too_large",
    "empty",
    "invalid_utf8",
    "malformed_json",
    "too_deep",
    "malformed_avro",
    "unknown_schema",
    "incompatible_schema",
    "duplicate_field",
    "missing_field",
    "wrong_type",
    "unknown_event_type",
    "empty_id",
    "too_long",
    "negative_number",
    "number_out_of_range",
    "inexact_money",
    "quantity_below_one",
    "timestamp_out_of_range",
];

/// Most brackets around anything in a record.
const LEVELS: usize = 32;

/// Judges one record: the event, or the class of the first rule (in precedence) that it breaks.
pub(super) fn judge(value: Option<&[u8]>, rules: &JobRules) -> Result<Event, &'static str> {
    let bytes = value.unwrap_or_default();
    if bytes.len() > rules.max_record_bytes {
        return Err("too_large");
    }
    if bytes.is_empty() {
        return Err("empty");
    }
    judge_text(std::str::from_utf8(bytes).map_err(|_| "invalid_utf8")?, rules)
}

/// The same of the text of a record, whatever its size.
pub(super) fn judge_text(text: &str, rules: &JobRules) -> Result<Event, &'static str> {
    let value = Value::whole(text).map_err(|_| "malformed_json")?;
    if value.levels() > LEVELS {
        return Err("too_deep");
    }
    let mut court = Court { against: Vec::new() };
    let event = court.order(value, rules);
    match court.verdict() {
        Some(class) => Err(class),
        None => event.ok_or("wrong_type"),
    }
}

/// Collects everything that speaks against one record.
struct Court {
    against: Vec<&'static str>,
}

impl Court {
    fn verdict(&self) -> Option<&'static str> {
        PRECEDENCE.into_iter().find(|class| self.against.contains(class))
    }

    fn refuse<T>(&mut self, class: &'static str) -> Option<T> {
        self.against.push(class);
        None
    }

    fn read<T>(&mut self, read: Result<T, NotJson>) -> Option<T> {
        read.map_err(|_| self.against.push("malformed_json")).ok()
    }

    fn fields<'a>(&mut self, value: Value<'a>) -> Option<Vec<(String, Value<'a>)>> {
        match self.read(value.fields())? {
            Some(fields) => Some(fields),
            None => self.refuse("wrong_type"),
        }
    }

    /// The value of a field that has to be there exactly once; of several the first one is looked at.
    fn field<'a>(&mut self, fields: &[(String, Value<'a>)], name: &str) -> Option<Value<'a>> {
        let mut named = fields.iter().filter(|field| field.0 == name).map(|field| field.1);
        let first = named.next();
        if first.is_none() {
            return self.refuse("missing_field");
        }
        if named.next().is_some() {
            self.against.push("duplicate_field");
        }
        first
    }

    fn order(&mut self, value: Value<'_>, rules: &JobRules) -> Option<Event> {
        let fields = self.fields(value)?;
        let order = self.field(&fields, "orderId").and_then(|value| self.identifier(value, rules));
        let user = self.field(&fields, "userId").and_then(|value| self.identifier(value, rules));
        let kind = self.field(&fields, "eventType").and_then(|value| self.kind(value));
        let amount = self.field(&fields, "amount").and_then(|value| self.money(value));
        let pieces = self.field(&fields, "itemCount").and_then(|value| self.pieces(value, "negative_number", 0));
        let category = self.field(&fields, "category").and_then(|value| self.limited(value, rules));
        let items = self.field(&fields, "items").and_then(|value| self.items(value, rules));
        let time = self.field(&fields, "timestamp").and_then(|value| self.time(value, rules));
        Some(Event {
            order: order?,
            user: user?,
            kind: kind?,
            amount: amount?,
            pieces: pieces?,
            category: category?,
            items: items?,
            time: time?,
        })
    }

    fn items(&mut self, value: Value<'_>, rules: &JobRules) -> Option<Vec<(CompactString, u32)>> {
        let Some(elements) = value.elements() else { return self.refuse("wrong_type") };
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let Some(fields) = self.fields(element) else { continue };
            let product = self.field(&fields, "productId").and_then(|value| self.identifier(value, rules));
            self.field(&fields, "productName").and_then(|value| self.string(value));
            let quantity = self.field(&fields, "quantity").and_then(|value| self.pieces(value, "quantity_below_one", 1));
            self.field(&fields, "price").and_then(|value| self.money(value));
            items.extend(product.zip(quantity));
        }
        Some(items)
    }

    fn string(&mut self, value: Value<'_>) -> Option<CompactString> {
        match self.read(value.string())? {
            Some(text) => Some(text.into()),
            None => self.refuse("wrong_type"),
        }
    }

    fn limited(&mut self, value: Value<'_>, rules: &JobRules) -> Option<CompactString> {
        let text = self.string(value)?;
        if text.len() > rules.max_id_bytes { self.refuse("too_long") } else { Some(text) }
    }

    fn identifier(&mut self, value: Value<'_>, rules: &JobRules) -> Option<CompactString> {
        let text = self.limited(value, rules)?;
        if text.is_empty() { self.refuse("empty_id") } else { Some(text) }
    }

    fn kind(&mut self, value: Value<'_>) -> Option<EventKind> {
        Some(match self.string(value)?.as_str() {
            "CREATED" => EventKind::Created,
            "PAYMENT_COMPLETED" => EventKind::PaymentCompleted,
            "SHIPPED" => EventKind::Shipped,
            "DELIVERED" => EventKind::Delivered,
            "CANCELLED" => EventKind::Cancelled,
            _ => return self.refuse("unknown_event_type"),
        })
    }

    fn money(&mut self, value: Value<'_>) -> Option<i64> {
        if value.shape() != Shape::Number {
            return self.refuse("wrong_type");
        }
        let money = Hundredths::of(value.text());
        let broken =
            [(money.below_zero, "negative_number"), (money.too_large, "number_out_of_range"), (money.inexact, "inexact_money")];
        let before = self.against.len();
        self.against.extend(broken.into_iter().filter(|(broken, _)| *broken).map(|(_, class)| class));
        (self.against.len() == before).then_some(money.value)
    }

    /// A number without point or exponent; an absurdly long one as the largest there is.
    fn whole(&mut self, value: Value<'_>) -> Option<i128> {
        if value.shape() != Shape::Number || value.text().contains(['.', 'e', 'E']) {
            return self.refuse("wrong_type");
        }
        let extreme = if value.text().starts_with('-') { i128::MIN } else { i128::MAX };
        Some(value.text().parse().unwrap_or(extreme))
    }

    fn pieces(&mut self, value: Value<'_>, too_few: &'static str, least: i128) -> Option<u32> {
        let number = self.whole(value)?;
        if number < least {
            return self.refuse(too_few);
        }
        match u32::try_from(number) {
            Ok(number) => Some(number),
            Err(_) => self.refuse("number_out_of_range"),
        }
    }

    fn time(&mut self, value: Value<'_>, rules: &JobRules) -> Option<i64> {
        let number = self.whole(value)?;
        match i64::try_from(number) {
            Ok(time) if rules.min_timestamp <= time && time <= rules.max_timestamp => Some(time),
            _ => self.refuse("timestamp_out_of_range"),
        }
    }
}

#[cfg(test)]
mod tests;
