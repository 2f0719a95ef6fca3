//! What is visited, and what is caught.

use super::{
    properties,
    world::{Action, Scenario, World},
};
use crate::protocol::mutant::Mutant;
use stateright::{Checker, HasDiscoveries, Model, Path};
use std::{collections::HashMap, fmt::Write, sync::Mutex, time::Instant};

/// One process after the other; it may be killed at any moment.
fn one() -> Scenario {
    Scenario {
        name: "one process",
        instances: 1,
        records: [2, 0],
        pools: &[2, 2],
        last: 2,
        faults: 1,
        crashes: true,
        savepoint: false,
        mutant: None,
        recovered: Mutex::new(HashMap::new()),
    }
}

/// Two processes at once; each may be killed or paused at any moment.
fn two() -> Scenario {
    Scenario { name: "two processes", instances: 2, ..one() }
}

/// Two processes at once, and nothing worse than that each may pause at any moment.
fn calm() -> Scenario {
    Scenario { name: "two processes, pauses", faults: 0, crashes: false, last: 3, ..two() }
}

/// What is visited.
fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario { name: "one process, two faults", faults: 2, ..one() },
        Scenario { name: "one process, three attempts, one fault", pools: &[2, 2, 2], ..one() },
        Scenario { name: "one process, a savepoint, two partitions", records: [1, 1], last: 3, savepoint: true, ..one() },
        Scenario { name: "two processes, crashes, one fault", records: [1, 0], ..two() },
        Scenario { name: "two processes, pauses, a savepoint", records: [1, 0], savepoint: true, ..calm() },
        calm(),
        Scenario { name: "two processes, the pool shrinks from 3 to 2", pools: &[3, 2], ..calm() },
        Scenario { name: "two processes, three attempts", pools: &[2, 2, 2], records: [1, 0], last: 1, ..calm() },
    ]
}

/// More of the same, for those who have half an hour.
fn deeper_scenarios() -> Vec<Scenario> {
    vec![
        Scenario { name: "one process, three attempts, two faults", pools: &[2, 2, 2], faults: 2, ..one() },
        Scenario { name: "two processes, crashes, one fault, more records", ..two() },
        Scenario { name: "two processes, crashes, a savepoint", faults: 0, savepoint: true, ..two() },
        Scenario { name: "two processes, the pool grows from 2 to 3", pools: &[2, 3], ..calm() },
        Scenario { name: "two processes, three producers, longer", pools: &[3, 3], last: 5, records: [4, 0], ..calm() },
        Scenario { name: "two processes, three attempts, one fault", pools: &[2, 2, 2], records: [1, 0], last: 1, ..two() },
    ]
}

/// Each deliberate bug, and where it is looked for.
fn mutants() -> Vec<(Mutant, Scenario)> {
    use Mutant::*;
    vec![
        (CommitBeforeDurable, one()),
        (FlushNotAwaited, one()),
        (UploadNotAwaited, one()),
        (OneAcknowledgementIsEnough, one()),
        (IdlePartitionsNotCommitted, one()),
        (ResumeAfterUnknownOutcome, Scenario { pools: &[3, 3], last: 3, ..one() }),
        (DeleteBeforeConfirm, one()),
        (MetadataIgnored, one()),
        (NewestManifestRestored, one()),
        (NumberUsedTwice, one()),
        (UncommittedStartRefused, one()),
        (ForgottenIdWhenFencing, calm()),
        (OldIdsNotFenced, Scenario { pools: &[3, 2], ..calm() }),
        (NamedIdsNotFenced, Scenario { pools: &[3, 2], ..calm() }),
        (NewerCheckpointsDeleted, calm()),
        (FilesOfOthersDeleted, calm()),
        (SavepointsDeleted, Scenario { savepoint: true, ..one() }),
        (SentBeforeFlush, one()),
        (ProducerReused, Scenario { last: 3, ..one() }),
        (OwnerTakenLast, calm()),
        (ProducerNotProven, calm()),
        (ProvenTooEarly, calm()),
        (BeginsWithAnyId, Scenario { pools: &[3, 2], ..calm() }),
        (ReadBeforeFence, calm()),
        (ListedOnce, calm()),
        (ManifestOverwritten, Scenario { faults: 1, crashes: true, ..two() }),
        (LocalStateKept, one()),
    ]
}

/// The state that violates, and how it is reached.
fn show(path: &Path<World, Action>) -> String {
    let why = properties::violated(path.last_state());
    let why = why.map_or_else(|| "it does not recover".to_owned(), |(_, violation)| violation.to_string());
    let actions = path.clone().into_actions();
    actions.iter().fold(why, |mut text, action| {
        let _ = write!(text, "\n    {action:?}");
        text
    })
}

fn visit(scenarios: Vec<Scenario>) {
    println!("{:<52} {:>12} {:>12} {:>6} {:>8}", "visited", "transitions", "states", "depth", "time");
    for scenario in scenarios {
        let (name, started) = (scenario.name, Instant::now());
        let checker = scenario.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let (transitions, states, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
        println!("{name:<52} {transitions:>12} {states:>12} {depth:>6} {:>6.1} s", started.elapsed().as_secs_f32());
        if let Some((property, path)) = checker.discoveries().iter().next() {
            panic!("{name}: {property}: {}", show(path));
        }
    }
}

#[test]
fn every_interleaving_keeps_the_invariants() {
    visit(scenarios());
}

#[test]
#[ignore = "takes up to half an hour and 4 GB"]
fn every_interleaving_of_longer_runs_keeps_the_invariants() {
    visit(deeper_scenarios());
}

#[test]
fn every_deliberate_bug_is_caught() {
    println!("{:<28} {:<58} {:>10} {:>6} {:>8}", "deliberate bug", "caught by", "states", "steps", "time");
    let mut missed = Vec::new();
    for (mutant, scenario) in mutants() {
        let started = Instant::now();
        let scenario = Scenario { mutant: Some(mutant), ..scenario };
        // One thread: the same counterexample each time.
        let checker = scenario.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let (states, discoveries) = (checker.unique_state_count(), checker.discoveries());
        let caught = properties::all().into_iter().find_map(|property| discoveries.get_key_value(property.name));
        let (by, steps) = caught.map_or(("nothing", 0), |(name, path)| (*name, path.clone().into_actions().len()));
        println!("{:<28} {by:<58} {states:>10} {steps:>6} {:>6.1} s", format!("{mutant:?}"), started.elapsed().as_secs_f32());
        if caught.is_none() {
            missed.push(mutant);
        }
    }
    assert_eq!(missed, [], "deliberate bugs that nothing has caught");
}
