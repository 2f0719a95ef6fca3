//! Reads partitions of one topic from given offsets, and knows where each of them ends.
//!
//! ```text
//!   offsets   0  1  2  3 │ C  4' 5' │ A   6  7 │ C │ 9 (open transaction)
//!   given     0  1  2  3             6  7
//!   position                 next offset = 8 + control record ─► 9, reported as the end
//! ```
//!
//! C and A are control records (commit, abort), 4' and 5' are aborted: they take offsets but are never handed out. So "the last
//! record was 7 and the end is 9" never becomes true by counting records. The end is taken from the broker instead: the fetch
//! that reaches the last stable offset reports it together with the position behind everything that it skipped.
//!
//! Partitions are assigned, not subscribed: no member of the group exists, nothing rebalances, nothing is committed from here.

use super::{Connection, Isolation, cluster::ANSWER, context::Listener, failure, native, positions::outside};
use crate::protocol::{Failure, FailureKind, Positions, TopicPartition};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::BorrowedMessage,
};
use smallvec::SmallVec;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How a reader behaves.
#[derive(Debug, Clone)]
pub struct ReaderSettings {
    /// Which records are visible.
    pub isolation: Isolation,
    /// So long may all brokers be away before reading fails.
    pub broker_patience: Duration,
}

impl Default for ReaderSettings {
    fn default() -> Self {
        Self { isolation: Isolation::ReadCommitted, broker_patience: Duration::from_secs(30) }
    }
}

/// A record as the log holds it. Borrowed from the reader's buffer.
#[derive(Clone, Copy)]
pub struct Polled<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The producer's or the broker's timestamp in milliseconds since 1970, if the record has one.
    pub timestamp_ms: Option<i64>,
    /// Key, if the record has one.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    message: &'a BorrowedMessage<'a>,
}

impl<'a> Polled<'a> {
    /// Headers in order; parsed when asked for.
    #[must_use]
    pub fn headers(&self) -> Vec<(Cow<'a, str>, Option<&'a [u8]>)> {
        native::headers(self.message)
    }

    fn new(topic: &'a str, message: &'a BorrowedMessage<'a>) -> Self {
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            message,
        }
    }
}

/// What one call of [`Reader::poll`] found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Number of records handed out.
    pub records: usize,
    /// Partitions that were read to their end, each with the position behind everything that was skipped there. A partition is
    /// reported once per end; when more comes later, it is reported again behind that.
    pub ends: SmallVec<[(i32, i64); 8]>,
}

/// Reads partitions of one topic.
pub struct Reader {
    consumer: BaseConsumer<Listener>,
    listener: Listener,
    topic: Arc<str>,
    /// Per partition, the offset at which reading began.
    begun: BTreeMap<i32, i64>,
    settings: ReaderSettings,
    bootstrap_servers: String,
    /// Since when all brokers seem to be away.
    down_since: Option<Instant>,
}

impl Reader {
    /// Begins to read at `positions`, which are all of one topic. Waits for no broker.
    ///
    /// # Errors
    ///
    /// Fatal if the properties are wrong, or if the positions name no topic or several.
    pub fn open(connection: &Connection, group: &str, settings: ReaderSettings, positions: &Positions) -> Result<Self, Failure> {
        let topic = positions.keys().next().map(|partition| Arc::clone(&partition.topic));
        let topic = topic.ok_or_else(|| Failure::fatal("a reader needs at least one partition"))?;
        let listener = Listener::new(format!("reader of {topic}"));
        let consumer = connection.consumer_client(group, settings.isolation, listener.clone())?;
        let bootstrap_servers = connection.bootstrap_servers.clone();
        let mut reader =
            Self { consumer, listener, topic, begun: BTreeMap::new(), settings, bootstrap_servers, down_since: None };
        reader.add(positions)?;
        Ok(reader)
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Reads these partitions as well; those that are read already stay where they are.
    ///
    /// # Errors
    ///
    /// Fatal if a position is of another topic or negative.
    pub fn add(&mut self, positions: &Positions) -> Result<(), Failure> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            if partition.topic != self.topic {
                return Err(Failure::fatal(format!("the reader of topic {} cannot read partition {partition}", self.topic)));
            }
            if self.begun.contains_key(&partition.partition) {
                continue;
            }
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
                .map_err(|error| failure::failure(format_args!("partition {partition} at offset {offset}"), &error))?;
            self.begun.insert(partition.partition, *offset);
        }
        if list.count() == 0 {
            return Ok(());
        }
        self.consumer
            .incremental_assign(&list)
            .map_err(|error| failure::failure(format_args!("reading topic {}", self.topic), &error))
    }

    /// Reads this partition no longer.
    ///
    /// # Errors
    ///
    /// Attempt if librdkafka refuses.
    pub(super) fn remove(&mut self, partition: i32) -> Result<(), Failure> {
        if self.begun.remove(&partition).is_none() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        self.consumer
            .incremental_unassign(&list)
            .map_err(|error| failure::failure(format_args!("leaving partition {}-{partition}", self.topic), &error))
    }

    /// Gives up to `max` records to `each`; waits for the first one for at most `patience`, and returns as soon as nothing more
    /// is there.
    ///
    /// # Errors
    ///
    /// - refused: an offset is not in the log any more; names partition, offset and what the log holds,
    /// - transient: no broker has answered for `broker_patience`, or the topic is gone,
    /// - fatal: without the right to read.
    pub fn poll(&mut self, patience: Duration, max: usize, each: &mut dyn FnMut(Polled<'_>)) -> Result<Poll, Failure> {
        let mut found = Poll::default();
        let mut wait = patience;
        while found.records < max {
            let Some(polled) = self.consumer.poll(wait) else { break };
            wait = Duration::ZERO;
            match polled {
                Ok(message) => {
                    found.records += 1;
                    each(Polled::new(&self.topic, &message));
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.down_since = None;
                    if let Some(position) = self.position(partition) {
                        found.ends.push((partition, position));
                    }
                }
                Err(error) => self.digest(&error)?,
            }
        }
        if found.records > 0 {
            self.down_since = None;
        } else if self.down_since.is_some_and(|since| since.elapsed() >= self.settings.broker_patience) {
            self.ask_for_life()?;
        }
        Ok(found)
    }

    /// Per partition, how many records (control records included) the log holds behind `positions`, as far as the last fetch
    /// told. No request is sent.
    #[must_use]
    pub fn lag(&self, positions: &Positions) -> Vec<(i32, i64)> {
        let lags = positions.iter().filter_map(|(partition, position)| {
            let (_, high) = native::known_bounds(self.consumer.client(), &self.topic, partition.partition)?;
            let read = self.position(partition.partition).unwrap_or(*position).max(*position);
            // All that is left may be control records behind the last record: then nothing lags.
            let behind = if read >= high { 0 } else { high - position };
            Some((partition.partition, behind.max(0)))
        });
        lags.collect()
    }

    /// The next offset of a partition that this reader reads.
    fn position(&self, partition: i32) -> Option<i64> {
        let begun = *self.begun.get(&partition)?;
        Some(native::position(self.consumer.client(), &self.topic, partition).unwrap_or(begun).max(begun))
    }

    fn digest(&mut self, error: &KafkaError) -> Result<(), Failure> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        match failure::kind(code) {
            FailureKind::Refused => Err(self.out_of_range(code)),
            FailureKind::Transient
                if matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) =>
            {
                Err(Failure::transient(format!("topic {} or a partition of it is gone: {code}", self.topic)))
            }
            // librdkafka goes on by itself; whether anybody is there is asked when the patience is over.
            FailureKind::Transient => {
                self.down_since.get_or_insert_with(Instant::now);
                Ok(())
            }
            _ => {
                let said = self.listener.0.last_error().map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
                Err(failure::failure(format_args!("reading topic {}{said}", self.topic), error))
            }
        }
    }

    /// librdkafka does not say through rdkafka which partition it is: the log's bounds do.
    fn out_of_range(&self, code: Code) -> Failure {
        let mut unknown = Vec::new();
        for number in self.begun.keys() {
            let partition = TopicPartition::new(Arc::clone(&self.topic), *number);
            let position = self.position(*number).unwrap_or_default();
            match self.consumer.fetch_watermarks(&self.topic, *number, ANSWER) {
                Ok((low, high)) if position < low || position > high => return outside(&partition, position, low, high),
                Ok((low, high)) => unknown.push(format!("{partition} at {position} of {low} to {high}")),
                Err(error) => unknown.push(format!("{partition} at {position} ({})", failure::explain(&error))),
            }
        }
        Failure::attempt(format!(
            "an offset of topic {} was out of range ({code}), but all are inside: {}",
            self.topic,
            unknown.join(", ")
        ))
    }

    /// All brokers seemed to be away for too long. They may be back without a record to tell so: ask.
    fn ask_for_life(&mut self) -> Result<(), Failure> {
        match self.consumer.fetch_metadata(Some(&self.topic), Duration::from_secs(1)) {
            Ok(_) => {
                self.down_since = None;
                Ok(())
            }
            Err(_) => {
                let reason = self.listener.0.last_error().map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
                Err(Failure::transient(format!(
                    "no broker answered at {} for {:?} while reading topic {}{reason}",
                    self.bootstrap_servers, self.settings.broker_patience, self.topic
                )))
            }
        }
    }
}
