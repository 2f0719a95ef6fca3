//! How fast a transaction is, and whether anybody waits for a producer.

use super::*;
use std::{thread, time::Instant};

const POINTER: &str = "v1:orders:1:0123456789abcdef";

/// Shortest, median, longest.
#[derive(Clone, Copy)]
struct Times([Duration; 3]);

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self([0, times.len() / 2, times.len() - 1].map(|index| times[index]))
    }
}

impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, median, most] = self.0.map(|time| time.as_secs_f64() * 1000.0);
        write!(f, "{least:.2} / {median:.2} / {most:.2} ms")
    }
}

/// Runs transactions of one record at `interval`: times of take, flush and commit.
fn pace(kafka: &Kafka, pool: &ProducerPool, input: &str, outputs: &str, interval: Duration, rounds: i64) -> [Times; 3] {
    let mut times = [const { Vec::new() }; 3];
    let started = Instant::now();
    for round in 0..rounds {
        let due = started + interval * u32::try_from(round).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        assert!(!kafka.cancel.load(Ordering::Relaxed));
        let since = Instant::now();
        let prepared = pool.take(SOON).unwrap();
        let took = since.elapsed();
        let mut open = prepared.begin().unwrap();
        open.send(&output(outputs, b"k", b"v")).unwrap();
        let since = Instant::now();
        let flushed = open.flush(SOON).unwrap();
        let flush = since.elapsed();
        let commit = committed(flushed.commit_positions(&at(input, &[(0, round)]), POINTER));
        for (all, one) in times.iter_mut().zip([took, flush, commit]) {
            all.push(one);
        }
    }
    times.map(Times::of)
}

#[test]
fn a_small_transaction_takes_milliseconds_and_finds_a_producer_ready() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 3);
    let [take, flush, commit] = pace(&kafka, &pool, &input, &outputs, Duration::from_millis(700), 8);
    println!("700 ms, 3 ids: take {take:?}, flush {flush:?}, commit {commit:?}");
    // The shortest, because the machine may be busy with other tests. rdkafka's own flush would take 100 ms each time, and a producer that
    // is not ready half a second.
    let Times([least, ..]) = take;
    assert!(least < Duration::from_millis(10), "{take:?}");
    assert!(flush.0[0].max(commit.0[0]) < Duration::from_millis(90), "flush {flush:?}, commit {commit:?}");
}

#[test]
#[ignore = "a measurement of two minutes, to be run alone with --nocapture"]
fn measure() {
    let Some(mut kafka) = Kafka::here() else { return };
    let _ = tracing_subscriber::fmt()
        .with_env_filter("sluicegate::kafka=debug,sluicegate::kafka::client=warn")
        .with_test_writer()
        .try_init();
    let (input, outputs) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]));
    for (interval, ids, rounds) in [(1000, 3, 40), (500, 3, 40), (100, 7, 200), (50, 12, 300)] {
        let group = kafka.name(&format!("group-{interval}"));
        let since = Instant::now();
        let pool = kafka.pool(&group, &input, ids);
        let start = since.elapsed();
        let [take, flush, commit] = pace(&kafka, &pool, &input, &outputs, Duration::from_millis(interval), rounds);
        let since = Instant::now();
        drop(pool);
        println!(
            "{interval} ms, {ids} ids: start {start:?}, take {take:?}, flush {flush:?}, commit {commit:?}, drop {:?}",
            since.elapsed()
        );
    }
}
