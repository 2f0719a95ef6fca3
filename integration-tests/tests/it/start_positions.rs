//! Where a job begins that has no checkpoint yet. It is resolved to offsets once, at the first start.

use crate::harness::{LIMIT, job, within};
use integration_tests::{Result, ensure, job::Job, job::Load};

const FIRST: u64 = 3_000;
const SECOND: u64 = 2_000;

/// A job whose input holds a first load.
fn with_first_load(start: &str) -> Result<Job> {
    let mut job = job()?;
    job.set("source.start", start);
    job.with_events(Load::of(FIRST))
}

/// Records per partition of the input.
fn ends(job: &Job) -> Result<Vec<i64>> {
    let mut ends = vec![0; usize::try_from(job.cluster()?.partitions(&job.input())?)?];
    for record in job.cluster()?.read(&job.input())? {
        let end = ends.get_mut(usize::try_from(record.partition)?);
        end.map(|end| *end = record.offset + 1).ok_or_else(|| integration_tests::anyhow!("a new partition"))?;
    }
    Ok(ends)
}

#[test]
fn earliest_takes_all_that_is_there() {
    within(LIMIT, || {
        let job = with_first_load("earliest")?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, FIRST);
        Ok(())
    });
}

#[test]
fn latest_takes_what_comes_after_the_first_start() {
    within(LIMIT, || {
        // Given a job that was started once at the end of its input
        let job = with_first_load("latest")?;
        job.catch_up()?;
        // When more comes while it is down
        job.generate(Load::of(SECOND).more())?;
        job.catch_up()?;
        // Then that is taken, because the start was resolved when there was nothing but the first load; the audit reads
        // in the checkpoint where that was
        assert_eq!(job.audit()?.number("/records_in")?, SECOND);
        Ok(())
    });
}

#[test]
fn a_timestamp_takes_the_records_that_kafka_dates_from_then_on() {
    within(LIMIT, || {
        // Given two loads, and the time between them as the broker's records tell it
        let mut job = with_first_load("earliest")?;
        let newest = |job: &Job| -> Result<i64> {
            let records = job.cluster()?.read(&job.input())?;
            records.iter().filter_map(|record| record.timestamp).max().ok_or_else(|| integration_tests::anyhow!("no timestamps"))
        };
        let between = newest(&job)? + 1;
        job.generate(Load::of(SECOND).more())?;
        let taken = job.cluster()?.read(&job.input())?.iter().filter(|r| r.timestamp.is_some_and(|t| t >= between)).count();
        ensure!(taken > 0 && taken <= usize::try_from(SECOND)?, "{taken} records from {between} on");
        // When the job starts at that time
        job.set("source.start", format!("{{ timestamp = {between} }}"));
        job.catch_up()?;
        // Then it takes those
        assert_eq!(job.audit()?.number("/records_in")?, taken as u64);
        Ok(())
    });
}

#[test]
fn given_offsets_are_taken_and_other_partitions_begin_at_their_first_record() {
    within(LIMIT, || {
        let mut job = with_first_load("earliest")?;
        let ends = ends(&job)?;
        let [first, second, ..] = ends.as_slice() else { panic!("{ends:?}") };
        job.set("source.start", format!("{{ offsets = {{ 0 = {}, 1 = {second} }} }}", first - 10));
        job.catch_up()?;
        let rest: i64 = ends.iter().skip(2).sum();
        assert_eq!(job.audit()?.number("/records_in")?, u64::try_from(10 + rest)?);
        Ok(())
    });
}

#[test]
fn an_offset_that_the_partition_does_not_have_is_refused() {
    within(LIMIT, || {
        let job = with_first_load("{ offsets = { 0 = 999999 } }")?;
        let mut service = job.start()?;
        let exit = service.wait(crate::harness::END)?;
        ensure!(exit.code() != Some(0), "it started at an offset that is not there: {}", service.last_lines(40));
        crate::harness::says(&service.log()?, &["999999", &job.input()])
    });
}
