//! What Kafka says is committed: the offsets of a group, each with the metadata that names its checkpoint.
//!
//! ```text
//!   transaction N: outputs + offsets + "v1:job:N:hash"     one step, on the brokers
//!                                │
//!   OffsetFetch(require stable) ─┴─► all of N, or all of what was before
//! ```
//!
//! Why the answer is never half of a transaction: the coordinator of the group holds back, from a reader that requires stable
//! offsets, every partition over which a transaction is still open (KIP-447). librdkafka asks for that only as `read_committed`, and
//! **leaves it out silently** when the coordinator does not know OffsetFetch version 7 (Kafka 2.5). So the very connection that
//! answered is checked: the client logs which versions each broker offers (`debug=feature`), and an answer counts only if the
//! coordinator's connection offers 7 or more.

use super::{
    Connection, Isolation,
    context::Listener,
    failure, native,
    waiting::{SLICE, Wait},
};
use crate::protocol::{Failure, FailureKind, TopicPartition, recovery::CommittedOffset};
use rdkafka::{
    TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode as Code,
};
use std::{collections::BTreeMap, sync::atomic::AtomicBool, time::Duration};

/// First version of OffsetFetch that knows "require stable": Kafka 2.5.
const REQUIRE_STABLE: i16 = 7;

/// Longest wait for one answer, so that a raised cancel flag is seen.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the committed offsets of one group. The first question costs 50 to 100 ms (the coordinator is looked for), later ones
/// less than 1 ms: open it beside other work.
pub struct CommittedOffsets {
    group: String,
    consumer: BaseConsumer<Listener>,
    listener: Listener,
    bootstrap_servers: String,
}

impl CommittedOffsets {
    /// A reader for `group`; it joins nothing and commits nothing.
    ///
    /// # Errors
    ///
    /// Fatal if the properties are wrong.
    pub fn open(connection: &Connection, group: &str) -> Result<Self, Failure> {
        let listener = Listener::new("offsets");
        let mut config = connection.consumer_config(group, Isolation::ReadCommitted);
        let debug = connection.properties.get("debug").map_or_else(String::new, |more| format!(",{more}"));
        config.set("debug", format!("feature{debug}")).set_log_level(RDKafkaLogLevel::Debug);
        let consumer = config
            .create_with_context(listener.clone())
            .map_err(|error| failure::failure(format_args!("consumer of group {group}"), &error))?;
        Ok(Self { group: group.to_owned(), consumer, listener, bootstrap_servers: connection.bootstrap_servers.clone() })
    }

    /// What is committed for each of `partitions`: nothing, or an offset with its metadata. Waits while a transaction over one of
    /// them is open.
    ///
    /// # Errors
    ///
    /// Transient if there is no answer within `patience`; fatal if the broker is older than 2.5, or without the right to read the
    /// group; attempt if `cancel` is raised.
    pub fn read(
        &self,
        partitions: &[TopicPartition],
        patience: Duration,
        cancel: &AtomicBool,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure> {
        let doing = || format!("committed offsets of group {}", self.group);
        let wait = Wait::new(patience, cancel);
        let answer = loop {
            let mut asked = TopicPartitionList::with_capacity(partitions.len());
            for partition in partitions {
                asked.add_partition(&partition.topic, partition.partition);
            }
            match self.consumer.committed_offsets(asked, wait.slice(PATIENCE)) {
                Ok(answer) => match native::elements(&answer).iter().find_map(|element| element.error) {
                    Some(code) if failure::kind(code) == FailureKind::Transient && !wait.is_over() => {}
                    _ => break answer,
                },
                Err(error) => {
                    let failure = failure::failure(doing(), &error);
                    if failure.kind != FailureKind::Transient {
                        return Err(failure);
                    }
                    if wait.is_over() {
                        return Err(self.no_answer(failure, patience));
                    }
                }
            }
            if wait.cancelled() {
                return Err(failure::cancelled(doing()));
            }
        };
        self.require_stable_answers(SLICE)?;
        let mut committed = BTreeMap::new();
        for element in native::elements(&answer) {
            let partition = TopicPartition::new(element.topic, element.partition);
            if let Some(code) = element.error {
                return Err(failure::of_code(format_args!("{} for partition {partition}", doing()), code));
            }
            // What is not UTF-8 is no pointer of ours; with replacement characters it can be shown.
            let metadata = String::from_utf8_lossy(&element.metadata).into_owned();
            committed.insert(partition, (element.offset >= 0).then_some(CommittedOffset { offset: element.offset, metadata }));
        }
        match partitions.iter().find(|partition| !committed.contains_key(partition)) {
            None => Ok(committed),
            Some(partition) => Err(Failure::attempt(format!("{}: no answer for partition {partition}", doing()))),
        }
    }

    fn no_answer(&self, failure: Failure, patience: Duration) -> Failure {
        let reason = self.listener.0.last_error().filter(|(code, _)| *code != Code::NoError);
        let reason = reason.map_or_else(
            || "a transaction over these offsets is open, or their coordinator is away".to_owned(),
            |(_, reason)| reason,
        );
        Failure::new(failure.kind, format!("{failure}; no answer from {} within {patience:?} ({reason})", self.bootstrap_servers))
    }

    /// The log lines of a connection were queued before its first answer, so they are there already; serving them takes a few polls.
    fn require_stable_answers(&self, patience: Duration) -> Result<(), Failure> {
        let cancel = AtomicBool::new(false);
        let wait = Wait::new(patience, &cancel);
        loop {
            let versions = offset_fetch_versions(&self.listener.0.broker_lines());
            if let Some((broker, newest)) = versions.iter().find(|(_, newest)| **newest < REQUIRE_STABLE) {
                return Err(Failure::fatal(format!(
                    "broker {broker} knows OffsetFetch up to version {newest}; exactly-once needs version {REQUIRE_STABLE}, that is Kafka 2.5 \
                     or newer: an older broker shows offsets of transactions that may still be aborted"
                )));
            }
            if versions.keys().any(|broker| broker.starts_with("GroupCoordinator")) {
                return Ok(());
            }
            if wait.is_over() {
                return Err(Failure::attempt(format!(
                    "committed offsets of group {}: the coordinator has not said which versions it knows",
                    self.group
                )));
            }
            drop(self.consumer.poll(Duration::from_millis(1)));
        }
    }
}

/// Per broker, the newest version of OffsetFetch that it offered on its last connection.
fn offset_fetch_versions(lines: &[String]) -> BTreeMap<String, i16> {
    let parsed = lines.iter().filter_map(|line| {
        // "[thrd:GroupCoordinator]: GroupCoordinator/1:   ApiKey OffsetFetch (9) Versions 1..9"
        let (before, after) = line.split_once("ApiKey OffsetFetch ")?;
        let newest = after.rsplit_once("..")?.1.trim().parse().ok()?;
        let broker = before.rsplit("]: ").next()?.trim().trim_end_matches(':');
        Some((broker.to_owned(), newest))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lines_of_each_connection() {
        let lines = [
            "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap:   ApiKey OffsetFetch (9) Versions 1..9".to_owned(),
            "[thrd:GroupCoordinator]: GroupCoordinator/1:   ApiKey OffsetFetch (9) Versions 0..5".to_owned(),
            "[thrd:GroupCoordinator]: GroupCoordinator/1: ApiKey OffsetFetch, without versions".to_owned(),
        ];
        let wanted = [("GroupCoordinator/1".to_owned(), 5), ("localhost:9092/bootstrap".to_owned(), 9)];
        assert_eq!(offset_fetch_versions(&lines), wanted.into());
    }
}
