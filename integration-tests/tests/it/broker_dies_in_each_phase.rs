//! The broker is killed with -9 while the job is in a certain phase of a checkpoint, and comes back. What became of the transaction is
//! then in the broker's log, and nowhere else.
//!
//! The protection is Kafka's own: an open transaction, and the decision about it, outlive the broker's death in its log.

use crate::harness::{END, LIMIT, within, works_off_all};
use integration_tests::{
    Context,
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
};

const EVENTS: u64 = 10_000;

/// Where the job waits while its broker dies: what it does next meets a dead broker.
const PHASES: [(&str, &str); 4] = [
    ("flushing its records", "before-flush"),
    ("uploading its state", "before-prepare"),
    ("sending its offsets", "after-manifest"),
    ("committing", "during-commit"),
];

#[test]
fn and_the_job_goes_on_when_it_is_back() {
    within(LIMIT, || {
        let mut broker = Broker::start(&Options::own())?;
        let mut job = Job::for_test(broker.bootstrap())?;
        job.set("checkpoint.timeout", "20s").set("restart.attempts", 1000);
        let job = job.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(2 * EVENTS).at(500).more())?;
        // Producing: at no point in particular
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_metric("sluicegate_records_in_total", 1.0, END)?;
        broker.kill(1)?;
        broker.restart(1)?;
        service.wait_checkpoints(2).context("while producing")?;
        service.kill()?;
        for (phase, point) in PHASES {
            // Given a job that stands before the phase
            let mut service = job.start_failing(&format!("{point}=sleep:3s@2"))?;
            service.wait_at_point()?;
            // When the broker dies
            broker.kill(1)?;
            std::thread::sleep(std::time::Duration::from_millis(3200));
            broker.restart(1)?;
            // Then the same process goes on
            service.wait_checkpoints(2).with_context(|| phase)?;
            let exit = service.finish()?;
            ensure!(exit.code() == Some(0), "{phase}: {}", service.last_lines(60));
        }
        load.terminate(END)?;
        works_off_all(&job, EVENTS)
    });
}
