//! Two instances of one job: the younger takes over, the older ends and says so. They never take turns.

use crate::harness::{END, LIMIT, ends_with, job, second, within};
use integration_tests::{deadline::wait_until, ensure, job::Load};

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
        load.wait(END)?;
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

/// One that waits for its restart when another one takes over has nothing to lose and nothing that could be fenced: it has to ask.
///
/// Switch: `last-ownership`.
#[test]
fn one_that_was_replaced_while_it_waited_for_its_restart_does_not_take_the_job_back() {
    within(LIMIT, || {
        // Given a job that has failed by itself, and will begin again in a while
        let mut job = job()?.with_events(Load::of(EVENTS))?;
        job.set("restart.delay", "30s");
        let mut older = job.start_failing("before-prepare=error@3")?;
        wait_until("the failure of the third checkpoint", END, || Ok(older.log()?.contains("the attempt failed")))?;
        // When another one takes over meanwhile
        let mut younger = second(&job)?;
        younger.wait_ready()?;
        younger.wait_checkpoints(2)?;
        ensure!(older.try_exit()?.is_none(), "it did not wait: {}", older.last_lines(40));
        // Then the first ends instead of beginning again
        ends_with(&mut older, 3, &["another instance"])?;
        ensure!(younger.try_exit()?.is_none(), "the younger one ended too: {}", younger.last_lines(40));
        let exit = younger.finish()?;
        ensure!(exit.code() == Some(0), "{}", younger.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

/// An attempt that fails for some reason of its own, after another instance took over, must not take the job back in its restart.
#[test]
fn one_that_fails_after_it_was_replaced_does_not_take_the_job_back() {
    within(LIMIT, || {
        // Given a job that holds still in the middle of a checkpoint, with nothing to read. (Nothing is cleared away, so that it finds
        // the other one's manifest in the place of its own.)
        let mut job = job()?.with_events(Load::of(EVENTS))?;
        job.set("checkpoint.retained", 1_000);
        let mut older = job.start_failing("before-prepare=sleep:30s@3")?;
        wait_until("the pause in the third checkpoint", END, || Ok(older.log()?.contains("before-prepare")))?;
        // When another one takes over, and writes checkpoints with the same numbers meanwhile
        let mut younger = second(&job)?;
        younger.wait_ready()?;
        younger.wait_checkpoints(2)?;
        // Then the older one fails at its manifest, asks whose the job is, and ends
        ends_with(&mut older, 3, &["another instance"])?;
        ensure!(younger.try_exit()?.is_none(), "the younger one ended too: {}", younger.last_lines(40));
        let exit = younger.finish()?;
        ensure!(exit.code() == Some(0), "{}", younger.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
