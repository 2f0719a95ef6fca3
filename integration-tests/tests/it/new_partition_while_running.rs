//! Partitions that are added to the input while the job runs are found and read from their first record.

use crate::harness::{END, LIMIT, job, within};
use integration_tests::{deadline::wait_until, ensure, job::Load, job::PARTITIONS};

const EVENTS: u64 = 5_000;

#[test]
fn their_records_are_processed_from_the_first_on_without_a_restart() {
    within(LIMIT, || {
        // Given a job at work
        let mut job = job()?;
        job.set("source.partition_discovery_interval", "1s");
        let job = job.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(1)?;
        // When two partitions are added and filled with new orders
        let cluster = job.cluster()?;
        cluster.add_partitions(&job.input(), PARTITIONS + 2)?;
        job.generate(Load::of(EVENTS).more())?;
        // Then all of them are committed by the same process
        let wanted = i64::try_from(2 * EVENTS)?;
        wait_until("both loads are committed", END, || {
            ensure!(service.try_exit()?.is_none(), "{}", service.last_lines(40));
            Ok(job.committed()? >= wanted)
        })?;
        let committed = cluster.committed(&job.group(), &job.input())?;
        ensure!(committed.len() == 6 && committed.get(&5).is_some_and(|(offset, _)| *offset > 0), "{committed:?}");
        ensure!(service.metrics()?.sum("sluicegate_restarts_total", &[]) == 0.0, "{}", service.last_lines(40));
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

#[test]
fn those_added_while_the_job_was_down_are_read_from_the_first_record_too() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        job.cluster()?.add_partitions(&job.input(), PARTITIONS + 2)?;
        job.generate(Load::of(EVENTS).more())?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}
