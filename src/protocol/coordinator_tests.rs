//! One test for each rule of the coordinator.

use super::*;
use crate::protocol::{FailureKind, ManifestHash, TopicPartition};

const FIVE: CheckpointId = CheckpointId(5);

fn at(offsets: &[(i32, i64)]) -> Positions {
    offsets.iter().map(|(partition, offset)| (TopicPartition::new("in", *partition), *offset)).collect()
}

fn manifest(number: u64) -> ManifestRef {
    ManifestRef { checkpoint: CheckpointId(number), hash: ManifestHash([u8::try_from(number).unwrap(); 32]) }
}

/// Task 0 is a source with partitions 0 and 1, task 1 is not. Checkpoint 4 was restored, 5 is the next.
fn restored() -> Coordinator {
    Coordinator::new(Plan {
        job: "orders".parse().unwrap(),
        tasks: 2,
        next: FIVE,
        base: Some(manifest(4)),
        positions: at(&[(0, 10), (1, 7)]),
    })
}

fn first_start() -> Coordinator {
    let positions = at(&[(0, 3), (1, 0)]);
    Coordinator::new(Plan { job: "orders".parse().unwrap(), tasks: 1, next: CheckpointId::FIRST, base: None, positions })
}

fn due(trigger: Trigger) -> Event {
    Event::TriggerDue { trigger }
}

fn acknowledged(task: usize, offsets: &[(i32, i64)]) -> Event {
    Event::TaskAcknowledged { checkpoint: FIVE, task, positions: at(offsets) }
}

/// All that has to happen before manifest 5 may be written.
fn prepare() -> [Event; 4] {
    [
        acknowledged(0, &[(0, 12), (1, 7)]),
        acknowledged(1, &[]),
        Event::OutputFlushed { checkpoint: FIVE },
        Event::StateUploaded { checkpoint: FIVE },
    ]
}

/// All events after the barrier up to the end of `checkpoint`, of an attempt with one task.
fn completed(checkpoint: u64, offsets: &[(i32, i64)]) -> Vec<Event> {
    let number = CheckpointId(checkpoint);
    vec![
        Event::TaskAcknowledged { checkpoint: number, task: 0, positions: at(offsets) },
        Event::OutputFlushed { checkpoint: number },
        Event::StateUploaded { checkpoint: number },
        Event::ManifestDurable { manifest: manifest(checkpoint) },
        Event::Committed { checkpoint: number },
        Event::Confirmed { checkpoint: number },
    ]
}

fn run(core: &mut Coordinator, events: impl IntoIterator<Item = Event>) -> Vec<Command> {
    events.into_iter().flat_map(|event| core.handle(event)).collect()
}

fn barrier(checkpoint: u64, trigger: Trigger) -> Command {
    Command::InjectBarrier { checkpoint: CheckpointId(checkpoint), trigger }
}

/// An attempt whose checkpoint 5 has come to each of its phases, by name.
fn in_each_phase() -> Vec<(&'static str, Coordinator)> {
    let mut core = restored();
    let mut phases = vec![("idle", core.clone())];
    run(&mut core, [due(Trigger::Interval)]);
    phases.push(("preparing", core.clone()));
    run(&mut core, prepare());
    phases.push(("publishing", core.clone()));
    run(&mut core, [Event::ManifestDurable { manifest: manifest(5) }]);
    phases.push(("committing", core.clone()));
    run(&mut core, [Event::Committed { checkpoint: FIVE }]);
    phases.push(("confirming", core.clone()));
    phases
}

fn in_phase(name: &str) -> Coordinator {
    in_each_phase().into_iter().find(|(phase, _)| *phase == name).unwrap().1
}

#[track_caller]
fn ended(commands: Vec<Command>) -> (Failure, Option<CheckpointId>) {
    match <[Command; 1]>::try_from(commands) {
        Ok([Command::EndAttempt { failure, checkpoint }]) => (failure, checkpoint),
        other => panic!("the attempt should have ended: {other:?}"),
    }
}

#[test]
fn the_manifest_is_asked_for_when_everything_is_prepared_in_whatever_order() {
    for first in 0..4 {
        let mut core = restored();
        assert_eq!(core.handle(due(Trigger::Interval)), [barrier(5, Trigger::Interval)]);
        let mut events = prepare();
        events.rotate_left(first);
        let [early @ .., last] = events;
        assert_eq!(run(&mut core, early), []);
        let write = Command::WriteManifest { checkpoint: FIVE, positions: at(&[(0, 12), (1, 7)]) };
        assert_eq!(core.handle(last), [write]);
    }
}

#[test]
fn the_permit_comes_with_the_durable_manifest_and_names_idle_partitions_too() {
    let commands = in_phase("publishing").handle(Event::ManifestDurable { manifest: manifest(5) });
    let [Command::Commit(permit)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(permit.manifest(), manifest(5));
    assert_eq!(permit.positions(), &at(&[(0, 12), (1, 7)]));
    assert_eq!(permit.metadata(), "v1:orders:5:0505050505050505");
}

#[test]
fn nothing_is_cleared_away_before_the_commit_is_confirmed() {
    let mut core = in_phase("committing");
    assert_eq!(core.base(), Some(manifest(4)));
    assert_eq!(core.handle(Event::Committed { checkpoint: FIVE }), [Command::Confirm { manifest: manifest(5) }]);
    assert_eq!(core.base(), Some(manifest(5)));
    assert_eq!(core.handle(Event::Confirmed { checkpoint: FIVE }), []);
    assert_eq!(core.handle(due(Trigger::Interval)), [barrier(6, Trigger::Interval)]);
}

#[test]
fn one_checkpoint_at_a_time_and_the_interval_does_not_queue() {
    for (phase, mut core) in in_each_phase().into_iter().skip(1) {
        assert_eq!(core.in_progress(), Some(FIVE), "{phase}");
        assert_eq!(core.handle(due(Trigger::Interval)), [], "{phase}");
    }
    let mut core = in_phase("preparing");
    core.handle(due(Trigger::Interval));
    let rest =
        prepare().into_iter().chain([Event::ManifestDurable { manifest: manifest(5) }, Event::Committed { checkpoint: FIVE }]);
    run(&mut core, rest);
    assert_eq!(core.handle(Event::Confirmed { checkpoint: FIVE }), []);
}

#[test]
fn a_final_checkpoint_waits_for_the_running_one_then_runs_its_own_and_finishes() {
    let mut core = first_start();
    run(&mut core, [due(Trigger::Interval)]);
    run(&mut core, completed(0, &[(0, 3), (1, 0)]));
    run(&mut core, [due(Trigger::Interval), due(Trigger::Final), due(Trigger::Savepoint)]);
    let commands = run(&mut core, completed(1, &[(0, 4), (1, 0)]));
    assert_eq!(commands.last(), Some(&barrier(2, Trigger::Savepoint)));
    let commands = run(&mut core, completed(2, &[(0, 4), (1, 0)]));
    assert_eq!(commands.last(), Some(&barrier(3, Trigger::Final)));
    let commands = run(&mut core, completed(3, &[(0, 4), (1, 1)]));
    assert_eq!(commands.last(), Some(&Command::Finished));
    assert_eq!(core.handle(due(Trigger::Interval)), []);
}

#[test]
fn the_first_checkpoint_of_all_pins_the_start_and_what_was_asked_for_follows() {
    let mut core = first_start();
    assert_eq!(core.handle(due(Trigger::Final)), [barrier(0, Trigger::Start)]);
    let commands = run(&mut core, completed(0, &[(0, 3), (1, 0)]));
    assert_eq!(commands.last(), Some(&barrier(1, Trigger::Final)));
}

#[test]
fn a_source_that_reads_before_the_start_is_pinned_ends_the_attempt() {
    let mut core = first_start();
    core.handle(due(Trigger::Interval));
    let commands = run(&mut core, completed(0, &[(0, 4), (1, 0)]));
    let (failure, checkpoint) = ended(commands);
    assert_eq!((failure.kind, checkpoint), (FailureKind::Attempt, Some(CheckpointId::FIRST)));
    assert!(failure.message.contains("before the barrier"), "{failure}");
}

#[test]
fn a_position_that_is_missing_or_has_moved_back_ends_the_attempt() {
    for (offsets, word) in [(vec![(0, 12)], "in-1"), (vec![(0, 9), (1, 7)], "from 10 back to 9")] {
        let mut core = in_phase("preparing");
        let mut events = prepare();
        events[0] = acknowledged(0, &offsets);
        let (failure, checkpoint) = ended(run(&mut core, events));
        assert_eq!(checkpoint, Some(FIVE));
        assert!(failure.message.contains(word), "{failure}");
    }
}

#[test]
fn a_partition_that_two_tasks_read_or_a_task_that_does_not_exist_ends_the_attempt() {
    let mut core = in_phase("preparing");
    let (failure, _) = ended(run(&mut core, [acknowledged(0, &[(0, 12), (1, 7)]), acknowledged(1, &[(1, 7)])]));
    assert!(failure.message.contains("in-1 is read by two tasks"), "{failure}");
    let (failure, _) = ended(in_phase("preparing").handle(acknowledged(2, &[])));
    assert_eq!(failure.kind, FailureKind::Fatal);
}

#[test]
fn partitions_that_are_added_behind_the_barrier_are_wanted_in_the_next_checkpoint() {
    let mut core = first_start();
    run(&mut core, [due(Trigger::Interval), Event::PartitionsAdded { positions: at(&[(2, 0)]) }]);
    let commands = run(&mut core, completed(0, &[(0, 3), (1, 0)]));
    assert_eq!(commands.last(), Some(&Command::Confirm { manifest: manifest(0) }));
    core.handle(due(Trigger::Interval));
    let (failure, _) = ended(run(&mut core, completed(1, &[(0, 3), (1, 0)])));
    assert!(failure.message.contains("in-2"), "{failure}");
}

#[test]
fn a_failed_prepare_ends_the_attempt_and_keeps_its_kind() {
    for phase in ["preparing", "publishing"] {
        for failure in [Failure::transient("storage is full"), Failure::fenced("taken over")] {
            let kind = failure.kind;
            let (failure, checkpoint) = ended(in_phase(phase).handle(Event::PrepareFailed { checkpoint: FIVE, failure }));
            assert_eq!((failure.kind, checkpoint), (kind, Some(FIVE)));
            assert!(failure.message.starts_with("checkpoint 5"), "{failure}");
        }
    }
}

#[test]
fn every_other_answer_of_a_commit_than_ok_ends_the_attempt() {
    for (outcome, kind) in [(CommitOutcome::Unknown, FailureKind::Attempt), (CommitOutcome::Fenced, FailureKind::Fenced)] {
        let mut core = in_phase("committing");
        let message = "Local: Timed out".to_owned();
        let (failure, _) = ended(core.handle(Event::CommitFailed { checkpoint: FIVE, outcome, message }));
        assert_eq!(failure.kind, kind);
        // The answer that comes too late does not bring it back.
        assert_eq!(core.handle(Event::Committed { checkpoint: FIVE }), []);
    }
}

#[test]
fn a_time_out_says_what_was_waited_for_and_never_undoes_a_commit() {
    for (phase, words) in [
        ("preparing", "tasks 0, 1; the output is not flushed; the state is not uploaded"),
        ("publishing", "manifest"),
        ("committing", "unknown"),
    ] {
        let (failure, _) = ended(in_phase(phase).handle(Event::TimedOut { checkpoint: FIVE }));
        assert!(failure.message.contains(words), "{phase}: {failure}");
    }
    assert_eq!(in_phase("idle").handle(Event::TimedOut { checkpoint: FIVE }), []);
    let mut core = in_phase("confirming");
    assert_eq!(core.handle(Event::TimedOut { checkpoint: FIVE }), []);
    assert_eq!(core.handle(due(Trigger::Interval)), [barrier(6, Trigger::Interval)]);
}

#[test]
fn repeated_late_and_foreign_events_change_nothing() {
    let foreign = |number: u64| {
        let checkpoint = CheckpointId(number);
        let (outcome, failure, message) = (CommitOutcome::Unknown, Failure::attempt(""), String::new());
        let mut events = completed(number, &[(0, 99)]);
        events.push(Event::PrepareFailed { checkpoint, failure });
        events.push(Event::CommitFailed { checkpoint, outcome, message });
        events.push(Event::TimedOut { checkpoint });
        events
    };
    for (phase, core) in in_each_phase() {
        for number in [4, 6] {
            let mut copy = core.clone();
            assert_eq!(run(&mut copy, foreign(number)), [], "{phase}");
            assert_eq!(copy, core, "{phase}: events of checkpoint {number} changed something");
        }
    }
    // What already happened happens again: nothing, except in a phase that still waits for it.
    for phase in ["publishing", "committing", "confirming"] {
        let core = in_phase(phase);
        let mut copy = core.clone();
        assert_eq!(run(&mut copy, prepare()), [], "{phase}");
        assert_eq!(copy, core, "{phase}");
    }
    for phase in ["idle", "preparing", "confirming"] {
        let core = in_phase(phase);
        let mut copy = core.clone();
        let events = [Event::ManifestDurable { manifest: manifest(5) }, Event::Committed { checkpoint: FIVE }];
        assert_eq!(run(&mut copy, events), [], "{phase}: an answer that nobody asked for");
        assert_eq!(copy, core, "{phase}");
    }
}

#[test]
fn after_its_end_an_attempt_does_nothing_more() {
    let mut core = in_phase("preparing");
    ended(core.handle(Event::TimedOut { checkpoint: FIVE }));
    let events = prepare().into_iter().chain(completed(5, &[])).chain([due(Trigger::Final), acknowledged(9, &[])]);
    assert_eq!(run(&mut core, events), []);
}
