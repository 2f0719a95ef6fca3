//! Producers move from version 1 of their schema to version 2, one after the other, while the job runs and is killed: nothing is lost.

use crate::harness::{END, LIMIT, job, within};
use integration_tests::{
    Context, Result, ensure,
    job::{Job, Load},
    registry::Registry,
};

const VERSION_1: &str = include_str!("../../../schemas/order-event.avsc");
const EVENTS: u64 = 12_000;
/// Of the producers that move.
const SECOND: u64 = 6_000;

/// Version 2: two fields more, behind those of version 1.
fn version_2() -> Result<String> {
    let fields = VERSION_1.trim_end().strip_suffix("\n  ]\n}").context("the schema ends otherwise")?;
    let coupon = r#"{"name": "coupon", "type": ["null", "string"], "default": null}"#;
    Ok(format!("{fields},\n    {{\"name\": \"channel\", \"type\": \"string\", \"default\": \"web\"}},\n    {coupon}\n  ]\n}}"))
}

/// What producers of version 2 write: other orders, with the values of the new fields behind them.
fn in_version_2(job: &mut Job, id: u32) -> Result<Vec<(String, Vec<u8>)>> {
    let (input, aside) = (job.input(), format!("{}-aside", job.input()));
    let cluster = job.cluster()?;
    cluster.create(&aside, 1, &[])?;
    job.set("source.topic", &aside);
    job.generate(Load { first_order: 1_000_000, seed: 7, ..Load::of(SECOND) })?;
    job.set("source.topic", input);
    let written = cluster.read(&aside)?.into_iter().map(|record| {
        let (key, value) = (record.key.context("no key")?, record.value.context("no value")?);
        let version_1 = value.get(5..).context("no header")?;
        Ok((String::from_utf8(key)?, [&[0], id.to_be_bytes().as_slice(), version_1, b"\x06app\x02\x0cSPRING"].concat()))
    });
    written.collect()
}

#[test]
fn under_load_and_with_kills_in_between_the_audit_is_clean() {
    within(LIMIT, || {
        let registry = match Registry::start()? {
            Ok(registry) => registry,
            Err(why) => {
                eprintln!("skipped: no schema registry: {why}");
                return Ok(());
            }
        };
        let mut job = job()?;
        job.speak("avro").set("registry.url", registry.url());
        job.create_topics()?;
        // Given producers of version 1 that write all the time
        let mut service = job.start()?;
        let mut load = job.start_generating(Load::of(EVENTS).at(800))?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        // When others have moved to version 2, which the registry takes as compatible
        let subject = format!("{}-value", job.input());
        registry.set_compatibility(&subject, "FULL")?;
        let id = registry.register(&subject, &version_2()?)?;
        let records = in_version_2(&mut job, id)?;
        assert_eq!(records.len() as u64, SECOND);
        let cluster = job.cluster()?;
        for part in records.chunks(records.len().div_ceil(4)) {
            cluster.send(&job.input(), part.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
            // And the job is killed in the middle of it
            service.wait_checkpoints(1)?;
            service.kill()?;
            service = job.start()?;
            service.wait_ready()?;
        }
        // Then it has read both without a restart for that, and nothing is lost, doubled or dead
        let exit = load.wait(END)?;
        ensure!(exit.code() == Some(0), "{}", load.last_lines(20));
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        job.catch_up()?;
        let audit = job.audit()?;
        assert_eq!((audit.number("/records_in")?, audit.number("/dead")?), (EVENTS + SECOND, 0));
        Ok(())
    });
}
