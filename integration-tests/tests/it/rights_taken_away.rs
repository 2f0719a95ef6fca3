//! A right is taken away while the job runs, on a broker with Kafka's own authorizer: the job ends with 1 and names what it may not do.
//! When it may again, it goes on, and nothing is lost.

use crate::harness::{END, LIMIT, says, within};
use integration_tests::{
    access::{self, Operation, Resource},
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
};

const EVENTS: u64 = 5_000;

#[test]
fn each_is_named_and_giving_it_back_lets_the_job_go_on() {
    within(LIMIT, || {
        let broker = Broker::start(&access::authorizing(Options::own()))?;
        let job = Job::for_test(broker.bootstrap())?;
        let mut job = job.with_events(Load::of(EVENTS))?;
        let mut load = Load::of(EVENTS);
        let id = format!("{}-0", job.group());
        let rights = [
            (Resource::Topic, job.output("order-status"), Operation::Write, job.output("order-status")),
            (Resource::Topic, job.input(), Operation::Read, job.input()),
            (Resource::Group, job.group(), Operation::Read, "group".to_owned()),
            (Resource::TransactionalId, id, Operation::Write, "transactional".to_owned()),
        ];
        for (resource, name, operation, word) in rights {
            // Given a job at work that gives up soon
            job.set("restart.attempts", 2).set("kafka.connect_timeout", "10s");
            let mut service = job.start()?;
            service.wait_ready()?;
            service.wait_checkpoints(1)?;
            // When it may not do something any more
            access::forbid(broker.bootstrap(), resource, &name, operation)?;
            load = load.more();
            job.generate(load)?;
            // Then it ends and says what
            let exit = service.wait(2 * END)?;
            ensure!(exit.code() == Some(1), "{resource:?} {name}: ended with {}; {}", exit.status, service.last_lines(40));
            says(&service.log()?, &[&word, "authoriz"])?;
            // And goes on when it may again
            access::permit(broker.bootstrap(), resource, &name)?;
            job.be_patient().catch_up()?;
        }
        assert_eq!(job.audit()?.number("/records_in")?, 5 * EVENTS);
        Ok(())
    });
}
