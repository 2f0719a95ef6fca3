//! A broker that is away, or frozen, for longer than every timeout of the job: the job waits by its restart strategy, and goes on. When
//! the strategy gives up, the program ends with 1, says why, and the next start goes on.

use crate::harness::{END, LIMIT, ends_with, within};
use integration_tests::{
    Result,
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
};
use std::{thread, time::Duration};

const EVENTS: u64 = 20_000;
/// Longer than each of the timeouts below, and than the 10 s that librdkafka waits for an answer. The job needs them for nothing but this:
/// what comes after it is patient.
const AWAY: Duration = Duration::from_secs(13);

fn impatient(broker: &Broker) -> Result<Job> {
    let mut job = Job::for_test(broker.bootstrap())?;
    job.set("checkpoint.timeout", "6s").set("kafka.transaction_timeout", "9s").set("kafka.connect_timeout", "10s");
    job.create_topics()?;
    job.generate(Load::of(EVENTS))?;
    Ok(job)
}

fn outlived(away: impl FnOnce(&mut Broker) -> Result<()>) -> Result<()> {
    // Given a job at work that never gives up
    let mut broker = Broker::start(&Options::own())?;
    let mut job = impatient(&broker)?;
    job.set("restart.attempts", 1_000_000);
    let mut service = job.start()?;
    service.wait_ready()?;
    service.wait_metric("sluicegate_records_in_total", 1.0, END)?;
    // When the broker is away for longer than every timeout
    away(&mut broker)?;
    // Then the same process goes on
    service.wait_checkpoints(2)?;
    let exit = service.finish()?;
    ensure!(exit.code() == Some(0), "{}", service.last_lines(60));
    job.be_patient().catch_up()?;
    assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
    Ok(())
}

#[test]
fn a_dead_one_is_waited_for() {
    within(LIMIT, || {
        outlived(|broker| {
            broker.kill(1)?;
            thread::sleep(AWAY);
            broker.restart(1)
        })
    });
}

#[test]
fn a_frozen_one_is_waited_for() {
    within(LIMIT, || {
        outlived(|broker| {
            broker.pause(1)?;
            thread::sleep(AWAY);
            broker.resume(1)
        })
    });
}

#[test]
fn when_the_restarts_are_used_up_the_program_ends_with_1_and_the_next_start_goes_on() {
    within(LIMIT, || {
        let mut broker = Broker::start(&Options::own())?;
        let mut job = impatient(&broker)?;
        job.set("restart.attempts", 2);
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(1)?;
        broker.kill(1)?;
        let port = broker.bootstrap().rsplit(':').next().unwrap_or_default().to_owned();
        // Three attempts, each of which waits for the broker for as long as every part of it may.
        service.wait(2 * END)?;
        ends_with(&mut service, 1, &[&port])?;
        broker.restart(1)?;
        job.be_patient().catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
