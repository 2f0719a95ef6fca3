//! The input is not what it was: deleted and created again, or shortened by retention below what was read. What is gone cannot be
//! processed; that must be said, never passed over.

use crate::harness::{END, LIMIT, ends_with, job, within};
use integration_tests::{job::Load, job::PARTITIONS};

const EVENTS: u64 = 10_000;

/// Kafka forgets the group's offsets with the topic.
#[test]
fn a_topic_that_was_created_again_while_the_job_was_down_is_refused() {
    within(LIMIT, || {
        // Given a job with a checkpoint, whose input is deleted and filled anew with more than it had
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let cluster = job.cluster()?;
        cluster.delete(&job.input())?;
        cluster.create(&job.input(), PARTITIONS, &[])?;
        job.generate(Load::of(2 * EVENTS).more())?;
        // When it is started, then it does not take new records for old ones
        ends_with(&mut job.start()?, 4, &[&job.group()])
    });
}

#[test]
fn a_topic_that_is_deleted_under_a_running_job_ends_it_and_a_new_one_is_not_taken_for_it() {
    within(LIMIT, || {
        // Given a job that has read all there is
        let mut job = job()?;
        job.set("restart.attempts", 3).set("kafka.connect_timeout", "15s").set("checkpoint.timeout", "15s");
        let job = job.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_metric("sluicegate_records_in_total", EVENTS as f64, END)?;
        service.wait_checkpoints(1)?;
        // When its input is deleted, then it ends and names it
        let cluster = job.cluster()?;
        cluster.delete(&job.input())?;
        ends_with(&mut service, 1, &[&job.input(), "does not exist"])?;
        // And when there is a topic of that name again, with other records at the same offsets, it is not read on
        cluster.create(&job.input(), PARTITIONS, &[])?;
        job.generate(Load::of(2 * EVENTS).more())?;
        ends_with(&mut job.start()?, 4, &[&job.group()])
    });
}

#[test]
fn retention_that_overtakes_a_frozen_job_ends_it_with_4() {
    within(LIMIT, || {
        // Given a job that is frozen in the middle of its input
        let job = job()?.with_events(Load::of(1_000))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_metric("sluicegate_records_in_total", 1_000.0, END)?;
        service.wait_checkpoints(2)?;
        // Before it is frozen: an offset that it has sent in a transaction which is open then could not be read for a minute.
        let cluster = job.cluster()?;
        let committed = cluster.committed(&job.group(), &job.input())?;
        service.pause()?;
        // When records that it has not read are deleted
        job.generate(Load::of(10 * EVENTS).more())?;
        for (partition, (offset, _)) in &committed {
            cluster.delete_records(&job.input(), *partition, offset + 20_000)?;
        }
        service.resume()?;
        // Then it says so and ends, and so does the next start
        ends_with(&mut service, 4, &[&job.input()])?;
        ends_with(&mut job.start()?, 4, &[&job.input(), "deleted"])
    });
}
