//! An output record that is larger than Kafka takes: nothing is lost, and the user learns what to change.

use crate::harness::{END, LIMIT, job, says, within};
use integration_tests::{Result, ensure, job::Job};

/// A good order of about so many bytes.
fn order(number: u32, bytes: usize) -> String {
    let name = "x".repeat(bytes);
    format!(
        "{{\"orderId\":\"O-{number:09}\",\"userId\":\"U-1\",\"eventType\":\"CREATED\",\"amount\":2.50,\"itemCount\":1,\"category\":\"books\",\
         \"items\":[{{\"productId\":\"P-1\",\"productName\":\"{name}\",\"quantity\":1,\"price\":2.50}}],\"timestamp\":1767225600000}}"
    )
}

fn send(job: &Job, orders: &[String]) -> Result<()> {
    let keys: Vec<_> = (0..orders.len()).map(|number| format!("O-{number:09}")).collect();
    job.cluster()?.send(&job.input(), keys.iter().map(String::as_str).zip(orders.iter().map(String::as_bytes)))
}

/// 100 orders of 20 KB are a batch of 2 MB, and a record may have 1 MB.
#[test]
fn a_batch_over_the_limit_is_an_error_that_names_topic_size_and_setting() {
    within(LIMIT, || {
        // Given orders that are fine each, but not a hundred of them in one record
        let mut job = job()?;
        job.set("restart.attempts", 2).set("job.parallelism", 1);
        job.create_topics()?;
        send(&job, &(0..300).map(|number| order(number, 20_000)).collect::<Vec<_>>())?;
        // When the job runs
        let mut service = job.start_with(["run", "--until-caught-up"], &[])?;
        let exit = service.wait(END)?;
        // Then it says which topic, and what to change
        ensure!(exit.code() == Some(1), "ended with {}:\n{}", exit.status, service.log()?);
        says(&service.log()?, &[&job.output("order-batches"), "bytes", "message.max.bytes", "max.message.bytes"])?;
        // And with smaller batches it goes on
        job.set("orders.batch_size", 10);
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 300);
        Ok(())
    });
}

#[test]
fn an_input_record_over_its_limit_is_a_dead_letter() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("source.max_record_bytes", "10KiB");
        job.create_topics()?;
        send(&job, &[order(0, 100), order(1, 20_000), order(2, 100)])?;
        job.catch_up()?;
        let letters = job.cluster()?.read(&job.output("dead-letters"))?;
        ensure!(
            letters.len() == 1 && letters.iter().all(|l| l.header("error.class").as_deref() == Some("too_large")),
            "{letters:?}"
        );
        assert_eq!(job.audit()?.number("/dead")?, 1);
        Ok(())
    });
}
