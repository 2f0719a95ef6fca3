//! A deserialiser that goes to one place inside of a type and stops there: to ask what the type wants in that place, or to see
//! whether it takes a sample.
//!
//! A type with serde says what it wants by the method of the deserialiser that it calls. Going down one path at a time, no values are
//! needed for what lies beside it.

use rmp_serde::decode::Error;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor, value::StrDeserializer,
};
use std::cell::RefCell;

use super::value_type::ValueType;

/// MessagePack of one value.
pub(super) type Sample = Vec<u8>;

/// Where values are written to. A type may look otherwise in a form that people read: an address is text there, and bytes in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// MessagePack, in the files of keyed state.
    Files,
    /// JSON, in a manifest.
    Manifest,
}

/// Calls a method of the decoder of samples.
macro_rules! sampled {
    ($form:expr, $sample:expr, $method:ident($($argument:expr),*)) => {
        match $form {
            Form::Files => rmp_serde::Deserializer::from_read_ref($sample).$method($($argument),*),
            Form::Manifest => rmp_serde::Deserializer::from_read_ref($sample).with_human_readable().$method($($argument),*),
        }
    };
}

/// Lets `seed` read a sample.
fn taken<'p, T: DeserializeSeed<'p>>(form: Form, sample: &'p Sample, seed: T) -> Result<T::Value, Error> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(sample);
    match form {
        Form::Files => seed.deserialize(&mut decoder),
        Form::Manifest => seed.deserialize(&mut decoder.with_human_readable()),
    }
}

/// One step down.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Into the field of a struct.
    Field(&'static str),
    /// Into what a variant of an enum holds.
    Variant(&'static str),
    /// Into what an option holds.
    Some,
    /// Into the element of a list or tuple that comes after these.
    Element(Vec<Sample>),
    /// Into the key of a map.
    Key,
    /// Into the value of a map under this key.
    Value(Sample),
}

/// What a type wants in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Plain(ValueType),
    /// Whatever there is; what it hopes for, in its own words.
    Any(String),
    Option,
    List,
    Tuple(usize),
    Map,
    Struct(Names),
    Enum(Names),
    /// The name of a field, in a map: a struct that looks through all that it gets.
    Name,
}

/// Name of a type, and the names of its fields or variants, aliases included.
pub(super) type Names = (&'static str, &'static [&'static str]);

/// What is done at the end of the path, and what was seen there.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Given to the type; without it, the type is asked.
    sample: Option<Sample>,
    seen: RefCell<Option<Seen>>,
}

/// What was seen at the end of the path.
#[derive(Debug)]
pub(super) enum Seen {
    Asked(Asked),
    /// Whether the sample was taken; if not, what the type said.
    Given(Result<(), String>),
}

impl End {
    pub(super) fn asking() -> Self {
        Self::default()
    }

    pub(super) fn giving(sample: Sample) -> Self {
        Self { sample: Some(sample), seen: RefCell::default() }
    }

    /// None when the end of the path was not reached.
    pub(super) fn seen(self) -> Option<Seen> {
        self.seen.into_inner()
    }
}

/// The deserialiser.
#[derive(Clone, Copy)]
pub(super) struct Probe<'p> {
    path: &'p [Step],
    end: &'p End,
    form: Form,
}

/// All that had to be seen was seen.
fn stop() -> Error {
    Error::custom("enough")
}

impl<'p> Probe<'p> {
    pub(super) fn new(path: &'p [Step], end: &'p End, form: Form) -> Self {
        Self { path, end, form }
    }

    /// The next step, and the probe that goes on behind it.
    fn step(self) -> Option<(&'p Step, Self)> {
        let (step, rest) = self.path.split_first()?;
        Some((step, Self { path: rest, ..self }))
    }

    /// At the end of the path: notes what the type wants, or lets `take` give it the sample.
    fn arrive<T>(self, asked: impl FnOnce() -> Asked, take: impl FnOnce(&'p [u8]) -> Result<T, Error>) -> Error {
        if self.path.is_empty() {
            let seen = match &self.end.sample {
                None => Seen::Asked(asked()),
                Some(sample) => Seen::Given(take(sample).map(drop).map_err(|why| why.to_string())),
            };
            self.end.seen.replace(Some(seen));
        }
        stop()
    }
}

/// Methods of a deserialiser that end the path.
macro_rules! ends {
    ($($method:ident($($argument:ident: $type:ty),*) => $asked:expr;)*) => { $(
        fn $method<V: Visitor<'p>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            Err(self.arrive(|| $asked, |sample| sampled!(self.form, sample, $method($($argument,)* visitor))))
        }
    )* };
}

impl<'p> Deserializer<'p> for Probe<'p> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        self.form == Form::Manifest
    }

    ends! {
        deserialize_bool() => Asked::Plain(ValueType::Bool);
        deserialize_i8() => Asked::Plain(ValueType::I8);
        deserialize_i16() => Asked::Plain(ValueType::I16);
        deserialize_i32() => Asked::Plain(ValueType::I32);
        deserialize_i64() => Asked::Plain(ValueType::I64);
        deserialize_i128() => Asked::Plain(ValueType::I128);
        deserialize_u8() => Asked::Plain(ValueType::U8);
        deserialize_u16() => Asked::Plain(ValueType::U16);
        deserialize_u32() => Asked::Plain(ValueType::U32);
        deserialize_u64() => Asked::Plain(ValueType::U64);
        deserialize_u128() => Asked::Plain(ValueType::U128);
        deserialize_f32() => Asked::Plain(ValueType::F32);
        deserialize_f64() => Asked::Plain(ValueType::F64);
        deserialize_char() => Asked::Plain(ValueType::Char);
        deserialize_str() => Asked::Plain(ValueType::Text);
        deserialize_string() => Asked::Plain(ValueType::Text);
        deserialize_bytes() => Asked::Plain(ValueType::Bytes);
        deserialize_byte_buf() => Asked::Plain(ValueType::Bytes);
        deserialize_unit() => Asked::Plain(ValueType::Unit);
        deserialize_unit_struct(name: &'static str) => Asked::Plain(ValueType::Unit);
        deserialize_ignored_any() => Asked::Plain(ValueType::Unknown);
        deserialize_identifier() => Asked::Name;
    }

    fn deserialize_any<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Error> {
        let wanted = (&visitor as &dyn Expected).to_string();
        Err(self.arrive(|| Asked::Any(wanted), |sample| sampled!(self.form, sample, deserialize_any(visitor))))
    }

    fn deserialize_option<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.step() {
            Some((Step::Some, rest)) => visitor.visit_some(rest),
            _ => Err(self.arrive(|| Asked::Option, |sample| sampled!(self.form, sample, deserialize_option(visitor)))),
        }
    }

    /// MessagePack has nothing for it: what is inside is stored.
    fn deserialize_newtype_struct<V: Visitor<'p>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.step() {
            Some((Step::Element(before), rest)) => {
                visitor.visit_seq(Elements { before: before.iter(), last: Some(rest), form: self.form })
            }
            _ => Err(self.arrive(|| Asked::List, |sample| sampled!(self.form, sample, deserialize_seq(visitor)))),
        }
    }

    fn deserialize_tuple<V: Visitor<'p>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.step() {
            Some((Step::Element(before), rest)) => {
                visitor.visit_seq(Elements { before: before.iter(), last: Some(rest), form: self.form })
            }
            _ => Err(self.arrive(|| Asked::Tuple(len), |sample| sampled!(self.form, sample, deserialize_tuple(len, visitor)))),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'p>>(self, _: &'static str, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.step() {
            Some((Step::Key, rest)) => visitor.visit_map(Entry { key: Some(EntryKey::Probed(rest)), value: None }),
            Some((Step::Value(key), rest)) => {
                visitor.visit_map(Entry { key: Some(EntryKey::Given(self.form, key)), value: Some(rest) })
            }
            _ => Err(self.arrive(|| Asked::Map, |sample| sampled!(self.form, sample, deserialize_map(visitor)))),
        }
    }

    fn deserialize_struct<V: Visitor<'p>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.step() {
            Some((Step::Field(name), rest)) => visitor.visit_map(Entry { key: Some(EntryKey::Named(name)), value: Some(rest) }),
            _ => Err(self.arrive(
                || Asked::Struct((name, fields)),
                |sample| sampled!(self.form, sample, deserialize_struct(name, fields, visitor)),
            )),
        }
    }

    fn deserialize_enum<V: Visitor<'p>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.step() {
            Some((Step::Variant(name), rest)) => visitor.visit_enum(Variant { name, held: rest }),
            _ => Err(self.arrive(
                || Asked::Enum((name, variants)),
                |sample| sampled!(self.form, sample, deserialize_enum(name, variants, visitor)),
            )),
        }
    }
}

/// Samples, then the place to go to.
struct Elements<'p> {
    before: std::slice::Iter<'p, Sample>,
    last: Option<Probe<'p>>,
    form: Form,
}

impl<'p> SeqAccess<'p> for Elements<'p> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'p>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if let Some(sample) = self.before.next() {
            return taken(self.form, sample, seed).map(Some);
        }
        self.last.take().map(|place| seed.deserialize(place)).transpose()
    }
}

enum EntryKey<'p> {
    Named(&'static str),
    Given(Form, &'p Sample),
    Probed(Probe<'p>),
}

/// The one entry of a map or struct that is gone into.
struct Entry<'p> {
    key: Option<EntryKey<'p>>,
    value: Option<Probe<'p>>,
}

impl<'p> MapAccess<'p> for Entry<'p> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'p>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(key) = self.key.take() else { return Ok(None) };
        let key = match key {
            EntryKey::Named(name) => seed.deserialize(StrDeserializer::<Error>::new(name)),
            EntryKey::Given(form, sample) => taken(form, sample, seed),
            EntryKey::Probed(place) => seed.deserialize(place),
        };
        key.map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'p>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.value.take() {
            Some(place) => seed.deserialize(place),
            None => Err(stop()),
        }
    }
}

/// The variant that is gone into.
struct Variant<'p> {
    name: &'static str,
    held: Probe<'p>,
}

impl<'p> EnumAccess<'p> for Variant<'p> {
    type Error = Error;
    type Variant = Held<'p>;

    fn variant_seed<T: DeserializeSeed<'p>>(self, seed: T) -> Result<(T::Value, Held<'p>), Error> {
        let name: StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Held(self.held)))
    }
}

/// What a variant holds.
struct Held<'p>(Probe<'p>);

impl<'p> VariantAccess<'p> for Held<'p> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Err(self.0.arrive(|| Asked::Plain(ValueType::Unit), |_| Ok(())))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'p>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'p>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'p>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_struct("", fields, visitor)
    }
}
