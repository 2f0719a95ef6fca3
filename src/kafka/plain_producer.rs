//! A producer without transactions, for loads: idempotent, so that nothing is doubled or out of order, and fast.

use super::{
    Connection,
    context::{Deliveries, Undelivered, show_key},
    failure, native,
    transaction::Output,
    waiting::Wait,
};
use crate::protocol::Failure;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

/// A full queue is looked at again after so long.
pub(super) const BACKOFF: Duration = Duration::from_millis(1);

/// One wait for deliveries; failed ones are only counted when they are polled between two of them.
pub(super) const FLUSH_SLICE: Duration = Duration::from_millis(20);

/// The report of the record to blame comes so long after those of others, at most.
const CAUSE: Duration = Duration::from_secs(1);

/// Log lines and reports of failed records are served once in so many records.
const SERVE_EVERY: u32 = 1024;

/// Sends records without a transaction.
pub struct Producer {
    feed: Feed,
    cancel: Arc<AtomicBool>,
}

impl Producer {
    /// A producer for any topics. Waits for no broker. `cancel` ends every wait.
    ///
    /// # Errors
    ///
    /// Fatal if the properties are wrong.
    pub fn open(connection: &Connection, cancel: Arc<AtomicBool>) -> Result<Self, Failure> {
        let feed = Feed::new(connection.plain_client()?, connection.message_max_bytes());
        Ok(Self { feed, cancel })
    }

    /// Queues a record; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// Of this record (too large, topic unknown) or of an earlier one that did not arrive.
    pub fn send(&mut self, output: &Output<'_>) -> Result<(), Failure> {
        self.feed.send(output, &self.cancel)
    }

    /// Waits until every record has arrived, for `patience` at most.
    ///
    /// # Errors
    ///
    /// Of a record that did not arrive, named; transient if the patience is over.
    pub fn flush(&mut self, patience: Duration) -> Result<(), Failure> {
        self.feed.flush(&Wait::new(patience, &self.cancel))
    }
}

/// What transactional and plain producers share: back-pressure, and the certainty that every record arrived.
pub(super) struct Feed {
    producer: BaseProducer<Deliveries>,
    message_max_bytes: u64,
    until_served: u32,
}

impl Feed {
    pub(super) fn new(producer: BaseProducer<Deliveries>, message_max_bytes: u64) -> Self {
        Self { producer, message_max_bytes, until_served: SERVE_EVERY }
    }

    pub(super) fn producer(&self) -> &BaseProducer<Deliveries> {
        &self.producer
    }

    pub(super) fn send(&mut self, output: &Output<'_>, cancel: &AtomicBool) -> Result<(), Failure> {
        self.until_served -= 1;
        if self.until_served == 0 {
            self.until_served = SERVE_EVERY;
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        let mut record = as_record(output);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    // Back-pressure. (`poll` with a time-out would spin through its last millisecond.)
                    thread::sleep(BACKOFF);
                    self.serve();
                    self.check()?;
                    if cancel.load(std::sync::atomic::Ordering::Acquire) {
                        return Err(failure::cancelled("sending"));
                    }
                    record = back;
                }
                Err((error, _)) => return Err(self.refused(output, &error)),
            }
        }
    }

    /// Waits until nothing is outstanding. A record that failed counts as outstanding until its report has been polled, and its
    /// report is an error here: so `Ok` means that every record arrived.
    pub(super) fn flush(&mut self, wait: &Wait<'_>) -> Result<(), Failure> {
        loop {
            let empty = native::flush(self.producer.client(), wait.slice(FLUSH_SLICE));
            self.serve();
            self.check()?;
            if empty {
                return Ok(());
            }
            if wait.cancelled() {
                return Err(failure::cancelled("flush"));
            }
            if wait.is_over() {
                let reason =
                    self.producer.context().told.last_error().map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
                return Err(Failure::transient(format!(
                    "{} records were not acknowledged within {:?}{reason}",
                    self.producer.in_flight_count(),
                    wait.patience()
                )));
            }
        }
    }

    /// Serves events that are there, without waiting.
    pub(super) fn serve(&self) {
        (0..8).for_each(|_| self.producer.poll(Duration::ZERO));
    }

    /// A fatal error of the producer, or a record that did not arrive. A fenced producer fails its records one by one and would
    /// let a flush wait for its whole time-out: so the fatal error comes first.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.blame(self.undelivered(false))
    }

    fn blame(&self, undelivered: Option<Undelivered>) -> Result<(), Failure> {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(Failure::new(fatal_kind(code), format!("producer: {reason}")));
        }
        match undelivered {
            None => Ok(()),
            Some(undelivered) if undelivered.code == Code::MessageSizeTooLarge => Err(Failure::fatal(format!(
                "the broker refuses a {}: larger than the topic's max.message.bytes; raise that, or lower the largest output",
                undelivered.record
            ))),
            Some(undelivered) => Err(failure::of_code(format_args!("{} did not arrive", undelivered.record), undelivered.code)),
        }
    }

    /// The record that is to blame. Reports of others, which are purged because of it, may come first, and so may the refusal of the next
    /// record (`expected`): its own report is waited for then, for a moment.
    fn undelivered(&self, expected: bool) -> Option<Undelivered> {
        let since = Instant::now();
        loop {
            let undelivered = self.producer.context().undelivered();
            let told = undelivered.as_ref().map_or(!expected, |undelivered| !failure::is_consequence(undelivered.code));
            if told || since.elapsed() >= CAUSE || self.producer.client().fatal_error().is_some() {
                return undelivered;
            }
            thread::sleep(BACKOFF);
            self.serve();
        }
    }

    fn refused(&self, output: &Output<'_>, error: &KafkaError) -> Failure {
        let (topic, key) = (output.topic, show_key(output.key));
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) => {
                let size = output.key.map_or(0, <[u8]>::len) + output.value.map_or(0, <[u8]>::len);
                let limit = self.message_max_bytes;
                Failure::fatal(format!(
                    "record for topic {topic} with key {key}: {size} bytes and its headers are more than kafka.properties \
                     \"message.max.bytes\" = {limit}; raise it, and max.message.bytes of the topic"
                ))
            }
            Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => {
                Failure::fatal(format!("topic {topic} (partition {:?}) does not exist", output.partition))
            }
            code => {
                let why = self.blame(self.undelivered(code == Some(Code::State))).err();
                why.unwrap_or_else(|| failure::failure(format_args!("record for topic {topic} with key {key}"), error))
            }
        }
    }
}

/// A fatal error of a producer is either fencing, or the end of this attempt.
pub(super) fn fatal_kind(code: Code) -> crate::protocol::FailureKind {
    if failure::is_fencing(code) { crate::protocol::FailureKind::Fenced } else { crate::protocol::FailureKind::Attempt }
}

fn as_record<'a>(output: &Output<'a>) -> BaseRecord<'a, [u8], [u8]> {
    let mut record = BaseRecord::to(output.topic);
    record.key = output.key;
    record.payload = output.value;
    record.partition = output.partition;
    record.timestamp = output.timestamp_ms;
    if !output.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
        for (key, value) in output.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        record.headers = Some(headers);
    }
    record
}
