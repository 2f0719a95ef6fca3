//! Kafka forgets the offsets of a group that has not committed for a week. The checkpoints are still there, and with the operator's word
//! the job goes on from the last confirmed one.

use crate::harness::{END, LIMIT, ends_with, within};
use integration_tests::{
    broker::{Broker, Options},
    deadline::wait_until,
    ensure,
    job::{Job, Load},
};

const EVENTS: u64 = 5_000;

/// A minute is the least that a broker takes for a week.
#[test]
fn the_start_is_refused_and_with_the_operators_word_it_goes_on_where_it_was() {
    within(LIMIT, || {
        // Given a job whose offsets have expired while it was down
        let expiring = Options::own().with("offsets.retention.minutes", 1).with("offsets.retention.check.interval.ms", 1_000);
        let broker = Broker::start(&expiring)?;
        let job = Job::for_test(broker.bootstrap())?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let checkpoint = job.committed_checkpoint()?.to_string();
        job.generate(Load::of(EVENTS).more())?;
        let cluster = job.cluster()?;
        wait_until("the offsets expire", 2 * END, || Ok(cluster.committed(&job.group(), &job.input())?.is_empty()))?;
        // When it is started, then it refuses and names the checkpoint
        ends_with(&mut job.start()?, 4, &[&job.group(), &checkpoint, "--restore"])?;
        // And with that number it goes on
        let mut service = job.start_with(["run", "--until-caught-up", "--restore", &checkpoint], &[])?;
        let exit = service.wait(END)?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}
