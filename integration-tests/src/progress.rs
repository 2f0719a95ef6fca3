//! How far a job is, from the broker's side: what is in the input and what is committed.

use crate::{Result, job::Job, topics::Cluster};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use std::time::Duration;

/// Short: it is asked several times a second, also while the broker or the job is away.
const ANSWER: Duration = Duration::from_secs(2);

/// Asks again and again, with one client.
pub struct Progress {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Progress {
    /// Of `job`, whose topics exist.
    pub fn of(job: &Job) -> Result<Self> {
        Self::in_group(job.bootstrap(), &job.group(), &job.input())
    }

    /// Of whoever commits under `group` what it has read of `topic`, which exists.
    pub fn in_group(bootstrap: &str, group: &str, topic: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", group);
        // Never waits for an open transaction: the last committed offset is wanted, also while a killed job's transaction hangs.
        config.set("isolation.level", "read_uncommitted").set("reconnect.backoff.max.ms", "500");
        let partitions = Cluster::at(bootstrap)?.partitions(topic)?;
        Ok(Self { consumer: config.create()?, topic: topic.to_owned(), partitions })
    }

    /// Whether everything that is in the topic now is committed.
    pub fn is_at_end(&self) -> Result<bool> {
        let mut end = 0;
        for partition in 0..self.partitions {
            end += self.consumer.fetch_watermarks(&self.topic, partition, ANSWER)?.1;
        }
        Ok(self.committed()?.unwrap_or(0) == u64::try_from(end)?)
    }

    /// Records of the input that are committed as processed; none before the first commit.
    pub fn committed(&self) -> Result<Option<u64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, partition);
        }
        let committed = self.consumer.committed_offsets(list, ANSWER)?;
        let offsets = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        });
        let sum = offsets.fold(None, |sum: Option<i64>, offset| Some(sum.unwrap_or(0) + offset));
        Ok(sum.map(u64::try_from).transpose()?)
    }
}
