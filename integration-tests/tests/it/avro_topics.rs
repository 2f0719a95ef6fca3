//! Topics in Avro: what the job makes of them is what it makes of JSON, whatever happens to it, to the registry, and to the producer's schema.

use crate::harness::{END, LIMIT, job, within};
use integration_tests::{
    Result, anyhow, ensure,
    job::{Job, Load},
    registry::Registry,
};

const TOPICS: [&str; 7] = [
    "format.orders",
    "format.order_status",
    "format.purchase_stats",
    "format.late_orders",
    "format.inventory_levels",
    "format.low_stock_alerts",
    "format.order_batches",
];
/// Version 1: the shipped schema.
const VERSION_1: &str = include_str!("../../../schemas/order-event.avsc");

/// Every topic in one format, but those that are named.
fn set(job: &mut Job, format: &str, others: &[(&str, &str)]) {
    for topic in TOPICS {
        job.set(topic, format);
    }
    for (topic, format) in others {
        job.set(topic, *format);
    }
}

fn with_registry(test: impl FnOnce(Registry) -> Result<()>) {
    within(LIMIT, || match Registry::start()? {
        Ok(registry) => test(registry),
        Err(why) => {
            eprintln!("skipped: no schema registry: {why}");
            Ok(())
        }
    });
}

#[test]
fn single_object_encoding_needs_no_registry_and_survives_a_kill() {
    within(LIMIT, || {
        // Given input in single-object encoding, of which some is bad
        let mut job = job()?;
        set(&mut job, "avro-single-object", &[]);
        let job = job.with_events(Load::of(30_000).dirty(20))?;
        // When the job is killed on the way, and started again
        let mut service = job.start()?;
        service.wait_checkpoints(2)?;
        service.kill()?;
        job.catch_up()?;
        // Then every output is right, and in that encoding
        let audit = job.audit()?;
        assert_eq!(audit.number("/records_in")?, 30_000);
        ensure!(audit.number("/dead")? > 300, "the bad records are dead letters");
        for output in ["order-status", "inventory-levels", "order-batches"] {
            let records = job.cluster()?.read(&job.output(output))?;
            let marked = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|value| value.starts_with(&[0xc3, 0x01]));
            ensure!(!records.is_empty() && records.iter().all(|record| marked(&record.value)), "{output} is not marked");
        }
        Ok(())
    });
}

#[test]
fn json_in_and_avro_out() {
    within(LIMIT, || {
        let mut job = job()?;
        set(&mut job, "avro-single-object", &[("format.orders", "json"), ("format.order_status", "json")]);
        let job = job.with_events(Load::of(10_050).dirty(10))?;
        job.catch_up()?;
        // Events that wait for a batch are in the checkpoint
        ensure!(job.audit()?.number("/waiting")? > 0, "no event waits for its batch");
        // And come from there into a batch of the next run
        job.generate(Load::of(10_000).more())?;
        job.catch_up()?;
        job.audit()?;
        Ok(())
    });
}

#[test]
fn avro_in_and_json_out() {
    within(LIMIT, || {
        let mut job = job()?;
        set(&mut job, "json", &[("format.orders", "avro-single-object")]);
        let job = job.with_events(Load::of(10_000).dirty(50))?;
        job.catch_up()?;
        job.audit()?;
        Ok(())
    });
}

#[test]
fn with_a_registry_all_topics_are_framed_and_their_schemas_are_registered() {
    with_registry(|registry| {
        let mut job = job()?;
        set(&mut job, "avro", &[]);
        job.set("registry.url", registry.url());
        let job = job.with_events(Load::of(20_000).dirty(20))?;
        // Validation says what is there and what may come, and registers nothing
        let before = registry.subjects()?;
        let said = job.succeed(["validate"], END)?;
        ensure!(said.contains("can be read") && said.contains("will be registered, and may be"), "{said}");
        assert_eq!(registry.subjects()?, before);
        job.catch_up()?;
        job.audit()?;
        ensure!(registry.subjects()?.contains(&format!("{}-value", job.output("order-status"))), "{:?}", registry.subjects()?);
        Ok(())
    });
}

#[test]
fn a_producer_moves_to_version_2_while_the_registry_is_away() {
    with_registry(|mut registry| {
        // Given a job that reads version 1
        let mut job = job()?;
        set(&mut job, "avro", &[]);
        job.set("registry.url", registry.url());
        let mut job = job.with_events(Load::of(5_000))?;
        let mut service = job.start()?;
        service.wait_checkpoints(3)?;
        // And version 2 of its producer, with a field more
        let version_2 = VERSION_1.trim_end().strip_suffix("\n  ]\n}").ok_or_else(|| anyhow!("the schema ends otherwise"))?;
        let version_2 =
            format!("{version_2},\n    {{\"name\": \"currency\", \"type\": \"string\", \"default\": \"EUR\"}}\n  ]\n}}");
        let id = registry.register(&format!("{}-value", job.input()), &version_2)?;
        let records = in_version_2(&mut job, id)?;
        // When it writes while the registry is away
        registry.kill()?;
        job.cluster()?.send(&job.input(), records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        // Then its records wait, checkpoints go on, and the job ends when it is asked to
        service.wait_metric("sluicegate_held_records", 1.0, END)?;
        let before = job.committed_checkpoint()?;
        service.wait_metric("sluicegate_checkpoint_last_number", (before + 3) as f64, END)?;
        assert_eq!(service.finish()?.code(), Some(0), "{}", service.last_lines(20));
        // And it does not start without the registry, but says which
        job.set("kafka.connect_timeout", "2s");
        let refused = job.run(["run"])?;
        ensure!(refused.stderr.contains(&registry.url()) && refused.stderr.contains("registry.url"), "{}", refused.stderr);
        assert_eq!(refused.status.code(), Some(1));
        // When the registry is back, no record is lost and none is dead
        registry.restart()?;
        job.unset("kafka.connect_timeout");
        job.catch_up()?;
        let audit = job.audit()?;
        assert_eq!((audit.number("/records_in")?, audit.number("/dead")?), (7_000, 0));
        Ok(())
    });
}

/// Two thousand other orders, as version 2 has them: version 1 and one more text.
fn in_version_2(job: &mut Job, id: u32) -> Result<Vec<(String, Vec<u8>)>> {
    let (input, aside) = (job.input(), format!("{}-aside", job.input()));
    let cluster = job.cluster()?;
    cluster.create(&aside, 1, &[])?;
    job.set("source.topic", &aside);
    job.generate(Load { first_order: 1_000_000, seed: 7, ..Load::of(2_000) })?;
    job.set("source.topic", input);
    let mut records = Vec::new();
    for record in cluster.read(&aside)? {
        let (Some(key), Some(value)) = (record.key, record.value) else { continue };
        let avro = value.get(5..).ok_or_else(|| anyhow!("a record without a header"))?;
        records.push((String::from_utf8(key)?, [&[0], id.to_be_bytes().as_slice(), avro, &[6], b"EUR"].concat()));
    }
    Ok(records)
}
