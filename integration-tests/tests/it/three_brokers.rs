//! A cluster of three brokers (replication 3, two in sync) of which one after the other is killed with -9 under load: leaders of the
//! topics and coordinators of transactions and group move each time.

use crate::harness::{END, LIMIT, within, works_off_all};
use integration_tests::{
    Context,
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
};

const EVENTS: u64 = 10_000;

#[test]
fn rolling_kills_under_load_lose_nothing() {
    within(LIMIT, || {
        // Given a job at work on three brokers
        let mut brokers = Broker::start(&Options { brokers: 3, heap: "384m".into(), ..Options::own() })?;
        let mut job = Job::for_test(brokers.bootstrap())?;
        job.set("checkpoint.timeout", "20s").set("restart.attempts", 1000);
        let job = job.with_events(Load::of(EVENTS))?;
        let cluster = job.cluster()?;
        let mut load = job.start_generating(Load::of(10 * EVENTS).at(1_000).more())?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        // When each of them is killed, and started again later
        for number in 1..=brokers.nodes() {
            cluster.await_in_sync(END)?;
            brokers.kill(number)?;
            service.wait_checkpoints(3).with_context(|| format!("without broker {number}"))?;
            brokers.restart(number)?;
            service.wait_checkpoints(1).with_context(|| format!("with broker {number} again"))?;
        }
        // Then the same process has gone on all the time, and nothing is lost
        load.terminate(END)?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(60));
        works_off_all(&job, EVENTS)
    });
}
