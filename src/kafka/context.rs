//! What librdkafka tells us beside our questions: its logs go to `tracing`, errors are remembered for our own messages.

use super::failure;
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::ProducerContext,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

/// Target of librdkafka's own log lines: `log.level = "info,sluicegate::kafka::client=debug"` shows them all.
pub(super) const LOG_TARGET: &str = "sluicegate::kafka::client";

/// A broker that is away makes librdkafka repeat itself several times per second; one line in so many seconds is shown.
const QUIET_SECONDS: u64 = 30;

/// What is the same for all kinds of clients.
#[derive(Debug)]
pub(super) struct Told {
    /// Which client speaks.
    name: String,
    started: Instant,
    /// Seconds since `started` at which a line about connections was shown last, plus one; 0 is never.
    shown: AtomicU64,
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    broker_lines: Mutex<Vec<String>>,
}

impl Told {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            started: Instant::now(),
            shown: AtomicU64::new(0),
            last_error: Mutex::new(None),
            broker_lines: Mutex::new(Vec::new()),
        }
    }

    /// The newest error of the client as a whole, with librdkafka's words.
    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        lock(&self.last_error).clone()
    }

    /// Lines in which librdkafka listed what a broker can do (only with `debug=feature`).
    pub(super) fn broker_lines(&self) -> Vec<String> {
        lock(&self.broker_lines).clone()
    }

    fn error(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        tracing::debug!(target: LOG_TARGET, client = %self.name, code = ?code, "{reason}");
        // "All brokers are down" says less than the reason before it.
        let mut last = lock(&self.last_error);
        if code != RDKafkaErrorCode::AllBrokersDown || last.is_none() {
            *last = Some((code, reason.to_owned()));
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "APIVERSION" && line.contains("ApiKey OffsetFetch ") {
            lock(&self.broker_lines).push(line.to_owned());
        }
        let client = &self.name;
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(target: LOG_TARGET, %client, facility, "{line}");
            }
            // Part of every start over a dead predecessor, whose transaction the broker still ends; what lasts fails the attempt in words.
            _ if facility == "GETPID" && line.ends_with("retrying") => {
                tracing::debug!(target: LOG_TARGET, %client, facility, "{line}");
            }
            _ if is_about_connections(facility) && !self.may_show() => {
                tracing::debug!(target: LOG_TARGET, %client, facility, "{line}");
            }
            _ => tracing::warn!(target: LOG_TARGET, %client, facility, "{line}"),
        }
    }

    fn may_show(&self) -> bool {
        let now = self.started.elapsed().as_secs() + 1;
        let shown = self.shown.load(Ordering::Relaxed);
        let due = shown == 0 || now >= shown + QUIET_SECONDS;
        due && self.shown.compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn is_about_connections(facility: &str) -> bool {
    ["FAIL", "ERROR", "CONNECT", "CONNFAIL", "DISCONNECT", "REQTMOUT", "SESSTMOUT", "GETPID", "METADATA"].contains(&facility)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Context of consumers and of admin clients.
#[derive(Debug, Clone)]
pub(super) struct Listener(pub Arc<Told>);

impl Listener {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Told::new(name)))
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Listener {}

/// A record that did not arrive.
#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    pub code: RDKafkaErrorCode,
    /// Topic, partition, key and size.
    pub record: String,
}

/// Context of producers: remembers the first record that did not arrive, of those that failed for a reason of their own if there is one.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub told: Told,
    failed: AtomicBool,
    first: Mutex<Option<Undelivered>>,
}

impl Deliveries {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { told: Told::new(name), failed: AtomicBool::new(false), first: Mutex::new(None) }
    }

    /// The first record that did not arrive; cheap when all did.
    pub(super) fn undelivered(&self) -> Option<Undelivered> {
        self.failed.load(Ordering::Acquire).then(|| lock(&self.first).clone()).flatten()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.told.log(level, facility, line);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.told.error(&error, reason);
    }
    fn stats_raw(&self, _: &[u8]) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let mut first = lock(&self.first);
        if first.as_ref().is_none_or(|first| failure::is_consequence(first.code) && !failure::is_consequence(code)) {
            let size = message.key_len() + message.payload_len();
            let record = format!(
                "record of {size} bytes with key {} for {}-{}",
                show_key(message.key()),
                message.topic(),
                message.partition()
            );
            tracing::debug!(target: LOG_TARGET, client = %self.told.name, %record, error = %failure::explain(error), "not delivered");
            *first = Some(Undelivered { code, record });
        }
        self.failed.store(true, Ordering::Release);
    }
}

/// A key for a message to people: text if it is text, at most 64 bytes of it.
pub(super) fn show_key(key: Option<&[u8]>) -> String {
    match key {
        None => "null".to_owned(),
        Some(key) => {
            let shown = key.get(..64).unwrap_or(key);
            let more = if shown.len() < key.len() { "..." } else { "" };
            format!("{:?}{more}", String::from_utf8_lossy(shown))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_told_once_in_a_while_and_its_reason_is_kept() {
        let told = Told::new("test");
        assert!(told.may_show());
        assert!(!told.may_show(), "the second line follows at once");
        told.error(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "connection refused");
        told.error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        told.error(&KafkaError::Global(RDKafkaErrorCode::PartitionEOF), "end");
        assert_eq!(told.last_error(), Some((RDKafkaErrorCode::BrokerTransportFailure, "connection refused".into())));
    }

    #[test]
    fn keys_are_shown_short() {
        assert_eq!(show_key(None), "null");
        assert_eq!(show_key(Some(b"O-1")), "\"O-1\"");
        assert!(show_key(Some(&[b'x'; 100])).ends_with("x\"..."));
    }
}
