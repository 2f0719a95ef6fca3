//! An output record that is larger than Kafka takes: nothing is lost, and the user learns what to change.

use crate::harness::{END, LIMIT, job, says, within};
use integration_tests::{Context, Result, ensure, job::Job, job::PARTITIONS};

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

/// A topic that takes less than the settings say: no output of the job's own making is larger than these allow.
#[test]
fn a_record_over_the_limit_of_its_topic_is_an_error_that_names_topic_size_and_setting() {
    within(LIMIT, || {
        // Given a topic of batches that takes ten kilobytes
        let mut job = job()?;
        job.set("restart.attempts", 2).set("job.parallelism", 1);
        // What the topic's limit is compared with is a batch of records as it is stored: each by itself, and as large as it is.
        job.set("kafka.properties.compression.type", "none").set("kafka.properties.batch.num.messages", 1);
        job.cluster()?.create(&job.output("order-batches"), PARTITIONS, &[("max.message.bytes", "10000")])?;
        job.create_topics()?;
        send(&job, &(0..300).map(|number| order(number, 100)).collect::<Vec<_>>())?;
        // When the job runs
        let mut service = job.start_with(["run", "--until-caught-up"], &[])?;
        let exit = service.wait(END)?;
        // Then it says which topic, and what to change
        ensure!(exit.code() == Some(1), "ended with {}:\n{}", exit.status, service.log()?);
        says(&service.log()?, &[&job.output("order-batches"), "max.message.bytes"])?;
        // And with smaller batches it goes on
        job.set("orders.batch_size", 10);
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 300);
        Ok(())
    });
}

/// Good orders that make large outputs: a hundred that are a batch of 2 MB, two of 600 KB one behind the other, identifiers of 1 KiB, and a
/// user with more categories than a record holds. And one with an identifier of 800 KB, which would be in three keys and values.
#[test]
fn no_good_order_makes_an_output_too_large() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("restart.strategy", "none");
        // Given topics as Kafka makes them, which take 1 MiB
        let cluster = job.cluster()?;
        let outputs = [
            "order-status",
            "purchase-stats",
            "late-orders",
            "inventory-levels",
            "low-stock-alerts",
            "order-batches",
            "dead-letters",
        ];
        for topic in outputs.map(|output| job.output(output)).iter().chain([&job.input()]) {
            cluster.create(topic, PARTITIONS, &[])?;
        }
        let mut orders: Vec<String> = (0..250).map(|number| order(number, 20_000)).collect();
        orders.extend((250..254).map(|number| order(number, 600_000)));
        let long = "\\u0001".repeat(1_024);
        let with = |number: u32, from: &str, to: &str| order(number, 10).replace(from, to);
        orders.push(with(254, "O-000000254", &long).replace("U-1", &long).replace("P-1", &long).replace("books", &long));
        orders.push(with(255, "O-000000255", &"x".repeat(800_000)));
        // A thousand and a half of 1 KB each, the names escaped
        let categories = (256..1_756).map(|number| with(number, "books", &format!("{number}{}", "\\u0002".repeat(1_000))));
        orders.extend(categories);
        send(&job, &orders)?;
        // When the job works them off to the end, in which all windows fire and all batches are written
        let exit = job.start_with(["run", "--until-caught-up", "--drain"], &[])?.wait(END)?;
        ensure!(exit.code() == Some(0), "ended with {}", exit.status);
        // Then only the identifier is refused, and the audit finds all the rest where it belongs
        let audit = job.audit()?;
        assert_eq!((audit.number("/records_in")?, audit.number("/dead")?), (orders.len() as u64, 1));
        let letters = cluster.read(&job.output("dead-letters"))?;
        let told = letters.first().and_then(|letter| letter.header("error.message"));
        assert_eq!(told.as_deref(), Some("orderId has 800000 bytes; allowed are at most 1024 (source.max_id_bytes)"));
        let stats = cluster.read(&job.output("purchase-stats"))?;
        ensure!(stats.iter().any(|stats| stats.header("stats.omitted_categories").is_some()), "no statistics lack a category");
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

/// Records that no topic of dead letters would take whole, behind which a job would stand for good.
#[test]
fn a_dead_letter_leaves_out_what_would_make_it_too_large() {
    within(LIMIT, || {
        // Given an input that takes records of 20 MB, while the outputs take 1 MB as usual
        let job = job()?;
        job.cluster()?.create(&job.input(), PARTITIONS, &[("max.message.bytes", "20971520")])?;
        job.create_topics()?;
        let text = |bytes: usize| vec![b'x'; bytes];
        let brackets = [vec![b'['; 5_000_000], vec![b']'; 5_000_000]].concat();
        let trace = |value: &'static [u8]| [("trace", Some(value))];
        let megabytes: &'static [u8] = Box::leak(text(2_000_000).into_boxed_slice());
        let (cluster, input) = (job.cluster()?, job.input());
        let send = |key: &[u8], value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]| {
            cluster.send_whole(&input, 0, (Some(key), value), headers)
        };
        send(b"O-0", Some(order(0, 100).as_bytes()), &[])?;
        send(b"ten megabytes", Some(&text(10_000_000)), &trace(b"7"))?;
        send(b"ten megabytes of brackets", Some(&brackets), &[])?;
        send(b"what an input with default settings takes", Some(&text(1_048_000)), &[])?;
        send(b"a tombstone with headers", None, &trace(megabytes))?;
        send(megabytes, Some(b"a key"), &[])?;
        send(megabytes, Some(megabytes), &trace(megabytes))?;
        send(b"O-1", Some(order(1, 100).as_bytes()), &[])?;
        // When the job runs, then it gets past all of them, and the audit finds each where it belongs
        job.catch_up()?;
        let audit = job.audit()?;
        assert_eq!((audit.number("/records_in")?, audit.number("/dead")?, audit.number("/accepted")?), (8, 6, 2));
        // And each letter says what it lacks, and where the record is
        let mut told = Vec::new();
        for letter in cluster.read(&job.output("dead-letters"))? {
            let header = |name: &str| letter.header(name).with_context(|| format!("no header {name}"));
            let offset: i64 = header("error.offset")?.parse()?;
            let trace = letter.header("trace").is_some();
            told.push((
                offset,
                header("error.class")?,
                header("error.omitted")?,
                letter.key.is_some(),
                letter.value.is_some(),
                trace,
            ));
        }
        told.sort();
        let expected = |offset, class: &str, omitted: &str, key, value, trace| {
            (offset, class.to_owned(), omitted.to_owned(), key, value, trace)
        };
        assert_eq!(
            told,
            [
                expected(1, "too_large", "value", true, false, true),
                expected(2, "too_large", "value", true, false, false),
                expected(3, "too_large", "value", true, false, false),
                expected(4, "empty", "headers", true, false, false),
                expected(5, "malformed_json", "key", false, true, false),
                expected(6, "too_large", "key,value,headers", false, false, false),
            ]
        );
        // And a replay sends back none of these as if they were whole
        let replay = job.succeed(["dlq", "replay"], END)?;
        says(&replay, &["replayed 0 dead letters", "6 have not all of a record"])?;
        assert_eq!(cluster.read(&input)?.len(), 8);
        Ok(())
    });
}
