//! How records of one writer's schema become order events: the writer's schema and ours, resolved once as the Avro specification says.
//!
//! | writer's field | what the plan does |
//! | --- | --- |
//! | of the same name, or named by an alias of ours | read into its place |
//! | that ours does not have | read over |
//! | absent, and ours has a default | the default is in its place already |
//! | absent, and ours has no default | no plan: `incompatible_schema` |
//!
//! Promotions: int to long, bytes to string. A union is resolved by the branch that a record has: the plan knows for each whether it can be read.
//! The one thing beyond the specification is that a timestamp in another unit than ours is refused, not read as if it were milliseconds.

use super::reader::ReaderSchema;
use super::skip::{Skip, Skipping, Skips};
use crate::format::{EventType, Item, MAX_MONEY, OrderEvent};
use apache_avro::schema::{
    Aliases, InnerDecimalSchema, Name, NamesRef, RecordField, RecordSchema, ResolvedSchema, Schema, SchemaKind,
};
use compact_str::CompactString;
use rust_decimal::Decimal;
use serde_json::Value;
use smallvec::SmallVec;

/// A value as the writer wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wire<T> {
    Plain(T),
    Union(Box<[Branch<T>]>),
}

/// A branch of a writer's union.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Branch<T> {
    Usable(T),
    /// Ours has nothing to put it into: a record that has it is bad.
    Other {
        is: &'static str,
        skip: Skip,
    },
}

/// A string, or bytes that have to be UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text;

/// Bytes of a decimal of scale 2.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Money;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Whole {
    Int,
    Long,
}

/// What a symbol of the writer's enum is to us.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Symbol {
    Known(EventType),
    Unknown(Box<str>),
}

pub(super) type Symbols = Box<[Symbol]>;

/// One field of the writer's order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OrderStep {
    OrderId(Wire<Text>),
    UserId(Wire<Text>),
    EventType(Wire<Symbols>),
    Amount(Wire<Money>),
    ItemCount(Wire<Whole>),
    Category(Wire<Text>),
    Items(Wire<Items>),
    Timestamp(Wire<Whole>),
    Skip(Skip),
}

/// One field of the writer's item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ItemStep {
    ProductId(Wire<Text>),
    ProductName(Wire<Text>),
    Quantity(Wire<Whole>),
    Price(Wire<Money>),
    Skip(Skip),
}

/// The writer's items.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Items {
    pub(super) steps: Box<[ItemStep]>,
    /// An item with every default in its place.
    pub(super) template: Item,
}

/// Reads what was written with one schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) steps: Box<[OrderStep]>,
    pub(super) template: OrderEvent,
    pub(super) skips: Skips,
}

impl Plan {
    /// Resolves `writer`, whose references are defined in it or in `others`, with our schema.
    ///
    /// # Errors
    ///
    /// Why records of `writer` cannot be read: the field, what the writer has there, and what is wanted.
    pub fn new(writer: &Schema, others: &[Schema]) -> Result<Self, String> {
        Self::of(writer, others, super::schemas::order_event())
    }

    /// With the reader's schema that a user gave.
    ///
    /// # Errors
    ///
    /// As [`Plan::new`].
    pub fn read_as(writer: &Schema, others: &[Schema], reader: &ReaderSchema) -> Result<Self, String> {
        Self::of(writer, others, reader.schema())
    }

    /// With another reader's schema than ours, of the same fields.
    pub(super) fn of(writer: &Schema, others: &[Schema], reader: &Schema) -> Result<Self, String> {
        let all = others.iter().chain([writer]).collect();
        let names = ResolvedSchema::new_with_schemata(all).map_err(|error| error.to_string())?;
        let ours = ResolvedSchema::new(reader).map_err(|error| error.to_string())?;
        let (names, ours) = (names.get_names(), ours.get_names());
        let mut making = Making { names, ours, skipping: Skipping::new(names) };
        let mut template = OrderEvent {
            order_id: CompactString::default(),
            user_id: CompactString::default(),
            event_type: EventType::Created,
            amount: Decimal::new(0, 2),
            item_count: 0,
            category: CompactString::default(),
            items: SmallVec::new(),
            timestamp: 0,
        };
        let steps = making.order(writer, reader, &mut template)?;
        Ok(Self { steps, template, skips: making.skipping.finish() })
    }
}

struct Making<'a> {
    /// The writer's types, and ours.
    names: &'a NamesRef<'a>,
    ours: &'a NamesRef<'a>,
    skipping: Skipping<'a>,
}

impl<'a> Making<'a> {
    fn order(&mut self, writer: &Schema, reader: &Schema, template: &mut OrderEvent) -> Result<Box<[OrderStep]>, String> {
        let (theirs, ours) = (record(writer, "the record")?, record(reader, "our schema")?);
        same_name("the record", &theirs.name, &ours.name, &ours.aliases)?;
        for field in absent(theirs, ours)? {
            let default = Default { place: &field.name, value: field.default.as_ref() };
            match field.name.as_str() {
                "orderId" => template.order_id = default.id()?,
                "userId" => template.user_id = default.id()?,
                "eventType" => template.event_type = default.event_type()?,
                "amount" => template.amount = default.money()?,
                "itemCount" => template.item_count = default.count(0)?,
                "category" => template.category = default.text()?,
                "items" => default.no_items()?,
                "timestamp" => template.timestamp = default.whole()?,
                _ => {}
            }
        }
        let step = |field: &RecordField| {
            let place = field.name.as_str();
            let Some(our) = counterpart(field, ours) else {
                return Ok(OrderStep::Skip(self.skipping.over(&field.schema)?));
            };
            let theirs = &field.schema;
            Ok(match our.name.as_str() {
                "orderId" => OrderStep::OrderId(self.wire(theirs, |_, schema| text(schema, place))?),
                "userId" => OrderStep::UserId(self.wire(theirs, |_, schema| text(schema, place))?),
                "eventType" => {
                    OrderStep::EventType(self.wire(theirs, |making, schema| making.symbols(schema, &our.schema, place))?)
                }
                "amount" => OrderStep::Amount(self.wire(theirs, |_, schema| money(schema, &our.schema, place))?),
                "itemCount" => OrderStep::ItemCount(self.wire(theirs, |_, schema| whole(schema, place))?),
                "category" => OrderStep::Category(self.wire(theirs, |_, schema| text(schema, place))?),
                "items" => OrderStep::Items(self.wire(theirs, |making, schema| making.items(schema, &our.schema, place))?),
                "timestamp" => OrderStep::Timestamp(self.wire(theirs, |_, schema| milliseconds(schema, place))?),
                _ => OrderStep::Skip(self.skipping.over(theirs)?),
            })
        };
        theirs.fields.iter().map(step).collect()
    }

    fn items(&mut self, writer: &Schema, reader: &Schema, place: &str) -> Result<Items, String> {
        let (Schema::Array(theirs), Schema::Array(ours)) = (writer, reader) else {
            return Err(mismatch(place, writer, "an array"));
        };
        let ours = self.our(&ours.items)?;
        let item = self.their(&theirs.items)?;
        let place = format!("an element of {place}");
        let (theirs, ours) = (record(item, &place)?, record(ours, "our schema")?);
        same_name(&place, &theirs.name, &ours.name, &ours.aliases)?;
        let mut template = Item {
            product_id: CompactString::default(),
            product_name: CompactString::default(),
            quantity: 1,
            price: Decimal::new(0, 2),
        };
        for field in absent(theirs, ours)? {
            let default = Default { place: &field.name, value: field.default.as_ref() };
            match field.name.as_str() {
                "productId" => template.product_id = default.id()?,
                "productName" => template.product_name = default.text()?,
                "quantity" => template.quantity = default.count(1)?,
                "price" => template.price = default.money()?,
                _ => {}
            }
        }
        let step = |field: &RecordField| {
            let place = field.name.as_str();
            let Some(our) = counterpart(field, ours) else {
                return Ok(ItemStep::Skip(self.skipping.over(&field.schema)?));
            };
            let theirs = &field.schema;
            Ok(match our.name.as_str() {
                "productId" => ItemStep::ProductId(self.wire(theirs, |_, schema| text(schema, place))?),
                "productName" => ItemStep::ProductName(self.wire(theirs, |_, schema| text(schema, place))?),
                "quantity" => ItemStep::Quantity(self.wire(theirs, |_, schema| whole(schema, place))?),
                "price" => ItemStep::Price(self.wire(theirs, |_, schema| money(schema, &our.schema, place))?),
                _ => ItemStep::Skip(self.skipping.over(theirs)?),
            })
        };
        Ok(Items { steps: theirs.fields.iter().map(step).collect::<Result<_, String>>()?, template })
    }

    /// A value that `usable` can read, or a union of which it can read at least one branch.
    fn wire<T>(&mut self, schema: &Schema, usable: impl Fn(&mut Self, &Schema) -> Result<T, String>) -> Result<Wire<T>, String> {
        let schema = self.their(schema)?;
        let Schema::Union(union) = schema else { return usable(self, schema).map(Wire::Plain) };
        let mut refused = Err("it is a union without a branch".to_owned());
        let mut branches = Vec::with_capacity(union.variants().len());
        for branch in union.variants() {
            let branch = self.their(branch)?;
            branches.push(match usable(self, branch) {
                Ok(usable) => {
                    refused = Ok(());
                    Branch::Usable(usable)
                }
                Err(why) => {
                    if refused.is_err() {
                        refused = Err(why);
                    }
                    Branch::Other { is: kind(branch), skip: self.skipping.over(branch)? }
                }
            });
        }
        refused.map(|()| Wire::Union(branches.into()))
    }

    fn symbols(&mut self, writer: &Schema, reader: &Schema, place: &str) -> Result<Symbols, String> {
        let (Schema::Enum(theirs), Schema::Enum(ours)) = (writer, self.our(reader)?) else {
            return Err(mismatch(place, writer, "an enum"));
        };
        same_name(place, &theirs.name, &ours.name, &ours.aliases)?;
        let default = ours.default.as_deref().and_then(EventType::from_wire);
        let ours_of = |symbol: &String| {
            let known = ours.symbols.contains(symbol);
            let event_type = if known { EventType::from_wire(symbol) } else { default };
            event_type.map_or_else(|| Symbol::Unknown(symbol.as_str().into()), Symbol::Known)
        };
        Ok(theirs.symbols.iter().map(ours_of).collect())
    }

    fn their<'s>(&self, schema: &'s Schema) -> Result<&'s Schema, String>
    where
        'a: 's,
    {
        named(self.names, schema)
    }

    fn our<'s>(&self, schema: &'s Schema) -> Result<&'s Schema, String>
    where
        'a: 's,
    {
        named(self.ours, schema)
    }
}

pub(super) fn named<'s, 'n: 's>(names: &'n NamesRef<'n>, schema: &'s Schema) -> Result<&'s Schema, String> {
    match schema {
        Schema::Ref { name } => names.get(name).copied().ok_or_else(|| format!("the type {name} is not defined")),
        schema => Ok(schema),
    }
}

pub(super) fn record<'s>(schema: &'s Schema, place: &str) -> Result<&'s RecordSchema, String> {
    match schema {
        Schema::Record(record) => Ok(record),
        other => Err(mismatch(place, other, "a record")),
    }
}

/// Named types are the same if their names without namespace are, or if an alias of ours is the writer's.
fn same_name(place: &str, theirs: &Name, ours: &Name, aliases: &Aliases) -> Result<(), String> {
    let alias = aliases.iter().flatten().any(|alias| alias.name() == theirs.name());
    if theirs.name() == ours.name() || alias {
        return Ok(());
    }
    Err(format!("{place} is of the type {theirs}; wanted is {ours}"))
}

/// Our field for what the writer wrote.
fn counterpart<'s>(theirs: &RecordField, ours: &'s RecordSchema) -> Option<&'s RecordField> {
    let by_name = ours.fields.iter().find(|our| our.name == theirs.name);
    by_name.or_else(|| ours.fields.iter().find(|our| our.aliases.contains(&theirs.name)))
}

/// Our fields that the writer does not have: each has a default. Two fields of the writer for one of ours are an error.
fn absent<'s>(theirs: &RecordSchema, ours: &'s RecordSchema) -> Result<Vec<&'s RecordField>, String> {
    let mut absent = Vec::new();
    for our in &ours.fields {
        let mut found = theirs.fields.iter().filter(|field| counterpart(field, ours).is_some_and(|field| field.name == our.name));
        match (found.next(), found.next()) {
            (Some(first), Some(second)) => {
                return Err(format!("the fields {} and {} both are our {}", first.name, second.name, our.name));
            }
            (Some(_), None) => {}
            (None, _) if our.default.is_some() => absent.push(our),
            (None, _) => return Err(format!("the field {} is missing, and has no default", our.name)),
        }
    }
    Ok(absent)
}

fn mismatch(place: &str, schema: &Schema, wanted: &str) -> String {
    format!("{place} is {}; wanted is {wanted}", kind(schema))
}

fn text(schema: &Schema, place: &str) -> Result<Text, String> {
    match schema {
        Schema::String | Schema::Bytes | Schema::Uuid(apache_avro::schema::UuidSchema::String) => Ok(Text),
        other => Err(mismatch(place, other, "a string")),
    }
}

fn whole(schema: &Schema, place: &str) -> Result<Whole, String> {
    match schema {
        Schema::Int => Ok(Whole::Int),
        Schema::Long => Ok(Whole::Long),
        other => Err(mismatch(place, other, "an int or long")),
    }
}

fn milliseconds(schema: &Schema, place: &str) -> Result<Whole, String> {
    match schema {
        Schema::TimestampMillis | Schema::LocalTimestampMillis => Ok(Whole::Long),
        Schema::Int | Schema::Long => whole(schema, place),
        other => Err(mismatch(place, other, "a timestamp-millis or long")),
    }
}

fn money(writer: &Schema, reader: &Schema, place: &str) -> Result<Money, String> {
    let Schema::Decimal(ours) = reader else { return Err(mismatch(place, reader, "a decimal")) };
    match writer {
        Schema::Decimal(theirs) if !matches!(theirs.inner, InnerDecimalSchema::Bytes) => {
            Err(format!("{place} is a decimal in a fixed; wanted is one in bytes"))
        }
        Schema::Decimal(theirs) if theirs.scale == ours.scale => Ok(Money),
        Schema::Decimal(theirs) => {
            Err(format!("{place} is a decimal of scale {}; wanted is one of scale {}", theirs.scale, ours.scale))
        }
        other => Err(mismatch(place, other, "a decimal in bytes")),
    }
}

/// What a person calls it.
pub(super) fn kind(schema: &Schema) -> &'static str {
    match SchemaKind::from(schema) {
        SchemaKind::Null => "null",
        SchemaKind::Boolean => "a boolean",
        SchemaKind::Int => "an int",
        SchemaKind::Long => "a long",
        SchemaKind::Float => "a float",
        SchemaKind::Double => "a double",
        SchemaKind::Bytes => "bytes",
        SchemaKind::String => "a string",
        SchemaKind::Array => "an array",
        SchemaKind::Map => "a map",
        SchemaKind::Union => "a union",
        SchemaKind::Record => "a record",
        SchemaKind::Enum => "an enum",
        SchemaKind::Fixed => "a fixed",
        SchemaKind::Decimal | SchemaKind::BigDecimal => "a decimal",
        SchemaKind::Uuid => "a uuid",
        SchemaKind::Date => "a date",
        SchemaKind::TimeMillis => "a time-millis",
        SchemaKind::TimeMicros => "a time-micros",
        SchemaKind::TimestampMillis => "a timestamp-millis",
        SchemaKind::TimestampMicros => "a timestamp-micros",
        SchemaKind::TimestampNanos => "a timestamp-nanos",
        SchemaKind::LocalTimestampMillis => "a local-timestamp-millis",
        SchemaKind::LocalTimestampMicros => "a local-timestamp-micros",
        SchemaKind::LocalTimestampNanos => "a local-timestamp-nanos",
        SchemaKind::Duration => "a duration",
        SchemaKind::Ref => "a type by name",
    }
}

/// The default of a field of ours, which the writer does not have. It obeys the rules that a record obeys.
pub(super) struct Default<'a> {
    pub(super) place: &'a str,
    pub(super) value: Option<&'a Value>,
}

/// Most bytes of a text in a default: as many as the settings allow an identifier by themselves.
const DEFAULT_TEXT: usize = 1024;

impl Default<'_> {
    fn wrong<T>(&self) -> Result<T, String> {
        let shown = self.value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let shown: String = shown.chars().take(64).collect();
        Err(format!("the default of {} is {shown}, which no record may have", self.place))
    }

    pub(super) fn text(&self) -> Result<CompactString, String> {
        let text = self.value.and_then(Value::as_str).filter(|text| text.len() <= DEFAULT_TEXT);
        text.map_or_else(|| self.wrong(), |text| Ok(text.into()))
    }

    pub(super) fn id(&self) -> Result<CompactString, String> {
        let text = self.text()?;
        if text.is_empty() { self.wrong() } else { Ok(text) }
    }

    pub(super) fn whole(&self) -> Result<i64, String> {
        self.value.and_then(Value::as_i64).map_or_else(|| self.wrong(), Ok)
    }

    pub(super) fn count(&self, least: u32) -> Result<u32, String> {
        let count = u32::try_from(self.whole()?).ok().filter(|count| *count >= least);
        count.map_or_else(|| self.wrong(), Ok)
    }

    pub(super) fn event_type(&self) -> Result<EventType, String> {
        self.value.and_then(Value::as_str).and_then(EventType::from_wire).map_or_else(|| self.wrong(), Ok)
    }

    /// The default of bytes is text whose characters are the bytes.
    pub(super) fn money(&self) -> Result<Decimal, String> {
        let text = self.text()?;
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let value = bytes.and_then(|bytes| super::decimal::unscaled(&bytes));
        let value = value.and_then(|value| i64::try_from(value).ok()).map(|cents| Decimal::new(cents, 2));
        value.filter(|value| (Decimal::ZERO..=MAX_MONEY).contains(value)).map_or_else(|| self.wrong(), Ok)
    }

    pub(super) fn no_items(&self) -> Result<(), String> {
        match self.value {
            Some(Value::Array(items)) if items.is_empty() => Ok(()),
            _ => self.wrong(),
        }
    }
}
