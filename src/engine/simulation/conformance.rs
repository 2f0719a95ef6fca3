//! What the engine relies on when it uses transactions: one suite, for the simulated broker and for Kafka.
//!
//! It is written against the engine's own traits, [`Cluster`] and [`Transactions`], so that a rule which the simulation has and
//! Kafka has not cannot stay unnoticed, nor the other way round.

use crate::engine::{
    cluster::Cluster,
    sink::{CommitOutcome, FlushedTransaction, OpenTransaction, Outgoing, Transactions},
    stop::Stop,
};
use crate::protocol::{
    Carrier, CheckpointId, Command, CommitPermit, Coordinator, Event, Failure, FailureKind, ManifestHash, ManifestRef, Plan,
    Positions, TopicPartition, Trigger, transactional_ids,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Where the suite runs: a broker, an input topic with two partitions, an output topic, and a group, that nobody else uses.
pub(super) trait Ground {
    /// The way of a new instance to it.
    fn cluster(&self, transaction_timeout: Duration) -> Box<dyn Cluster>;
    /// The group.
    fn group(&self) -> &str;
    /// The input topic.
    fn input(&self) -> &str;
    /// The output topic.
    fn output(&self) -> &str;
    /// Values that readers of committed records see, in order, once nothing holds them up any more.
    fn outputs(&self) -> Vec<String>;
    /// Lets time pass.
    fn wait(&self, time: Duration);
}

type Rule = fn(&dyn Ground);

/// Every rule, by name.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("nothing is visible before the commit, everything with it", all_or_nothing),
    ("every position carries the metadata, idle ones too; the next commit replaces them", positions),
    ("what is given up stays invisible, and the next transaction goes on", given_up),
    ("an instance that was replaced commits nothing, and is told", replaced),
    ("what an instance that was replaced left open is aborted, and holds nobody up", left_open),
    ("an instance that was replaced gets no producer, and does not disturb", does_not_come_back),
    ("ids of former attempts are fenced before anything is read", former_ids),
    ("ids can be fenced later", later_ids),
    ("the first transaction uses the first id", first_id),
    ("the broker gives up a transaction that is open for too long", too_long),
    ("many transactions in turn, each visible once and in order", in_turn),
];

/// Long enough for everything that is not to be given up.
const LONG: Duration = Duration::from_secs(60);

/// Fills the output topic with transactions, every third one given up: between the records are offsets that hold none.
pub(super) fn fill_with_gaps(ground: &dyn Ground) {
    let mut one = Instance::start(ground, 2);
    for number in 1..=20 {
        let flushed = one.flushed(ground, &["first", "second"]);
        if number % 3 > 0 {
            assert_eq!(flushed.commit(permit(ground, number, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
        }
    }
}

struct Instance {
    cluster: Box<dyn Cluster>,
    transactions: Box<dyn Transactions>,
}

impl Instance {
    fn start(ground: &dyn Ground, producers: usize) -> Self {
        Self::with(ground, producers, &[], LONG)
    }

    fn with(ground: &dyn Ground, producers: usize, former: &[String], timeout: Duration) -> Self {
        let cluster = ground.cluster(timeout);
        let fence: BTreeSet<String> = former.iter().cloned().collect();
        let ids = transactional_ids(ground.group(), producers);
        let witness = TopicPartition::new(ground.input(), 0);
        let transactions = cluster.transactions(&fence, &ids, &witness, &Stop::new()).unwrap();
        Self { cluster, transactions }
    }

    fn open(&mut self, ground: &dyn Ground, values: &[&str]) -> Result<Box<dyn OpenTransaction>, Failure> {
        let mut open = self.transactions.begin()?;
        for value in values {
            open.send(&Outgoing { topic: ground.output(), key: Some(b"k"), value: Some(value.as_bytes()), headers: &[] })?;
        }
        Ok(open)
    }

    fn flushed(&mut self, ground: &dyn Ground, values: &[&str]) -> Box<dyn FlushedTransaction> {
        self.open(ground, values).unwrap().flush().unwrap()
    }

    fn committed(&self, ground: &dyn Ground) -> BTreeMap<i32, Option<(i64, String)>> {
        let partitions: Vec<_> = (0..2).map(|number| TopicPartition::new(ground.input(), number)).collect();
        let found = self.cluster.committed(&partitions, &Stop::new()).unwrap();
        let shown = |at: crate::protocol::recovery::CommittedOffset| (at.offset, at.metadata);
        found.into_iter().map(|(partition, at)| (partition.partition, at.map(shown))).collect()
    }
}

/// A permit for these positions of the two partitions, as the protocol's core gives it.
fn permit(ground: &dyn Ground, number: u64, positions: [i64; 2]) -> CommitPermit {
    let positions: Positions =
        (0..).zip(positions).map(|(partition, offset)| (TopicPartition::new(ground.input(), partition), offset)).collect();
    let base = ManifestRef { checkpoint: CheckpointId(number - 1), hash: ManifestHash([1; 32]) };
    let checkpoint = CheckpointId(number);
    let manifest = ManifestRef { checkpoint, hash: ManifestHash([7; 32]) };
    let job = "conformance".parse().unwrap();
    let mut core = Coordinator::new(Plan { job, tasks: 1, next: checkpoint, base: Some(base), positions: positions.clone() });
    core.handle(Event::TriggerDue { trigger: Trigger::Interval });
    core.handle(Event::TaskAcknowledged { checkpoint, task: 0, positions });
    core.handle(Event::OutputFlushed { checkpoint });
    core.handle(Event::StateUploaded { checkpoint });
    match core.handle(Event::ManifestDurable { manifest }).pop() {
        Some(Command::Commit(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

fn pointer(number: u64) -> String {
    format!("v1:conformance:{number}:0707070707070707")
}

fn fenced(outcome: CommitOutcome) {
    assert!(matches!(outcome, CommitOutcome::Fenced(_)), "{outcome:?}");
}

fn all_or_nothing(ground: &dyn Ground) {
    let mut one = Instance::start(ground, 2);
    let flushed = one.flushed(ground, &["a", "b"]);
    assert_eq!(ground.outputs(), Vec::<String>::new());
    assert_eq!(one.committed(ground), [(0, None), (1, None)].into());
    assert_eq!(flushed.commit(permit(ground, 1, [3, 4]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["a", "b"]);
    assert_eq!(one.committed(ground), [(0, Some((3, pointer(1)))), (1, Some((4, pointer(1))))].into());
}

fn positions(ground: &dyn Ground) {
    let mut one = Instance::start(ground, 2);
    for (number, positions) in [(1, [0, 0]), (2, [5, 0]), (3, [5, 0]), (4, [5, 9])] {
        // No output: only offsets.
        assert_eq!(
            one.flushed(ground, &[]).commit(permit(ground, number, positions), &Carrier::default()),
            CommitOutcome::Committed
        );
        let both = |index: usize| Some((positions[index], pointer(number)));
        assert_eq!(one.committed(ground), [(0, both(0)), (1, both(1))].into());
    }
    // Another instance reads the same.
    assert_eq!(Instance::start(ground, 1).committed(ground), [(0, Some((5, pointer(4)))), (1, Some((9, pointer(4))))].into());
}

fn given_up(ground: &dyn Ground) {
    let mut one = Instance::start(ground, 2);
    drop(one.open(ground, &["dropped while open"]).unwrap());
    drop(one.flushed(ground, &["dropped when flushed"]));
    assert_eq!(one.flushed(ground, &["kept"]).commit(permit(ground, 1, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["kept"]);
}

fn replaced(ground: &dyn Ground) {
    let mut old = Instance::start(ground, 2);
    let flushed = old.flushed(ground, &["old"]);
    let mut new = Instance::start(ground, 2);
    fenced(flushed.commit(permit(ground, 1, [9, 9]), &Carrier::default()));
    assert_eq!(new.committed(ground), [(0, None), (1, None)].into());
    assert_eq!(new.flushed(ground, &["new"]).commit(permit(ground, 1, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["new"]);
    assert_eq!(new.committed(ground), [(0, Some((1, pointer(1)))), (1, Some((1, pointer(1))))].into());
}

fn left_open(ground: &dyn Ground) {
    let mut old = Instance::start(ground, 2);
    let _open = old.open(ground, &["left open"]).unwrap();
    let _flushed = old.flushed(ground, &["left flushed"]);
    let mut new = Instance::start(ground, 2);
    // Neither the offsets nor the outputs wait for a time-out.
    assert_eq!(new.committed(ground), [(0, None), (1, None)].into());
    assert_eq!(new.flushed(ground, &["new"]).commit(permit(ground, 1, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["new"]);
}

fn does_not_come_back(ground: &dyn Ground) {
    let mut old = Instance::start(ground, 1);
    let used = old.open(ground, &[]).unwrap();
    let mut new = Instance::start(ground, 1);
    let transaction = new.flushed(ground, &["new"]);
    drop(used);
    let failure = old.open(ground, &["old"]).and_then(|open| open.flush().map(drop)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fenced, "{failure}");
    assert_eq!(transaction.commit(permit(ground, 1, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["new"]);
}

fn former_ids(ground: &dyn Ground) {
    let mut large = Instance::start(ground, 3);
    let transactions: Vec<_> = (0..3).map(|_| large.flushed(ground, &["old"])).collect();
    let mut small = Instance::with(ground, 1, &transactional_ids(ground.group(), 3), LONG);
    for transaction in transactions {
        fenced(transaction.commit(permit(ground, 1, [9, 9]), &Carrier::default()));
    }
    assert_eq!(small.committed(ground), [(0, None), (1, None)].into());
    assert_eq!(small.flushed(ground, &["new"]).commit(permit(ground, 1, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["new"]);
}

fn later_ids(ground: &dyn Ground) {
    let mut large = Instance::start(ground, 3);
    let _first = large.flushed(ground, &["first"]);
    let second = large.flushed(ground, &["second"]);
    let mut small = Instance::start(ground, 1);
    small.transactions.fence(&transactional_ids(ground.group(), 3).into_iter().skip(1).collect()).unwrap();
    fenced(second.commit(permit(ground, 1, [9, 9]), &Carrier::default()));
    // To fence nothing asks whether the job is still ours.
    small.transactions.fence(&BTreeSet::new()).unwrap();
    let lost = large.transactions.fence(&BTreeSet::new()).unwrap_err();
    assert_eq!(lost.kind, FailureKind::Fenced, "{lost}");
    assert_eq!(small.flushed(ground, &["new"]).commit(permit(ground, 1, [1, 1]), &Carrier::default()), CommitOutcome::Committed);
    assert_eq!(ground.outputs(), ["new"]);
}

fn first_id(ground: &dyn Ground) {
    let mut large = Instance::start(ground, 3);
    let first = large.flushed(ground, &["old"]);
    // It knows of one id only, and of no manifest.
    let _small = Instance::start(ground, 1);
    fenced(first.commit(permit(ground, 1, [9, 9]), &Carrier::default()));
}

fn too_long(ground: &dyn Ground) {
    let mut one = Instance::with(ground, 2, &[], Duration::from_secs(3));
    let flushed = one.flushed(ground, &["late"]);
    // The broker looks for such transactions every ten seconds.
    ground.wait(Duration::from_secs(16));
    let outcome = flushed.commit(permit(ground, 1, [9, 9]), &Carrier::default());
    assert!(matches!(outcome, CommitOutcome::Unknown(_)), "the job is ours still: {outcome:?}");
    let mut again = Instance::start(ground, 2);
    assert_eq!(again.committed(ground), [(0, None), (1, None)].into());
    assert_eq!(
        again.flushed(ground, &["again"]).commit(permit(ground, 1, [1, 1]), &Carrier::default()),
        CommitOutcome::Committed
    );
    assert_eq!(ground.outputs(), ["again"]);
}

fn in_turn(ground: &dyn Ground) {
    let mut one = Instance::start(ground, 2);
    let mut wanted = Vec::new();
    for number in 1..=6_u64 {
        let values = [format!("{number}a"), format!("{number}b")];
        let flushed = one.flushed(ground, &values.each_ref().map(String::as_str));
        assert_eq!(flushed.commit(permit(ground, number, [number as i64, 0]), &Carrier::default()), CommitOutcome::Committed);
        wanted.extend(values);
    }
    assert_eq!(ground.outputs(), wanted);
    assert_eq!(one.committed(ground).get(&0), Some(&Some((6, pointer(6)))));
}
