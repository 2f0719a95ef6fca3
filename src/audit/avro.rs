//! Avro to the JSON that the documentation describes, by the generic reader of apache-avro and not by the job's own, so that a mistake there is not
//! made twice. What the record then is, the audit judges as it judges JSON.

use super::json::{Hundredths, Shape, Value as Json};
use super::{Format, Formats, SchemaName, WriterSchema};
use crate::protocol::Failure;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, Schema};
use apache_avro::{error::Details, reader::datum::GenericDatumReader, types::Value};
use std::collections::HashMap;
use std::fmt::Write;

/// A record as JSON, or the class that it is refused with.
pub(super) type Read = Result<String, &'static str>;

/// Reads records of one audit.
pub(super) struct Reader<'a> {
    formats: &'a Formats,
    /// Schemas met so far; none of an unknown one.
    writers: HashMap<SchemaName, Option<WriterSchema>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(formats: &'a Formats) -> Self {
        Self { formats, writers: HashMap::new() }
    }

    /// An order event in its documented form, with nothing but its documented fields.
    pub(super) fn order(&mut self, format: Format, record: &[u8]) -> Result<Read, Failure> {
        Ok(self.read(format, record)?.map(|value| order(&value)))
    }

    /// A record of an output.
    pub(super) fn output(&mut self, format: Format, record: &[u8]) -> Result<Result<String, String>, Failure> {
        Ok(self.read(format, record)?.map_err(|class| format!("it is {class}")).map(|value| {
            let mut text = String::new();
            json(&value, &mut text);
            text
        }))
    }

    fn read(&mut self, format: Format, record: &[u8]) -> Result<Result<Value, &'static str>, Failure> {
        let Some((name, mut avro)) = header(format, record) else { return Ok(Err("malformed_avro")) };
        if !self.writers.contains_key(&name) {
            let writer = self.formats.schemas.schema(name)?;
            self.writers.insert(name, writer);
        }
        let Some(Some(writer)) = self.writers.get(&name) else { return Ok(Err("unknown_schema")) };
        let is_order = matches!(&writer.schema, Schema::Record(record) if record.name.name() == "OrderEvent");
        if self.formats.of(super::Topic::Orders) == format && is_order && !usable(writer) {
            return Ok(Err("incompatible_schema"));
        }
        let all = writer.others.iter().chain([&writer.schema]).collect();
        let reader = GenericDatumReader::builder(&writer.schema).writer_schemata(all).and_then(|reader| reader.build());
        let Ok(reader) = reader else { return Ok(Err("incompatible_schema")) };
        Ok(match reader.read_value(&mut avro) {
            Ok(_) if !avro.is_empty() => Err("malformed_avro"),
            Ok(value) => Ok(value),
            Err(error) if matches!(error.details(), Details::ConvertToUtf8(_)) => Err("invalid_utf8"),
            Err(_) => Err("malformed_avro"),
        })
    }
}

fn header(format: Format, record: &[u8]) -> Option<(SchemaName, &[u8])> {
    match format {
        Format::Json => None,
        Format::Avro => {
            let (head, avro) = record.split_at_checked(5)?;
            let (magic, id) = head.split_first()?;
            (*magic == 0).then_some((SchemaName::Id(u32::from_be_bytes(id.try_into().ok()?)), avro))
        }
        Format::AvroSingleObject => {
            let (head, avro) = record.split_at_checked(10)?;
            let fingerprint = head.strip_prefix(&[0xc3, 0x01])?;
            Some((SchemaName::Fingerprint(fingerprint.try_into().ok()?), avro))
        }
    }
}

/// Whether the documentation says that orders of this schema can be read.
fn usable(writer: &WriterSchema) -> bool {
    let Schema::Record(order) = &writer.schema else { return false };
    // Types by name are looked up in what is at hand: good enough for a schema that the job has read.
    let some = |schema: &Schema, good: &dyn Fn(&Schema) -> bool| match schema {
        Schema::Ref { .. } => true,
        Schema::Union(union) => union.variants().iter().any(|branch| matches!(branch, Schema::Ref { .. }) || good(branch)),
        other => good(other),
    };
    let text = |schema: &Schema| matches!(schema, Schema::String | Schema::Bytes | Schema::Uuid(_));
    let whole = |schema: &Schema| matches!(schema, Schema::Int | Schema::Long);
    let money = |schema: &Schema| matches!(schema, Schema::Decimal(decimal) if decimal.scale == 2 && matches!(decimal.inner, InnerDecimalSchema::Bytes));
    let time = |schema: &Schema| whole(schema) || matches!(schema, Schema::TimestampMillis | Schema::LocalTimestampMillis);
    let kind = |schema: &Schema| matches!(schema, Schema::Enum(kind) if kind.name.name() == "EventType");
    let has = |record: &RecordSchema, name: &str, optional: bool, good: &dyn Fn(&Schema) -> bool| {
        record.fields.iter().find(|field| field.name == name).map_or(optional, |field| some(&field.schema, good))
    };
    let item = |schema: &Schema| match schema {
        Schema::Record(item) => {
            item.name.name() == "Item"
                && has(item, "productId", false, &text)
                && has(item, "productName", true, &text)
                && has(item, "quantity", false, &whole)
                && has(item, "price", false, &money)
        }
        Schema::Ref { .. } => true,
        _ => false,
    };
    let items = |schema: &Schema| matches!(schema, Schema::Array(array) if item(&array.items));
    ["orderId", "userId"].iter().all(|name| has(order, name, false, &text))
        && has(order, "eventType", false, &kind)
        && has(order, "amount", false, &money)
        && has(order, "itemCount", false, &whole)
        && has(order, "category", true, &text)
        && has(order, "items", false, &items)
        && has(order, "timestamp", false, &time)
}

/// The documented fields of an order event, in their documented order.
fn order(value: &Value) -> String {
    let mut text = String::from("{");
    let names = ["orderId", "userId", "eventType", "amount", "itemCount", "category", "items", "timestamp"];
    for (index, name) in names.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":");
        match (name, field(value, name)) {
            ("items", Some(Value::Array(items))) => list(items, &mut text, item),
            (_, Some(value)) => json(value, &mut text),
            (_, None) => text.push_str("\"\""),
        }
    }
    text.push('}');
    text
}

fn item(value: &Value, text: &mut String) {
    text.push('{');
    for (index, name) in ["productId", "productName", "quantity", "price"].into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":");
        match field(value, name) {
            Some(value) => json(value, text),
            None => text.push_str("\"\""),
        }
    }
    text.push('}');
}

/// A field of a record, or of the record in a union.
fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Union(_, value) => field(value, name),
        Value::Record(fields) => {
            let value = fields.iter().find(|field| field.0 == name).map(|field| &field.1);
            match value {
                Some(Value::Union(_, inner)) => Some(inner),
                other => other,
            }
        }
        _ => None,
    }
}

fn list(values: &[Value], text: &mut String, each: fn(&Value, &mut String)) {
    text.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        each(value, text);
    }
    text.push(']');
}

fn quoted(said: &str, text: &mut String) {
    // A string is always JSON.
    text.push_str(&serde_json::to_string(said).unwrap_or_default());
}

/// Any value as the JSON that the outputs' documentation describes. Decimals have two places: the schemas say so.
fn json(value: &Value, text: &mut String) {
    match value {
        Value::Union(_, value) => json(value, text),
        Value::Boolean(yes) => text.push_str(if *yes { "true" } else { "false" }),
        Value::Int(number) | Value::Date(number) | Value::TimeMillis(number) => _ = write!(text, "{number}"),
        Value::Long(number)
        | Value::TimestampMillis(number)
        | Value::LocalTimestampMillis(number)
        | Value::TimestampMicros(number) => _ = write!(text, "{number}"),
        Value::String(said) | Value::Enum(_, said) => quoted(said, text),
        Value::Bytes(bytes) => quoted(&String::from_utf8_lossy(bytes), text),
        Value::Uuid(id) => quoted(&id.to_string(), text),
        Value::Decimal(decimal) => money(&Vec::try_from(decimal).unwrap_or_default(), text),
        Value::Array(values) => list(values, text, if values.iter().all(is_order) { order_into } else { json }),
        Value::Map(values) => {
            let mut entries: Vec<_> = values.iter().collect();
            entries.sort_by_key(|entry| entry.0);
            object(entries.into_iter().map(|(name, value)| (name.as_str(), value)), text);
        }
        Value::Record(fields) => object(fields.iter().map(|(name, value)| (name.as_str(), value)), text),
        _ => text.push_str("null"),
    }
}

fn is_order(value: &Value) -> bool {
    field(value, "orderId").is_some() && field(value, "items").is_some()
}

fn order_into(value: &Value, text: &mut String) {
    text.push_str(&order(value));
}

fn object<'v>(fields: impl Iterator<Item = (&'v str, &'v Value)>, text: &mut String) {
    text.push('{');
    for (index, (name, value)) in fields.enumerate() {
        if index > 0 {
            text.push(',');
        }
        quoted(name, text);
        text.push(':');
        json(value, text);
    }
    text.push('}');
}

/// Two's complement of hundredths, the highest byte first.
fn money(bytes: &[u8], text: &mut String) {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    if bytes.len() > 16 {
        // Nothing that is documented is so large; what does not fit is refused for its size or its sign.
        let sign = if negative { "-" } else { "" };
        let spare = if negative { 0xff } else { 0 };
        let (front, rest) = bytes.split_at(bytes.len() - 16);
        if front.iter().all(|byte| *byte == spare) && rest.first().is_some_and(|byte| (*byte >= 0x80) == negative) {
            return money(rest, text);
        }
        text.push_str(sign);
        text.push_str("1e400");
        return;
    }
    let start = if negative { -1_i128 } else { 0 };
    let cents = bytes.iter().fold(start, |sum, byte| (sum << 8) | i128::from(*byte));
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    let _ = write!(text, "{sign}{}.{:02}", cents / 100, cents % 100);
}

/// A JSON order event in the form that [`Reader::order`] gives, for comparing events across formats; none if it is no good one.
pub(super) fn canonical(event: &[u8]) -> Option<String> {
    let fields = Json::whole(std::str::from_utf8(event).ok()?).ok()?.fields().ok()??;
    let find = |fields: &[(String, Json<'_>)], name: &str| -> Option<String> {
        let value = fields.iter().find(|field| field.0 == name)?.1;
        let mut text = String::new();
        match (value.shape(), name) {
            (Shape::Text, _) => quoted(&value.string().ok()??, &mut text),
            (Shape::Number, "amount" | "price") => {
                let cents = Hundredths::of(value.text()).value;
                let _ = write!(text, "{}.{:02}", cents / 100, cents % 100);
            }
            (Shape::Number, _) => _ = write!(text, "{}", value.text().parse::<i128>().ok()?),
            _ => return None,
        }
        Some(format!("\"{name}\":{text}"))
    };
    let items = fields.iter().find(|field| field.0 == "items")?.1.elements()?;
    let items = items.into_iter().map(|item| {
        let fields = item.fields().ok()??;
        let parts: Option<Vec<_>> =
            ["productId", "productName", "quantity", "price"].into_iter().map(|name| find(&fields, name)).collect();
        Some(format!("{{{}}}", parts?.join(",")))
    });
    let items = items.collect::<Option<Vec<_>>>()?.join(",");
    let head: Option<Vec<_>> = ["orderId", "userId", "eventType", "amount", "itemCount", "category"]
        .into_iter()
        .map(|name| find(&fields, name))
        .collect();
    Some(format!("{{{},\"items\":[{items}],{}}}", head?.join(","), find(&fields, "timestamp")?))
}
