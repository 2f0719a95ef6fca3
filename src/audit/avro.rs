//! Avro to the JSON that the documentation describes, by the generic reader of apache-avro and not by the job's own, so that a mistake there is not
//! made twice. What the record then is, the audit judges as it judges JSON.

mod wanted;

use super::json::{Hundredths, Shape, Value as Json};
use super::{Format, Formats, SchemaName, WriterSchema};
use crate::protocol::Failure;
use apache_avro::{error::Details, reader::datum::GenericDatumReader, types::Value};
use std::collections::HashMap;
use std::fmt::Write;
use wanted::{Everything, Said};

/// A record as JSON, or the class that it is refused with.
pub(super) type Read = Result<String, &'static str>;

/// Reads records of one audit.
pub(super) struct Reader<'a> {
    formats: &'a Formats,
    wanted: Everything,
    /// Schemas met so far; none of an unknown one.
    writers: HashMap<SchemaName, Option<WriterSchema>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(formats: &'a Formats) -> Self {
        Self { formats, wanted: Everything::of(formats.reader.as_ref()), writers: HashMap::new() }
    }

    /// An order event in its documented form, with nothing but its documented fields.
    pub(super) fn order(&mut self, format: Format, record: &[u8]) -> Result<Read, Failure> {
        let read = self.read(format, record, true)?;
        Ok(read.and_then(|value| order(&value, &self.wanted)))
    }

    /// A record of an output.
    pub(super) fn output(&mut self, format: Format, record: &[u8]) -> Result<Result<String, String>, Failure> {
        Ok(self.read(format, record, false)?.map_err(|class| format!("it is {class}")).map(|value| {
            let mut text = String::new();
            json(&value, &mut text);
            text
        }))
    }

    fn read(&mut self, format: Format, record: &[u8], is_order: bool) -> Result<Result<Value, &'static str>, Failure> {
        let Some((name, mut avro)) = header(format, record) else { return Ok(Err("malformed_avro")) };
        if !self.writers.contains_key(&name) {
            let writer = self.formats.schemas.schema(name)?;
            self.writers.insert(name, writer);
        }
        let Some(Some(writer)) = self.writers.get(&name) else { return Ok(Err("unknown_schema")) };
        if is_order && !self.wanted.can_read(writer) {
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

/// The documented fields of an order event, in their documented order.
fn order(value: &Value, wanted: &Everything) -> Read {
    let mut text = String::from("{");
    for (index, name) in wanted::ORDER.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":");
        match (name, wanted.order.find(value, name)) {
            ("items", Some(Said::Value(Value::Array(items)))) => {
                text.push('[');
                for (index, value) in items.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    item(value, &mut text, wanted)?;
                }
                text.push(']');
            }
            (_, said) => field(name, said, &mut text, wanted)?,
        }
    }
    text.push('}');
    Ok(text)
}

fn item(value: &Value, text: &mut String, wanted: &Everything) -> Result<(), &'static str> {
    text.push('{');
    for (index, name) in wanted::ITEM.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":");
        field(name, wanted.item.find(value, name), text, wanted)?;
    }
    text.push('}');
    Ok(())
}

/// The value of a documented field. One of another type, which only a branch of a union can have, is null: no field may be that.
fn field(name: &str, said: Option<Said<'_>>, text: &mut String, wanted: &Everything) -> Result<(), &'static str> {
    match (name, said) {
        ("amount" | "price", Some(Said::Value(value @ Value::Decimal(_)))) => json(value, text),
        ("amount" | "price", Some(Said::Default(default))) => {
            // Text, of which each character is a byte.
            let bytes: Vec<u8> = default.as_str().unwrap_or_default().chars().map(|c| u8::try_from(c).unwrap_or(0)).collect();
            money(&bytes, text);
        }
        ("eventType", Some(Said::Value(Value::Enum(_, symbol)))) => quoted(wanted.symbol(symbol), text),
        ("itemCount" | "quantity", Some(Said::Value(value @ (Value::Int(_) | Value::Long(_))))) => json(value, text),
        ("timestamp", Some(Said::Value(value))) if is_time(value) => json(value, text),
        ("orderId" | "userId" | "category" | "productId" | "productName", Some(Said::Value(value))) => match value {
            Value::Bytes(bytes) => quoted(std::str::from_utf8(bytes).map_err(|_| "invalid_utf8")?, text),
            Value::String(_) | Value::Uuid(_) => json(value, text),
            _ => text.push_str("null"),
        },
        (_, Some(Said::Default(default))) => text.push_str(&default.to_string()),
        _ => text.push_str("null"),
    }
    Ok(())
}

fn is_time(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Long(_) | Value::TimestampMillis(_) | Value::LocalTimestampMillis(_))
}

fn list(values: &[Value], text: &mut String) {
    text.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        json(value, text);
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
        Value::Array(values) => list(values, text),
        Value::Map(values) => {
            let mut entries: Vec<_> = values.iter().collect();
            entries.sort_by_key(|entry| entry.0);
            object(entries.into_iter().map(|(name, value)| (name.as_str(), value)), text);
        }
        Value::Record(fields) => object(fields.iter().map(|(name, value)| (name.as_str(), value)), text),
        _ => text.push_str("null"),
    }
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

#[cfg(test)]
mod tests;
