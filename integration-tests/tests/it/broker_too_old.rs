//! Below Kafka 2.5 a reader of committed offsets is not made to wait for an open transaction, so recovery could go back to what is
//! no longer true: such a broker is refused.
//!
//! No switch: the refusal is what is tested.

use crate::harness::{LIMIT, ends_with, within};
use integration_tests::{broker::old, job::Job};

#[test]
fn it_is_refused_with_what_it_knows_and_what_is_needed() {
    within(LIMIT, || {
        let Some(broker) = old::OldBroker::start()? else {
            eprintln!("skipped: Kafka {} comes from Maven Central, and there is no `mvn`", old::VERSION);
            return Ok(());
        };
        let mut job = Job::for_test(broker.bootstrap())?;
        job.set("restart.strategy", "none");
        job.create_topics()?;
        ends_with(&mut job.start()?, 1, &[broker.bootstrap(), "OffsetFetch", "Kafka 2.5"])
    });
}
