//! A broker that does not answer is waited for, up to `kafka.connect_timeout`.

use crate::harness::{LIMIT, ends_with, within};
use integration_tests::{
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
    ports,
};

#[test]
fn its_address_is_named_when_the_time_is_over() {
    within(LIMIT, || {
        let nobody = format!("127.0.0.1:{}", ports::free()?);
        let mut job = Job::for_test(&nobody)?;
        job.set("kafka.connect_timeout", "2s");
        ends_with(&mut job.start()?, 1, &[&nobody])
    });
}

#[test]
fn a_job_that_was_started_before_its_broker_runs_when_that_is_there() {
    within(LIMIT, || {
        // Given topics on a broker that is then stopped
        let mut broker = Broker::start(&Options::own())?;
        let mut job = Job::for_test(broker.bootstrap())?;
        job.set("kafka.connect_timeout", "2min");
        let job = job.with_events(Load::of(1_000))?;
        broker.stop(1)?;
        // When the job is started first, and the broker after it
        let mut service = job.start()?;
        broker.restart(1)?;
        // Then it runs
        service.wait_ready()?;
        service.wait_metric("sluicegate_records_in_total", 1_000.0, LIMIT)?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        assert_eq!(job.audit()?.number("/records_in")?, 1_000);
        Ok(())
    });
}
