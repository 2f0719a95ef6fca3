//! A process that is frozen (SIGSTOP, a suspended machine, a long pause of the hypervisor) for longer than the broker lets its
//! transaction live. When it wakes up, its transaction is gone.
//!
//! The abort is Kafka's own; that it costs nothing is ours: the offsets are in the transaction that was aborted. Switch:
//! `offsets-in-transaction`.

use crate::harness::{END, LIMIT, ends_with, job, second, within};
use integration_tests::{Result, deadline::wait_until, ensure, job::Job, job::Load, service::Service};
use std::time::Duration;

const EVENTS: u64 = 20_000;

/// A job at work whose transactions live for 8 s.
fn at_work() -> Result<(Job, integration_tests::process::Process, Service)> {
    let mut job = job()?;
    job.set("checkpoint.timeout", "5s").set("checkpoint.interval", "400ms").set("kafka.transaction_timeout", "8s");
    job.set("restart.attempts", 100);
    let job = job.with_events(Load::of(EVENTS))?;
    let load = job.start_generating(Load::of(EVENTS).at(2_000).more())?;
    let mut service = job.start()?;
    service.wait_ready()?;
    service.wait_checkpoints(2)?;
    Ok((job, load, service))
}

/// Freezes it in the middle of a transaction, until the broker has aborted that.
fn freeze(job: &Job, service: &mut Service) -> Result<()> {
    let cluster = job.cluster()?;
    let status = job.output("order-status");
    wait_until("a freeze with an open transaction", END, || {
        service.pause()?;
        if cluster.has_open_transaction(&status)? {
            return Ok(true);
        }
        service.resume()?;
        std::thread::sleep(Duration::from_millis(30));
        Ok(false)
    })?;
    wait_until("the broker aborts the transaction", END, || Ok(!cluster.has_open_transaction(&status)?))
}

#[test]
fn it_goes_on_in_the_same_process_if_nobody_took_over() {
    within(LIMIT, || {
        let (mut job, mut load, mut service) = at_work()?;
        freeze(&job, &mut service)?;
        service.resume()?;
        service.wait_checkpoints(2)?;
        load.wait(END)?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        job.be_patient().catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

#[test]
fn it_ends_with_3_if_a_successor_was_started_meanwhile() {
    within(LIMIT, || {
        let (mut job, mut load, mut frozen) = at_work()?;
        freeze(&job, &mut frozen)?;
        let mut successor = second(&job)?;
        successor.wait_ready()?;
        successor.wait_checkpoints(2)?;
        frozen.resume()?;
        ends_with(&mut frozen, 3, &["another instance"])?;
        successor.wait_checkpoints(2)?;
        load.wait(END)?;
        let exit = successor.finish()?;
        ensure!(exit.code() == Some(0), "{}", successor.last_lines(40));
        job.be_patient().catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}
