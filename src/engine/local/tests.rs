//! Commits and takeovers of a job without Kafka, with crashes between their steps.

use super::*;
use crate::engine::{sink::CommitOutcome, stop::Stop};
use crate::protocol::{Failure, FailureKind};
use std::{cell::RefCell, collections::BTreeMap, fs, path::Path};

fn committed(number: u64) -> Committed {
    Committed {
        offsets: BTreeMap::from([(("numbers".to_owned(), 0), number as i64 * 10), (("numbers".to_owned(), 1), 7)]),
        pointer: format!("v1:sums:{number}:0123456789abcdef"),
        outputs: BTreeMap::from([("out".to_owned(), vec![format!("staged-{number}")])]),
    }
}

fn take_over(log: &CommitLog) -> u64 {
    log.take_over(&Stop::new(), |_, _| Ok(())).unwrap()
}

fn publishes_nothing() -> impl FnMut() -> Result<(), Failure> {
    || panic!("nothing was to be published")
}

#[test]
fn a_commit_brings_offsets_pointer_and_outputs_at_once_and_the_next_owner_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let log = CommitLog::new(folder.path().join("local"));
    // given a job that was never committed
    assert_eq!((log.read().unwrap(), log.epoch().unwrap()), (None, 0));
    let epoch = log
        .take_over(&Stop::new(), |epoch, before| {
            assert_eq!((epoch, before), (1, None));
            Ok(())
        })
        .unwrap();
    // when two commits succeed
    let published = RefCell::new(0);
    for number in [1, 2] {
        // what is published is committed before
        let mut publish = || -> Result<(), Failure> {
            assert_eq!(log.read().unwrap(), Some(committed(number)));
            *published.borrow_mut() += 1;
            Ok(())
        };
        assert_eq!(log.commit(epoch, committed(number), &mut publish), CommitOutcome::Committed);
    }
    assert_eq!(published.into_inner(), 2);
    // then the next owner is given the last one to finish
    let next = log.take_over(&Stop::new(), |epoch, before| {
        assert_eq!((epoch, before), (2, Some(&committed(2))));
        Ok(())
    });
    assert_eq!(next.unwrap(), 2);
}

#[test]
fn whoever_was_overtaken_is_fenced_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = CommitLog::new(folder.path());
    let older = take_over(&log);
    assert_eq!(log.commit(older, committed(1), &mut || Ok(())), CommitOutcome::Committed);
    let newer = take_over(&log);
    // when the older one commits, late
    let outcome = log.commit(older, committed(2), &mut publishes_nothing());
    // then it is told who it lost to
    assert!(matches!(&outcome, CommitOutcome::Fenced(why) if why.contains("epoch 2")), "{outcome:?}");
    assert_eq!(log.still_ours(older).unwrap_err().kind, FailureKind::Fenced);
    // and the commit log is as it was
    assert_eq!(log.read().unwrap(), Some(committed(1)));
    assert_eq!(log.still_ours(newer), Ok(()));
    assert_eq!(log.commit(newer, committed(2), &mut || Ok(())), CommitOutcome::Committed);
}

#[test]
fn a_publication_that_fails_after_the_commit_leaves_the_outcome_to_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let log = CommitLog::new(folder.path());
    let epoch = take_over(&log);
    let outcome = log.commit(epoch, committed(1), &mut || Err(Failure::transient("disk full")));
    assert_eq!(outcome, CommitOutcome::Unknown("disk full".to_owned()));
    // it is committed all the same, and the next owner is told what to publish
    let mut finished = None;
    log.take_over(&Stop::new(), |_, before| {
        finished = before.cloned();
        Ok(())
    })
    .unwrap();
    assert_eq!(finished, Some(committed(1)));
}

#[test]
fn a_crash_before_the_rename_leaves_the_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let log = CommitLog::new(folder.path());
    let epoch = take_over(&log);
    assert_eq!(log.commit(epoch, committed(1), &mut || Ok(())), CommitOutcome::Committed);
    // given what a crash in the middle of writing leaves
    fs::write(folder.path().join("committed.new"), b"{\"format\": 1, \"epo").unwrap();
    assert_eq!(log.read().unwrap(), Some(committed(1)));
    // it is in nobody's way
    assert_eq!(log.commit(epoch, committed(2), &mut || Ok(())), CommitOutcome::Committed);
    assert_eq!(log.read().unwrap(), Some(committed(2)));
}

#[test]
fn a_takeover_waits_for_a_commit_and_a_takeover_that_is_stopped_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let log = CommitLog::new(folder.path());
    let epoch = take_over(&log);
    let outcome = log.commit(epoch, committed(1), &mut || {
        // given that the lock is held, by the commit whose step this is
        let stop = Stop::new();
        stop.stop();
        let refused = log.take_over(&stop, |_, _| panic!("the lock is held")).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Attempt);
        Ok(())
    });
    assert_eq!(outcome, CommitOutcome::Committed);
    assert_eq!(take_over(&log), 2);
}

#[test]
fn damage_and_newer_formats_are_refused_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = CommitLog::new(folder.path());
    let write = |text: &str| fs::write(folder.path().join("committed.json"), text).unwrap();
    for (text, words) in [
        ("", "damaged"),
        ("{\"format\": 1", "damaged"),
        (r#"{"format": 9, "epoch": 1, "pointer": "", "offsets": [], "outputs": {}}"#, "format 9"),
    ] {
        write(text);
        let refused = log.read().unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused, "{text}");
        assert!(refused.message.contains(words) && refused.message.contains("committed.json"), "{refused}");
    }
}

#[test]
fn replacing_leaves_no_other_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    replace(&path, b"one").unwrap();
    replace(&path, b"two").unwrap();
    let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(folder.path()), ["a.json"]);
    assert_eq!(fs::read(&path).unwrap(), b"two");
}
