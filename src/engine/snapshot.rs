//! What operators hold besides keyed state, as it goes into a manifest and comes back from one.

use serde_json::Value;
use std::collections::BTreeMap;

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
}
