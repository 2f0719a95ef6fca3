//! What the job outlives without losing anything when its broker dies for a moment.

use crate::harness::{END, LIMIT, within};
use integration_tests::{
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
};

const EVENTS: u64 = 40_000;

#[test]
fn a_broker_that_dies_and_comes_back_is_outlived_in_the_same_process() {
    within(LIMIT, || {
        // Given a job at work
        let mut broker = Broker::start(&Options::own())?;
        let mut job = Job::for_test(broker.bootstrap())?;
        job.set("checkpoint.timeout", "20s").set("restart.attempts", 100);
        job.create_topics()?;
        job.generate(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_metric("sluicegate_records_in_total", 1.0, END)?;
        // When the broker is killed and started again, twice
        for _ in 0..2 {
            broker.kill(1)?;
            broker.restart(1)?;
            service.wait_ready()?;
            service.wait_checkpoints(2)?;
        }
        // Then the same process has gone on, and ends in order
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(60));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
