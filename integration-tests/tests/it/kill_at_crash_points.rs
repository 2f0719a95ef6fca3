//! The process dies as by `kill -9` at each step of a checkpoint. The next start goes on from what Kafka says is committed, and every
//! output is what one run without a fault would have given.
//!
//! The points are those of `src/failpoint.rs`; that each is really reached is asserted by the way the process ends.
//!
//! Switches: `offsets-in-transaction`; `NewestManifestRestored` and `MetadataIgnored` from the manifest to the commit;
//! `DeleteBeforeConfirm` between sending the offsets and the commit.

use crate::harness::{END, LIMIT, job, within, works_off_all};
use integration_tests::{Result, job::Load};

const EVENTS: u64 = 20_000;

/// Dies at the `passing`-th time at `point`, so late that there is a committed checkpoint with state to go back to.
fn killed_at(point: &str, passing: u32) -> Result<()> {
    killed_by(&format!("{point}=kill@{passing}"))
}

fn killed_by(fail_points: &str) -> Result<()> {
    // Given a job with input
    let job = job()?.with_events(Load::of(EVENTS).at(10_000))?;
    // When it is killed at the point, while more input comes, for as long as that takes
    let mut more = job.start_generating(Load::of(50 * EVENTS).at(4_000).more())?;
    job.start_failing(fail_points)?.wait_killed(END)?;
    more.terminate(END)?;
    // Then the next run ends the work, and nothing is lost or doubled
    works_off_all(&job, EVENTS)
}

#[test]
fn before_the_outputs_are_flushed() {
    within(LIMIT, || killed_at("before-flush", 3));
}

#[test]
fn before_anything_is_durable() {
    within(LIMIT, || killed_at("before-prepare", 3));
}

#[test]
fn in_the_middle_of_an_upload() {
    within(LIMIT, || killed_at("during-upload", 20));
}

#[test]
fn after_the_state_is_uploaded_and_before_the_manifest() {
    within(LIMIT, || killed_at("after-upload", 3));
}

#[test]
fn after_the_manifest_and_before_the_commit() {
    within(LIMIT, || killed_at("after-manifest", 3));
}

#[test]
fn between_sending_the_offsets_and_the_commit() {
    // Everything else that this process has begun ends first: without its protection the deletion of what is needed still.
    within(LIMIT, || killed_by("during-commit=sleep:2s@3,during-commit=kill@3"));
}

#[test]
fn after_the_commit_and_before_anybody_knows() {
    within(LIMIT, || killed_at("after-commit", 3));
}

#[test]
fn before_the_checkpoint_is_marked_as_committed() {
    within(LIMIT, || killed_at("before-confirm", 3));
}

#[test]
fn during_the_recovery_from_a_kill() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.start_failing("after-manifest=kill@2")?.wait_killed(END)?;
        job.start_failing("during-recovery=kill")?.wait_killed(END)?;
        job.start_failing("during-recovery=kill")?.wait_killed(END)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn at_its_very_first_checkpoint() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        for point in ["after-upload", "after-manifest", "during-commit"] {
            job.start_failing(&format!("{point}=kill"))?.wait_killed(END)?;
        }
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
