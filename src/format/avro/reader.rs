//! The schema that order events are read as: ours, or the user's, with more aliases and defaults than ours.

use super::plan::{Default, kind, named, record};
use super::schemas::{OwnSchema, order_event};
use crate::format::EventType;
use apache_avro::schema::{EnumSchema, InnerDecimalSchema, NamesRef, RecordField, RecordSchema, ResolvedSchema, Schema};
use std::sync::Arc;

/// What records of the input are resolved with, whoever wrote them.
#[derive(Debug, Clone)]
pub struct ReaderSchema(Arc<Schema>);

impl ReaderSchema {
    /// Our own.
    #[must_use]
    pub fn own() -> Self {
        Self(Arc::new(order_event().clone()))
    }

    /// One that a user wrote: all fields of ours with their types, and whatever aliases and defaults he needs. Further fields need a default, and
    /// are not read.
    ///
    /// # Errors
    ///
    /// It is no Avro schema, or a field that the job needs is not there, or is not what it has to be; says which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schema = Schema::parse_str(text).map_err(|error| format!("is no Avro schema: {error}"))?;
        {
            let names = ResolvedSchema::new(&schema).map_err(|error| error.to_string())?;
            Checking { names: names.get_names() }.order(&schema)?;
        }
        Ok(Self(Arc::new(schema)))
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.0
    }
}

const ORDER: [&str; 8] = ["orderId", "userId", "eventType", "amount", "itemCount", "category", "items", "timestamp"];
const ITEM: [&str; 4] = ["productId", "productName", "quantity", "price"];

struct Checking<'a> {
    names: &'a NamesRef<'a>,
}

impl Checking<'_> {
    fn order(&self, schema: &Schema) -> Result<(), String> {
        let order = record(schema, "the schema")?;
        fields(order, &ORDER, "")?;
        for field in &order.fields {
            self.field(field, "")?;
        }
        Ok(())
    }

    fn field(&self, field: &RecordField, prefix: &str) -> Result<(), String> {
        let place = format!("{prefix}{}", field.name);
        let schema = named(self.names, &field.schema)?;
        let wrong = |wanted: &str| Err(format!("the field {place} is {}; wanted is {wanted}", kind(schema)));
        let default = field.default.as_ref().map(|value| Default { place: &place, value: Some(value) });
        match field.name.as_str() {
            "orderId" | "userId" | "productId" | "category" | "productName" => {
                if !matches!(schema, Schema::String) {
                    return wrong("a string");
                }
                let may_be_empty = matches!(field.name.as_str(), "category" | "productName");
                default.map_or(Ok(()), |default| if may_be_empty { default.text() } else { default.id() }.map(drop))
            }
            "eventType" => match schema {
                Schema::Enum(kinds) => {
                    symbols(kinds, &place)?;
                    default.map_or(Ok(()), |default| default.event_type().map(drop))
                }
                _ => wrong("an enum"),
            },
            "amount" | "price" => match schema {
                Schema::Decimal(decimal) if decimal.scale == 2 && matches!(decimal.inner, InnerDecimalSchema::Bytes) => {
                    default.map_or(Ok(()), |default| default.money().map(drop))
                }
                _ => wrong("a decimal of scale 2 in bytes"),
            },
            "itemCount" | "quantity" => {
                if !matches!(schema, Schema::Long) {
                    return wrong("a long");
                }
                let least = u32::from(field.name == "quantity");
                default.map_or(Ok(()), |default| default.count(least).map(drop))
            }
            "timestamp" => match schema {
                Schema::TimestampMillis => default.map_or(Ok(()), |default| default.whole().map(drop)),
                _ => wrong("a timestamp-millis"),
            },
            "items" => {
                let Schema::Array(items) = schema else { return wrong("an array") };
                let item = record(named(self.names, &items.items)?, "an element of items")?;
                fields(item, &ITEM, "items[].")?;
                for field in &item.fields {
                    self.field(field, "items[].")?;
                }
                default.map_or(Ok(()), |default| default.no_items())
            }
            _ => Ok(()),
        }
    }
}

/// All of the job's are there, and others have a default.
fn fields(record: &RecordSchema, wanted: &[&str], prefix: &str) -> Result<(), String> {
    let has = |name: &str| record.fields.iter().any(|field| field.name == name);
    if let Some(missing) = wanted.iter().find(|name| !has(name)) {
        return Err(format!("the field {prefix}{missing} is missing; the job needs {}", wanted.join(", ")));
    }
    let strange = record.fields.iter().find(|field| !wanted.contains(&field.name.as_str()) && field.default.is_none());
    match strange {
        Some(field) => Err(format!("the field {prefix}{} is none of the job's, and has no default", field.name)),
        None => Ok(()),
    }
}

fn symbols(kinds: &EnumSchema, place: &str) -> Result<(), String> {
    let missing = EventType::ALL.into_iter().find(|kind| !kinds.symbols.iter().any(|symbol| symbol == kind.as_str()));
    missing.map_or(Ok(()), |kind| Err(format!("the field {place} lacks the symbol {kind}")))
}

/// Says which schema is meant, in messages.
impl std::fmt::Display for ReaderSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            Schema::Record(record) => write!(f, "{}", record.name),
            _ => f.write_str(OwnSchema::OrderEvent.record_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;
    use crate::format::DecodeRules;
    use apache_avro::{types::Value, writer::datum::GenericDatumWriter};
    use serde_json::{Value as Json, json};

    fn own() -> Json {
        serde_json::from_str(OwnSchema::OrderEvent.text()).unwrap()
    }

    fn field<'a>(schema: &'a mut Json, name: &str) -> &'a mut Json {
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.iter_mut().find(|field| field["name"] == name).unwrap()
    }

    fn refused(change: impl FnOnce(&mut Json)) -> String {
        let mut schema = own();
        change(&mut schema);
        ReaderSchema::parse(&schema.to_string()).unwrap_err()
    }

    #[test]
    fn our_own_is_one() {
        assert_eq!(ReaderSchema::parse(OwnSchema::OrderEvent.text()).unwrap().schema(), ReaderSchema::own().schema());
    }

    #[test]
    fn what_the_job_needs_has_to_be_there_and_be_what_it_is() {
        assert!(ReaderSchema::parse("{").unwrap_err().starts_with("is no Avro schema: "));
        assert_eq!(ReaderSchema::parse("\"string\"").unwrap_err(), "the schema is a string; wanted is a record");
        let without =
            |name: &str| refused(|schema| schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != name));
        for name in ORDER {
            assert!(
                without(name).starts_with(&format!("the field {name} is missing; the job needs orderId, ")),
                "{}",
                without(name)
            );
        }
        let typed = |name: &str, kind: Json| refused(|schema| field(schema, name)["type"] = kind);
        let other_scale = json!({"type": "bytes", "logicalType": "decimal", "precision": 17, "scale": 3});
        for (name, kind, why) in [
            ("orderId", json!("bytes"), "the field orderId is bytes; wanted is a string"),
            ("userId", json!(["null", "string"]), "the field userId is a union; wanted is a string"),
            ("amount", json!("double"), "the field amount is a double; wanted is a decimal of scale 2 in bytes"),
            ("amount", other_scale, "the field amount is a decimal; wanted is a decimal of scale 2 in bytes"),
            ("itemCount", json!("int"), "the field itemCount is an int; wanted is a long"),
            ("items", json!("string"), "the field items is a string; wanted is an array"),
            ("timestamp", json!("long"), "the field timestamp is a long; wanted is a timestamp-millis"),
            ("eventType", json!("string"), "the field eventType is a string; wanted is an enum"),
        ] {
            assert_eq!(typed(name, kind), why);
        }
        let symbols = refused(|schema| field(schema, "eventType")["type"]["symbols"] = json!(["UNKNOWN", "CREATED"]));
        assert_eq!(symbols, "the field eventType lacks the symbol PAYMENT_COMPLETED");
        let price = refused(|schema| {
            let item = &mut field(schema, "items")["type"]["items"];
            field(item, "price")["name"] = json!("cost");
        });
        assert_eq!(price, "the field items[].price is missing; the job needs productId, productName, quantity, price");
        let more = refused(|schema| schema["fields"].as_array_mut().unwrap().push(json!({"name": "coupon", "type": "string"})));
        assert_eq!(more, "the field coupon is none of the job's, and has no default");
        let bad = refused(|schema| field(schema, "userId")["default"] = json!(""));
        assert_eq!(bad, "the default of userId is \"\", which no record may have");
        let long = refused(|schema| field(schema, "category")["default"] = json!("x".repeat(1_025)));
        assert!(long.contains("the default of category is \"xxx"), "{long}");
    }

    #[test]
    fn its_aliases_and_defaults_are_those_that_count() {
        // given a producer that calls the user the customer, says nothing of items, and names its record otherwise
        let writer = Schema::parse_str(
            r#"{"type": "record", "name": "ShopOrder", "fields": [
                {"name": "orderId", "type": "string"},
                {"name": "customer", "type": "string"},
                {"name": "eventType", "type": {"type": "enum", "name": "Step", "symbols": ["CREATED", "RETURNED"]}},
                {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 17, "scale": 2}},
                {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#,
        )
        .unwrap();
        let written = |symbol: u32, name: &str| {
            let value = Value::Record(vec![
                ("orderId".into(), Value::String("O-1".into())),
                ("customer".into(), Value::String("U-9".into())),
                ("eventType".into(), Value::Enum(symbol, name.into())),
                ("amount".into(), Value::Decimal(vec![1, 0].into())),
                ("timestamp".into(), Value::TimestampMillis(1_767_225_600_000)),
            ]);
            GenericDatumWriter::builder(&writer).build().unwrap().write_value_to_vec(value).unwrap()
        };
        assert!(Plan::new(&writer, &[]).is_err());
        // when the reader's schema has all that
        let mut schema = own();
        schema["aliases"] = json!(["ShopOrder"]);
        field(&mut schema, "userId")["aliases"] = json!(["customer"]);
        field(&mut schema, "eventType")["type"]["aliases"] = json!(["Step"]);
        field(&mut schema, "eventType")["type"]["default"] = json!("CANCELLED");
        field(&mut schema, "itemCount")["default"] = json!(0);
        field(&mut schema, "items")["default"] = json!([]);
        field(&mut schema, "category")["default"] = json!("shop");
        let reader = ReaderSchema::parse(&schema.to_string()).unwrap();
        // then its records are read
        let plan = Plan::read_as(&writer, &[], &reader).unwrap();
        let event = plan.decode(&written(0, "CREATED"), 0, &DecodeRules::default()).unwrap();
        assert_eq!((event.user_id.as_str(), event.category.as_str(), event.item_count), ("U-9", "shop", 0));
        assert_eq!((event.event_type, event.items.len(), event.amount.to_string()), (EventType::Created, 0, "2.56".to_owned()));
        let event = plan.decode(&written(1, "RETURNED"), 0, &DecodeRules::default()).unwrap();
        assert_eq!(event.event_type, EventType::Cancelled);
    }
}
