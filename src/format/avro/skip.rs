//! What a writer's schema has and ours has not: read over, and checked all the same.

use super::cursor::{Broken, Cursor};
use apache_avro::schema::{InnerDecimalSchema, Name, NamesRef, Schema, UuidSchema};
use std::collections::HashMap;

/// How to read over a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Skip {
    Null,
    Boolean,
    Int,
    Long,
    /// So many bytes.
    Fixed(usize),
    Bytes,
    Text,
    /// Number of symbols.
    Enum(usize),
    Array(Box<Skip>),
    Map(Box<Skip>),
    Union(Box<[Skip]>),
    /// Place in [`Skips`]: records may hold themselves.
    Record(usize),
}

/// The records that are read over, each with its fields.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Skips {
    records: Vec<Box<[Skip]>>,
}

impl Skips {
    /// Reads over one value.
    pub(super) fn run(&self, skip: &Skip, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        cursor.value()?;
        match skip {
            Skip::Null => Ok(()),
            Skip::Boolean => match cursor.take(1)? {
                [0 | 1] => Ok(()),
                _ => cursor.broken("a boolean that is neither 0 nor 1"),
            },
            Skip::Int => cursor.int().map(|_| ()),
            Skip::Long => cursor.long().map(|_| ()),
            Skip::Fixed(bytes) => cursor.take(*bytes).map(|_| ()),
            Skip::Bytes => cursor.bytes().map(|_| ()),
            Skip::Text => cursor.text().map(|_| ()),
            Skip::Enum(symbols) => cursor.index(*symbols, "symbol").map(|_| ()),
            Skip::Array(items) => cursor.deeper(|cursor| cursor.blocks(|cursor| self.run(items, cursor))),
            Skip::Map(values) => cursor.deeper(|cursor| {
                cursor.blocks(|cursor| {
                    cursor.text()?;
                    self.run(values, cursor)
                })
            }),
            Skip::Union(branches) => {
                let branch = cursor.index(branches.len(), "branch")?;
                match branches.get(branch) {
                    Some(branch) => cursor.deeper(|cursor| self.run(branch, cursor)),
                    None => cursor.broken("no such branch"),
                }
            }
            Skip::Record(place) => match self.records.get(*place) {
                Some(fields) => cursor.deeper(|cursor| fields.iter().try_for_each(|field| self.run(field, cursor))),
                None => cursor.broken("no such record"),
            },
        }
    }
}

/// Makes [`Skip`]s of one writer's schema.
pub(super) struct Skipping<'a> {
    names: &'a NamesRef<'a>,
    places: HashMap<Name, usize>,
    skips: Skips,
}

impl<'a> Skipping<'a> {
    pub(super) fn new(names: &'a NamesRef<'a>) -> Self {
        Self { names, places: HashMap::new(), skips: Skips::default() }
    }

    pub(super) fn finish(self) -> Skips {
        self.skips
    }

    /// Over a value of this schema; an error names what is not defined.
    pub(super) fn over(&mut self, schema: &Schema) -> Result<Skip, String> {
        Ok(match schema {
            Schema::Null => Skip::Null,
            Schema::Boolean => Skip::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Skip::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Skip::Long,
            Schema::Float => Skip::Fixed(4),
            Schema::Double => Skip::Fixed(8),
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Skip::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Skip::Text,
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => Skip::Fixed(fixed.size),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Skip::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Skip::Fixed(fixed.size),
            },
            Schema::Enum(symbols) => Skip::Enum(symbols.symbols.len()),
            Schema::Array(array) => Skip::Array(Box::new(self.over(&array.items)?)),
            Schema::Map(map) => Skip::Map(Box::new(self.over(&map.types)?)),
            Schema::Union(union) => {
                Skip::Union(union.variants().iter().map(|branch| self.over(branch)).collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => {
                if let Some(place) = self.places.get(&record.name) {
                    return Ok(Skip::Record(*place));
                }
                let place = self.skips.records.len();
                self.places.insert(record.name.clone(), place);
                self.skips.records.push(Box::default());
                let fields = record.fields.iter().map(|field| self.over(&field.schema)).collect::<Result<_, _>>()?;
                if let Some(known) = self.skips.records.get_mut(place) {
                    *known = fields;
                }
                Skip::Record(place)
            }
            Schema::Ref { name } => {
                let named = self.names.get(name).copied().ok_or_else(|| format!("the type {name} is not defined"))?;
                if matches!(named, Schema::Ref { .. }) {
                    return Err(format!("the type {name} is not defined"));
                }
                self.over(named)?
            }
        })
    }
}
