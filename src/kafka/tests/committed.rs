//! What is read as committed.

use super::*;
use crate::{kafka::native, protocol::FailureKind};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::time::Instant;

#[test]
fn metadata_of_others_is_shown_even_if_it_is_not_text() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 1, &[]), kafka.name("group"));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&input, 0, Offset::Offset(3)).unwrap();
    native::set_metadata_bytes(&mut list, b"\xff\xfe not text");
    let consumer: BaseConsumer = kafka.connection.consumer_config(&group, Isolation::ReadCommitted).create().unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    assert_eq!(kafka.committed(&group, &input), [(0, Some((3, "\u{fffd}\u{fffd} not text".to_owned())))].into());
}

#[test]
fn while_a_transaction_over_the_offsets_is_open_there_is_no_answer_instead_of_an_old_one() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 1, &[]), kafka.name("group"));
    let pool = kafka.pool(&group, &input, 1);
    let flushed = pool.take(SOON).unwrap().begin().unwrap().flush(SOON).unwrap();
    committed(flushed.commit_positions(&at(&input, &[(0, 1)]), "v1:orders:1:0123456789abcdef"));

    // Given: a transaction with offsets that nobody ends.
    let hanging = kafka.connection.transactional_client(&kafka.name("hanging"), 5 * SOON).unwrap();
    let offsets = transaction::offsets(&at(&input, &[(0, 2)]), "open").unwrap();
    let of = group::ConsumerGroup::of(&kafka.connection, &group).unwrap();
    {
        use rdkafka::producer::Producer as _;
        hanging.init_transactions(SOON).unwrap();
        hanging.begin_transaction().unwrap();
        hanging.send_offsets_to_transaction(&offsets, of.metadata(), SOON).unwrap();
    }
    // When: somebody asks.
    let partitions = kafka.cluster.partitions(&input).unwrap();
    let reader = CommittedOffsets::open(&kafka.connection, &group).unwrap();
    let (started, patience) = (Instant::now(), Duration::from_millis(1500));
    let failure = reader.read(&partitions, patience, &kafka.cancel).unwrap_err();
    // Then:
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    assert!(failure.message.contains(&group), "{failure}");
    assert!(started.elapsed() < patience + SOON / 2, "{:?}", started.elapsed());
    // And once it is given up, the old one is the answer.
    {
        use rdkafka::producer::Producer as _;
        hanging.abort_transaction(SOON).unwrap();
    }
    let answer = reader.read(&partitions, SOON, &kafka.cancel).unwrap();
    assert_eq!(answer.values().flatten().map(|offset| offset.offset).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_group_that_nobody_knows_has_committed_nothing_and_later_answers_are_fast() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, group) = (kafka.topic("in", 2, &[]), kafka.name("group"));
    let partitions = kafka.cluster.partitions(&input).unwrap();
    let reader = CommittedOffsets::open(&kafka.connection, &group).unwrap();
    let asked = |reader: &CommittedOffsets| {
        let started = Instant::now();
        let answer = reader.read(&partitions, SOON, &kafka.cancel).unwrap();
        assert!(answer.len() == 2 && answer.values().all(Option::is_none), "{answer:?}");
        started.elapsed()
    };
    println!("committed offsets: first answer {:?}, second {:?}", asked(&reader), asked(&reader));
}

#[test]
fn without_a_broker_the_failure_names_the_addresses() {
    let connection = Connection { bootstrap_servers: "127.0.0.1:1".into(), properties: BTreeMap::new() };
    let reader = CommittedOffsets::open(&connection, "group").unwrap();
    let cancel = AtomicBool::new(false);
    let failure = reader.read(&[TopicPartition::new("in", 0)], Duration::from_millis(300), &cancel).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    assert!(failure.message.contains("127.0.0.1:1"), "{failure}");
}
