//! Two instances of one job: the younger takes over, the older ends and says so. They never take turns.

use crate::harness::{END, LIMIT, ends_with, job, within};
use integration_tests::{ensure, job::Load};
use std::time::Duration;

const EVENTS: u64 = 30_000;

#[test]
fn the_older_one_ends_with_3_and_says_who_took_over() {
    within(LIMIT, || {
        // Given a job at work
        let job = job()?.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(EVENTS).at(4_000).more())?;
        let mut older = job.start()?;
        older.wait_ready()?;
        older.wait_checkpoints(1)?;
        // When a second instance is started, with folders of its own but the same checkpoints
        let mut younger = second(&job)?;
        // Then the first ends by itself, fenced, and the second does the work
        ends_with(&mut older, 3, &["another instance"])?;
        younger.wait_ready()?;
        younger.wait_checkpoints(2)?;
        load.wait(Duration::from_secs(60))?;
        let exit = younger.finish()?;
        ensure!(exit.code() == Some(0), "{}", younger.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

/// One that was frozen while another took over finds that out when it wakes, and writes nothing that anybody sees.
#[test]
fn a_frozen_one_that_wakes_after_its_successor_ends_with_3() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(EVENTS).at(4_000).more())?;
        let mut frozen = job.start()?;
        frozen.wait_ready()?;
        frozen.wait_checkpoints(1)?;
        frozen.pause()?;
        let mut successor = second(&job)?;
        successor.wait_ready()?;
        successor.wait_checkpoints(2)?;
        frozen.resume()?;
        ends_with(&mut frozen, 3, &["another instance"])?;
        load.wait(END)?;
        ensure!(successor.try_exit()?.is_none(), "the successor ended too: {}", successor.last_lines(40));
        let exit = successor.finish()?;
        ensure!(exit.code() == Some(0), "{}", successor.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

/// A second instance on another machine: the same checkpoints, another folder for its working copy.
fn second(job: &integration_tests::job::Job) -> integration_tests::Result<integration_tests::service::Service> {
    let state = job.folder().join("state-of-the-second").display().to_string();
    job.start_with(["run", "--set", &format!("state.dir={state}")], &[])
}
