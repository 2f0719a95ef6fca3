//! Readers: records, ends, bounds.

use super::*;
use crate::protocol::{Failure, FailureKind};
use std::time::Instant;

const POINTER: &str = "v1:orders:1:0123456789abcdef";

/// Values by partition and offset.
type Records = Vec<(i32, i64, String)>;

/// Polls until `enough`, and gives what was read: values by partition and offset, and the last end of each partition.
fn read(reader: &mut Reader, mut enough: impl FnMut(usize, &BTreeMap<i32, i64>) -> bool) -> (Records, BTreeMap<i32, i64>) {
    let (mut records, mut ends) = (Vec::new(), BTreeMap::new());
    let deadline = Instant::now() + SOON;
    while !enough(records.len(), &ends) {
        assert!(Instant::now() < deadline, "read only {records:?} and ends {ends:?}");
        let polled = reader
            .poll(Duration::from_millis(100), 10, &mut |record| {
                records.push((record.partition, record.offset, String::from_utf8_lossy(record.value.unwrap()).into_owned()));
            })
            .unwrap();
        ends.extend(polled.ends);
    }
    (records, ends)
}

#[test]
fn the_end_is_behind_control_records_and_aborted_ones() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 3);
    // Offset 0 committed, 1 its control record; 2 aborted, 3 its control record.
    committed(flushed(&pool, &input, "seen").commit_positions(&at(&input, &[(0, 0)]), POINTER));
    flushed(&pool, &input, "aborted").abort();
    drop(pool);

    let partitions = kafka.cluster.partitions(&input).unwrap();
    let bounds = kafka.cluster.log_bounds(&partitions).unwrap();
    assert_eq!(bounds.into_values().collect::<Vec<_>>(), [(0, 4)]);
    let mut reader = Reader::open(&kafka.connection, &group, ReaderSettings::default(), &at(&input, &[(0, 0)])).unwrap();
    let (records, ends) = read(&mut reader, |_, ends| ends.get(&0) == Some(&4));
    assert_eq!(records, [(0, 0, "seen".to_owned())]);
    assert_eq!(ends, [(0, 4)].into());
    // The last position that a job knows is 1; what lies behind are no records.
    assert_eq!(reader.lag(&at(&input, &[(0, 1)])), [(0, 0)]);

    // A reader that begins behind the last record finds the end as well, and then what comes later.
    let mut reader = Reader::open(&kafka.connection, &group, ReaderSettings::default(), &at(&input, &[(0, 4)])).unwrap();
    let (records, ends) = read(&mut reader, |_, ends| !ends.is_empty());
    assert_eq!((records.len(), ends), (0, [(0, 4)].into()));
    let pool = kafka.pool(&group, &input, 1);
    let sealed = flushed(&pool, &input, "later");
    let before = reader.poll(Duration::from_millis(300), 10, &mut |_| panic!("the transaction is open")).unwrap();
    assert_eq!(before, Poll::default());
    committed(sealed.commit_positions(&at(&input, &[(0, 4)]), POINTER));
    let (records, ends) = read(&mut reader, |_, ends| ends.get(&0) == Some(&6));
    assert_eq!((records, ends), (vec![(0, 4, "later".to_owned())], [(0, 6)].into()));
}

#[test]
fn partitions_can_be_added_while_others_are_read() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 2, &[]), kafka.name("group"));
    let mut producer = Producer::open(&kafka.connection, Arc::clone(&kafka.cancel)).unwrap();
    for number in 0..40 {
        let value = format!("{number}");
        producer.send(&Output { partition: Some(number % 2), ..output(&input, b"k", value.as_bytes()) }).unwrap();
    }
    producer.flush(SOON).unwrap();
    let mut reader = Reader::open(&kafka.connection, &group, ReaderSettings::default(), &at(&input, &[(0, 15)])).unwrap();
    let (records, _) = read(&mut reader, |_, ends| ends.get(&0) == Some(&20));
    assert_eq!(records.len(), 5);
    reader.add(&at(&input, &[(0, 0), (1, 10)])).unwrap();
    let (records, ends) = read(&mut reader, |_, ends| ends.get(&1) == Some(&20));
    assert_eq!(records.len(), 10, "partition 0 stays where it was: {records:?}");
    assert!(records.iter().all(|(partition, offset, _)| *partition == 1 && *offset >= 10));
    assert_eq!(ends.get(&1), Some(&20));
    let other = at(&kafka.name("other"), &[(0, 0)]);
    assert_eq!(reader.add(&other).unwrap_err().kind, FailureKind::Fatal);
}

#[test]
fn an_offset_that_the_log_does_not_hold_is_refused_with_the_facts() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 2, &[]), kafka.name("group"));
    let mut reader =
        Reader::open(&kafka.connection, &group, ReaderSettings::default(), &at(&input, &[(0, 0), (1, 1000)])).unwrap();
    let deadline = Instant::now() + SOON;
    let failure: Failure = loop {
        assert!(Instant::now() < deadline, "not refused");
        if let Err(failure) = reader.poll(Duration::from_millis(100), 10, &mut |_| {}) {
            break failure;
        }
    };
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    for part in [format!("{input}-1"), "1000".into(), "0 to 0".into()] {
        assert!(failure.message.contains(&part), "{part:?} is not in: {failure}");
    }
}

#[test]
fn a_reader_without_a_broker_fails_only_after_its_patience_and_names_the_addresses() {
    let connection = Connection { bootstrap_servers: "127.0.0.1:1".into(), properties: BTreeMap::new() };
    let settings = ReaderSettings { broker_patience: Duration::from_secs(1), ..ReaderSettings::default() };
    let mut reader = Reader::open(&connection, "group", settings, &at("in", &[(0, 0)])).unwrap();
    let started = Instant::now();
    let failure = loop {
        assert!(started.elapsed() < SOON, "no failure");
        if let Err(failure) = reader.poll(Duration::from_millis(50), 10, &mut |_| {}) {
            break failure;
        }
    };
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    assert!(failure.message.contains("127.0.0.1:1"), "{failure}");
}

#[test]
fn a_scan_reads_its_ranges_and_refuses_what_is_gone() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 2, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 2);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    for number in 0..10 {
        open.send(&Output { partition: Some(number % 2), ..output(&input, b"k", b"v") }).unwrap();
    }
    committed(open.flush(SOON).unwrap().commit_positions(&at(&input, &[(0, 0), (1, 0)]), POINTER));
    flushed(&pool, &input, "aborted").abort();
    drop(pool);
    assert_eq!(kafka.values(&input).len(), 10);
    assert_eq!(kafka.visible(&input, Isolation::ReadUncommitted).len(), 11);

    let scan = |ranges| TopicScan::of(&kafka.connection, &group, Isolation::ReadCommitted, &input, &ranges);
    let mut seen = Vec::new();
    let count = scan([(0, 2..4), (1, 5..5)].into())
        .unwrap()
        .run(&kafka.cancel, &mut |record| {
            seen.push((record.partition, record.offset));
            Ok(())
        })
        .unwrap();
    assert_eq!((count, seen), (2, vec![(0, 2), (0, 3)]));
    // A range that ends with a control record ends.
    assert_eq!(scan([(0, 4..6)].into()).unwrap().run(&kafka.cancel, &mut |_| Ok(())).unwrap(), 1);
    let failure = scan([(0, 2..400)].into()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    let stop = scan([(0, 0..5)].into()).unwrap().run(&kafka.cancel, &mut |_| Err(Failure::attempt("enough"))).unwrap_err();
    assert_eq!(stop.message, "enough");
}
