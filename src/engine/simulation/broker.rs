//! A broker's rules of transactions, without network and without threads. Checked against the real one in `conformance`.
//!
//! - Every transactional id has an epoch. Initialising raises it: requests with an older one are refused (fenced). What was
//!   open is aborted first, and until that is finished the answer is "concurrent transactions".
//! - A transaction is open from its first record or offsets; the broker aborts one that is open for too long, and raises the epoch.
//! - EndTxn ends whatever is open of its id and epoch, *whichever transaction it was meant for*: before KIP-890's second version,
//!   which librdkafka does not speak, nothing else tells one from the next. The same one again gets the same answer.
//! - Outputs and offsets become visible together. Until the markers are written, the id answers "concurrent transactions", and
//!   whoever asks for stable offsets waits.
//! - Offsets that have been sent, but not committed, hold up everybody who asks for stable offsets of these partitions.

use crate::protocol::{Positions, TopicPartition, recovery::CommittedOffset};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody has initialised the id since, or the broker gave the transaction up.
    Fenced,
    /// The id's last transaction is being finished: ask again.
    Concurrent,
    /// A transaction that is not finished may change these offsets: ask again.
    Unstable,
    /// There is no transaction that this could belong to.
    InvalidState,
}

/// A record of an input topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: String,
}

/// A record that was written in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) topic: String,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    transaction: u64,
    visible: bool,
}

/// A commit that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) id: String,
    pub(super) offsets: BTreeMap<TopicPartition, CommittedOffset>,
}

#[derive(Debug)]
struct Open {
    /// Number over all transactions.
    number: u64,
    began: Duration,
    offsets: BTreeMap<TopicPartition, CommittedOffset>,
}

#[derive(Debug)]
enum Phase {
    Empty,
    Open(Open),
    Ended { committed: bool },
}

#[derive(Debug)]
struct Id {
    epoch: i64,
    timeout: Duration,
    /// Records of this epoch that have arrived: those that arrive again are dropped.
    records: u64,
    phase: Phase,
    /// The markers of the last transaction are written by then.
    settled: Duration,
    /// Partitions whose offsets it holds up until then.
    unsettled: BTreeSet<TopicPartition>,
}

/// Topics, transactional ids and the offsets of one group.
pub(super) struct Broker {
    random: ChaCha8Rng,
    pub(super) inputs: BTreeMap<String, Vec<Vec<Record>>>,
    pub(super) log: Vec<Written>,
    ids: BTreeMap<String, Id>,
    pub(super) offsets: BTreeMap<TopicPartition, CommittedOffset>,
    /// In the order in which they took effect.
    pub(super) commits: Vec<Committed>,
    transactions: u64,
    /// Transactions that were open for too long.
    pub(super) given_up: u64,
    /// Longest time until the markers of a transaction are written.
    pub(super) markers: Duration,
}

impl Broker {
    /// A broker with no topics.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            inputs: BTreeMap::new(),
            log: Vec::new(),
            ids: BTreeMap::new(),
            offsets: BTreeMap::new(),
            commits: Vec::new(),
            transactions: 0,
            given_up: 0,
            markers: Duration::from_millis(20),
        }
    }

    /// InitProducerId: the id's next epoch.
    pub(super) fn init(&mut self, id: &str, timeout: Duration, now: Duration) -> Result<i64, Refusal> {
        self.give_up(now);
        let fresh =
            Id { epoch: -1, timeout, records: 0, phase: Phase::Empty, settled: Duration::ZERO, unsettled: BTreeSet::new() };
        let found = self.ids.entry(id.to_owned()).or_insert(fresh);
        if found.settled > now {
            return Err(Refusal::Concurrent);
        }
        found.epoch += 1;
        if matches!(found.phase, Phase::Open(_)) {
            self.end_open(id, false, now);
            return Err(Refusal::Concurrent);
        }
        (found.timeout, found.records, found.phase) = (timeout, 0, Phase::Empty);
        Ok(found.epoch)
    }

    /// Produce: the `number`-th record of this epoch, from 0.
    pub(super) fn produce(
        &mut self,
        (id, epoch): (&str, i64),
        number: u64,
        (topic, key, value): (&str, &[u8], &[u8]),
        now: Duration,
    ) -> Result<(), Refusal> {
        let found = self.held(id, epoch, now)?;
        if number < found.records {
            return Ok(());
        }
        if number > found.records {
            return Err(Refusal::InvalidState);
        }
        found.records += 1;
        let transaction = self.open(id, now)?.number;
        let (topic, key, value) = (topic.to_owned(), key.to_vec(), value.to_vec());
        self.log.push(Written { topic, key, value, transaction, visible: false });
        Ok(())
    }

    /// AddOffsetsToTxn and TxnOffsetCommit.
    pub(super) fn add_offsets(
        &mut self,
        (id, epoch): (&str, i64),
        offsets: &Positions,
        metadata: &str,
        now: Duration,
    ) -> Result<(), Refusal> {
        self.held(id, epoch, now)?;
        let with_metadata = |(partition, offset): (&TopicPartition, &i64)| {
            (partition.clone(), CommittedOffset { offset: *offset, metadata: metadata.to_owned() })
        };
        self.open(id, now)?.offsets.extend(offsets.iter().map(with_metadata));
        Ok(())
    }

    /// EndTxn.
    pub(super) fn end(&mut self, (id, epoch): (&str, i64), commit: bool, now: Duration) -> Result<(), Refusal> {
        match &self.held(id, epoch, now)?.phase {
            Phase::Open(_) => {
                self.end_open(id, commit, now);
                Ok(())
            }
            Phase::Ended { committed } if *committed == commit => Ok(()),
            Phase::Ended { .. } | Phase::Empty => Err(Refusal::InvalidState),
        }
    }

    /// OffsetFetch with require-stable.
    pub(super) fn committed(
        &mut self,
        partitions: &[TopicPartition],
        now: Duration,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Refusal> {
        self.give_up(now);
        let unstable = |partition: &TopicPartition| {
            self.ids.values().any(|id| {
                id.settled > now && id.unsettled.contains(partition)
                    || matches!(&id.phase, Phase::Open(open) if open.offsets.contains_key(partition))
            })
        };
        if partitions.iter().any(unstable) {
            return Err(Refusal::Unstable);
        }
        Ok(partitions.iter().map(|partition| (partition.clone(), self.offsets.get(partition).cloned())).collect())
    }

    /// What readers of committed records see, in the order of the log.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Written> {
        self.log.iter().filter(|written| written.visible)
    }

    /// The id, if this epoch is its last one and nothing of it is being finished.
    fn held(&mut self, id: &str, epoch: i64, now: Duration) -> Result<&mut Id, Refusal> {
        self.give_up(now);
        let found = self.ids.get_mut(id).ok_or(Refusal::InvalidState)?;
        match epoch {
            _ if epoch != found.epoch => Err(Refusal::Fenced),
            _ if found.settled > now => Err(Refusal::Concurrent),
            _ => Ok(found),
        }
    }

    /// Its open transaction, begun now if there is none.
    fn open(&mut self, id: &str, now: Duration) -> Result<&mut Open, Refusal> {
        let found = self.ids.get_mut(id).ok_or(Refusal::InvalidState)?;
        if !matches!(found.phase, Phase::Open(_)) {
            self.transactions += 1;
            found.phase = Phase::Open(Open { number: self.transactions, began: now, offsets: BTreeMap::new() });
        }
        match &mut found.phase {
            Phase::Open(open) => Ok(open),
            Phase::Empty | Phase::Ended { .. } => Err(Refusal::InvalidState),
        }
    }

    fn end_open(&mut self, id: &str, commit: bool, now: Duration) {
        let Some(found) = self.ids.get_mut(id) else { return };
        let Phase::Open(open) = mem::replace(&mut found.phase, Phase::Ended { committed: commit }) else { return };
        let markers = u64::try_from(self.markers.as_micros()).unwrap_or(u64::MAX);
        found.settled = now + Duration::from_micros(self.random.random_range(0..=markers));
        found.unsettled = open.offsets.keys().cloned().collect();
        if commit {
            self.log.iter_mut().filter(|written| written.transaction == open.number).for_each(|written| written.visible = true);
            self.offsets.extend(open.offsets.clone());
            self.commits.push(Committed { id: id.to_owned(), offsets: open.offsets });
        }
    }

    /// Aborts what has been open for too long.
    fn give_up(&mut self, now: Duration) {
        let too_long = |id: &Id| matches!(&id.phase, Phase::Open(open) if now >= open.began + id.timeout);
        let late: Vec<String> = self.ids.iter().filter(|(_, id)| too_long(id)).map(|(name, _)| name.clone()).collect();
        for id in late {
            if let Some(found) = self.ids.get_mut(&id) {
                found.epoch += 1;
                self.given_up += 1;
            }
            self.end_open(&id, false, now);
        }
    }
}
