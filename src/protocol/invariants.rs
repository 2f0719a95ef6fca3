//! What must hold at every moment, defined once: the model, the simulation and the core itself ask the same functions.
//!
//! They are generic in the names of partitions, hashes and files, so that a model can use small ones.

use super::CheckpointId;
use std::{collections::BTreeMap, fmt};

/// An invariant that does not hold, with the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl Violation {
    /// A violation with its facts.
    pub fn new(facts: impl Into<String>) -> Self {
        Self(facts.into())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// Positions of a checkpoint go on from those before: every partition is still there, none has moved back, all are real
/// offsets (negative ones are librdkafka's logical offsets, which a commit drops silently).
///
/// # Errors
/// The first partition for which it does not hold.
pub fn positions_go_on<P: Ord + fmt::Display>(before: &BTreeMap<P, i64>, now: &BTreeMap<P, i64>) -> Result<(), Violation> {
    if let Some((partition, offset)) = now.iter().find(|(_, offset)| **offset < 0) {
        return Err(Violation(format!("partition {partition}: {offset} is not an offset that can be committed")));
    }
    for (partition, old) in before {
        match now.get(partition) {
            None => return Err(Violation(format!("partition {partition} was at {old}, and now has no position at all"))),
            Some(new) if new < old => return Err(Violation(format!("partition {partition} went from {old} back to {new}"))),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The visible outputs are the fold of the committed input, each once: of a job that writes one output per input record,
/// readers see, per partition and in this order, exactly the records from `begin` to `committed`.
///
/// # Errors
/// The first output that is lost, doubled, too early or out of order.
pub fn each_once_in_order<P: Ord + Clone + fmt::Display>(
    begin: &BTreeMap<P, i64>,
    committed: &BTreeMap<P, i64>,
    visible: impl IntoIterator<Item = (P, i64)>,
) -> Result<(), Violation> {
    let mut next = begin.clone();
    for (partition, offset) in visible {
        let due = next.entry(partition.clone()).or_default();
        if offset != *due {
            let what = if offset < *due { "is doubled or late" } else { "came too early, or one before it is lost" };
            return Err(Violation(format!("partition {partition}: the output of {offset} {what}: {due} was due")));
        }
        *due += 1;
    }
    for (partition, due) in next {
        let committed = committed.get(&partition).or_else(|| begin.get(&partition)).copied().unwrap_or_default();
        if due != committed {
            return Err(Violation(format!("partition {partition}: outputs are visible up to {due}, committed is {committed}")));
        }
    }
    Ok(())
}

/// What Kafka says is committed.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a, P, H> {
    /// Number of the checkpoint that the metadata names.
    pub checkpoint: CheckpointId,
    /// Hash of the manifest that the metadata names.
    pub hash: H,
    /// Committed offsets.
    pub offsets: &'a BTreeMap<P, i64>,
}

/// What checkpoint storage holds of that checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a, P, H, F> {
    /// Hash of the manifest.
    pub hash: H,
    /// Positions in the manifest.
    pub positions: &'a BTreeMap<P, i64>,
    /// Files that the manifest names.
    pub files: &'a [F],
}

/// No commit without a durable manifest, and what is deleted is never needed: the checkpoint that Kafka names is in storage,
/// it is that one, its positions are the committed offsets, and all its files are there.
///
/// # Errors
/// What is missing or differs.
pub fn named_is_restorable<P: Ord + fmt::Debug, H: PartialEq + fmt::Debug, F: fmt::Debug>(
    named: &Named<'_, P, H>,
    kept: Option<&Kept<'_, P, H, F>>,
    mut is_whole: impl FnMut(&F) -> bool,
) -> Result<(), Violation> {
    let number = named.checkpoint;
    let Some(kept) = kept else {
        return Err(Violation(format!("checkpoint {number} is committed, but its manifest is not there")));
    };
    if kept.hash != named.hash {
        return Err(Violation(format!("checkpoint {number} is committed as {:?}, storage holds {:?}", named.hash, kept.hash)));
    }
    if kept.positions != named.offsets {
        return Err(Violation(format!(
            "checkpoint {number} is committed at {:?}, its manifest says {:?}",
            named.offsets, kept.positions
        )));
    }
    match kept.files.iter().find(|file| !is_whole(file)) {
        Some(file) => Err(Violation(format!("checkpoint {number} is kept, but its file {file:?} is not there"))),
        None => Ok(()),
    }
}

/// The state of a checkpoint is the fold of the input up to its positions, from the beginning, without a gap.
///
/// `folded` is, per partition, the offset up to which records have gone into the state.
///
/// # Errors
/// The first partition whose state and position do not fit.
pub fn state_is_fold<P: Ord + fmt::Display>(positions: &BTreeMap<P, i64>, folded: &BTreeMap<P, i64>) -> Result<(), Violation> {
    for (partition, position) in positions {
        let folded = folded.get(partition).copied().unwrap_or_default();
        if folded != *position {
            return Err(Violation(format!(
                "partition {partition}: the state holds records up to {folded}, its position is {position}"
            )));
        }
    }
    Ok(())
}

/// One commit that took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit {
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
    /// The committed checkpoint that its state was built on.
    pub base: Option<CheckpointId>,
}

/// At most one owner's commits take effect: every commit builds on the one before it. An attempt that was overtaken builds on
/// an older one, and would show here.
///
/// # Errors
/// The first commit that builds on another one.
pub fn commits_form_a_chain(commits: impl IntoIterator<Item = Commit>) -> Result<(), Violation> {
    let mut before: Option<CheckpointId> = None;
    for Commit { checkpoint, base } in commits {
        if base != before || before.is_some_and(|before| checkpoint <= before) {
            return Err(Violation(format!(
                "checkpoint {checkpoint}, built on {base:?}, was committed after {before:?}: two owners"
            )));
        }
        before = Some(checkpoint);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offsets: &[(u8, i64)]) -> BTreeMap<u8, i64> {
        offsets.iter().copied().collect()
    }

    #[test]
    fn outputs_are_compared_with_the_committed_input() {
        let check = |visible: &[(u8, i64)]| {
            each_once_in_order(&at(&[(0, 3), (1, 0)]), &at(&[(0, 5), (1, 0)]), visible.iter().copied()).map_err(|v| v.to_string())
        };
        check(&[(0, 3), (0, 4)]).unwrap();
        assert!(check(&[(0, 3)]).unwrap_err().contains("visible up to 4, committed is 5"));
        assert!(check(&[(0, 3), (0, 3), (0, 4)]).unwrap_err().contains("doubled"));
        assert!(check(&[(0, 4), (0, 3)]).unwrap_err().contains("too early"));
        assert!(check(&[(0, 3), (0, 4), (1, 0)]).unwrap_err().contains("partition 1"));
    }

    #[test]
    fn a_commit_that_does_not_build_on_the_one_before_is_a_second_owner() {
        let commit =
            |checkpoint, base: Option<u64>| Commit { checkpoint: CheckpointId(checkpoint), base: base.map(CheckpointId) };
        commits_form_a_chain([commit(0, None), commit(1, Some(0)), commit(4, Some(1))]).unwrap();
        assert!(commits_form_a_chain([commit(0, None), commit(1, Some(0)), commit(2, Some(0))]).is_err());
        assert!(commits_form_a_chain([commit(0, None), commit(1, None)]).is_err());
        assert!(commits_form_a_chain([commit(5, None), commit(4, Some(5))]).is_err());
    }

    #[test]
    fn what_kafka_names_must_be_whole_in_storage() {
        let (offsets, other) = (at(&[(0, 5)]), at(&[(0, 4)]));
        let named = Named { checkpoint: CheckpointId(3), hash: 'a', offsets: &offsets };
        let kept = |hash, positions| Kept { hash, positions, files: &["x", "y"] };
        named_is_restorable(&named, Some(&kept('a', &offsets)), |_| true).unwrap();
        assert!(named_is_restorable(&named, None::<&Kept<'_, u8, char, u8>>, |_| true).is_err());
        assert!(named_is_restorable(&named, Some(&kept('b', &offsets)), |_| true).is_err());
        assert!(named_is_restorable(&named, Some(&kept('a', &other)), |_| true).is_err());
        assert!(named_is_restorable(&named, Some(&kept('a', &offsets)), |file| *file == "x").is_err());
    }

    #[test]
    fn state_that_lags_behind_its_positions_is_found() {
        state_is_fold(&at(&[(0, 5), (1, 0)]), &at(&[(0, 5)])).unwrap();
        assert!(state_is_fold(&at(&[(0, 5)]), &at(&[(0, 4)])).is_err());
    }
}
