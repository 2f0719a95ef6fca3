//! What values of a state are, as a program's own types say it: kept in the manifest, so that the next program can be compared with
//! the one that wrote.
//!
//! It is about MessagePack as [`super::value`] reads and writes it: a struct is a map of its fields, an option is its value or nil, a
//! newtype is what it wraps. [`super::trace`] finds out what a type is; the rules of what reads what are in [`super::reads`].

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What values of one type look like in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Not known: compared with nothing, and left to be checked when a value is read.
    Unknown,
    /// A type that takes more than one form, in its own words; else as [`Self::Unknown`].
    Other(String),
    /// Nothing.
    Unit,
    /// Yes or no.
    Bool,
    /// Integers of 8 bits from 0.
    U8,
    /// Integers of 16 bits from 0.
    U16,
    /// Integers of 32 bits from 0.
    U32,
    /// Integers of 64 bits from 0.
    U64,
    /// Integers of 128 bits from 0.
    U128,
    /// Integers of 8 bits.
    I8,
    /// Integers of 16 bits.
    I16,
    /// Integers of 32 bits.
    I32,
    /// Integers of 64 bits.
    I64,
    /// Integers of 128 bits.
    I128,
    /// Floating point of 32 bits.
    F32,
    /// Floating point of 64 bits.
    F64,
    /// One character.
    Char,
    /// UTF-8.
    Text,
    /// Bytes, where the type asks for them; a `Vec<u8>` without more is a list.
    Bytes,
    /// A value, or nothing.
    Option(Box<ValueType>),
    /// Any number of values.
    List(Box<ValueType>),
    /// A fixed number of values.
    Tuple(Vec<ValueType>),
    /// Any number of keys with values.
    Map(Box<ValueType>, Box<ValueType>),
    /// Named fields.
    Struct(Record),
    /// One of several.
    Enum(Choice),
}

/// The fields of a struct.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record {
    /// By name.
    pub fields: BTreeMap<String, Field>,
    /// Fields that it does not know are an error (`deny_unknown_fields`). Only of the program's own type.
    #[serde(skip)]
    pub strict: bool,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenField", into = "WrittenField")]
pub struct Field {
    /// What it holds.
    pub value: ValueType,
    /// Whether it may be missing.
    pub presence: Presence,
    /// Other names under which it is read. Only of the program's own type.
    pub aliases: Vec<String>,
}

/// Whether a field may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Never.
    Needed,
    /// It has a default, or is an option.
    Optional,
    /// It could not be found out.
    Unclear,
}

/// The variants of an enum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choice {
    /// By name, with what they hold.
    pub variants: BTreeMap<String, ValueType>,
    /// Variants that it does not know are read all the same (`other`). Only of the program's own type.
    #[serde(skip)]
    pub open: bool,
}

/// A field in the manifest: an option may be missing by itself, anything else says so.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenField {
    Optional { optional: ValueType },
    Unclear { unclear: ValueType },
    Plain(ValueType),
}

impl From<Field> for WrittenField {
    fn from(Field { value, presence, .. }: Field) -> Self {
        match presence {
            _ if matches!(value, ValueType::Option(_)) => Self::Plain(value),
            Presence::Needed => Self::Plain(value),
            Presence::Optional => Self::Optional { optional: value },
            Presence::Unclear => Self::Unclear { unclear: value },
        }
    }
}

impl From<WrittenField> for Field {
    fn from(written: WrittenField) -> Self {
        let (value, presence) = match written {
            WrittenField::Optional { optional } => (optional, Presence::Optional),
            WrittenField::Unclear { unclear } => (unclear, Presence::Unclear),
            WrittenField::Plain(value) if matches!(value, ValueType::Option(_)) => (value, Presence::Optional),
            WrittenField::Plain(value) => (value, Presence::Needed),
        };
        Self { value, presence, aliases: Vec::new() }
    }
}

impl ValueType {
    /// The type as a manifest keeps it: what it writes, without what only matters to who reads.
    #[must_use]
    pub fn as_written(&self) -> Self {
        let inner = |of: &Self| Box::new(of.as_written());
        match self {
            Self::Option(of) => Self::Option(inner(of)),
            Self::List(of) => Self::List(inner(of)),
            Self::Tuple(parts) => Self::Tuple(parts.iter().map(Self::as_written).collect()),
            Self::Map(key, value) => Self::Map(inner(key), inner(value)),
            Self::Struct(record) => {
                let field = |(name, field): (&String, &Field)| {
                    let plain = Field { value: field.value.as_written(), presence: field.presence, aliases: Vec::new() };
                    (name.clone(), Field::from(WrittenField::from(plain)))
                };
                Self::Struct(Record { fields: record.fields.iter().map(field).collect(), strict: false })
            }
            Self::Enum(choice) => {
                let variants = choice.variants.iter().map(|(name, held)| (name.clone(), held.as_written()));
                Self::Enum(Choice { variants: variants.collect(), open: false })
            }
            plain => plain.clone(),
        }
    }
}

fn joined<T>(f: &mut fmt::Formatter<'_>, all: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> fmt::Result {
    f.write_str(&all.into_iter().map(show).collect::<Vec<_>>().join(", "))
}

/// `{status: one of [PAID, NEW], paid?: i64}`: a question mark behind what may be missing.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Unknown => "unknown",
            Self::Other(words) => words,
            Self::Unit => "nothing",
            Self::Bool => "boolean",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "character",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Option(of) => return write!(f, "{of} or nothing"),
            Self::List(of) => return write!(f, "list of {of}"),
            Self::Map(key, value) => return write!(f, "map from {key} to {value}"),
            Self::Tuple(parts) => {
                f.write_str("(")?;
                joined(f, parts, Self::to_string)?;
                ")"
            }
            Self::Struct(record) => {
                f.write_str("{")?;
                joined(f, &record.fields, |(name, field)| {
                    let aliases: String = field.aliases.iter().map(|alias| format!(" or {alias}")).collect();
                    match (field.presence, &field.value) {
                        (Presence::Needed, value) => format!("{name}{aliases}: {value}"),
                        (_, Self::Option(value)) => format!("{name}{aliases}?: {value}"),
                        (_, value) => format!("{name}{aliases}?: {value}"),
                    }
                })?;
                "}"
            }
            Self::Enum(choice) => {
                f.write_str("one of [")?;
                joined(f, &choice.variants, |(name, held)| match held {
                    Self::Unit => name.clone(),
                    held => format!("{name} {held}"),
                })?;
                "]"
            }
        };
        f.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(value: ValueType, presence: Presence) -> Field {
        Field { value, presence, aliases: vec!["old".into()] }
    }

    fn session() -> ValueType {
        let variants = [("NEW".to_owned(), ValueType::Unit), ("GONE".to_owned(), ValueType::Text)];
        let fields = [
            ("user".to_owned(), field(ValueType::Text, Presence::Needed)),
            ("last".to_owned(), field(ValueType::Option(ValueType::I64.into()), Presence::Optional)),
            ("views".to_owned(), field(ValueType::U32, Presence::Optional)),
            ("pages".to_owned(), field(ValueType::List(ValueType::Text.into()), Presence::Unclear)),
            ("status".to_owned(), field(ValueType::Enum(Choice { variants: variants.into(), open: true }), Presence::Needed)),
        ];
        ValueType::Struct(Record { fields: fields.into(), strict: true })
    }

    #[test]
    fn a_manifest_keeps_what_is_written_and_reads_it_back() {
        let written = session().as_written();
        let json = json!({"struct": {
            "user": "text",
            "last": {"option": "i64"},
            "views": {"optional": "u32"},
            "pages": {"unclear": {"list": "text"}},
            "status": {"enum": {"NEW": "unit", "GONE": "text"}},
        }});
        assert_eq!(serde_json::to_value(&written).unwrap(), json);
        assert_eq!(serde_json::from_value::<ValueType>(json).unwrap(), written);
        assert_eq!(
            serde_json::from_str::<ValueType>(r#"{"map": ["u8", {"tuple": ["f64", "unknown"]}]}"#).unwrap().to_string(),
            "map from u8 to (f64, unknown)"
        );
    }

    #[test]
    fn a_type_is_shown_in_one_line() {
        assert_eq!(
            session().as_written().to_string(),
            "{last?: i64, pages?: list of text, status: one of [GONE text, NEW], user: text, views?: u32}"
        );
        assert!(session().to_string().contains("user or old: text"), "{}", session());
    }
}
