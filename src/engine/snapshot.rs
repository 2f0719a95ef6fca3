//! What operators hold besides keyed state, as it goes into a manifest and comes back from one.

use crate::protocol::Failure;
use crate::state::{StateKind, ValueShape};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// What an element of operator state belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementKind {
    /// A list of each subtask.
    List,
    /// A map that is the same on every subtask: the element is one entry, key and value.
    Broadcast,
    /// No state: event time by which the operator's keyed states expire, in ms.
    EventTime,
}

impl ElementKind {
    /// The kind of a declared state's elements.
    pub fn of(kind: StateKind) -> Self {
        if kind == StateKind::Broadcast { Self::Broadcast } else { Self::List }
    }
}

/// An element that names its state. Operators may write others as well, which are theirs to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedElement {
    /// Name of the state within its operator.
    #[serde(rename = "$state")]
    pub state: String,
    /// What kind of state that is.
    pub kind: ElementKind,
    /// The element itself.
    pub element: Value,
}

impl NamedElement {
    /// An element as it goes into a manifest.
    pub fn write<T: Serialize>(kind: ElementKind, state: &str, element: &T) -> Result<Value, Failure> {
        let element = serde_json::to_value(element);
        let named = element.and_then(|element| serde_json::to_value(Self { state: state.to_owned(), kind, element }));
        named.map_err(|error| Failure::fatal(format!("an element of operator state {state:?} cannot be stored as JSON: {error}")))
    }

    /// What [`Self::write`] wrote; none for any other element.
    pub fn read(value: &Value) -> Option<Self> {
        value.get("$state")?;
        serde_json::from_value(value.clone()).ok()
    }
}

/// What elements look like, learned from them: nothing else describes those of older versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElementsShape {
    keys: Option<ValueShape>,
    values: ValueShape,
}

impl ElementsShape {
    /// One more was seen; of a broadcast map it is an entry.
    pub fn learn(&mut self, kind: ElementKind, element: &Value) {
        match (kind, element.as_array().map(Vec::as_slice)) {
            (ElementKind::Broadcast, Some([key, value])) => {
                self.keys.get_or_insert_default().learn(key);
                self.values.learn(value);
            }
            _ => self.values.learn(element),
        }
    }
}

/// `{id: integer}`, and of a broadcast map `map from text to {id: integer}`.
impl fmt::Display for ElementsShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keys {
            Some(keys) => write!(f, "map from {keys} to {}", self.values),
            None => self.values.fmt(f),
        }
    }
}

/// How the elements of an operator's list state are given out when the job restarts, with whatever parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redistribution {
    /// Every subtask gets a part of the elements.
    Split,
    /// Every subtask gets all elements.
    Union,
}

/// Operator state of one task at one barrier: per operator a list of elements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorSnapshots {
    lists: BTreeMap<String, Vec<Value>>,
}

impl OperatorSnapshots {
    /// Adds the elements that `operator` holds.
    pub fn put(&mut self, operator: &str, elements: Vec<Value>) {
        self.lists.entry(operator.to_owned()).or_default().extend(elements);
    }

    /// Per operator, its elements.
    pub fn into_lists(self) -> BTreeMap<String, Vec<Value>> {
        self.lists
    }
}

/// The part of `elements` that subtask `subtask` of `parallelism` restores.
pub fn redistribute(elements: &[Value], how: Redistribution, subtask: usize, parallelism: usize) -> Vec<Value> {
    match how {
        Redistribution::Union => elements.to_vec(),
        Redistribution::Split => elements.iter().skip(subtask).step_by(parallelism.max(1)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_list_is_given_out_whole_and_once_for_any_parallelism() {
        let elements: Vec<Value> = (0..7).map(Value::from).collect();
        for parallelism in 1..10 {
            let mut parts: Vec<i64> = (0..parallelism)
                .flat_map(|subtask| redistribute(&elements, Redistribution::Split, subtask, parallelism))
                .filter_map(|value| value.as_i64())
                .collect();
            parts.sort_unstable();
            assert_eq!(parts, (0..7).collect::<Vec<_>>());
        }
        assert_eq!(redistribute(&elements, Redistribution::Union, 2, 3), elements);
    }

    #[test]
    fn what_elements_look_like_is_learned_from_them() {
        let mut shape = ElementsShape::default();
        assert_eq!(shape.to_string(), "-");
        for element in [serde_json::json!({"id": 1}), serde_json::json!({"id": 2, "of": "a"})] {
            shape.learn(ElementKind::List, &element);
        }
        assert_eq!(shape.to_string(), "{id: integer, of?: text}");
        let mut map = ElementsShape::default();
        map.learn(ElementKind::Broadcast, &serde_json::json!(["small", 10]));
        assert_eq!(map.to_string(), "map from text to integer");
    }
}
