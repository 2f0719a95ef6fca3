//! Questions to a cluster.

use super::*;
use crate::protocol::FailureKind;
use std::time::Instant;

#[test]
fn a_broker_that_does_not_answer_is_named_at_the_deadline() {
    let connection = Connection { bootstrap_servers: "127.0.0.1:1,127.0.0.1:2".into(), properties: BTreeMap::new() };
    let started = Instant::now();
    let failure = Cluster::connect(&connection, Duration::from_secs(1), &AtomicBool::new(false)).err().unwrap();
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    for part in ["127.0.0.1:1,127.0.0.1:2", "within 1s", "refused"] {
        assert!(failure.message.contains(part), "{part:?} is not in: {failure}");
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let cancelled = Cluster::connect(&connection, SOON, &AtomicBool::new(true)).err().unwrap();
    assert_eq!(cancelled.kind, FailureKind::Attempt, "{cancelled}");
}

#[test]
fn topics_are_created_once_and_absent_ones_are_named_with_the_command() {
    let Some(mut kafka) = Kafka::here() else { return };
    let one = kafka.topic("one", 3, &[("cleanup.policy", "compact")]);
    let (two, absent) = (kafka.name("two"), kafka.name("absent"));
    kafka.topics.push(two.clone());
    let spec = |name: &str| TopicSpec { name: name.to_owned(), partitions: 2, replication: Some(1), configs: BTreeMap::new() };
    let report = kafka.cluster.create_topics(&[spec(&one), spec(&two)]).unwrap();
    assert_eq!(report, [(one.clone(), Creation::Existed { partitions: 3 }), (two.clone(), Creation::Created)]);
    assert_eq!(kafka.cluster.partitions(&two).unwrap().len(), 2);

    assert_eq!(kafka.cluster.missing(&[one.clone(), absent.clone()]).unwrap(), std::slice::from_ref(&absent));
    kafka.cluster.require(&[one.clone(), two]).unwrap();
    for failure in [kafka.cluster.require(&[one, absent.clone()]).unwrap_err(), kafka.cluster.partitions(&absent).unwrap_err()] {
        assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
        assert!(failure.message.contains(&absent) && failure.message.contains("sluicegate topics create"), "{failure}");
    }
    let wrong = TopicSpec { configs: [("cleanup.policy".to_owned(), "shred".to_owned())].into(), ..spec(&absent) };
    let failure = kafka.cluster.create_topics(&[wrong]).unwrap_err();
    assert!(failure.kind == FailureKind::Fatal && failure.message.contains(&absent), "{failure}");
}

#[test]
fn start_positions_are_numbers() {
    let Some(mut kafka) = Kafka::here() else { return };
    let input = kafka.topic("in", 2, &[]);
    let mut producer = Producer::open(&kafka.connection, Arc::clone(&kafka.cancel)).unwrap();
    for number in 0..10i32 {
        let record = Output { partition: Some(0), timestamp_ms: Some(1000 + i64::from(number)), ..output(&input, b"k", b"v") };
        producer.send(&record).unwrap();
    }
    producer.flush(SOON).unwrap();
    let partitions = kafka.cluster.partitions(&input).unwrap();
    let resolved = |start| kafka.cluster.resolve(&start, &partitions).unwrap();
    assert_eq!(resolved(Start::Earliest), at(&input, &[(0, 0), (1, 0)]));
    assert_eq!(resolved(Start::Latest), at(&input, &[(0, 10), (1, 0)]));
    assert_eq!(resolved(Start::Timestamp(1003)), at(&input, &[(0, 3), (1, 0)]));
    assert_eq!(resolved(Start::Timestamp(5000)), at(&input, &[(0, 10), (1, 0)]), "behind the last record is the end");
    assert_eq!(resolved(Start::Offsets([(0, 4)].into())), at(&input, &[(0, 4), (1, 0)]));
    let failure = kafka.cluster.resolve(&Start::Offsets([(0, 11)].into()), &partitions).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
}

#[test]
fn limits_of_the_brokers_are_compared_before_the_first_record() {
    let Some(mut kafka) = Kafka::here() else { return };
    let outputs = kafka.topic("out", 1, &[]);
    assert!(!kafka.cluster.id().is_empty());
    let limit = kafka.cluster.transaction_max_timeout().unwrap().expect("this broker lets us see it");
    kafka.cluster.check_limits(limit, std::slice::from_ref(&outputs)).unwrap();
    let failure = kafka.cluster.check_limits(limit + Duration::from_secs(1), &[outputs]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    assert!(failure.message.contains(&limit.as_millis().to_string()), "{failure}");
}
