//! What is played, and what is caught.

use super::{
    files::Ends,
    seed::{Outcome, play},
};
use crate::protocol::mutant::Mutant;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Seeds in every run of the tests.
const SEEDS: u64 = 500;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The command that plays one seed and shows it.
fn replay(ends: Ends, seed: u64, mutant: Option<Mutant>) -> String {
    let mutant = mutant.map_or_else(String::new, |mutant| format!(" MUTANT={mutant:?}"));
    format!("make simulate ENDS={ends:?} SEED={seed}{mutant}")
}

/// Plays all seeds; gives out those that failed, in order.
fn play_all(
    ends: Ends,
    seeds: std::ops::Range<u64>,
    mutant: Option<Mutant>,
    done: impl Fn(u64, &Outcome) -> bool + Sync,
) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = play(ends, seed, mutant, false);
                    let go_on = done(seed, &outcome);
                    if outcome.chronicle.violation.is_some() {
                        failed.lock().unwrap().push((seed, outcome));
                    }
                    if !go_on {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    failed
}

#[derive(Default)]
struct Sum {
    seeds: AtomicU64,
    commits: AtomicU64,
    attempts: AtomicU64,
    records: AtomicU64,
    turns: AtomicU64,
    seconds: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Sum {
    fn add(&self, outcome: &Outcome) -> u64 {
        self.commits.fetch_add(outcome.commits as u64, Ordering::Relaxed);
        self.attempts.fetch_add(u64::from(outcome.attempts), Ordering::Relaxed);
        self.records.fetch_add(outcome.records as u64, Ordering::Relaxed);
        self.turns.fetch_add(outcome.chronicle.turns, Ordering::Relaxed);
        self.seconds.fetch_add(outcome.chronicle.ended.as_secs(), Ordering::Relaxed);
        let mut counts = self.counts.lock().unwrap();
        outcome.chronicle.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        self.seeds.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn show(&self, took: std::time::Duration) -> String {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        format!(
            "{} seeds in {:.1} s: {} attempts, {} commits, {} records, {} turns, {} simulated hours",
            get(&self.seeds),
            took.as_secs_f64(),
            get(&self.attempts),
            get(&self.commits),
            get(&self.records),
            get(&self.turns),
            get(&self.seconds) / 3600
        )
    }
}

fn must_hold(ends: Ends, seeds: std::ops::Range<u64>, mutant: Option<Mutant>, progress: Option<u64>) {
    let (started, sum) = (Instant::now(), Sum::default());
    let failed = play_all(ends, seeds, mutant, |_, outcome| {
        let done = sum.add(outcome);
        if progress.is_some_and(|every| done % every == 0) {
            println!("{}", sum.show(started.elapsed()));
        }
        true
    });
    println!("{}", sum.show(started.elapsed()));
    sum.counts.lock().unwrap().iter().for_each(|(what, count)| println!("    {count:>9} {what}"));
    for (seed, outcome) in &failed {
        let (check, facts) = outcome.chronicle.violation.as_ref().unwrap();
        println!("seed {seed}: {check}: {facts}\n    replay: {}", replay(ends, *seed, mutant));
    }
    assert!(failed.is_empty(), "{} seeds failed; the first: {}", failed.len(), replay(ends, failed[0].0, mutant));
}

#[test]
fn the_invariants_hold_whatever_befalls_the_job() {
    must_hold(Ends::Kafka, 0..SEEDS, None, None);
}

#[test]
fn they_hold_for_a_job_that_writes_files_beside_its_topic() {
    must_hold(Ends::WithFiles, 0..SEEDS, None, None);
}

#[test]
fn they_hold_for_a_job_that_reads_no_topic() {
    must_hold(Ends::FromFiles, 0..SEEDS, None, None);
}

/// What the long run has found once: a request that came twice, around a commit that was asked for twice.
#[test]
fn the_invariants_hold_in_histories_that_were_hard_once() {
    must_hold(Ends::Kafka, 16_665..16_666, None, None);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for (ends, seed) in [1, 7, 42, 99, 12_345].map(|seed| (Ends::Kafka, seed)).into_iter().chain([(Ends::FromFiles, 3)]) {
        let (one, other) = (play(ends, seed, None, true), play(ends, seed, None, true));
        let differ = one.chronicle.lines.iter().zip(&other.chronicle.lines).find(|(one, other)| one != other);
        assert_eq!(one.chronicle.hash, other.chronicle.hash, "seed {seed}: {differ:?}");
        assert!(one.chronicle.lines.len() > 20, "seed {seed}: nothing happened");
    }
    let hash = |seed| play(Ends::Kafka, seed, None, false).chronicle.hash;
    assert_ne!(hash(1), hash(2));
}

/// Each deliberate bug: those of the protocol's core and of recovery are switches in the code that runs in production, those of
/// the pool are in the simulated one, and say what the real one must not do.
const MUTANTS: &[Mutant] = {
    use Mutant::*;
    &[
        CommitBeforeDurable,
        UploadNotAwaited,
        IdlePartitionsNotCommitted,
        DeleteBeforeConfirm,
        MetadataIgnored,
        NewestManifestRestored,
        NumberUsedTwice,
        UncommittedStartRefused,
        OldIdsNotFenced,
        StagedNotPublished,
    ]
};

/// The job that a deliberate bug is looked for with: the last one is about files.
fn concerned(mutant: Mutant) -> Ends {
    match mutant {
        Mutant::StagedNotPublished => Ends::WithFiles,
        _ => Ends::Kafka,
    }
}

/// Seeds until a deliberate bug has to be caught.
const ENOUGH: u64 = 2000;

#[test]
fn every_deliberate_bug_is_caught() {
    println!("{:<28} {:<58} {:>6} {:>8}", "deliberate bug", "caught by", "seed", "time");
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        let started = Instant::now();
        let caught = play_all(concerned(*mutant), 0..ENOUGH, Some(*mutant), |_, outcome| outcome.chronicle.violation.is_none());
        let first = caught.first().map(|(seed, outcome)| (seed.to_string(), outcome.chronicle.violation.as_ref().unwrap().0));
        let (seed, by) = first.unwrap_or(("-".to_owned(), "nothing"));
        println!("{:<28} {by:<58} {seed:>6} {:>6.1} s", format!("{mutant:?}"), started.elapsed().as_secs_f32());
        if caught.is_empty() {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "deliberate bugs that nothing has caught: {missed:?}");
}

/// `make simulate`: `SEEDS` seeds, or one, `SEED`, with all that happens in it; with the deliberate bug `MUTANT`, if it is given.
#[test]
#[ignore = "make simulate"]
fn simulate() {
    let given = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let number = |name: &str| given(name).map(|text| text.parse::<u64>().expect("a number"));
    let mutant = given("MUTANT").map(|name| *MUTANTS.iter().find(|mutant| format!("{mutant:?}") == name).expect("a mutant"));
    let ends = [Ends::Kafka, Ends::WithFiles, Ends::FromFiles];
    let ends = given("ENDS").map_or(Ends::Kafka, |name| *ends.iter().find(|ends| format!("{ends:?}") == name).expect("ends"));
    if let Some(seed) = number("SEED") {
        let outcome = play(ends, seed, mutant, true);
        outcome.chronicle.lines.iter().for_each(|line| println!("{line}"));
        assert_eq!(outcome.chronicle.violation, None, "seed {seed}");
        return;
    }
    must_hold(ends, 0..number("SEEDS").unwrap_or(20_000), mutant, Some(1000));
}
