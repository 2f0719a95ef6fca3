//! The broker aborts a transaction that is open for longer than its timeout. That must be long enough for a checkpoint, short enough
//! for the broker, and its passing while the job is down must lose nothing: this is where systems that declare a checkpoint complete
//! before Kafka has committed lose output.

use crate::harness::{END, LIMIT, ends_with, job, says, within, works_off_all};
use integration_tests::{broker::Broker, broker::Options, deadline::wait_until, ensure, job::Job, job::Load};

const EVENTS: u64 = 20_000;

#[test]
fn a_downtime_longer_than_it_between_manifest_and_commit_loses_nothing() {
    within(LIMIT, || {
        // Given a job whose transactions live for 10 s, killed when the manifest was durable and the transaction was not committed
        let mut job = job()?;
        job.set("checkpoint.timeout", "6s").set("kafka.transaction_timeout", "10s");
        let mut job = job.with_events(Load::of(EVENTS))?;
        // While more input comes, so that there is something in that transaction
        let mut load = job.start_generating(Load::of(50 * EVENTS).at(4_000).more())?;
        wait_until("more input", END, || Ok(job.sent()? > EVENTS))?;
        job.start_failing("after-manifest=kill@4")?.wait_killed(END)?;
        let cluster = job.cluster()?;
        let status = job.output("order-status");
        ensure!(cluster.has_open_transaction(&status)?, "the killed job left no open transaction: nothing is tested");
        load.terminate(END)?;
        // When it stays down until the broker has aborted that transaction
        wait_until("the broker aborts the transaction", END, || Ok(!cluster.has_open_transaction(&status)?))?;
        // Then nothing is lost
        works_off_all(job.be_patient(), EVENTS)
    });
}

#[test]
fn shorter_than_a_checkpoint_may_take_is_refused_with_the_sum() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("kafka.transaction_timeout", "10s").set("checkpoint.timeout", "30s");
        let mut service = job.start()?;
        ends_with(&mut service, 2, &["kafka.transaction_timeout", "10s", "too short", "checkpoint.timeout"])
    });
}

#[test]
fn longer_than_the_broker_allows_is_refused_with_both_numbers() {
    within(LIMIT, || {
        // Given a broker that allows 20 s
        let broker = Broker::start(&Options::own().with("transaction.max.timeout.ms", 20_000))?;
        let mut job = Job::for_test(broker.bootstrap())?;
        job.set("kafka.transaction_timeout", "40s").set("checkpoint.timeout", "10s");
        job.create_topics()?;
        // When the job wants 40 s
        let mut service = job.start()?;
        let exit = service.wait(END)?;
        // Then it says so and ends
        ensure!(exit.code() == Some(1), "ended with {}:\n{}", exit.status, service.log()?);
        says(&service.log()?, &["kafka.transaction_timeout", "transaction.max.timeout.ms"])?;
        // And with what the broker allows it runs
        job.set("kafka.transaction_timeout", "20s");
        job.catch_up()
    });
}
