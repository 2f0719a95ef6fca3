//! Questions to a cluster: is it there, which topics and partitions does it have.

use super::{
    Connection, Isolation,
    context::Listener,
    failure,
    waiting::{SLICE, Wait},
};
use crate::protocol::{Failure, FailureKind, TopicPartition};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode as Code,
    metadata::{Metadata, MetadataBroker, MetadataPartition},
};
use std::{sync::atomic::AtomicBool, time::Duration};

/// For one question to a cluster that has answered before.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// A cluster that has answered at least once.
pub struct Cluster {
    pub(super) connection: Connection,
    pub(super) asking: BaseConsumer<Listener>,
    listener: Listener,
    id: String,
}

impl Cluster {
    /// Waits for a broker to answer, for `patience` at most.
    ///
    /// # Errors
    ///
    /// Transient, naming the addresses, if none answers; fatal if a broker refuses us (authentication, TLS) or if the properties
    /// are wrong; attempt if `cancel` is raised.
    pub fn connect(connection: &Connection, patience: Duration, cancel: &AtomicBool) -> Result<Self, Failure> {
        let listener = Listener::new("cluster");
        let asking: BaseConsumer<Listener> = connection
            .asking_config(Isolation::ReadCommitted)
            .create_with_context(listener.clone())
            .map_err(|error| failure::failure("Kafka client", &error))?;
        let wait = Wait::new(patience, cancel);
        loop {
            if let Some(id) = asking.client().fetch_cluster_id(wait.slice(SLICE)) {
                return Ok(Self { connection: connection.clone(), asking, listener, id });
            }
            // Serves the events that say why.
            (0..16).for_each(|_| drop(asking.poll(Duration::ZERO)));
            let addresses = &connection.bootstrap_servers;
            let reason = listener.0.last_error();
            if let Some((code, reason)) = &reason
                && failure::kind(*code) == FailureKind::Fatal
            {
                return Err(Failure::fatal(format!("the broker at {addresses} refuses us: {reason}")));
            }
            if wait.cancelled() {
                return Err(failure::cancelled(format_args!("connecting to {addresses}")));
            }
            if wait.is_over() {
                let reason = reason.map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
                return Err(Failure::transient(format!("no broker answered at {addresses} within {patience:?}{reason}")));
            }
        }
    }

    /// The cluster's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// All partitions of `topic`, in order.
    ///
    /// # Errors
    ///
    /// Fatal if the topic does not exist or may not be read; transient if no broker answers.
    pub fn partitions(&self, topic: &str) -> Result<Vec<TopicPartition>, Failure> {
        self.partitions_within(topic, Duration::ZERO)
    }

    /// The same, for a topic that may have been created a moment ago: it counts as absent only after `patience`.
    pub(super) fn partitions_within(&self, topic: &str, patience: Duration) -> Result<Vec<TopicPartition>, Failure> {
        let doing = || format!("metadata of topic {topic}");
        let cancel = AtomicBool::new(false);
        let (wait, creation) = (Wait::new(ANSWER, &cancel), Wait::new(patience, &cancel));
        loop {
            let metadata = self.metadata(Some(topic), wait.slice(ANSWER))?;
            let found = metadata.topics().first().ok_or_else(|| Failure::attempt(format!("{}: an empty answer", doing())))?;
            let has_leaders = found.partitions().iter().all(|partition| partition.leader() >= 0);
            match found.error().map(Code::from) {
                None if !found.partitions().is_empty() && (has_leaders || creation.is_over()) => {
                    let mut numbers: Vec<i32> = found.partitions().iter().map(MetadataPartition::id).collect();
                    numbers.sort_unstable();
                    return Ok(numbers.into_iter().map(|number| TopicPartition::new(topic, number)).collect());
                }
                Some(code) if is_absent(code) && creation.is_over() => return Err(absent(&[topic.to_owned()])),
                Some(code) if failure::kind(code) != FailureKind::Transient => return Err(failure::of_code(doing(), code)),
                code if wait.is_over() => {
                    let code = code.map_or_else(|| "no partitions yet".to_owned(), |code| code.to_string());
                    return Err(Failure::transient(format!("{}: {code}", doing())));
                }
                // No leader yet: the topic was created a moment ago, or a broker is starting.
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Those of `topics` that do not exist.
    ///
    /// # Errors
    ///
    /// Transient if no broker answers; fatal without the right to ask.
    pub fn missing(&self, topics: &[String]) -> Result<Vec<String>, Failure> {
        let mut missing = Vec::new();
        for topic in topics {
            let metadata = self.metadata(Some(topic), ANSWER)?;
            match metadata.topics().first().and_then(|found| found.error()).map(Code::from) {
                Some(code) if is_absent(code) => missing.push(topic.clone()),
                Some(code) if failure::kind(code) == FailureKind::Fatal => {
                    return Err(failure::of_code(format_args!("metadata of topic {topic}"), code));
                }
                _ => {}
            }
        }
        Ok(missing)
    }

    /// Fails if one of `topics` does not exist.
    ///
    /// # Errors
    ///
    /// Fatal, naming those that are absent and the command that creates them; else as [`Cluster::missing`].
    pub fn require(&self, topics: &[String]) -> Result<(), Failure> {
        let missing = self.missing(topics)?;
        if missing.is_empty() { Ok(()) } else { Err(absent(&missing)) }
    }

    /// Ids of the brokers that the cluster names.
    pub(super) fn brokers(&self) -> Result<Vec<i32>, Failure> {
        let mut ids: Vec<i32> = self.metadata(None, ANSWER)?.brokers().iter().map(MetadataBroker::id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn metadata(&self, topic: Option<&str>, patience: Duration) -> Result<Metadata, Failure> {
        self.asking.fetch_metadata(topic, patience).map_err(|error| {
            let reason = self.listener.0.last_error().map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
            let of = topic.map_or_else(String::new, |topic| format!(" of topic {topic}"));
            failure::failure(format_args!("metadata{of} from {}{reason}", self.connection.bootstrap_servers), &error)
        })
    }
}

fn is_absent(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic)
}

fn absent(topics: &[String]) -> Failure {
    let (names, do_not) = match topics {
        [one] => (one.clone(), "topic does not exist"),
        many => (many.join(", "), "topics do not exist"),
    };
    Failure::fatal(format!("{do_not}: {names}; create what is missing with: sluicegate topics create --config FILE"))
}
