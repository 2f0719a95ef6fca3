//! How to reach Kafka: the user's librdkafka properties with ours on top.
//!
//! ```text
//! our defaults  <  the user's properties  <  what exactly-once rests on
//! ```
//!
//! What stands right cannot be overridden by what stands left, whatever an upper layer lets pass.

use super::{
    context::{Deliveries, LOG_TARGET, Listener},
    failure, native,
};
use crate::protocol::Failure;
use rdkafka::{
    ClientConfig, config::RDKafkaLogLevel, consumer::BaseConsumer, error::KafkaError, producer::BaseProducer,
    types::RDKafkaConfRes,
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Limit of an output record, unless the user sets `message.max.bytes`. Above librdkafka's 1,000,000, because the largest input
/// record that a broker takes by default (1,048,588 bytes) must be able to leave as a dead letter, with its headers.
pub const MESSAGE_MAX_BYTES: u64 = 1_200_000;

/// A request that is not answered for so long fails (and is repeated where that is safe).
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// For all clients. A broker that comes back is found in 0.5 s instead of 10 s: that was the whole difference between 4-7.6 s
/// and 0.3-0.6 s of recovery after its restart.
const COMMON: &[(&str, &str)] =
    &[("client.id", "sluicegate"), ("reconnect.backoff.ms", "50"), ("reconnect.backoff.max.ms", "500")];

const CONSUMER: &[(&str, &str)] = &[
    // 8 MB of fetched records per reader was as fast as 64 MB.
    ("queued.max.messages.kbytes", "8192"),
    ("queued.min.messages", "20000"),
    // When the queue was full: 1000 by default, which would be added to the latency.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.error.backoff.ms", "50"),
    ("allow.auto.create.topics", "false"),
];

const CONSUMER_FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
    // The new protocol stalls in librdkafka 2.12.
    ("group.protocol", "classic"),
];

const PRODUCER: &[(&str, &str)] = &[
    ("linger.ms", "5"),
    ("compression.type", "lz4"),
    // The same partition for a key as the Java client's.
    ("partitioner", "murmur2_random"),
    // The producer's backlog is what the sink waits for at a barrier: 2 M records were 200-600 ms. At full speed on two cores 50,000
    // made it 100-150 ms, 20,000 made it 50-100 ms and the job no slower; 10,000 did.
    ("queue.buffering.max.messages", "20000"),
    // librdkafka asks for a group's new coordinator when some connection of the handle changes its state, and only then. After the
    // coordinator's death, when no other connection changes, `send_offsets_to_transaction` waits for ever, whatever time-out it was
    // given (its issues 5456 and 5511). An idle connection that is closed, and opened again, ends that. Not below SOCKET_TIMEOUT and
    // librdkafka's jitter of 2 s: a connection that waits for an answer counts as idle.
    ("connections.max.idle.ms", "12000"),
];

const PRODUCER_FIXED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // With reports of success every record would have to be polled before a flush could end.
    ("delivery.report.only.error", "true"),
];

/// Properties with two names in librdkafka: a default of ours must not stand beside the user's value under the other name.
const ALIASES: &[(&str, &str)] = &[("linger.ms", "queue.buffering.max.ms"), ("compression.type", "compression.codec")];

/// A Kafka cluster and how to speak to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// `host:port`, several with commas.
    pub bootstrap_servers: String,
    /// The user's librdkafka properties.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<_, _> =
            self.properties.iter().map(|(name, value)| (name, if failure::is_secret(name) { "***" } else { value })).collect();
        f.debug_struct("Connection").field("bootstrap_servers", &self.bootstrap_servers).field("properties", &shown).finish()
    }
}

/// Which records a consumer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only those of committed transactions, and only up to the first transaction that is still open.
    ReadCommitted,
    /// All.
    ReadUncommitted,
}

/// A property that librdkafka does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyProblem {
    /// Name of the property; empty if the problem is not of one alone.
    pub property: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Why `property` is not the user's to set; none if it is.
#[must_use]
pub fn owned_property(property: &str) -> Option<&'static str> {
    Some(match property {
        "bootstrap.servers" | "metadata.broker.list" => "use kafka.bootstrap_servers",
        "group.id" => "use kafka.group",
        "transactional.id" => "ids are derived from the group, so that every one of them can be fenced at recovery",
        "transaction.timeout.ms" => "use kafka.transaction_timeout",
        "message.timeout.ms" | "delivery.timeout.ms" => "it follows from kafka.transaction_timeout",
        "enable.idempotence" | "acks" | "request.required.acks" | "max.in.flight" | "max.in.flight.requests.per.connection" => {
            "transactions need the idempotent producer"
        }
        "isolation.level" => "input is read as read_committed, else aborted records of others would be processed",
        "enable.auto.commit" | "enable.auto.offset.store" | "auto.commit.interval.ms" => {
            "offsets are committed in the same transaction as the outputs"
        }
        "auto.offset.reset" => "use source.start; later an offset out of range is refused, never guessed",
        "group.protocol" | "group.remote.assignor" | "partition.assignment.strategy" | "group.instance.id" => {
            "partitions are assigned by sluicegate, not by the group"
        }
        "enable.partition.eof" => "it tells when the input is read to its end",
        "delivery.report.only.error" | "dr_cb" | "dr_msg_cb" => "deliveries are checked as a whole when a transaction is flushed",
        _ => return None,
    })
}

impl Connection {
    /// Everything that librdkafka would refuse in the user's properties, all at once. Starts clients and drops them again; waits for
    /// no broker. `transaction_timeout` bounds some of the properties.
    #[must_use]
    pub fn check(&self, transaction_timeout: Duration) -> Vec<PropertyProblem> {
        let mut problems: Vec<PropertyProblem> =
            self.properties.iter().filter_map(|(name, value)| Self::check_one(name, value)).collect();
        if problems.is_empty() {
            let told = [
                self.consumer_client("check", Isolation::ReadCommitted, Listener::new("check")).err(),
                self.transactional_client("check", transaction_timeout).err(),
            ];
            let mut messages: Vec<String> = told.into_iter().flatten().map(|failure| failure.message).collect();
            messages.dedup();
            problems.extend(messages.into_iter().map(|message| PropertyProblem { property: String::new(), message }));
        }
        problems
    }

    fn check_one(name: &str, value: &str) -> Option<PropertyProblem> {
        let problem = |message: String| Some(PropertyProblem { property: name.to_owned(), message });
        if let Some(reason) = owned_property(name) {
            return problem(format!("is set by sluicegate alone: {reason}"));
        }
        match ClientConfig::new().set(name, value).create_native_config() {
            Ok(_) => None,
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => problem(match nearest(name) {
                Some(known) => format!("librdkafka does not know it; did you mean {known:?}?"),
                None => "librdkafka does not know it; its CONFIGURATION.md lists all properties".to_owned(),
            }),
            Err(KafkaError::ClientConfig(_, why, _, value)) => {
                let value = if failure::is_secret(name) { "***".to_owned() } else { value };
                problem(format!("librdkafka does not take {value:?}: {why}"))
            }
            Err(error) => problem(failure::explain(&error)),
        }
    }

    /// Largest record that a producer takes, in bytes.
    #[must_use]
    pub fn message_max_bytes(&self) -> u64 {
        self.properties.get("message.max.bytes").and_then(|value| value.trim().parse().ok()).unwrap_or(MESSAGE_MAX_BYTES)
    }

    fn config(&self, defaults: &[&[(&str, &str)]]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in defaults.iter().copied().flatten() {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, _) in ALIASES.iter().filter(|(_, alias)| self.properties.contains_key(*alias)) {
            config.remove(name);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        let verbose = tracing::enabled!(target: LOG_TARGET, tracing::Level::DEBUG);
        config.set_log_level(if verbose { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning });
        config
    }

    fn bound_socket_timeout(&self, config: &mut ClientConfig, limit: Duration) {
        if !self.properties.contains_key("socket.timeout.ms") {
            config.set("socket.timeout.ms", milliseconds(SOCKET_TIMEOUT.min(limit)));
        }
    }

    /// For metadata, offsets and administration: a client without a group.
    pub(super) fn asking_config(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.config(&[COMMON]);
        self.bound_socket_timeout(&mut config, SOCKET_TIMEOUT);
        config.set("isolation.level", isolation.property());
        config
    }

    pub(super) fn consumer_config(&self, group: &str, isolation: Isolation) -> ClientConfig {
        let mut config = self.config(&[COMMON, CONSUMER]);
        self.bound_socket_timeout(&mut config, SOCKET_TIMEOUT);
        for (name, value) in CONSUMER_FIXED {
            config.set(*name, *value);
        }
        config.set("group.id", group).set("isolation.level", isolation.property());
        config
    }

    fn producer_config(&self) -> ClientConfig {
        let mut config = self.config(&[COMMON, PRODUCER]);
        config.set("message.max.bytes", self.message_max_bytes().to_string());
        if !self.properties.contains_key("queue.buffering.max.kbytes") {
            // Bounds memory; but a record that fits the limit must fit the queue.
            let kilobytes = (self.message_max_bytes() / 1024 * 2 + 1).clamp(32 * 1024, 2_147_483_647);
            config.set("queue.buffering.max.kbytes", kilobytes.to_string());
        }
        for (name, value) in PRODUCER_FIXED {
            config.set(*name, *value);
        }
        config
    }

    /// A producer for transactions of `id`; nothing is sent before `init_transactions`.
    pub(super) fn transactional_client(
        &self,
        id: &str,
        transaction_timeout: Duration,
    ) -> Result<BaseProducer<Deliveries>, Failure> {
        let mut config = self.producer_config();
        // Both are limits that librdkafka checks: a record or a request may not outlive its transaction.
        self.bound_socket_timeout(&mut config, transaction_timeout);
        config.set("message.timeout.ms", milliseconds(transaction_timeout));
        config.set("transaction.timeout.ms", milliseconds(transaction_timeout));
        config.set("transactional.id", id);
        config.create_with_context(Deliveries::new(id)).map_err(|error| failure::failure(format_args!("producer {id}"), &error))
    }

    /// A producer without transactions.
    pub(super) fn plain_client(&self) -> Result<BaseProducer<Deliveries>, Failure> {
        let mut config = self.producer_config();
        self.bound_socket_timeout(&mut config, SOCKET_TIMEOUT);
        if !["linger.ms", "queue.buffering.max.ms"].iter().any(|name| self.properties.contains_key(*name)) {
            config.set("linger.ms", "20");
        }
        config.create_with_context(Deliveries::new("producer")).map_err(|error| failure::failure("producer", &error))
    }

    /// A consumer of `group` that belongs to no group until it subscribes, which it never does.
    pub(super) fn consumer_client(
        &self,
        group: &str,
        isolation: Isolation,
        listener: Listener,
    ) -> Result<BaseConsumer<Listener>, Failure> {
        let config = self.consumer_config(group, isolation);
        config.create_with_context(listener).map_err(|error| failure::failure(format_args!("consumer of group {group}"), &error))
    }
}

impl Isolation {
    fn property(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        }
    }
}

pub(super) fn milliseconds(duration: Duration) -> String {
    duration.as_millis().min(i32::MAX as u128).to_string()
}

fn nearest(name: &str) -> Option<String> {
    let scored = native::property_names().into_iter().map(|known| (strsim::jaro_winkler(name, &known), known));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(properties: &[(&str, &str)]) -> Connection {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Connection { bootstrap_servers: "127.0.0.1:1".into(), properties }
    }

    fn problems(properties: &[(&str, &str)]) -> Vec<PropertyProblem> {
        connection(properties).check(Duration::from_secs(60))
    }

    #[test]
    fn good_properties_have_no_problem() {
        assert_eq!(problems(&[("linger.ms", "20"), ("security.protocol", "SSL"), ("fetch.wait.max.ms", "100")]), []);
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let [problem] = &problems(&[("linger.mss", "20")])[..] else { panic!("one problem expected") };
        assert!(problem.property == "linger.mss" && problem.message.contains("\"linger.ms\""), "{problem:?}");
    }

    #[test]
    fn a_wrong_value_is_named_but_a_secret_is_not() {
        let [problem] = &problems(&[("compression.type", "rar")])[..] else { panic!("one problem expected") };
        assert!(problem.message.contains("rar"), "{problem:?}");
        assert!(!format!("{:?}", connection(&[("sasl.password", "hunter2")])).contains("hunter2"));
    }

    #[test]
    fn values_that_do_not_go_together_are_told() {
        let [problem] = &problems(&[("socket.timeout.ms", "300000")])[..] else { panic!("one problem expected") };
        assert!(problem.message.contains("socket.timeout.ms"), "{problem:?}");
    }

    #[test]
    fn what_exactly_once_rests_on_wins_over_the_user_and_is_refused_above() {
        let mut user: Vec<(&str, &str)> =
            CONSUMER_FIXED.iter().chain(PRODUCER_FIXED).map(|(name, _)| (*name, "nonsense")).collect();
        user.extend([("isolation.level", "read_uncommitted"), ("group.id", "other"), ("bootstrap.servers", "elsewhere:1")]);
        let config = connection(&user).consumer_config("orders", Isolation::ReadCommitted);
        for (name, value) in CONSUMER_FIXED {
            assert_eq!(config.get(name), Some(*value));
        }
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        assert_eq!(config.get("group.id"), Some("orders"));
        assert_eq!(config.get("bootstrap.servers"), Some("127.0.0.1:1"));
        let config = connection(&user).producer_config();
        for (name, value) in PRODUCER_FIXED {
            assert_eq!(config.get(name), Some(*value));
        }
        for (name, _) in CONSUMER_FIXED.iter().chain(PRODUCER_FIXED) {
            assert!(owned_property(name).is_some(), "{name} is not refused");
        }
    }

    #[test]
    fn defaults_give_way_to_the_user() {
        let config = connection(&[("linger.ms", "50"), ("message.max.bytes", "90000000")]).producer_config();
        assert_eq!(config.get("linger.ms"), Some("50"));
        assert_eq!(config.get("compression.type"), Some("lz4"));
        let kilobytes: u64 = config.get("queue.buffering.max.kbytes").unwrap().parse().unwrap();
        assert!(kilobytes * 1024 > 90_000_000, "a record that is allowed must fit into the queue");
        let config = connection(&[("queue.buffering.max.ms", "50")]).producer_config();
        assert_eq!((config.get("linger.ms"), config.get("queue.buffering.max.ms")), (None, Some("50")));
    }
}
