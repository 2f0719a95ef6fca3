//! What a state is: its names, its kind and its shape. Stored in the manifest.

use super::{KeyShape, StateKey, StateValue, ValueType, decode_value, trace};
use crate::protocol::Failure;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fmt;

/// How the entries of a state are read by its operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// One value per key.
    Value,
    /// Several entries per key: the key is a pair of it and the entry's own.
    Map,
    /// One list per key, stored as one entry.
    List,
    /// One value per key, into which values of the same type are reduced.
    Reducing,
    /// One accumulator per key.
    Aggregating,
    /// Timers: the key is (domain, (time in ms, what the timer is for)), and the entries are asked for in the order of time.
    Timer,
    /// Belongs to subtasks instead of keys, and moves with their key groups.
    Operator,
    /// As [`Self::Operator`], and the same on every subtask.
    Broadcast,
}

/// One state of one operator. The two names are its identity: a state under another name is another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDescriptor {
    /// Name of the operator.
    pub operator: String,
    /// Name of the state within its operator.
    pub name: String,
    /// How it is read.
    pub kind: StateKind,
    /// What its keys are.
    pub key: KeyShape,
    /// Time to live in ms of event time, counted from [`super::StateValue::written_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// What its values are: all types that any of them may have been written with, the newest last. An entry is written again only
    /// when it changes, so that one of an old program may lie there for years.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueType>,
    /// How this program reads them; not a part of what is stored.
    #[serde(skip)]
    reader: Option<Reader>,
}

/// What a program reads values as.
#[derive(Clone)]
struct Reader {
    reads: ValueType,
    tries: Tries,
}

/// Reads something stored and forgets it.
#[derive(Clone, Copy)]
enum Tries {
    /// The value of a keyed state.
    Value(fn(&[u8]) -> Result<(), Failure>),
    /// An element of operator state.
    Element(fn(&Value) -> Result<(), serde_json::Error>),
}

fn try_element<T: DeserializeOwned>(element: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(element).map(drop)
}

impl PartialEq for Reader {
    fn eq(&self, other: &Self) -> bool {
        self.reads == other.reads
    }
}

impl Eq for Reader {}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.reads)
    }
}

impl StateDescriptor {
    /// A state of kind [`StateKind::Value`] without time to live.
    pub fn value<K: StateKey>(operator: &str, name: &str) -> Self {
        Self {
            operator: operator.to_owned(),
            name: name.to_owned(),
            kind: StateKind::Value,
            key: K::shape(),
            ttl_ms: None,
            values: Vec::new(),
            reader: None,
        }
    }

    /// The same with another kind.
    #[must_use]
    pub fn kind(mut self, kind: StateKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same with a time to live, in ms of event time.
    #[must_use]
    pub fn ttl_ms(mut self, ttl_ms: u64) -> Self {
        self.ttl_ms = Some(ttl_ms);
        self
    }

    /// The same with values of this type. Without it, what is stored is found out to be of another type only when it is read.
    #[must_use]
    pub fn holding<V: StateValue>(mut self) -> Self {
        self.read_as(V::value_type(), Tries::Value(|bytes| decode_value::<V>(bytes).map(drop)));
        self
    }

    /// The same with elements of this type, which lie in manifests: a state of kind [`StateKind::Operator`].
    #[must_use]
    pub fn of_elements<T: DeserializeOwned>(mut self) -> Self {
        self.read_as(trace::element_type::<T>(), Tries::Element(try_element::<T>));
        self
    }

    /// The same with entries of these types, which lie in manifests: a state of kind [`StateKind::Broadcast`].
    #[must_use]
    pub fn of_entries<K: DeserializeOwned, V: DeserializeOwned>(mut self) -> Self {
        let map = ValueType::Map(trace::element_type::<K>().into(), trace::element_type::<V>().into());
        self.read_as(map, Tries::Element(try_element::<(K, V)>));
        self
    }

    fn read_as(&mut self, reads: ValueType, tries: Tries) {
        self.values = vec![reads.as_written()];
        self.reader = Some(Reader { reads, tries });
    }

    /// The same, going on with what `stored` describes: what its values were written with stays among [`Self::values`].
    #[must_use]
    pub fn continuing(mut self, stored: &Self) -> Self {
        let own = std::mem::take(&mut self.values);
        // Version 0.1.0 did not write down what values are.
        self.values = if stored.values.is_empty() { vec![ValueType::Unknown] } else { stored.values.clone() };
        self.values.retain(|older| !own.contains(older));
        self.values.extend(own);
        self
    }

    /// Name of its column family: `operator/state`.
    #[must_use]
    pub fn column_family(&self) -> String {
        format!("{}/{}", self.operator, self.name)
    }

    /// Both names are 1 to 64 characters of `a-z`, `0-9`, `-`, `_`, so that they can be used in paths, commands and metrics.
    pub fn check(&self) -> Result<(), Failure> {
        for (what, name) in [("operator", &self.operator), ("state", &self.name)] {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 64 || !name.chars().all(inner) {
                return Err(Failure::fatal(format!(
                    "{what} name {name:?} of state {:?}: allowed are 1 to 64 characters of a-z, 0-9, '-' and '_'",
                    self.column_family()
                )));
            }
        }
        Ok(())
    }

    /// Whether this program's state can read what `stored` describes.
    ///
    /// # Errors
    /// Refused, with the names of operator and state and both shapes.
    pub fn check_reads(&self, stored: &Self) -> Result<(), Failure> {
        let refuse = |what: &str, now: &dyn fmt::Display, then: &dyn fmt::Display, why: &str| {
            Err(Failure::refused(format!(
                "operator {}, state {}: the checkpoint has {what} {then}, this program {now}{why}: run the program that wrote it, or \
                 give the state a new name",
                self.operator, self.name
            )))
        };
        if self.kind != stored.kind {
            return refuse("kind", &format!("{:?}", self.kind), &format!("{:?}", stored.kind), "");
        }
        if self.key != stored.key {
            return refuse("keys of", &self.key, &stored.key, "");
        }
        let Some(reader) = &self.reader else { return Ok(()) };
        for written in &stored.values {
            if let Err(why) = reader.reads.reads(written) {
                let what = match self.kind {
                    StateKind::Operator => "elements of",
                    StateKind::Broadcast => "entries of a",
                    _ => "values of",
                };
                return refuse(what, &reader.reads, written, &format!(" ({why})"));
            }
        }
        Ok(())
    }

    /// Reads a stored value as this program would.
    ///
    /// # Errors
    /// Refused: it does not fit.
    pub(super) fn try_value(&self, bytes: &[u8]) -> Result<(), Failure> {
        match &self.reader {
            Some(Reader { tries: Tries::Value(try_value), .. }) => try_value(bytes),
            _ => Ok(()),
        }
    }

    /// Reads an element of operator state as this program would.
    ///
    /// # Errors
    /// It does not fit.
    pub fn try_element(&self, element: &Value) -> Result<(), serde_json::Error> {
        match &self.reader {
            Some(Reader { tries: Tries::Element(try_element), .. }) => try_element(element),
            _ => Ok(()),
        }
    }

    /// What this program reads values as, for messages.
    pub fn reads(&self) -> Option<&ValueType> {
        self.reader.as_ref().map(|reader| &reader.reads)
    }

    /// Puts in front of `failure`, which says why a stored value cannot be read, where that value is, and what this program reads.
    #[cold]
    pub(super) fn misfit(&self, key: &[u8], failure: Failure) -> Failure {
        let key = self.key.to_json(key).map_or_else(|_| format!("{key:02x?}"), |key| self.key.show(&key));
        let reads = self.reads().map(|reads| format!(" (this program reads {reads})")).unwrap_or_default();
        failure.context(format_args!("operator {}, state {}, key {key}{reads}", self.operator, self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_reads_back_from_the_manifest() {
        let state = StateDescriptor::value::<(i64, String)>("purchases", "windows").kind(StateKind::Map).ttl_ms(5);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(json, r#"{"operator":"purchases","name":"windows","kind":"map","key":{"pair":["i64","text"]},"ttl_ms":5}"#);
        assert_eq!(serde_json::from_str::<StateDescriptor>(&json).unwrap(), state);
        assert_eq!(state.column_family(), "purchases/windows");
    }

    #[test]
    fn other_keys_under_the_same_name_are_refused_with_both_shapes() {
        let now = StateDescriptor::value::<String>("track", "order");
        let error = now.check_reads(&StateDescriptor::value::<u64>("track", "order")).unwrap_err();
        assert!(
            error.message.contains("operator track, state order")
                && error.message.contains("text")
                && error.message.contains("64 bits"),
            "{error}"
        );
        assert!(StateDescriptor::value::<u64>("Track", "order").check().unwrap_err().message.contains("\"Track\""));
    }

    #[test]
    fn values_that_do_not_fit_are_refused_with_both_shapes_and_the_reason() {
        let stored = StateDescriptor::value::<String>("track", "order").holding::<String>();
        let stored: StateDescriptor = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(stored.values, [ValueType::Text]);
        let error = StateDescriptor::value::<String>("track", "order").holding::<u32>().check_reads(&stored).unwrap_err();
        assert_eq!(
            error.message,
            "operator track, state order: the checkpoint has values of text, this program u32 (is text, and would be read as u32): \
             run the program that wrote it, or give the state a new name"
        );
        StateDescriptor::value::<String>("track", "order").holding::<String>().check_reads(&stored).unwrap();
    }

    #[test]
    fn types_that_entries_were_once_written_with_are_not_forgotten() {
        fn state<V: StateValue>() -> StateDescriptor {
            StateDescriptor::value::<String>("track", "order").holding::<V>()
        }
        // given a state that was written with u8, then with u32
        let first = state::<u8>();
        let second = state::<u32>().continuing(&first);
        assert_eq!(second.values, [ValueType::U8, ValueType::U32]);
        // then it stays like that, and a type has to read both
        assert_eq!(state::<u32>().continuing(&second).values, second.values);
        state::<u64>().check_reads(&second).unwrap();
        let both = state::<u8>().continuing(&second);
        assert_eq!(both.values, [ValueType::U32, ValueType::U8]);
        assert!(state::<u8>().check_reads(&second).is_err());
        // and what was there before anybody wrote it down is remembered as not known
        let old = StateDescriptor::value::<String>("track", "order");
        assert_eq!(state::<u8>().continuing(&old).values, [ValueType::Unknown, ValueType::U8]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_by_its_key() {
        let state = StateDescriptor::value::<(i64, String)>("purchases", "windows").holding::<u32>();
        let mut key = Vec::new();
        (7_i64, String::from("U-1")).encode(&mut key);
        let mut value = Vec::new();
        crate::state::encode_value(&String::from("x"), &mut value).unwrap();
        let error = state.misfit(&key, state.try_value(&value).unwrap_err()).message;
        assert!(error.starts_with("operator purchases, state windows, key [7,\"U-1\"] (this program reads u32): "), "{error}");
        assert!(error.ends_with("stored is \"x\", which is text"), "{error}");
    }
}
