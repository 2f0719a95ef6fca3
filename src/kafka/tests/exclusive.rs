//! A transactional id that a tool has for itself: whoever takes it ends what others have open, and then sees all they have committed.

use super::*;
use crate::protocol::FailureKind;

fn take(kafka: &Kafka, id: &str) -> ExclusiveTransaction {
    ExclusiveTransaction::take(&kafka.connection, id, 5 * SOON, SOON, &kafka.cancel).unwrap()
}

fn complete(kafka: &Kafka, topic: &str) -> Result<TopicScan, crate::protocol::Failure> {
    TopicScan::complete(&kafka.connection, &kafka.name("scan"), &kafka.cluster.partitions(topic).unwrap())
}

#[test]
fn who_takes_the_id_fences_the_others_and_sees_all_that_they_committed() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (topic, id) = (kafka.topic("marks", 2, &[]), kafka.name("id"));
    // Given one that has committed
    let mut first = take(&kafka, &id);
    first.send(&output(&topic, b"a", b"1")).unwrap();
    first.commit(SOON).unwrap();
    // And one with records in its transaction: then nobody takes what is visible for all
    let mut second = take(&kafka, &id);
    second.send(&output(&topic, b"b", b"2")).unwrap();
    second.feed_flush(SOON);
    let open = complete(&kafka, &topic).err().unwrap();
    assert_eq!(open.kind, FailureKind::Transient, "{open}");
    assert!(open.message.contains(&topic), "{open}");
    // When a third one takes the id
    let mut third = take(&kafka, &id);
    // Then what is visible is all there is, and the second cannot commit any more
    let mut seen = Vec::new();
    let scan = complete(&kafka, &topic).unwrap();
    scan.run(&kafka.cancel, &mut |record| {
        seen.push(record.value.unwrap().to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [b"1".to_vec()]);
    let fenced = second.commit(SOON).unwrap_err();
    assert_eq!(fenced.kind, FailureKind::Fenced, "{fenced}");
    third.send(&output(&topic, b"c", b"3")).unwrap();
    third.commit(SOON).unwrap();
    let mut values = kafka.values(&topic);
    values.sort();
    assert_eq!(values, ["1", "3"]);
    // And what was read before is not read again
    let ends = scan.ranges().iter().map(|(number, range)| (*number, range.end)).collect();
    let mut later = Vec::new();
    let rest = complete(&kafka, &topic).unwrap().starting_at(&ends);
    rest.run(&kafka.cancel, &mut |record| {
        later.push(record.value.unwrap().to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!(later, [b"3".to_vec()]);
}

#[test]
fn what_is_dropped_is_aborted() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (topic, id) = (kafka.topic("marks", 1, &[]), kafka.name("id"));
    let mut dropped = take(&kafka, &id);
    dropped.send(&output(&topic, b"a", b"1")).unwrap();
    dropped.feed_flush(SOON);
    drop(dropped);
    assert_eq!(kafka.values(&topic), Vec::<String>::new());
    assert!(complete(&kafka, &topic).is_ok());
}
