//! How far a job is, from the broker's side: what is in the input and what is committed.

use crate::{Result, job::Job};
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
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", job.bootstrap()).set("group.id", job.group());
        // Never waits for an open transaction: the last committed offset is wanted, also while a killed job's transaction hangs.
        config.set("isolation.level", "read_uncommitted").set("reconnect.backoff.max.ms", "500");
        let partitions = job.cluster()?.partitions(&job.input())?;
        Ok(Self { consumer: config.create()?, topic: job.input(), partitions })
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
