//! Finds out what a type looks like in the files, by asking its deserialisation: no macro, no annotation.
//!
//! ```text
//! ask at a path           what is wanted there: a number, a struct with these fields, ...     (see `probe`)
//! give without a field    "missing field": it is needed; taken: it has a default, or is an option
//! give a field twice      "duplicate field": under which name it is known, if this one is an alias
//! give an unknown field   "unknown field": they are denied
//! ```
//!
//! Giving needs a sample that the type takes; for a type that takes none of ours (a text of a form that we do not guess), what depends
//! on it is not known. That is said, not guessed: see [`ValueType::Unknown`] and [`Presence::Unclear`].

use super::{
    probe::{Asked, End, Form, Names, Probe, Sample, Seen, Step},
    value_type::{Choice, Field, Presence, Record, ValueType},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Places that are looked at, of one type: more than anybody reads, and an end for types that are made of each other.
const PLACES: u32 = 5_000;

/// No field or variant of anybody has this name.
const NOBODY: &str = "\u{1}nobody";

/// Texts that types with a form of their own may take.
const TEXTS: [&str; 11] = [
    "",
    "0",
    "a",
    "1970-01-01",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "00:00:00",
    "1s",
    "00000000-0000-0000-0000-000000000000",
    "127.0.0.1",
    "http://localhost/",
];

/// What values of type `V` look like in the files of keyed state.
pub(super) fn value_type<V: DeserializeOwned>() -> ValueType {
    in_form::<V>(Form::Files)
}

/// What values of type `V` look like in a manifest.
pub(super) fn element_type<V: DeserializeOwned>() -> ValueType {
    in_form::<V>(Form::Manifest)
}

fn in_form<V: DeserializeOwned>(form: Form) -> ValueType {
    // A type that panics over a sample has not taken it; a program must not end over a question.
    let go = |probe: Probe<'_>| drop(catch_unwind(AssertUnwindSafe(|| drop(V::deserialize(probe)))));
    let mut tracer = Tracer { go, form, path: Vec::new(), above: Vec::new(), left: PLACES };
    tracer.trace().shape
}

struct Tracer {
    go: fn(Probe<'_>),
    form: Form,
    /// The place that is looked at.
    path: Vec<Step>,
    /// The structs and enums that it lies in.
    above: Vec<Names>,
    left: u32,
}

/// What was found out about a place.
struct Traced {
    shape: ValueType,
    /// What it takes.
    sample: Option<Sample>,
}

impl Tracer {
    fn ask(&self) -> Option<Asked> {
        let end = End::asking();
        (self.go)(Probe::new(&self.path, &end, self.form));
        match end.seen() {
            Some(Seen::Asked(asked)) => Some(asked),
            _ => None,
        }
    }

    fn give(&self, sample: Sample) -> Result<(), String> {
        let end = End::giving(sample);
        (self.go)(Probe::new(&self.path, &end, self.form));
        match end.seen() {
            Some(Seen::Given(taken)) => taken,
            _ => Err(String::new()),
        }
    }

    fn first_taken(&self, samples: impl IntoIterator<Item = Sample>) -> Option<Sample> {
        samples.into_iter().find(|sample| self.give(sample.clone()).is_ok())
    }

    fn below<T>(&mut self, step: Step, look: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let seen = look(self);
        self.path.pop();
        seen
    }

    fn trace_below(&mut self, step: Step) -> Traced {
        self.below(step, Self::trace)
    }

    fn trace(&mut self) -> Traced {
        let unknown = Traced { shape: ValueType::Unknown, sample: None };
        if self.left == 0 {
            return unknown;
        }
        self.left -= 1;
        let Some(asked) = self.ask() else { return unknown };
        match asked {
            Asked::Plain(shape) => Traced { sample: self.first_taken(samples(&shape)), shape },
            Asked::Any(words) => {
                Traced { shape: ValueType::Other(words), sample: self.first_taken(samples(&ValueType::Unknown)) }
            }
            Asked::Name => unknown,
            Asked::Option => {
                let inner = self.trace_below(Step::Some);
                Traced { shape: ValueType::Option(inner.shape.into()), sample: self.first_taken([encoded(&())]) }
            }
            Asked::List => {
                let element = self.trace_below(Step::Element(Vec::new()));
                let one = element.sample.map(|sample| list(&[sample]));
                Traced {
                    sample: self.first_taken([list(&[])].into_iter().chain(one)),
                    shape: ValueType::List(element.shape.into()),
                }
            }
            Asked::Tuple(len) => self.trace_tuple(len),
            Asked::Map => self.trace_map(),
            Asked::Struct(names) | Asked::Enum(names) if self.above.contains(&names) => unknown,
            Asked::Struct(names) => self.within(names, Self::trace_struct),
            Asked::Enum(names) => self.within(names, Self::trace_enum),
        }
    }

    fn within(&mut self, names: Names, look: impl FnOnce(&mut Self, &[&'static str]) -> Traced) -> Traced {
        self.above.push(names);
        let seen = look(self, names.1);
        self.above.pop();
        seen
    }

    fn trace_tuple(&mut self, len: usize) -> Traced {
        let (mut parts, mut given) = (Vec::new(), Some(Vec::new()));
        for _ in 0..len {
            // An element is reached through those before it.
            let Some(before) = &mut given else {
                parts.push(ValueType::Unknown);
                continue;
            };
            let part = self.below(Step::Element(before.clone()), Self::trace);
            parts.push(part.shape);
            match part.sample {
                Some(sample) => before.push(sample),
                None => given = None,
            }
        }
        Traced { shape: ValueType::Tuple(parts), sample: self.first_taken(given.map(|given| list(&given))) }
    }

    fn trace_map(&mut self) -> Traced {
        if self.below(Step::Key, |tracer| tracer.ask()) == Some(Asked::Name) {
            return Traced { shape: ValueType::Unknown, sample: self.first_taken([map(&[])]) };
        }
        let key = self.trace_below(Step::Key);
        let value = key.sample.clone().map(|key| self.trace_below(Step::Value(key)));
        let one = match (&key.sample, value.as_ref().and_then(|value| value.sample.as_ref())) {
            (Some(key), Some(value)) => Some(map(&[(key, value)])),
            _ => None,
        };
        let value = value.map_or(ValueType::Unknown, |value| value.shape);
        let sample = self.first_taken([map(&[])].into_iter().chain(one));
        Traced { shape: ValueType::Map(key.shape.into(), value.into()), sample }
    }

    fn trace_struct(&mut self, names: &[&'static str]) -> Traced {
        let (mut fields, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut aliases = Vec::new();
        for &name in names {
            let Traced { shape, sample } = self.trace_below(Step::Field(name));
            if let Some(known_as) = sample.as_ref().and_then(|sample| self.known_as(name, sample)) {
                aliases.push((known_as, name.to_owned()));
                continue;
            }
            fields.insert(name.to_owned(), Field { value: shape, presence: Presence::Unclear, aliases: Vec::new() });
            samples.insert(name.to_owned(), sample);
        }
        for (known_as, alias) in aliases {
            if let Some(field) = fields.get_mut(&known_as) {
                field.aliases.push(alias);
            }
        }
        let (needed, sample) = self.needed(&samples);
        for (name, field) in &mut fields {
            if needed.contains(name) {
                field.presence = Presence::Needed;
            } else if sample.is_some() {
                field.presence = Presence::Optional;
            }
        }
        let strict = sample.is_some() && {
            let more = [(NOBODY, encoded(&()))];
            let all = needed.iter().filter_map(|name| Some((name.as_str(), samples.get(name)?.clone()?))).chain(more);
            matches!(self.give(record(all)), Err(why) if why.starts_with("unknown field"))
        };
        Traced { shape: ValueType::Struct(Record { fields, strict }), sample }
    }

    /// The name that a field is known as, when `name` is another one of it.
    fn known_as(&self, name: &str, sample: &Sample) -> Option<String> {
        let twice = record([(name, sample.clone()), (name, sample.clone())]);
        let known_as = quoted(&self.give(twice).err()?, "duplicate field `")?;
        (known_as != name).then_some(known_as)
    }

    /// The fields that must be there, and a sample with just these; no sample when not all of them could be found out.
    fn needed(&self, samples: &BTreeMap<String, Option<Sample>>) -> (BTreeSet<String>, Option<Sample>) {
        let (mut needed, mut given) = (BTreeSet::new(), Vec::new());
        loop {
            let sample = record(given.iter().map(|(name, sample): &(String, Sample)| (name.as_str(), sample.clone())));
            let Err(why) = self.give(sample.clone()) else { return (needed, Some(sample)) };
            let Some(missing) = quoted(&why, "missing field `") else { return (needed, None) };
            let one = samples.get(&missing).cloned().flatten();
            if !needed.insert(missing.clone()) {
                return (needed, None);
            }
            match one {
                Some(one) => given.push((missing, one)),
                None => return (needed, None),
            }
        }
    }

    fn trace_enum(&mut self, names: &[&'static str]) -> Traced {
        let (mut variants, mut samples) = (BTreeMap::new(), Vec::new());
        for &name in names {
            let held = self.trace_below(Step::Variant(name));
            match (&held.shape, held.sample) {
                (ValueType::Unit, _) => samples.push(encoded(name)),
                (_, Some(sample)) => samples.push(record([(name, sample)])),
                (_, None) => {}
            }
            variants.insert(name.to_owned(), held.shape);
        }
        let open = self.below(Step::Variant(NOBODY), |tracer| tracer.ask()).is_some();
        Traced { shape: ValueType::Enum(Choice { variants, open }), sample: self.first_taken(samples) }
    }
}

/// The name that stands in an error of serde behind `before`.
fn quoted(why: &str, before: &str) -> Option<String> {
    let (name, _) = why.strip_prefix(before)?.rsplit_once('`')?;
    Some(name.to_owned())
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Sample {
    // Writing into memory cannot fail; and a sample that is none is taken by nobody.
    rmp_serde::to_vec(value).unwrap_or_default()
}

/// MessagePack of a list: its length, then its elements.
fn list(elements: &[Sample]) -> Sample {
    let mut bytes = vec![0xdc];
    bytes.extend_from_slice(&u16::try_from(elements.len()).unwrap_or(u16::MAX).to_be_bytes());
    elements.iter().for_each(|element| bytes.extend_from_slice(element));
    bytes
}

/// MessagePack of a map: its length, then keys and values in turn.
fn map(entries: &[(&Sample, &Sample)]) -> Sample {
    let mut bytes = vec![0xde];
    bytes.extend_from_slice(&u16::try_from(entries.len()).unwrap_or(u16::MAX).to_be_bytes());
    for (key, value) in entries {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}

fn record<'n>(fields: impl IntoIterator<Item = (&'n str, Sample)>) -> Sample {
    let fields: Vec<(Sample, Sample)> = fields.into_iter().map(|(name, sample)| (encoded(name), sample)).collect();
    map(&fields.iter().map(|(name, sample)| (name, sample)).collect::<Vec<_>>())
}

/// What values of a plain type may look like; of one that is not known, of any.
fn samples(of: &ValueType) -> Vec<Sample> {
    let texts = || -> Vec<Sample> { TEXTS.iter().map(|text| encoded(*text)).collect() };
    match of {
        ValueType::Bool => vec![encoded(&false), encoded(&true)],
        ValueType::F32 | ValueType::F64 => vec![encoded(&0.0), encoded(&1.0)],
        ValueType::I128 | ValueType::U128 => vec![encoded(&0_i128), encoded(&1_i128)],
        ValueType::Char => vec![encoded("a")],
        ValueType::Text => texts(),
        ValueType::Bytes => [0, 4, 8, 16, 32].map(zeros).to_vec(),
        ValueType::Unit => vec![encoded(&()), list(&[])],
        ValueType::Unknown => {
            let rest = [ValueType::I64, ValueType::F64, ValueType::Bool, ValueType::Unit, ValueType::Bytes];
            let nested = [list(&[]), map(&[])];
            texts().into_iter().chain(rest.iter().flat_map(samples)).chain(nested).collect()
        }
        _ => vec![encoded(&0), encoded(&1)],
    }
}

/// MessagePack of so many bytes.
fn zeros(len: u8) -> Sample {
    let mut bytes = vec![0xc4, len];
    bytes.resize(2 + usize::from(len), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::value_type;
    use crate::state::{StateValue, Timed};
    use compact_str::CompactString;
    use rust_decimal::Decimal;
    use serde::{Deserialize, Serialize, de::DeserializeOwned};
    use std::collections::{BTreeMap, HashSet};

    fn shown<V: DeserializeOwned>() -> String {
        value_type::<V>().to_string()
    }

    #[test]
    fn what_serde_has_words_for_is_found_out() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Meters(f64);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Place(Meters, Meters);
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[allow(dead_code)]
        struct All {
            user_id: CompactString,
            place: Place,
            per_hour: BTreeMap<i64, (u8, bool)>,
            tags: HashSet<char>,
            at: Option<Box<u16>>,
            count: std::num::NonZeroU32,
            address: std::net::IpAddr,
            #[serde(skip)]
            cached: u64,
            nothing: (),
        }
        assert_eq!(
            shown::<All>(),
            "{address: one of [V4 (u8, u8, u8, u8), V6 (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8)], at?: u16, \
             count: u32, nothing: nothing, perHour: map from i64 to (u8, boolean), place: (f64, f64), tags: list of character, \
             userId: text}"
        );
        assert_eq!(
            (shown::<()>(), shown::<Vec<i128>>(), shown::<Option<String>>()),
            ("nothing".into(), "list of i128".into(), "text or nothing".into())
        );
        assert_eq!(Timed::<u32>::value_type().to_string(), "u32");
    }

    #[test]
    fn what_a_field_needs_is_found_out_whatever_stands_before_it() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Session {
            id: String,
            #[serde(alias = "user", alias = "uid")]
            user_id: String,
            when: Option<i64>,
            #[serde(default)]
            views: u32,
            #[serde(deserialize_with = "needed_option")]
            odd: Option<i64>,
        }
        fn needed_option<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
            Option::deserialize(from)
        }
        assert_eq!(shown::<Session>(), "{id: text, odd: i64 or nothing, user_id or uid or user: text, views?: u32, when?: i64}");
    }

    #[test]
    fn types_that_are_made_of_each_other_come_to_an_end() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Tree {
            left: Option<Box<Tree>>,
            right: Option<Box<Tree>>,
            children: Vec<Node>,
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        enum Node {
            Leaf,
            Tree(Box<Tree>),
        }
        assert_eq!(shown::<Tree>(), "{children: list of one of [Leaf, Tree unknown], left?: unknown, right?: unknown}");
    }

    #[test]
    fn what_cannot_be_found_out_is_not_guessed() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Flat {
            a: u32,
            #[serde(flatten)]
            rest: BTreeMap<String, u32>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        #[allow(dead_code)]
        enum Either {
            Number(u32),
            Text(String),
        }
        #[derive(Deserialize)]
        #[serde(try_from = "String")]
        struct Currency;
        impl TryFrom<String> for Currency {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                if text == "EUR" { Ok(Self) } else { Err(format!("no currency: {text}")) }
            }
        }
        #[derive(Deserialize)]
        #[serde(from = "u32")]
        struct Picky;
        impl From<u32> for Picky {
            fn from(_: u32) -> Self {
                panic!("never")
            }
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Money {
            amount: Decimal,
            currency: Currency,
            at: i64,
        }
        assert_eq!(shown::<Flat>(), "unknown");
        assert_eq!(shown::<Either>(), "any value");
        assert_eq!(shown::<(Picky, u8)>(), "(u32, unknown)");
        // `currency` takes none of our samples, so that it is not known whether `at` may be missing
        assert_eq!(shown::<Money>(), "{amount: a Decimal type representing a fixed-point number, at?: i64, currency: text}");
    }

    #[test]
    fn a_type_may_say_itself_what_it_looks_like() {
        #[derive(Serialize, Deserialize)]
        struct Packed(Vec<u8>);
        impl StateValue for Packed {
            fn value_type() -> crate::state::ValueType {
                crate::state::ValueType::Bytes
            }
        }
        assert_eq!(Timed::<Packed>::value_type().to_string(), "bytes");
    }
}
