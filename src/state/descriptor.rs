//! What a state is: its names, its kind and its shape. Stored in the manifest.

use super::{KeyShape, StateKey};
use crate::protocol::Failure;
use serde::{Deserialize, Serialize};

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
}

impl StateDescriptor {
    /// A state of kind [`StateKind::Value`] without time to live.
    pub fn value<K: StateKey>(operator: &str, name: &str) -> Self {
        Self { operator: operator.to_owned(), name: name.to_owned(), kind: StateKind::Value, key: K::shape(), ttl_ms: None }
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

    /// Whether this program's state can read what `stored` describes; values are checked when they are read.
    pub fn check_reads(&self, stored: &Self) -> Result<(), Failure> {
        let refuse = |what: &str, now: String, then: String| {
            Err(Failure::refused(format!(
                "state {}: the checkpoint has {what} {then}, this program {now}: run the program that wrote it, or give the state a new name",
                self.column_family()
            )))
        };
        if self.kind != stored.kind {
            return refuse("kind", format!("{:?}", self.kind), format!("{:?}", stored.kind));
        }
        if self.key != stored.key {
            return refuse("keys of", self.key.to_string(), stored.key.to_string());
        }
        Ok(())
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
            error.message.contains("track/order") && error.message.contains("text") && error.message.contains("64 bits"),
            "{error}"
        );
        assert!(StateDescriptor::value::<u64>("Track", "order").check().unwrap_err().message.contains("\"Track\""));
    }
}
