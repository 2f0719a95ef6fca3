//! The group's offsets name the committed checkpoint. Without them, or with offsets that the input no longer has, going on would be a
//! guess.

use crate::harness::{LIMIT, ends_with, job, within};
use integration_tests::job::Load;

const EVENTS: u64 = 5_000;

#[test]
fn deleted_offsets_beside_checkpoints_are_refused_and_nothing_is_changed() {
    within(LIMIT, || {
        // Given a job with checkpoints, whose group is deleted
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let cluster = job.cluster()?;
        let before = cluster.read(&job.output("order-status"))?.len();
        cluster.delete_group(&job.group())?;
        // When it is started
        let mut service = job.start()?;
        // Then it refuses, twice, and names what is missing
        ends_with(&mut service, 4, &[&job.group(), "checkpoint"])?;
        ends_with(&mut job.start()?, 4, &[&job.group()])?;
        assert_eq!(cluster.read(&job.output("order-status"))?.len(), before);
        Ok(())
    });
}

#[test]
fn input_that_retention_has_taken_is_refused_with_the_offsets() {
    within(LIMIT, || {
        // Given a job that has committed a part of its input
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        job.generate(Load::of(EVENTS).more())?;
        // When records that it has not read are gone
        let cluster = job.cluster()?;
        let (committed, _) = cluster.committed(&job.group(), &job.input())?.get(&0).cloned().unwrap_or_default();
        cluster.delete_records(&job.input(), 0, committed + 10)?;
        // Then it refuses and names topic, partition and offset
        ends_with(&mut job.start()?, 4, &[&job.input(), &committed.to_string(), &(committed + 10).to_string()])
    });
}
