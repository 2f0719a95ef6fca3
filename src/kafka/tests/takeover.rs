//! Two instances of one job: whoever came last owns it, and the other one cannot come back.

use super::*;
use crate::protocol::FailureKind;

const POINTER: &str = "v1:orders:1:0123456789abcdef";

fn fenced(outcome: Outcome) -> String {
    match outcome {
        Outcome::Fenced(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_instance_that_was_replaced_commits_nothing_and_is_told() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let old = kafka.pool(&group, &input, 3);
    let prepared = old.take(SOON).unwrap();
    let mut open = old.take(SOON).unwrap().begin().unwrap();
    open.send(&output(&outputs, b"k", b"old, open")).unwrap();
    open.arrive();
    let sealed = flushed(&old, &outputs, "old, flushed");

    let new = kafka.pool(&group, &input, 3);

    let message = fenced(sealed.commit_positions(&at(&input, &[(0, 100)]), POINTER));
    assert!(message.contains(&owner_id(&group)) && message.contains("taken over"), "{message}");
    // A new one of its transactions is noticed at the latest when it is flushed; long before the flush would time out.
    let started = std::time::Instant::now();
    let late =
        prepared.begin().and_then(|mut open| open.send(&output(&outputs, b"k", b"old, late")).and_then(|()| open.flush(SOON)));
    assert_eq!(late.err().map(|failure| failure.kind), Some(FailureKind::Fenced));
    // Its record had arrived before, so there is nothing to flush; but it is not committed.
    fenced(open.flush(SOON).unwrap().commit_positions(&at(&input, &[(0, 100)]), POINTER));
    assert!(started.elapsed() < SOON / 2, "{:?}", started.elapsed());
    let failure = old.take(SOON).err().expect("its ids belong to the other one");
    assert_eq!(failure.kind, FailureKind::Fenced, "{failure}");

    committed(flushed(&new, &outputs, "new").commit_positions(&at(&input, &[(0, 7)]), POINTER));
    assert_eq!(kafka.values(&outputs), ["new"]);
    assert_eq!(kafka.committed(&group, &input), [(0, Some((7, POINTER.to_owned())))].into());
}

#[test]
fn an_instance_that_was_replaced_neither_comes_back_nor_disturbs() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    // Given: an instance that has used its only producer, and another one that took over before that was initialised again.
    let old = kafka.pool(&group, &input, 1);
    let used = old.take(SOON).unwrap();
    let new = kafka.pool(&group, &input, 1);
    drop(used);
    // Then: the old one gets no producer, and the id still belongs to the new one.
    let failure = old.take(SOON).err().expect("must not get a producer");
    assert_eq!(failure.kind, FailureKind::Fenced, "{failure}");
    committed(flushed(&new, &outputs, "new").commit_positions(&at(&input, &[(0, 7)]), POINTER));
    assert_eq!(kafka.values(&outputs), ["new"]);
}

#[test]
fn whoever_took_the_owner_id_last_owns_the_job_whatever_happens_to_other_ids() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let cancel = AtomicBool::new(false);
    let wait = waiting::Wait::new(SOON, &cancel);
    let owner = || {
        let producer = ownership::Ownership::take(&kafka.connection, &group, SOON, &wait).unwrap();
        let group = Arc::new(group::ConsumerGroup::of(&kafka.connection, &group).unwrap());
        ownership::Ownership::new(producer, group, TopicPartition::new(input.as_str(), 0))
    };
    let old = owner();
    (0..3).for_each(|_| old.prove(&wait).unwrap());
    let new = kafka.pool(&group, &input, 1);
    let failure = old.prove(&wait).unwrap_err();
    assert!(failure.kind == FailureKind::Fenced && failure.message.contains(&group), "{failure}");

    // Given: somebody else initialises an id of the new owner's (an instance that was replaced, at the worst moment).
    let stranger = fencing::fence(&kafka.connection, &format!("{group}-0"), SOON, &wait).unwrap();
    // Then: the new one knows that it still owns the job: it recovers instead of giving up.
    let mut open = new.take(SOON).unwrap().begin().unwrap();
    let sent = open.send(&output(&outputs, b"k", b"lost"));
    let failure = sent.and_then(|()| open.flush(SOON)).err().expect("its id was taken");
    assert_eq!(failure.kind, FailureKind::Attempt, "{failure}");
    drop((new, stranger));
    let again = kafka.pool(&group, &input, 1);
    committed(flushed(&again, &outputs, "recovered").commit_positions(&at(&input, &[(0, 7)]), POINTER));
    assert_eq!(kafka.values(&outputs), ["recovered"]);
    assert_eq!(kafka.committed(&group, &input), [(0, Some((7, POINTER.to_owned())))].into(), "proofs are never committed");
}

#[test]
fn two_instances_that_start_at_once_do_not_both_begin() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    for round in 0..5 {
        let pools: Vec<_> = std::thread::scope(|scope| {
            let start = || ProducerPool::start(&kafka.connection, settings(&group, &input, 2), Arc::clone(&kafka.cancel));
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let text = format!("round {round}");
        let outcomes: Vec<_> = pools
            .iter()
            .flatten()
            .map(|pool| {
                let mut open = pool.take(SOON)?.begin()?;
                open.send(&output(&outputs, b"k", text.as_bytes()))?;
                Ok(open.flush(SOON)?.commit_positions(&at(&input, &[(0, round)]), POINTER))
            })
            .collect();
        let winners = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Committed(_)))).count();
        let failures: Vec<&crate::protocol::Failure> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(winners <= 1, "{winners} instances committed; {failures:?}");
    }
}

#[test]
fn ids_of_former_attempts_are_fenced_as_well() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 1, &[]), kafka.name("group"));
    let large = kafka.pool(&group, &input, 3);
    let transactions: Vec<_> = (0..3).map(|number| flushed(&large, &outputs, &format!("old {number}"))).collect();
    let former_ids = crate::protocol::transactional_ids(&group, 3);
    let small = ProducerPool::start(
        &kafka.connection,
        PoolSettings { former_ids, ..settings(&group, &input, 1) },
        Arc::clone(&kafka.cancel),
    )
    .unwrap();
    for transaction in transactions {
        fenced(transaction.commit_positions(&at(&input, &[(0, 100)]), POINTER));
    }
    committed(flushed(&small, &outputs, "new").commit_positions(&at(&input, &[(0, 7)]), POINTER));
    assert_eq!(kafka.values(&outputs), ["new"]);
}
