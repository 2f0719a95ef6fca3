//! What the audit looks for in an order event, whoever wrote it: the documented fields, by their names and aliases, and what stands for them where they
//! are not there.

use super::super::WriterSchema;
use apache_avro::schema::{EnumSchema, InnerDecimalSchema, RecordField, RecordSchema, Schema};
use apache_avro::types::Value;
use serde_json::Value as Json;

/// Names of an order's fields, in their documented order.
pub(super) const ORDER: [&str; 8] = ["orderId", "userId", "eventType", "amount", "itemCount", "category", "items", "timestamp"];
/// Names of an item's fields.
pub(super) const ITEM: [&str; 4] = ["productId", "productName", "quantity", "price"];

/// A record by its names, and its fields.
#[derive(Debug)]
pub(super) struct Wanted {
    names: Vec<String>,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    aliases: Vec<String>,
    default: Option<Json>,
}

/// Everything, from the reader's schema that the job has; without one, as documented.
#[derive(Debug)]
pub(super) struct Everything {
    pub order: Wanted,
    pub item: Wanted,
    kinds: Vec<String>,
    /// The symbols that are known, and the one that stands for others; none if all that is written counts.
    symbols: Option<(Vec<String>, Option<String>)>,
}

impl Everything {
    pub(super) fn of(reader: Option<&Schema>) -> Self {
        let documented = |name: &str, fields: &[&str], may_be_absent: &str| Wanted {
            names: vec![name.to_owned()],
            fields: fields
                .iter()
                .map(|field| Field {
                    name: (*field).to_owned(),
                    aliases: vec![],
                    default: (*field == may_be_absent).then(|| Json::String(String::new())),
                })
                .collect(),
        };
        let mut everything = Self {
            order: documented("OrderEvent", &ORDER, "category"),
            item: documented("Item", &ITEM, "productName"),
            kinds: vec!["EventType".to_owned()],
            symbols: None,
        };
        let Some(Schema::Record(order)) = reader else { return everything };
        everything.order = Wanted::of(order);
        let type_of = |name: &str| order.fields.iter().find(|field| field.name == name).map(|field| &field.schema);
        if let Some(Schema::Array(items)) = type_of("items")
            && let Schema::Record(item) = &*items.items
        {
            everything.item = Wanted::of(item);
        }
        if let Some(Schema::Enum(kinds)) = type_of("eventType") {
            everything.kinds = names(kinds.name.name(), kinds.aliases.iter().flatten().map(|alias| alias.name()));
            everything.symbols = Some((kinds.symbols.clone(), kinds.default.clone()));
        }
        everything
    }

    /// What the job makes of a symbol.
    pub(super) fn symbol<'s>(&'s self, written: &'s str) -> &'s str {
        match &self.symbols {
            Some((known, Some(default))) if !known.iter().any(|symbol| symbol == written) => default,
            _ => written,
        }
    }

    /// Whether the documentation says that orders of this schema can be read.
    pub(super) fn can_read(&self, writer: &WriterSchema) -> bool {
        let Schema::Record(order) = &writer.schema else { return false };
        self.order.is(order)
            && self.order.fields.iter().all(|field| {
                let good: &dyn Fn(&Schema) -> bool = match field.name.as_str() {
                    "orderId" | "userId" | "category" => &text,
                    "eventType" => &|schema| matches!(schema, Schema::Enum(kinds) if self.is_kind(kinds)),
                    "amount" => &money,
                    "itemCount" => &whole,
                    "items" => &|schema| matches!(schema, Schema::Array(array) if self.are_items(&array.items)),
                    "timestamp" => &time,
                    _ => &|_| true,
                };
                self.order.has(order, field, good)
            })
    }

    fn is_kind(&self, kinds: &EnumSchema) -> bool {
        self.kinds.iter().any(|name| name == kinds.name.name())
    }

    fn are_items(&self, schema: &Schema) -> bool {
        let item = match schema {
            Schema::Record(item) => item,
            // Looked up in what is at hand it would be one: good enough for a schema that the job has read.
            Schema::Ref { .. } => return true,
            _ => return false,
        };
        self.item.is(item)
            && self.item.fields.iter().all(|field| {
                let good: &dyn Fn(&Schema) -> bool = match field.name.as_str() {
                    "productId" | "productName" => &text,
                    "quantity" => &whole,
                    "price" => &money,
                    _ => &|_| true,
                };
                self.item.has(item, field, good)
            })
    }
}

impl Wanted {
    fn of(reader: &RecordSchema) -> Self {
        let field = |field: &RecordField| Field {
            name: field.name.clone(),
            aliases: field.aliases.clone(),
            default: field.default.clone(),
        };
        Self {
            names: names(reader.name.name(), reader.aliases.iter().flatten().map(|alias| alias.name())),
            fields: reader.fields.iter().map(field).collect(),
        }
    }

    fn is(&self, writer: &RecordSchema) -> bool {
        self.names.iter().any(|name| name == writer.name.name())
    }

    /// Whether the writer's field of this name is the wanted one: by its name, or by an alias that is no other field's name.
    fn means(&self, field: &Field, written: &str) -> bool {
        let by_name = |name: &str| self.fields.iter().any(|field| field.name == name);
        field.name == written || (!by_name(written) && field.aliases.iter().any(|alias| alias == written))
    }

    /// Whether the writer has the field once, and as something good; or not at all, and a default stands for it.
    fn has(&self, writer: &RecordSchema, field: &Field, good: &dyn Fn(&Schema) -> bool) -> bool {
        let mut written = writer.fields.iter().filter(|written| self.means(field, &written.name));
        match (written.next(), written.next()) {
            (None, _) => field.default.is_some(),
            (Some(_), Some(_)) => false,
            (Some(written), None) => match &written.schema {
                Schema::Ref { .. } => true,
                Schema::Union(union) => {
                    union.variants().iter().any(|branch| matches!(branch, Schema::Ref { .. }) || good(branch))
                }
                other => good(other),
            },
        }
    }

    /// What the record says in a field: a value, or its default.
    pub(super) fn find<'v>(&'v self, record: &'v Value, name: &str) -> Option<Said<'v>> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        let record = if let Value::Union(_, inner) = record { inner } else { record };
        let Value::Record(written) = record else { return None };
        let value = written.iter().find(|(written, _)| self.means(field, written)).map(|(_, value)| value);
        match value {
            Some(Value::Union(_, inner)) => Some(Said::Value(inner)),
            Some(value) => Some(Said::Value(value)),
            None => field.default.as_ref().map(Said::Default),
        }
    }
}

/// Where a value comes from.
pub(super) enum Said<'v> {
    Value(&'v Value),
    Default(&'v Json),
}

fn names<'a>(own: &'a str, aliases: impl Iterator<Item = &'a str>) -> Vec<String> {
    std::iter::once(own).chain(aliases).map(str::to_owned).collect()
}

fn text(schema: &Schema) -> bool {
    matches!(schema, Schema::String | Schema::Bytes | Schema::Uuid(_))
}

fn whole(schema: &Schema) -> bool {
    matches!(schema, Schema::Int | Schema::Long)
}

fn money(schema: &Schema) -> bool {
    matches!(schema, Schema::Decimal(decimal) if decimal.scale == 2 && matches!(decimal.inner, InnerDecimalSchema::Bytes))
}

fn time(schema: &Schema) -> bool {
    whole(schema) || matches!(schema, Schema::TimestampMillis | Schema::LocalTimestampMillis)
}
