//! An output topic is deleted under a running job. Kafka has lost what was in it, which nobody can bring back; the job must not run on as
//! if nothing had happened, and must lose nothing else.

use crate::harness::{END, LIMIT, job, says, within};
use integration_tests::{ensure, job::Load};

const EVENTS: u64 = 10_000;

#[test]
fn the_job_ends_with_its_name_and_goes_on_when_it_is_back() {
    within(LIMIT, || {
        // Given a job at work that writes nothing to late-orders
        let mut job = job()?;
        job.set("restart.attempts", 2).set("kafka.connect_timeout", "15s").set("checkpoint.timeout", "15s");
        let mut job = job.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(2 * EVENTS).at(1_000).more())?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        // When the topic of its inventory is deleted
        let cluster = job.cluster()?;
        let topic = job.output("inventory-levels");
        cluster.delete(&topic)?;
        // Then it ends and names it
        let exit = service.wait(2 * END)?;
        ensure!(exit.code() == Some(1), "ended with {}; {}", exit.status, service.last_lines(40));
        says(&service.log()?, &[&topic])?;
        // And when the topic is there again, it goes on: all other outputs are complete
        job.create_topics()?;
        load.wait(END)?;
        job.be_patient().catch_up()?;
        let (_, audit) = job.audit_any(integration_tests::job::COMMAND)?;
        assert_eq!(audit.number("/records_in")?, 3 * EVENTS);
        for output in [0, 1, 2, 5, 6] {
            for wrong in ["missing", "extra", "wrong"] {
                assert_eq!(audit.number(&format!("/outputs/{output}/{wrong}"))?, 0, "output {output}: {wrong}");
            }
        }
        Ok(())
    });
}
