//! A producer that names its fields otherwise: a schema of one's own says what is what, without another build of the program.

use crate::harness::{END, LIMIT, job, says, within};
use integration_tests::{
    Context, Result, ensure,
    job::{Job, Load},
    registry::Registry,
};
use std::fs;

const OWN: &str = include_str!("../../../schemas/order-event.avsc");

/// Our schema with another text in one place.
fn with(from: &str, to: &str) -> Result<String> {
    ensure!(OWN.matches(from).count() == 1, "{from} is not once in the schema");
    Ok(OWN.replace(from, to))
}

/// Orders of a producer whose schema has the number `id` and the layout of ours.
fn written_with(job: &mut Job, id: u32, events: u64) -> Result<Vec<(String, Vec<u8>)>> {
    let (input, aside) = (job.input(), format!("{}-aside", job.input()));
    let cluster = job.cluster()?;
    cluster.create(&aside, 1, &[])?;
    job.set("source.topic", &aside);
    job.generate(Load { first_order: 1_000_000, seed: 7, ..Load::of(events) })?;
    job.set("source.topic", input);
    let written = cluster.read(&aside)?.into_iter().map(|record| {
        let (key, value) = (record.key.context("no key")?, record.value.context("no value")?);
        Ok((String::from_utf8(key)?, [&[0], id.to_be_bytes().as_slice(), value.get(5..).context("no header")?].concat()))
    });
    written.collect()
}

#[test]
fn an_alias_in_it_makes_a_renamed_field_known() {
    within(LIMIT, || {
        let registry = match Registry::start()? {
            Ok(registry) => registry,
            Err(why) => {
                eprintln!("skipped: no schema registry: {why}");
                return Ok(());
            }
        };
        // Given a producer that calls the user the customer, and one that writes as ever
        let mut job = job()?;
        job.speak("avro").set("registry.url", registry.url());
        job.create_topics()?;
        job.generate(Load::of(1_000))?;
        let renamed = with("\"name\": \"userId\"", "\"name\": \"customerId\"")?;
        let id = registry.register("other-shop-value", &renamed)?;
        let records = written_with(&mut job, id, 500)?;
        job.cluster()?.send(&job.input(), records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        // And a file that says so
        let file = job.folder().join("reader.avsc");
        job.set("format.reader_schema", file.display());
        fs::write(&file, with("\"name\": \"userId\",", "\"name\": \"userId\", \"aliases\": [\"customerId\"],")?)?;
        // When the settings are looked at, and the job runs
        let said = job.succeed(["validate"], END)?;
        says(&said, &["format.reader_schema", "ok", "has all fields of an order event"])?;
        job.catch_up()?;
        // Then the orders of both are there, and the audit reads them so as well
        let audit = job.audit()?;
        assert_eq!((audit.number("/records_in")?, audit.number("/dead")?), (1_500, 0));
        Ok(())
    });
}

#[test]
fn one_that_lacks_a_field_is_refused_with_file_and_field() {
    within(LIMIT, || {
        let mut job = job()?;
        job.speak("avro-single-object");
        job.create_topics()?;
        let file = job.folder().join("reader.avsc");
        fs::write(&file, with("\"name\": \"userId\"", "\"name\": \"customerId\"")?)?;
        job.set("format.reader_schema", file.display());
        let why = [file.display().to_string(), "format.reader_schema".to_owned(), "the field userId is missing".to_owned()];
        let refused = job.run(["run", "--until-caught-up"])?;
        ensure!(refused.status.code() == Some(1), "run ended with {}:\n{}", refused.status, refused.stderr);
        says(&refused.stderr, &why.each_ref().map(String::as_str))?;
        let found = job.run(["validate"])?;
        ensure!(found.status.code() == Some(1), "validate ended with {}:\n{}", found.status, found.stdout);
        says(&found.stdout, &["FAILED", why[2].as_str()])?;
        // A file that is not there is a wrong setting
        fs::remove_file(&file)?;
        let refused = job.run(["run"])?;
        ensure!(refused.status.code() == Some(2), "run ended with {}:\n{}", refused.status, refused.stderr);
        says(&refused.stderr, &["format.reader_schema"])
    });
}
