//! SIGTERM and SIGINT: a last checkpoint is taken and committed, and the program ends with 0.

use crate::harness::{END, LIMIT, job, within};
use integration_tests::{Result, deadline::wait_until, ensure, job::Load, process::Exit, service::Service};

const EVENTS: u64 = 10_000;

fn a_last_checkpoint_is_committed(stop: impl FnOnce(&mut Service) -> Result<Exit>) -> Result<()> {
    // Given a job that has processed its input and would commit it only in ten minutes
    let mut job = job()?;
    job.set("checkpoint.interval", "10min").set("checkpoint.timeout", "1min");
    let job = job.with_events(Load::of(EVENTS))?;
    let mut service = job.start()?;
    service.wait_ready()?;
    service.wait_metric("sluicegate_records_in_total", EVENTS as f64, END)?;
    assert_eq!(job.committed()?, 0, "committed before the interval is over");
    // When it is asked to end
    let exit = stop(&mut service)?;
    // Then it ends with 0, and everything that it had read is committed
    ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(40));
    assert_eq!(job.committed()?, i64::try_from(EVENTS)?);
    assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
    Ok(())
}

#[test]
fn sigterm() {
    within(LIMIT, || a_last_checkpoint_is_committed(Service::finish));
}

/// The wish to end is not lost with the attempt that it came to: SIGTERM comes at `pause`, where the program waits, and that attempt fails afterwards.
fn sigterm_and_then_a_failure(pause: &str, failure: &str) -> Result<()> {
    let job = job()?.with_events(Load::of(EVENTS))?;
    let mut service = job.start_failing(&format!("{pause}=sleep:3s@{failure},before-prepare=error@{failure}"))?;
    wait_until("the pause", END, || Ok(service.log()?.contains(pause)))?;
    let exit = service.finish()?;
    ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(40));
    ensure!(service.log()?.contains("failed while it was ending"), "no failure: {}", service.last_lines(40));
    job.catch_up()?;
    assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
    Ok(())
}

#[test]
fn sigterm_in_a_checkpoint_that_fails_then() {
    within(LIMIT, || sigterm_and_then_a_failure("before-prepare", "4"));
}

#[test]
fn sigterm_in_a_recovery_whose_attempt_fails_then() {
    within(LIMIT, || sigterm_and_then_a_failure("during-recovery", "1"));
}

#[test]
fn sigint() {
    within(LIMIT, || {
        a_last_checkpoint_is_committed(|service| {
            service.interrupt()?;
            service.wait(END)
        })
    });
}

#[test]
fn stopping_and_starting_again_and_again_loses_nothing() {
    within(LIMIT, || {
        let job = job()?;
        job.create_topics()?;
        let mut load = job.start_generating(Load::of(EVENTS).at(2_000))?;
        while load.try_exit()?.is_none() {
            let mut service = job.start()?;
            service.wait_ready()?;
            service.wait_checkpoints(1)?;
            let exit = service.finish()?;
            ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(40));
        }
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn draining_fires_every_open_window_and_writes_the_last_batch() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        let mut service = job.start_with(["run", "--until-caught-up", "--drain"], &[])?;
        let exit = service.wait(END)?;
        ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(40));
        let audit = job.audit()?;
        assert_eq!((audit.number("/open")?, audit.number("/waiting")?), (0, 0));
        ensure!(!job.cluster()?.read(&job.output("purchase-stats"))?.is_empty(), "no window has fired");
        Ok(())
    });
}
