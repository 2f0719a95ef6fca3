//! One transaction on one producer, as a chain of types: what was not flushed cannot be committed.
//!
//! ```text
//!  Prepared ── begin ──► Open ── send* ── flush ──► Flushed ── commit(permit) ──► Committed: visible, all or nothing
//!  (from the pool)        │                            │                      ├─► Fenced: another instance owns the job
//!                         └─────── abort or drop ──────┴──────► aborted       └─► Unknown: only recovery can tell
//! ```
//!
//! - `flush` returns only when every record was acknowledged by the brokers; the first that was not is its error.
//! - `commit` takes the permit, so nothing is committed twice or without a durable manifest. It hands *every* position to
//!   librdkafka, after checking that all are real offsets: librdkafka drops invalid ones silently and says OK when none is left.
//! - Anything but OK is [`Outcome::Unknown`], abortable errors too: the request may have been carried out and its answer lost.
//! - A producer is used for one transaction, then it goes back to be initialised anew. So there is one transaction per
//!   (transactional id, epoch), and an EndTxn request that was delayed on its way cannot end a later transaction.

use super::{failure, group::ConsumerGroup, ownership::Ownership, plain_producer::Feed, pool::Lease, waiting::Wait};
use crate::failpoint;
use crate::protocol::{Carrier, CommitPermit, Failure, FailureKind, Positions};
use rdkafka::{Offset, TopicPartitionList, error::KafkaError, producer::Producer as _};
use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// Kafka's own limit of an offset's metadata (`offset.metadata.max.bytes`), in bytes.
const METADATA_MAX_BYTES: usize = 4096;

/// Name and value of a header; no value is not the same as an empty one.
pub type OutputHeader = (Cow<'static, str>, Option<Vec<u8>>);

/// A record to send.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Key; decides the partition. None: any partition.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: &'a [OutputHeader],
    /// Partition; none: by the key.
    pub partition: Option<i32>,
    /// Timestamp in milliseconds since 1970; none: now.
    pub timestamp_ms: Option<i64>,
}

/// What Kafka said to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Outputs, offsets and pointer are visible; offsets and commit together took so long.
    Committed(Duration),
    /// Another instance owns the job now: this one must not go on.
    Fenced(String),
    /// Anything else. It may have been committed or not.
    Unknown(String),
}

/// A freshly initialised producer. No request is sent before the first record, so it may wait for as long as it likes.
pub struct Prepared {
    pub(super) lease: Lease,
    pub(super) group: Arc<ConsumerGroup>,
    pub(super) ownership: Arc<Ownership>,
    pub(super) commit_timeout: Duration,
    pub(super) cancel: Arc<AtomicBool>,
}

impl Prepared {
    /// The transactional id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.lease.id()
    }

    /// Begins the transaction.
    ///
    /// # Errors
    ///
    /// Fenced if another instance owns the job; attempt otherwise.
    pub fn begin(mut self) -> Result<Open, Failure> {
        match self.lease.feed().producer().begin_transaction() {
            Ok(()) => {
                self.lease.opened();
                Ok(Open { inner: self })
            }
            Err(error) => Err(self.judge(failure::failure(format_args!("begin of a transaction of {}", self.id()), &error))),
        }
    }

    /// Puts the transactional id into a failure, and finds out who owns the job if it looks like fencing.
    fn judge(&self, failure: Failure) -> Failure {
        let failure = failure.context(format_args!("transaction {}", self.lease.id()));
        if failure.kind == FailureKind::Fenced { self.ownership.judge(failure) } else { failure }
    }
}

/// A transaction that takes records. Dropping it aborts it.
pub struct Open {
    inner: Prepared,
}

impl Open {
    /// Adds a record; waits while the producer's queue is full.
    ///
    /// # Errors
    ///
    /// Fatal for a record over the limit, naming topic, key, size, limit and setting, or for a topic that does not exist; fenced if
    /// another instance owns the job; the error of an earlier record that did not arrive; attempt if cancelled.
    pub fn send(&mut self, output: &Output<'_>) -> Result<(), Failure> {
        let cancel = Arc::clone(&self.inner.cancel);
        let sent = self.feed().send(output, &cancel);
        sent.map_err(|failure| self.inner.judge(failure))
    }

    /// Closes the transaction to new records and waits until every delivery is confirmed, for `patience` at most.
    ///
    /// # Errors
    ///
    /// As [`Open::send`]; transient if the patience is over. The transaction is aborted then.
    pub fn flush(mut self, patience: Duration) -> Result<Flushed, Failure> {
        let cancel = Arc::clone(&self.inner.cancel);
        let flushed = self.feed().flush(&Wait::new(patience, &cancel));
        match flushed {
            Ok(()) => Ok(Flushed { inner: self.inner }),
            Err(failure) => Err(self.inner.judge(failure)),
        }
    }

    /// Gives the transaction up. Its records stay invisible to `read_committed` readers.
    pub fn abort(self) {}

    /// Waits until what was sent has arrived; the transaction stays open.
    #[cfg(test)]
    pub(super) fn arrive(&mut self) {
        let cancel = AtomicBool::new(false);
        self.feed().flush(&Wait::new(Duration::from_secs(20), &cancel)).unwrap();
    }

    fn feed(&mut self) -> &mut Feed {
        self.inner.lease.feed_mut()
    }
}

/// A transaction whose records have all arrived, invisible still. Dropping it aborts it.
pub struct Flushed {
    inner: Prepared,
}

impl Flushed {
    /// Commits outputs, and every offset of the permit that `carrier` has Kafka hold, with the pointer to its manifest, in one step.
    #[must_use]
    pub fn commit(self, permit: CommitPermit, carrier: &Carrier) -> Outcome {
        self.commit_positions(&carrier.offsets(&permit), permit.metadata())
    }

    /// What [`Flushed::commit`] does once the permit is shown; apart, because tests of this room cannot make permits.
    pub(super) fn commit_positions(mut self, positions: &Positions, metadata: &str) -> Outcome {
        let started = Instant::now();
        let list = match offsets(positions, metadata) {
            Ok(list) => list,
            Err(failure) => return Outcome::Unknown(failure.message),
        };
        match self.try_commit(&list) {
            Ok(()) => {
                self.inner.lease.ended();
                Outcome::Committed(started.elapsed())
            }
            Err((doing, error)) => {
                let failure = failure::failure(format_args!("{doing} of {}", self.inner.id()), &error);
                let fatal = self.inner.lease.feed().producer().client().fatal_error();
                let fencing = failure.kind == FailureKind::Fenced || fatal.is_some_and(|(code, _)| failure::is_fencing(code));
                // Nothing may touch a transaction of which it is not known how it ended; the recovery's fencing does.
                self.inner.lease.abandon();
                if !fencing {
                    return Outcome::Unknown(failure.message);
                }
                let judged = self.inner.ownership.judge(Failure::fenced(failure.message));
                if judged.kind == FailureKind::Fenced {
                    Outcome::Fenced(judged.message)
                } else {
                    Outcome::Unknown(judged.message)
                }
            }
        }
    }

    fn try_commit(&self, offsets: &TopicPartitionList) -> Result<(), (&'static str, KafkaError)> {
        let producer = self.inner.lease.feed().producer();
        let timeout = self.inner.commit_timeout;
        if !failpoint::switched_off("offsets-in-transaction") {
            producer
                .send_offsets_to_transaction(offsets, self.inner.group.metadata(), timeout)
                .map_err(|error| ("sending the offsets", error))?;
        }
        failpoint::hit("during-commit").map_err(|_| ("fail point during-commit", KafkaError::Canceled))?;
        producer.commit_transaction(timeout).map_err(|error| ("commit", error))
    }

    /// Gives the transaction up. Its records stay invisible to `read_committed` readers.
    pub fn abort(self) {}
}

/// Every position with its metadata; none may be missing afterwards.
pub(super) fn offsets(positions: &Positions, metadata: &str) -> Result<TopicPartitionList, Failure> {
    if positions.is_empty() {
        return Err(Failure::attempt("a commit without offsets would not be a commit: no partition is owned"));
    }
    if metadata.len() > METADATA_MAX_BYTES {
        return Err(Failure::fatal(format!("offset metadata of {} bytes; Kafka takes {METADATA_MAX_BYTES}", metadata.len())));
    }
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, offset) in positions {
        if *offset < 0 {
            return Err(Failure::attempt(format!(
                "partition {partition}: {offset} is not an offset; librdkafka would leave it out"
            )));
        }
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(*offset)).map_err(|error| failure::failure(partition, &error))?;
        // Once per element: setting it again would leak.
        element.set_metadata(metadata);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kafka::native, protocol::TopicPartition};

    #[test]
    fn offsets_that_librdkafka_would_drop_silently_are_an_error() {
        for wrong in [-1, -2, -1000, -1001, i64::MIN] {
            let positions = [(TopicPartition::new("orders", 0), 5), (TopicPartition::new("orders", 1), wrong)].into();
            let failure = offsets(&positions, "v1:orders:1:0123456789abcdef").err().unwrap();
            assert!(failure.message.contains("orders-1") && failure.message.contains(&wrong.to_string()), "{failure}");
        }
        assert!(offsets(&Positions::new(), "v1").is_err());
        assert!(offsets(&[(TopicPartition::new("orders", 0), 5)].into(), &"x".repeat(4097)).is_err());
    }

    #[test]
    fn every_position_carries_the_metadata() {
        let positions: Positions = (0..9).map(|number| (TopicPartition::new("orders", number), i64::from(number) * 7)).collect();
        let list = offsets(&positions, "v1:orders:1:0123456789abcdef").unwrap();
        let read: Positions = native::elements(&list)
            .into_iter()
            .inspect(|element| assert_eq!(element.metadata, b"v1:orders:1:0123456789abcdef"))
            .map(|element| (TopicPartition::new(element.topic, element.partition), element.offset))
            .collect();
        assert_eq!(read, positions);
    }
}
