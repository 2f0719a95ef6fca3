//! Administration: topics are created, and the brokers' limits are compared with ours before the first record.

use super::{
    cluster::{ANSWER, Cluster},
    context::Listener,
    failure,
};
use crate::protocol::Failure;
use futures::executor::block_on;
use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode as Code,
};
use std::{collections::BTreeMap, time::Duration};

/// For one request; librdkafka ends it by itself.
const REQUEST: Duration = Duration::from_secs(30);

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Number of replicas; none: the broker's default.
    pub replication: Option<i32>,
    /// Topic configurations, as `cleanup.policy`.
    pub configs: BTreeMap<String, String>,
}

/// What became of a [`TopicSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It exists now.
    Created,
    /// It existed before, with so many partitions; nothing was changed.
    Existed {
        /// Number of its partitions.
        partitions: usize,
    },
}

impl Cluster {
    /// Creates `topics`; those that exist are left as they are and reported.
    ///
    /// # Errors
    ///
    /// The first refusal of the broker (rights, replication, policy), naming the topic. Others may have been created.
    pub fn create_topics(&self, topics: &[TopicSpec]) -> Result<Vec<(String, Creation)>, Failure> {
        let missing = self.missing(&topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>())?;
        let wanted: Vec<NewTopic<'_>> = topics.iter().filter(|topic| missing.contains(&topic.name)).map(as_new_topic).collect();
        if !wanted.is_empty() {
            let admin = self.admin()?;
            let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
            let results =
                block_on(admin.create_topics(&wanted, &options)).map_err(|error| failure::failure("creating topics", &error))?;
            for result in results {
                match result {
                    Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                    Err((topic, code)) => return Err(failure::of_code(format_args!("creating topic {topic}"), code)),
                }
            }
        }
        let report = topics.iter().map(|topic| {
            let creation = if missing.contains(&topic.name) {
                // Until every broker may know it, so that the caller can use it at once.
                self.partitions_within(&topic.name, ANSWER)?;
                Creation::Created
            } else {
                Creation::Existed { partitions: self.partitions(&topic.name)?.len() }
            };
            Ok((topic.name.clone(), creation))
        });
        report.collect()
    }

    /// Compares our transaction timeout and record size with what the brokers allow.
    ///
    /// A broker that does not let us see its configuration is believed: it will say so itself at the first transaction or record.
    ///
    /// # Errors
    ///
    /// Fatal if a limit is too small, naming both figures and what to change.
    pub fn check_limits(&self, transaction_timeout: Duration, output_topics: &[String]) -> Result<(), Failure> {
        if let Some(limit) = self.transaction_max_timeout()?
            && transaction_timeout > limit
        {
            return Err(Failure::fatal(format!(
                "kafka.transaction_timeout = {transaction_timeout:?} is more than the brokers allow (transaction.max.timeout.ms = {} ms); \
                 lower it, or raise that on the brokers",
                limit.as_millis()
            )));
        }
        let ours = self.connection.message_max_bytes();
        for (topic, limit) in self.max_message_bytes(output_topics)? {
            if limit < ours {
                tracing::warn!(
                    topic,
                    max_message_bytes = limit,
                    message_max_bytes = ours,
                    "the topic takes smaller records than our producer does: an output record between the two would end the job"
                );
            }
        }
        Ok(())
    }

    /// The longest transaction that every broker allows; none if they do not let us ask.
    ///
    /// # Errors
    ///
    /// Transient if no broker answers.
    pub fn transaction_max_timeout(&self) -> Result<Option<Duration>, Failure> {
        let mut least = None;
        for broker in self.brokers()? {
            let described = self.describe(ResourceSpecifier::Broker(broker))?;
            let limit = described.as_ref().and_then(|resource| number(resource, "transaction.max.timeout.ms"));
            least = least.into_iter().chain(limit.map(Duration::from_millis)).min();
        }
        Ok(least)
    }

    /// `max.message.bytes` of each of `topics`, as far as the brokers let us ask.
    ///
    /// # Errors
    ///
    /// Transient if no broker answers.
    pub fn max_message_bytes(&self, topics: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
        let mut limits = BTreeMap::new();
        for topic in topics {
            let described = self.describe(ResourceSpecifier::Topic(topic))?;
            if let Some(limit) = described.as_ref().and_then(|resource| number(resource, "max.message.bytes")) {
                limits.insert(topic.clone(), limit);
            }
        }
        Ok(limits)
    }

    fn describe(&self, resource: ResourceSpecifier<'_>) -> Result<Option<ConfigResource>, Failure> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        let results = block_on(self.admin()?.describe_configs(&[resource], &options))
            .map_err(|error| failure::failure(format_args!("configuration of {resource:?}"), &error))?;
        match results.into_iter().next() {
            Some(Ok(described)) => Ok(Some(described)),
            Some(Err(code)) => {
                tracing::debug!(?resource, ?code, "the broker does not show its configuration");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn admin(&self) -> Result<AdminClient<Listener>, Failure> {
        let config = self.connection.asking_config(super::Isolation::ReadCommitted);
        config.create_with_context(Listener::new("admin")).map_err(|error| failure::failure("admin client", &error))
    }
}

fn as_new_topic(topic: &TopicSpec) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(topic.replication.unwrap_or(-1));
    let mut new = NewTopic::new(&topic.name, topic.partitions, replication);
    for (name, value) in &topic.configs {
        new = new.set(name, value);
    }
    new
}

fn number(resource: &ConfigResource, name: &str) -> Option<u64> {
    resource.get(name)?.value.as_ref()?.parse().ok()
}
