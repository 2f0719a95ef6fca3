//! Transactions of a tool that has a transactional id for itself: no offsets, no pool, and at most one process that gets through.
//!
//! ```text
//! take: init_transactions ──► whoever had the id is fenced, and what it left open is aborted
//!       │
//!       ├─ here the tool reads what was committed before: nobody can add to it any more, unless he takes the id again
//!       │
//!       ├─ send* ── commit ──► visible, all or nothing
//!       └─ drop ─────────────► aborted
//! ```
//!
//! Each transaction takes the id anew, for the reason that [`super::pool`] gives: an EndTxn request that was delayed on its way could
//! otherwise end the next transaction of the same epoch, half filled. The price is that an instance that was replaced can take the id back.
//! So an id like this is safe only for who reads, behind every `take`, what all the others have committed, and goes on from that.

use super::{Connection, failure, fencing::fence, plain_producer::Feed, transaction::Output, waiting::Wait};
use crate::failpoint;
use crate::protocol::Failure;
use rdkafka::producer::{Producer as _, PurgeConfig};
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// For the abort of a transaction that was given up; if the broker does not answer, the next one of the id aborts it.
const ABORT: Duration = Duration::from_secs(5);

/// One transaction, open from the beginning. Dropping it aborts it.
pub struct ExclusiveTransaction {
    feed: Feed,
    id: String,
    cancel: Arc<AtomicBool>,
    open: bool,
}

impl ExclusiveTransaction {
    /// Takes `id` from whoever has it, and begins a transaction. The broker aborts it if it is open for longer than `timeout`; each answer is
    /// waited for no longer than `patience`.
    ///
    /// # Errors
    ///
    /// Fenced if somebody else takes the id at the same time; transient if its coordinator is away for `patience`; fatal without the right to
    /// use it; attempt if `cancel` is raised.
    pub fn take(
        connection: &Connection,
        id: &str,
        timeout: Duration,
        patience: Duration,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let producer = fence(connection, id, timeout, &Wait::new(patience, cancel))?;
        let begun = producer.begin_transaction();
        begun.map_err(|error| failure::failure(format_args!("begin of a transaction of {id}"), &error))?;
        let feed = Feed::new(producer, connection.message_max_bytes());
        Ok(Self { feed, id: id.to_owned(), cancel: Arc::clone(cancel), open: true })
    }

    /// Adds a record; waits while the producer's queue is full.
    ///
    /// # Errors
    ///
    /// Fatal for a record over the limit or a topic that does not exist; fenced if somebody else has taken the id; the error of an earlier
    /// record that did not arrive.
    pub fn send(&mut self, output: &Output<'_>) -> Result<(), Failure> {
        let sent = self.feed.send(output, &self.cancel);
        sent.map_err(|failure| failure.context(format_args!("transaction {}", self.id)))
    }

    /// Waits until what was sent has arrived; the transaction stays open.
    #[cfg(test)]
    pub(super) fn feed_flush(&mut self, patience: Duration) {
        self.feed.flush(&Wait::new(patience, &self.cancel)).unwrap();
    }

    /// Waits until every record has arrived, and commits.
    ///
    /// # Errors
    ///
    /// As [`ExclusiveTransaction::send`], then nothing is committed. If the commit itself gets no answer its outcome is not known.
    pub fn commit(mut self, patience: Duration) -> Result<(), Failure> {
        let flushed = self.feed.flush(&Wait::new(patience, &self.cancel));
        flushed.map_err(|failure| failure.context(format_args!("transaction {}", self.id)))?;
        failpoint::hit("before-replay-commit")?;
        // From here on it is not ours to abort: the request may have been carried out and its answer lost.
        self.open = false;
        let committed = self.feed.producer().commit_transaction(patience);
        committed.map_err(|error| {
            let fatal = self.feed.producer().client().fatal_error();
            let failure = failure::failure(format_args!("commit of transaction {}", self.id), &error);
            if fatal.is_some_and(|(code, _)| failure::is_fencing(code)) { Failure::fenced(failure.message) } else { failure }
        })?;
        failpoint::hit("after-replay-commit")
    }
}

impl Drop for ExclusiveTransaction {
    fn drop(&mut self) {
        let producer = self.feed.producer();
        if !self.open || producer.client().fatal_error().is_some() {
            return;
        }
        // Records that wait would hold the abort up until their reports are polled.
        producer.purge(PurgeConfig::default().queue().inflight());
        self.feed.serve();
        if let Err(error) = producer.abort_transaction(ABORT) {
            tracing::debug!(error = %failure::explain(&error), id = self.id, "abort; the next transaction of the id does it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_broker_nothing_is_taken_and_the_wait_has_an_end() {
        let connection = Connection { bootstrap_servers: "127.0.0.1:1".into(), properties: [].into() };
        let cancel = Arc::new(AtomicBool::new(false));
        let (timeout, patience) = (Duration::from_secs(10), Duration::from_millis(300));
        let failure = ExclusiveTransaction::take(&connection, "nobody", timeout, patience, &cancel).err().unwrap();
        assert_eq!(failure.kind, crate::protocol::FailureKind::Transient, "{failure}");
        assert!(failure.message.contains("nobody"), "{failure}");
    }
}
