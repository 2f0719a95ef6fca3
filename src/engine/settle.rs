//! What recovery makes up for outside of Kafka: what is committed and was not published, and what was staged in vain.

use super::{
    plan::Plan,
    recovery::second_look,
    sink::{Staged, Transactions},
};
use crate::checkpoint::{Manifest, Storage};
use crate::failpoint;
use crate::protocol::Failure;
use std::{collections::BTreeSet, path::Path};

/// Publishes what the committed checkpoint has staged outside of Kafka, and aborts what else was.
///
/// An attempt may be paused anywhere here and go on when its successor has staged and committed more. So it gets an epoch first, and then
/// proves that the job is its own: whoever takes the job later has a higher epoch, and what that has staged is left alone. To publish what
/// is committed is right whoever does it, and however late.
pub fn settle(
    storage: &Storage,
    plan: &Plan,
    transactions: &mut dyn Transactions,
    (committed, restored): (Option<&Manifest>, Option<&Manifest>),
) -> Result<Option<u64>, Failure> {
    if let Some(manifest) = committed {
        nothing_is_left_behind(&manifest.staged, plan)?;
    }
    if !transactions.stages() {
        return Ok(None);
    }
    let before = committed.iter().chain(&restored).filter_map(|manifest| manifest.epoch).max();
    let epoch = storage.take_epoch(before.unwrap_or(0))?;
    transactions.fence(&BTreeSet::new())?;
    failpoint::hit("before-settling")?;
    let settled = transactions.settle(epoch, committed.map(|manifest| &manifest.staged));
    settled.map_err(|refused| second_look(refused, transactions))?;
    Ok(Some(epoch))
}

/// What a sink that is not in the job any more has staged, and nobody has published.
pub fn nothing_is_left_behind(staged: &Staged, plan: &Plan) -> Result<(), Failure> {
    let gone = staged.iter().filter(|(name, _)| !plan.sinks.contains_key(*name));
    for (name, staged) in gone {
        if let Some(path) = staged.iter().find(|path| Path::new(path).exists()) {
            return Err(Failure::refused(format!(
                "sink {name:?} is not in the job any more, but {path}, which is committed, was not published yet: start the job \
                 once with the sink, or move the file yourself"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connectors::Collected, protocol::FailureKind};
    use std::sync::Arc;

    #[test]
    fn what_a_sink_has_staged_that_is_gone_from_the_job_is_refused_until_somebody_has_moved_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".part-shop-00000001-00000000.staged");
        std::fs::write(&path, "line\n").unwrap();
        let staged = Staged::from([("files".to_owned(), vec![path.display().to_string()])]);
        let (mut with, without) = (Plan::default(), Plan::default());
        with.sinks.insert("files".to_owned(), Arc::new(Collected::new()));
        assert_eq!(nothing_is_left_behind(&staged, &with), Ok(()));
        let refused = nothing_is_left_behind(&staged, &without).unwrap_err();
        assert!(refused.kind == FailureKind::Refused && refused.message.contains("\"files\""), "{refused}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(nothing_is_left_behind(&staged, &without), Ok(()));
    }
}
