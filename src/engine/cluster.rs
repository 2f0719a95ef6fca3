//! What the engine needs of Kafka, and nothing more. Kafka itself is one implementation; tests and the simulation are others.

use super::{sink::Transactions, source::SplitReader, stop::Stop};
use crate::protocol::{Failure, HeldBy, Positions, TopicPartition, recovery::CommittedOffset};
use std::collections::{BTreeMap, BTreeSet};

/// A log with consumer groups and transactions. Every call blocks for a bounded time, retries what passes by itself, and ends
/// early when `stop` is given.
pub trait Cluster: Send + Sync {
    /// Numbers of the partitions of `topic`; refuses a topic that is not there, naming the command that creates it.
    fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Failure>;

    /// Per partition, the first offset that the log still holds and the one behind its last record.
    fn log_bounds(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, (i64, i64)>, Failure>;

    /// Who holds what the job has committed, in the words of messages: `group`, unless told otherwise.
    fn held_by<'a>(&'a self, group: &'a str) -> HeldBy<'a> {
        HeldBy::Group(group)
    }

    /// What the job's group has committed, none of it from a transaction that may still be aborted.
    fn committed(
        &self,
        partitions: &[TopicPartition],
        stop: &Stop,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure>;

    /// Where partitions without a committed offset begin. `discovered`: they appeared after the job's start, so all of their
    /// records did too.
    fn start_positions(&self, partitions: &[TopicPartition], discovered: bool) -> Result<Positions, Failure>;

    /// Reads from `positions`.
    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure>;

    /// Whether the job is still that of this process, which has made an attempt before.
    ///
    /// # Errors
    /// Fenced if another instance has taken it since; transient or attempt if that could not be found out.
    fn still_ours(&self, stop: &Stop) -> Result<(), Failure>;

    /// Takes the job over. Fences `fence` and `ids`: whoever used them cannot commit any more, and what they left open is aborted. Gives out
    /// transactions on `ids` then, the first one on the first id: every pool of every size has it, so that a successor that
    /// knows no manifest of this attempt fences it all the same. `witness` is any partition that exists: ownership is proven with an
    /// offset of it that is never committed.
    fn transactions(
        &self,
        fence: &BTreeSet<String>,
        ids: &[String],
        witness: &TopicPartition,
        stop: &Stop,
    ) -> Result<Box<dyn Transactions>, Failure>;
}
