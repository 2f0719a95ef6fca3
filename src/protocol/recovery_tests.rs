//! One test for each rule of recovery.

use super::*;
use crate::protocol::FailureKind;

fn job() -> JobName {
    "orders".parse().unwrap()
}

fn hash(number: u64) -> ManifestHash {
    ManifestHash([u8::try_from(number).unwrap(); 32])
}

fn pointer(number: u64) -> String {
    Pointer::to(&job(), &ManifestRef { checkpoint: CheckpointId(number), hash: hash(number) }).to_string()
}

fn input(partition: i32) -> TopicPartition {
    TopicPartition::new("in", partition)
}

fn at(offsets: &[(i32, i64)]) -> Positions {
    offsets.iter().map(|(partition, offset)| (input(*partition), *offset)).collect()
}

fn manifest(number: u64, base: Option<u64>, positions: &[(i32, i64)]) -> (CheckpointId, Result<StoredManifest, String>) {
    let transactional_ids = ["g-0".to_owned(), "g-1".to_owned()].into();
    let kept = StoredManifest {
        hash: hash(number),
        base: base.map(CheckpointId),
        positions: at(positions),
        only_here: BTreeSet::new(),
        anchor: None,
        transactional_ids,
        from: None,
    };
    (CheckpointId(number), Ok(kept))
}

/// Two partitions, committed at 10 and 5 by checkpoint 3, whose manifest is there, among an older and a newer one.
fn healthy() -> Evidence {
    let committed = |offset| Some(CommittedOffset { offset, metadata: pointer(3) });
    Evidence {
        committed: [(input(0), committed(10)), (input(1), committed(5))].into(),
        anchors: BTreeMap::new(),
        manifests: [
            manifest(2, Some(1), &[(0, 8), (1, 5)]),
            manifest(3, Some(2), &[(0, 10), (1, 5)]),
            manifest(4, Some(3), &[(0, 12), (1, 6)]),
        ]
        .into(),
        torn: BTreeSet::new(),
        markers: [2, 3].map(|number| (CheckpointId(number), hash(number))).into(),
        log_bounds: [(input(0), (0, 20)), (input(1), (5, 20))].into(),
        fenced: ["g-0".to_owned(), "g-1".to_owned()].into(),
        restore: None,
        from: None,
    }
}

fn without_any_offset() -> Evidence {
    let mut evidence = healthy();
    evidence.committed.values_mut().for_each(|committed| *committed = None);
    evidence
}

fn with(mut evidence: Evidence, change: impl FnOnce(&mut Evidence)) -> Evidence {
    change(&mut evidence);
    evidence
}

fn set(evidence: &mut Evidence, partition: i32, offset: i64, metadata: &str) {
    let committed = CommittedOffset { offset, metadata: metadata.to_owned() };
    evidence.committed.insert(input(partition), Some(committed));
}

fn decided(evidence: &Evidence) -> Recovery {
    decide(&job(), "g", evidence).unwrap()
}

fn restored(evidence: &Evidence) -> Restore {
    match decided(evidence) {
        Recovery::Restore(restore) => restore,
        other => panic!("a restore was expected, not {other:?}"),
    }
}

fn refused(evidence: &Evidence) -> String {
    let failure = decide(&job(), "g", evidence).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    failure.message
}

#[track_caller]
fn refused_saying(words: &[&str], change: impl FnOnce(&mut Evidence)) {
    let message = refused(&with(healthy(), change));
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

#[test]
fn the_checkpoint_that_kafka_names_is_restored_not_the_newest() {
    let expected = Restore {
        manifest: ManifestRef { checkpoint: CheckpointId(3), hash: hash(3) },
        positions: at(&[(0, 10), (1, 5)]),
        new_partitions: BTreeSet::new(),
    };
    assert_eq!(decided(&healthy()), Recovery::Restore(expected));
}

#[test]
fn a_partition_without_offset_that_the_checkpoint_does_not_know_is_new() {
    let evidence = with(healthy(), |evidence| {
        evidence.committed.insert(input(2), None);
        evidence.log_bounds.insert(input(2), (0, 7));
    });
    assert_eq!(restored(&evidence).new_partitions, [input(2)].into());
}

#[test]
fn nothing_anywhere_is_a_first_start() {
    assert_eq!(decided(&Evidence { committed: [(input(0), None)].into(), ..Evidence::default() }), Recovery::FirstStart);
}

#[test]
fn a_first_start_whose_manifest_was_torn_is_begun_again() {
    let torn = |numbers: &[u64]| {
        let numbers: BTreeSet<_> = numbers.iter().copied().map(CheckpointId).collect();
        with(without_any_offset(), |evidence| {
            evidence.manifests = numbers.iter().map(|number| (*number, Err("it ends too early".to_owned()))).collect();
            (evidence.torn, evidence.markers) = (numbers, BTreeMap::new());
        })
    };
    assert_eq!(decided(&torn(&[0])), Recovery::FirstStart);
    assert_eq!(decided(&torn(&[0, 1])), Recovery::FirstStart);
    let and_whole = with(torn(&[0]), |evidence| evidence.manifests.extend([manifest(1, None, &[(0, 0)])]));
    assert_eq!(decided(&and_whole), Recovery::FirstStart);
    // A job that has lived: it was collected behind the first ones, marked, built on, or it is another kind of damage.
    refused(&torn(&[17]));
    refused(&with(torn(&[0]), |evidence| evidence.markers = [(CheckpointId(0), hash(0))].into()));
    refused(&with(torn(&[0, 1]), |evidence| evidence.manifests.extend([manifest(2, Some(1), &[(0, 0)])])));
    refused(&with(torn(&[0]), |evidence| evidence.torn.clear()));
}

#[test]
fn a_first_start_that_was_never_committed_is_begun_again_however_often_it_died() {
    let evidence = with(without_any_offset(), |evidence| {
        evidence.manifests = [manifest(0, None, &[(0, 0)]), manifest(1, None, &[(0, 0)])].into();
        evidence.markers.clear();
    });
    assert_eq!(decided(&evidence), Recovery::FirstStart);
    let marked = with(evidence, |evidence| {
        evidence.markers.insert(CheckpointId(1), hash(1));
    });
    assert!(refused(&marked).contains("run --restore 1"));
}

#[test]
fn lost_offsets_are_refused_with_the_command_that_decides() {
    let message = refused(&without_any_offset());
    for word in ["no committed offsets", "manifests: 2, 3, 4", "confirmed: 2, 3", "run --restore 3"] {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

#[test]
fn lost_offsets_are_replaced_by_the_newest_marked_checkpoint_when_the_operator_says_so() {
    let evidence = with(without_any_offset(), |evidence| evidence.restore = Some(CheckpointId(3)));
    assert_eq!(restored(&evidence).manifest.checkpoint, CheckpointId(3));
    assert_eq!(restored(&evidence).new_partitions, BTreeSet::new());
}

#[test]
fn the_operator_cannot_choose_another_one_than_the_newest_marked() {
    for wanted in [2, 4, 9] {
        let message = refused(&with(without_any_offset(), |evidence| evidence.restore = Some(CheckpointId(wanted))));
        assert!(message.contains("3 is the one that was confirmed last"), "{message}");
    }
}

#[test]
fn without_marker_or_with_another_manifest_than_the_marked_one_no_flag_helps() {
    let chosen = || with(without_any_offset(), |evidence| evidence.restore = Some(CheckpointId(3)));
    assert!(refused(&with(chosen(), |evidence| evidence.markers.clear())).contains("none can be chosen"));
    assert!(
        refused(&with(chosen(), |e| {
            e.markers.insert(CheckpointId(3), hash(9));
        }))
        .contains("another one")
    );
    assert!(
        refused(&with(chosen(), |e| {
            e.manifests.remove(&CheckpointId(3));
        }))
        .contains("missing")
    );
    assert!(refused(&with(chosen(), |e| e.manifests.clear())).contains("manifests: none"));
}

#[test]
fn the_operators_flag_is_not_looked_at_while_kafka_names_a_checkpoint() {
    let evidence = with(healthy(), |evidence| evidence.restore = Some(CheckpointId(2)));
    assert_eq!(restored(&evidence).manifest.checkpoint, CheckpointId(3));
}

#[test]
fn offsets_of_others_are_refused() {
    refused_saying(&["in-0", "not written by sluicegate", "kafka.group"], |evidence| set(evidence, 0, 10, ""));
    refused_saying(&["in-0", "belongs to job payments"], |evidence| set(evidence, 0, 10, "v1:payments:3:0303030303030303"));
}

#[test]
fn partitions_that_disagree_are_refused_with_both_sides() {
    refused_saying(&["do not agree", "v1:orders:2:", "in-0", "v1:orders:3:", "in-1"], |e| set(e, 0, 8, &pointer(2)));
    refused_saying(&["do not agree"], |evidence| set(evidence, 0, 10, "v1:orders:3:0808080808080808"));
}

#[test]
fn offsets_that_are_not_those_of_the_checkpoint_are_refused() {
    refused_saying(&["in-0", "offset is 11", "holds 10", "Set the offset back to 10"], |e| set(e, 0, 11, &pointer(3)));
    refused_saying(&["in-1", "holds offset 5", "none is committed"], |e| {
        e.committed.insert(input(1), None);
    });
    refused_saying(&["in-7", "does not know the partition"], |evidence| set(evidence, 7, 0, &pointer(3)));
}

#[test]
fn a_missing_unreadable_or_changed_manifest_is_never_replaced_by_another_one() {
    refused_saying(&["checkpoint 3", "not in the", "there: 2, 4"], |e| {
        e.manifests.remove(&CheckpointId(3));
    });
    refused_saying(&["cannot be used", "line 7"], |evidence| {
        evidence.manifests.insert(CheckpointId(3), Err("manifests/3.json, line 7: end of file".to_owned()));
    });
    refused_saying(&["0303030303030303", "0909090909090909"], |evidence| {
        let (number, changed) = manifest(3, Some(2), &[(0, 10), (1, 5)]);
        evidence.manifests.insert(number, changed.map(|kept| StoredManifest { hash: hash(9), ..kept }));
    });
}

#[test]
fn another_manifest_that_cannot_be_read_does_not_matter() {
    let evidence = with(healthy(), |e| {
        e.manifests.insert(CheckpointId(4), Err("torn".to_owned()));
    });
    assert_eq!(restored(&evidence).manifest.checkpoint, CheckpointId(3));
}

#[test]
fn positions_outside_the_log_are_refused() {
    refused_saying(&["in-0", "begins at 12", "2 records"], |e| {
        e.log_bounds.insert(input(0), (12, 20));
    });
    refused_saying(&["in-0", "ends at 9", "created again"], |e| {
        e.log_bounds.insert(input(0), (0, 9));
    });
    refused_saying(&["in-1", "does not exist"], |e| {
        e.log_bounds.remove(&input(1));
    });
    // Read to the end, and all of it deleted by retention since: nothing is lost.
    let evidence = with(healthy(), |e| {
        e.log_bounds.insert(input(0), (10, 10));
    });
    assert_eq!(restored(&evidence).positions, at(&[(0, 10), (1, 5)]));
}

#[test]
fn ids_that_only_the_committed_manifest_names_are_fenced_before_anything_is_restored() {
    let evidence = with(healthy(), |evidence| evidence.fenced = ["g-0".to_owned()].into());
    assert_eq!(decided(&evidence), Recovery::Fence(["g-1".to_owned()].into()));
}

#[test]
fn all_ids_that_anybody_may_have_used_are_fenced() {
    let today = crate::protocol::transactional_ids("g", 2);
    let older = [["g-0".to_owned(), "g-3".to_owned()].into(), ["g-2".to_owned()].into()];
    let ids: Vec<_> = ids_to_fence(&today, &older).into_iter().collect();
    assert_eq!(ids, ["g-0", "g-1", "g-2", "g-3"]);
}

#[test]
fn a_number_is_never_used_twice() {
    assert_eq!(next_checkpoint(None, []), CheckpointId::FIRST);
    assert_eq!(next_checkpoint(Some(CheckpointId(3)), []), CheckpointId(4));
    assert_eq!(next_checkpoint(Some(CheckpointId(3)), [2, 3, 6, 5].map(CheckpointId)), CheckpointId(7));
    assert_eq!(next_checkpoint(None, [CheckpointId(0)]), CheckpointId(1));
}

/// The savepoint of checkpoint 3 of [`healthy`], with its positions, unless they are changed.
fn savepoint(positions: &[(i32, i64)], rewind: bool) -> Option<Origin> {
    let manifest = ManifestRef { checkpoint: CheckpointId(3), hash: hash(77) };
    Some(Origin { name: "3-0badcafe".into(), manifest, positions: at(positions), only_here: BTreeSet::new(), rewind })
}

fn begun(evidence: &Evidence) -> Begin {
    match decided(evidence) {
        Recovery::Begin(begin) => begin,
        other => panic!("a start from the savepoint was expected, not {other:?}"),
    }
}

#[test]
fn a_first_start_begins_from_the_savepoint() {
    let fresh = Evidence {
        committed: [(input(0), None), (input(1), None)].into(),
        log_bounds: healthy().log_bounds,
        from: savepoint(&[(0, 9)], false),
        ..Evidence::default()
    };
    let begin = begun(&fresh);
    assert_eq!((begin.restore.positions, begin.base), (at(&[(0, 9)]), None));
    assert_eq!(begin.restore.new_partitions, [input(1)].into());
    assert!(begin.again.is_empty());
    // An attempt that died before its first commit is no obstacle.
    let died = with(fresh, |evidence| evidence.manifests = [manifest(1, None, &[(0, 9)])].into());
    assert_eq!(begun(&died).restore.positions, at(&[(0, 9)]));
}

#[test]
fn a_savepoint_does_not_answer_the_question_where_lost_offsets_were() {
    let evidence = with(without_any_offset(), |evidence| evidence.from = savepoint(&[(0, 10), (1, 5)], true));
    assert!(refused(&evidence).contains("--restore 3"));
}

#[test]
fn a_savepoint_of_just_what_is_committed_needs_no_word() {
    let begin = begun(&with(healthy(), |evidence| evidence.from = savepoint(&[(0, 10), (1, 5)], false)));
    assert_eq!(begin.base.map(|base| base.checkpoint), Some(CheckpointId(3)));
    assert_eq!(begin.restore.manifest.hash, hash(77));
    assert!(begin.again.is_empty());
}

#[test]
fn an_older_savepoint_needs_the_operators_word_and_says_how_much_is_processed_again() {
    let older = |rewind| with(healthy(), |evidence| evidence.from = savepoint(&[(0, 4), (1, 5)], rewind));
    let message = refused(&older(false));
    assert!(message.contains("--rewind") && message.contains("in-0: 6") && !message.contains("in-1"), "{message}");
    let begin = begun(&older(true));
    assert_eq!(begin.again, [(input(0), 6)].into());
    assert_eq!(begin.restore.positions, at(&[(0, 4), (1, 5)]));
    // A partition that came after the savepoint is read from its beginning again.
    let without_one = with(healthy(), |evidence| {
        evidence.from = savepoint(&[(0, 10)], false);
        evidence.log_bounds.insert(input(1), (2, 20));
    });
    assert!(refused(&without_one).contains("in-1: 3"));
}

#[test]
fn a_savepoint_ahead_of_the_job_is_refused_even_with_the_operators_word() {
    let ahead = with(healthy(), |evidence| evidence.from = savepoint(&[(0, 13), (1, 5)], true));
    let message = refused(&ahead);
    assert!(message.contains("13") && message.contains("3 records would never be processed"), "{message}");
}

#[test]
fn a_job_that_has_begun_from_the_savepoint_goes_on() {
    let evidence = with(healthy(), |evidence| {
        evidence.from = savepoint(&[(0, 4), (1, 5)], true);
        for found in evidence.manifests.values_mut() {
            found.as_mut().unwrap().from = Some(hash(77));
        }
    });
    assert_eq!(restored(&evidence).manifest.checkpoint, CheckpointId(3));
}

#[test]
fn a_savepoint_whose_input_is_gone_is_refused() {
    let gone = with(healthy(), |evidence| {
        evidence.from = savepoint(&[(0, 4), (1, 5)], true);
        evidence.log_bounds.insert(input(0), (6, 20));
    });
    let message = refused(&gone);
    assert!(message.contains("3-0badcafe") && message.contains("2 records"), "{message}");
}

fn lines() -> TopicPartition {
    TopicPartition::new("lines", 0)
}

fn anchor() -> TopicPartition {
    TopicPartition::new("out", 0)
}

/// [`healthy`], and a file is read beside: its position is in the manifests only.
fn with_a_file() -> Evidence {
    with(healthy(), |evidence| {
        for found in evidence.manifests.values_mut() {
            let kept = found.as_mut().unwrap();
            kept.positions.insert(lines(), 700);
            kept.only_here.insert(lines());
        }
        evidence.log_bounds.insert(lines(), (0, 900));
    })
}

/// Only a file is read: checkpoint 3 is committed as the offset 3 of an output partition whose log is far away from that.
fn anchored_in_an_output() -> Evidence {
    with(with_a_file(), |evidence| {
        evidence.committed.clear();
        evidence.log_bounds.retain(|partition, _| *partition == lines());
        evidence.anchors = [(anchor(), Some(CommittedOffset { offset: 3, metadata: pointer(3) }))].into();
        for found in evidence.manifests.values_mut() {
            let kept = found.as_mut().unwrap();
            kept.positions.retain(|partition, _| *partition == lines());
            kept.anchor = Some(anchor());
        }
    })
}

#[test]
fn a_position_that_kafka_does_not_hold_is_taken_from_the_manifest() {
    let restore = restored(&with_a_file());
    assert_eq!(restore.positions.get(&lines()), Some(&700));
    assert!(restore.new_partitions.is_empty());
    // a file that came later is new
    let more = with(with_a_file(), |evidence| {
        evidence.log_bounds.insert(TopicPartition::new("lines", 1), (0, 5));
    });
    assert_eq!(restored(&more).new_partitions, [TopicPartition::new("lines", 1)].into());
    // and of a topic of Kafka the offset must be there all the same
    let gone = with(with_a_file(), |evidence| drop(evidence.committed.insert(input(1), None)));
    assert!(refused(&gone).contains("in-1"));
}

#[test]
fn a_file_that_does_not_hold_what_was_read_is_refused_in_its_own_words() {
    let cut = with(with_a_file(), |evidence| {
        evidence.log_bounds.insert(lines(), (0, 600));
    });
    let message = refused(&cut);
    assert!(message.contains("lines-0") && message.contains("changed or cut off") && !message.contains("topic"), "{message}");
    let gone = with(with_a_file(), |evidence| {
        evidence.log_bounds.remove(&lines());
    });
    assert!(refused(&gone).contains("the source has fewer of them"));
}

#[test]
fn an_anchor_names_the_checkpoint_and_is_no_position() {
    let restore = restored(&anchored_in_an_output());
    assert_eq!((restore.manifest.checkpoint, restore.positions), (CheckpointId(3), [(lines(), 700)].into()));
    assert!(restore.new_partitions.is_empty());
    // nothing was committed yet
    let first = Evidence { anchors: [(anchor(), None)].into(), log_bounds: [(lines(), (0, 900))].into(), ..Evidence::default() };
    assert_eq!(decided(&first), Recovery::FirstStart);
}

#[test]
fn an_anchor_that_was_touched_is_refused_with_the_facts() {
    let offset = |offset, metadata: String| Some(CommittedOffset { offset, metadata });
    let set = |committed| with(anchored_in_an_output(), |evidence| drop(evidence.anchors.insert(anchor(), committed)));
    // gone, although manifests exist
    let message = refused(&set(None));
    assert!(message.contains("no committed offsets") && message.contains("--restore 3"), "{message}");
    // another number than its metadata names
    let message = refused(&set(offset(4, pointer(3))));
    assert!(message.contains("out-0") && message.contains("is 4") && message.contains("to 3"), "{message}");
    // by somebody else
    assert!(refused(&set(offset(3, String::new()))).contains("not written by sluicegate"));
    // one that the manifest does not know, beside the right one
    let stray = TopicPartition::new("other", 0);
    let two = |metadata| with(anchored_in_an_output(), |all| drop(all.anchors.insert(stray.clone(), offset(3, metadata))));
    assert!(refused(&two(pointer(3))).contains("other-0"));
    assert!(refused(&two(pointer(2))).contains("do not agree"));
}

#[test]
fn a_job_that_began_with_an_anchor_keeps_it_beside_the_positions_of_kafka() {
    let both = with(with_a_file(), |evidence| {
        for found in evidence.manifests.values_mut() {
            found.as_mut().unwrap().anchor = Some(anchor());
        }
        evidence.anchors = [(anchor(), Some(CommittedOffset { offset: 3, metadata: pointer(3) }))].into();
    });
    assert_eq!(restored(&both).manifest.checkpoint, CheckpointId(3));
    // and without it something was deleted
    let gone = with(both, |evidence| drop(evidence.anchors.insert(anchor(), None)));
    let message = refused(&gone);
    assert!(message.contains("out-0") && message.contains("none is committed"), "{message}");
}

#[test]
fn a_savepoint_is_compared_with_positions_of_files_too() {
    let older = |rewind| {
        with(anchored_in_an_output(), |evidence| {
            let manifest = ManifestRef { checkpoint: CheckpointId(3), hash: hash(77) };
            let positions = [(lines(), 600)].into();
            evidence.from = Some(Origin { name: "3-0badcafe".into(), manifest, positions, only_here: [lines()].into(), rewind });
        })
    };
    assert!(refused(&older(false)).contains("lines-0: 100"));
    assert_eq!(begun(&older(true)).again, [(lines(), 100)].into());
}
