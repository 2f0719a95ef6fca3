//! A record that cannot be decoded is in `dead-letters` once, with its bytes, its place and the reason; the job goes on.

use crate::harness::{LIMIT, job, within};
use integration_tests::{Result, ensure, job::Load};
use std::collections::{BTreeMap, BTreeSet};

fn every_bad_record_is_a_dead_letter(permille: u32, events: u64) -> Result<()> {
    // Given input of which so much is bad
    let job = job()?.with_events(Load::of(events).dirty(permille))?;
    // When the job has processed it
    job.catch_up()?;
    // Then the audit is clean
    let audit = job.audit()?;
    let dead = audit.number("/dead")?;
    assert_eq!(audit.number("/records_in")?, events);
    let share = dead as f64 / events as f64 * 1000.0;
    ensure!((share - f64::from(permille)).abs() < f64::from(permille) * 0.2, "{share} in a thousand are bad");
    // And each dead letter names its record, which is the one at that place, once
    let cluster = job.cluster()?;
    let input: BTreeMap<_, _> = cluster.read(&job.input())?.into_iter().map(|r| ((r.partition, r.offset), r)).collect();
    let (mut seen, mut checkpoints) = (BTreeMap::new(), BTreeSet::new());
    for letter in cluster.read(&job.output("dead-letters"))? {
        let header = |name: &str| letter.header(name).ok_or_else(|| integration_tests::anyhow!("no header {name} in {letter:?}"));
        let place = (header("error.partition")?.parse()?, header("error.offset")?.parse()?);
        assert_eq!(header("error.topic")?, job.input());
        ensure!(!header("error.class")?.is_empty() && !header("error.message")?.is_empty(), "{letter:?}");
        let record = input.get(&place).ok_or_else(|| integration_tests::anyhow!("nothing lies at {place:?}"))?;
        ensure!((&record.key, &record.value) == (&letter.key, &letter.value), "{letter:?} is not what lies at {place:?}");
        assert_eq!(letter.header("error.timestamp"), record.timestamp.map(|timestamp| timestamp.to_string()));
        assert_eq!((header("error.job")?.as_str(), header("error.stage")?.as_str()), (job.name(), "orders"));
        checkpoints.insert(header("error.checkpoint")?.parse::<u64>()?);
        ensure!(seen.insert(place, ()).is_none(), "two dead letters for {place:?}");
    }
    assert_eq!(seen.len() as u64, dead);
    // And its checkpoint is one that was committed: the first one holds nothing but where the job begins
    let last = job.committed_checkpoint()?;
    ensure!(checkpoints.iter().all(|checkpoint| (1..=last).contains(checkpoint)), "{checkpoints:?}, the last one is {last}");
    Ok(())
}

#[test]
fn two_in_a_hundred() {
    within(LIMIT, || every_bad_record_is_a_dead_letter(20, 20_000));
}

#[test]
fn one_in_ten() {
    within(LIMIT, || every_bad_record_is_a_dead_letter(100, 20_000));
}

#[test]
fn nothing_but_bad_records() {
    within(LIMIT, || every_bad_record_is_a_dead_letter(1000, 2_000));
}
