//! What a transaction promises, and how it refuses.

use super::*;
use crate::protocol::FailureKind;
use std::{thread, time::Instant};

const POINTER: &str = "v1:orders:1:0123456789abcdef";

#[test]
fn outputs_offsets_and_pointer_become_visible_in_one_step() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 3, &[]), kafka.topic("out", 2, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 3);
    let nothing: BTreeMap<_, _> = [(0, None), (1, None), (2, None)].into();

    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    let headers = [("class".into(), Some(b"late".to_vec())), ("empty".into(), Some(Vec::new())), ("null".into(), None)];
    open.send(&Output { headers: &headers, timestamp_ms: Some(1_767_225_600_000), ..output(&outputs, b"a", b"1") }).unwrap();
    open.send(&Output { value: None, partition: Some(1), ..output(&outputs, b"b", b"") }).unwrap();
    let flushed = open.flush(SOON).unwrap();

    // Flushed: in the log, but nobody may see it.
    assert_eq!(kafka.values(&outputs), Vec::<String>::new());
    assert_eq!(kafka.visible(&outputs, Isolation::ReadUncommitted).len(), 2);
    assert_eq!(kafka.committed(&group, &input), nothing);

    // An idle partition is committed as well.
    committed(flushed.commit_positions(&at(&input, &[(0, 0), (1, 7), (2, 9)]), POINTER));

    let mut values = kafka.values(&outputs);
    values.sort();
    assert_eq!(values, ["1", "null"]);
    let pointed = |offset| Some((offset, POINTER.to_owned()));
    assert_eq!(kafka.committed(&group, &input), [(0, pointed(0)), (1, pointed(7)), (2, pointed(9))].into());
    let mut seen = Vec::new();
    let partitions = kafka.cluster.partitions(&outputs).unwrap();
    let scan = TopicScan::whole(&kafka.connection, &group, Isolation::ReadCommitted, &partitions).unwrap();
    let count = scan
        .run(&kafka.cancel, &mut |record| {
            let headers: Vec<_> =
                record.headers().iter().map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec))).collect();
            seen.push((record.key.unwrap().to_vec(), record.timestamp_ms == Some(1_767_225_600_000), headers));
            Ok(())
        })
        .unwrap();
    seen.sort();
    assert_eq!(count, 2);
    let with_headers =
        vec![("class".to_owned(), Some(b"late".to_vec())), ("empty".to_owned(), Some(Vec::new())), ("null".to_owned(), None)];
    assert_eq!(seen, [(b"a".to_vec(), true, with_headers), (b"b".to_vec(), false, Vec::new())]);
}

#[test]
fn a_checkpoint_without_outputs_commits_its_offsets() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 1);
    let flushed = pool.take(SOON).unwrap().begin().unwrap().flush(SOON).unwrap();
    committed(flushed.commit_positions(&at(&input, &[(0, 5)]), POINTER));
    assert_eq!(kafka.committed(&group, &input), [(0, Some((5, POINTER.to_owned())))].into());
}

#[test]
fn positions_that_cannot_be_committed_commit_nothing_at_all() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 2, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 1);
    let outcome = flushed(&pool, &outputs, "lost").commit_positions(&at(&input, &[(0, 5), (1, -1001)]), POINTER);
    let Outcome::Unknown(message) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("-1001"), "{message}");
    // The same id goes on with the next transaction, and the one before stays invisible.
    committed(flushed(&pool, &outputs, "kept").commit_positions(&at(&input, &[(0, 5), (1, 0)]), POINTER));
    assert_eq!(kafka.values(&outputs), ["kept"]);
}

#[test]
fn what_is_given_up_stays_invisible_and_holds_nobody_up() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 2);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    open.send(&output(&outputs, b"k", b"dropped while open")).unwrap();
    drop(open);
    flushed(&pool, &outputs, "aborted when flushed").abort();
    drop(pool);
    // Nothing is open any more, so readers of committed records see the end at once.
    let pool = kafka.pool(&group, &input, 2);
    committed(flushed(&pool, &outputs, "committed").commit_positions(&at(&input, &[(0, 1)]), POINTER));
    assert_eq!(kafka.values(&outputs), ["committed"]);
}

#[test]
fn a_record_over_the_producers_limit_is_named_with_the_setting() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 1);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    let failure = open.send(&output(&outputs, b"O-42", &vec![b'x'; 1_200_001])).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    for part in [outputs.as_str(), "O-42", "1200005 bytes", "message.max.bytes", "1200000"] {
        assert!(failure.message.contains(part), "{part:?} is not in: {failure}");
    }
    // The transaction is as it was.
    open.send(&output(&outputs, b"O-42", b"small")).unwrap();
    committed(open.flush(SOON).unwrap().commit_positions(&at(&input, &[(0, 1)]), POINTER));
}

#[test]
fn a_record_over_the_topics_limit_fails_the_flush_and_is_named() {
    let Some(mut kafka) = Kafka::here() else { return };
    let outputs = kafka.topic("out", 1, &[("max.message.bytes", "1000")]);
    let (input, group) = (kafka.topic("in", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 1);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    // Not to be compressed below the limit.
    let value: Vec<u8> = (0..20_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    open.send(&output(&outputs, b"O-43", &value)).unwrap();
    let failure = open.flush(SOON).err().expect("the broker refuses it");
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    for part in [outputs.as_str(), "O-43", "max.message.bytes"] {
        assert!(failure.message.contains(part), "{part:?} is not in: {failure}");
    }
    let limits = kafka.cluster.max_message_bytes(std::slice::from_ref(&outputs)).unwrap();
    assert_eq!(limits, [(outputs, 1000)].into());
}

#[test]
fn a_topic_that_does_not_exist_ends_the_transaction() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group, absent) = (kafka.topic("in", 1, &[]), kafka.name("group"), kafka.name("absent"));
    let pool = kafka.pool(&group, &input, 1);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    let sent = open.send(&output(&absent, b"k", b"v"));
    let failure = sent.and_then(|()| open.flush(2 * SOON).map(drop)).unwrap_err();
    assert!(failure.message.contains(&absent), "{failure}");
}

#[test]
fn a_full_queue_holds_the_sender_back_and_loses_nothing() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 2, &[]), kafka.name("group"));
    kafka.connection.properties.insert("queue.buffering.max.messages".into(), "100".into());
    let pool = kafka.pool(&group, &input, 1);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    for number in 0..20_000u32 {
        open.send(&output(&outputs, &number.to_be_bytes(), b"v")).unwrap();
    }
    committed(open.flush(SOON).unwrap().commit_positions(&at(&input, &[(0, 1)]), POINTER));
    assert_eq!(kafka.values(&outputs).len(), 20_000);
}

#[test]
fn a_wait_for_room_ends_when_the_attempt_ends() {
    // Nobody listens there, so the queue stays full.
    let properties = [("queue.buffering.max.messages".to_owned(), "10".to_owned())].into();
    let connection = Connection { bootstrap_servers: "127.0.0.1:1".into(), properties };
    let cancel = Arc::new(AtomicBool::new(false));
    let mut producer = Producer::open(&connection, Arc::clone(&cancel)).unwrap();
    let raised = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        cancel.store(true, Ordering::Release);
        Instant::now()
    });
    let failure = (0..11).find_map(|_| producer.send(&output("t", b"k", b"v")).err()).expect("there is room for ten");
    assert_eq!(failure.kind, FailureKind::Attempt, "{failure}");
    // Left alone, it would wait for as long as nobody listens.
    assert!(raised.join().unwrap().elapsed() < SOON);
}

#[test]
fn a_plain_producer_delivers_everything_in_order() {
    let Some(mut kafka) = Kafka::here() else { return };
    let outputs = kafka.topic("out", 1, &[]);
    let mut producer = Producer::open(&kafka.connection, Arc::clone(&kafka.cancel)).unwrap();
    for number in 0..10_000 {
        producer.send(&output(&outputs, b"k", format!("{number:05}").as_bytes())).unwrap();
    }
    producer.flush(SOON).unwrap();
    let wanted: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
    assert_eq!(kafka.values(&outputs), wanted);
}
