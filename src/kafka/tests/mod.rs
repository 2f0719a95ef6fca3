//! This room on a real broker. The address is in `SLUICEGATE_TEST_BOOTSTRAP`; `make test` starts one. Without it, tests that need a
//! broker say so and pass.

mod cluster;
mod committed;
mod exclusive;
mod kill;
mod pace;
mod reading;
mod takeover;
mod transactions;

use super::*;
use crate::protocol::{Positions, TopicPartition};
use rdkafka::admin::{AdminClient, AdminOptions};
use std::{
    collections::BTreeMap,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// For what a broker does at once. It shares two cores with all other tests.
const SOON: Duration = Duration::from_secs(60);

/// A broker, and names that no other test uses.
struct Kafka {
    connection: Connection,
    cluster: Cluster,
    prefix: String,
    cancel: Arc<AtomicBool>,
    topics: Vec<String>,
}

impl Kafka {
    /// The broker of this run; none, with a message, if there is none. A broker that is named but does not answer is a failed test.
    fn here() -> Option<Self> {
        let Ok(bootstrap_servers) = std::env::var("SLUICEGATE_TEST_BOOTSTRAP") else {
            eprintln!("skipped: SLUICEGATE_TEST_BOOTSTRAP names no broker");
            return None;
        };
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let connection = Connection { bootstrap_servers, properties: BTreeMap::new() };
        let cancel = Arc::new(AtomicBool::new(false));
        let cluster = Cluster::connect(&connection, SOON, &cancel).unwrap();
        let prefix = format!("sluicegate-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self { connection, cluster, prefix, cancel, topics: Vec::new() })
    }

    fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.prefix)
    }

    fn topic(&mut self, of: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = self.name(of);
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let spec = TopicSpec { name: name.clone(), partitions, replication: None, configs };
        self.topics.push(name.clone());
        assert_eq!(self.cluster.create_topics(&[spec]).unwrap(), [(name.clone(), Creation::Created)]);
        name
    }

    /// What a job of `group` with input `topic` starts with.
    fn pool(&self, group: &str, topic: &str, producers: usize) -> ProducerPool {
        ProducerPool::start(&self.connection, settings(group, topic, producers), Arc::clone(&self.cancel)).unwrap()
    }

    /// Values that a reader of committed records sees, by partition and offset.
    fn visible(&self, topic: &str, isolation: Isolation) -> Vec<(i32, i64, String)> {
        let partitions = self.cluster.partitions(topic).unwrap();
        let mut found = Vec::new();
        TopicScan::whole(&self.connection, &self.name("scan"), isolation, &partitions)
            .unwrap()
            .run(&self.cancel, &mut |record| {
                let value = String::from_utf8_lossy(record.value.unwrap_or(b"null")).into_owned();
                found.push((record.partition, record.offset, value));
                Ok(())
            })
            .unwrap();
        found.sort();
        found
    }

    fn values(&self, topic: &str) -> Vec<String> {
        self.visible(topic, Isolation::ReadCommitted).into_iter().map(|(_, _, value)| value).collect()
    }

    /// Per partition number, what `group` has committed.
    fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, Option<(i64, String)>> {
        let partitions = self.cluster.partitions(topic).unwrap();
        let read = CommittedOffsets::open(&self.connection, group).unwrap().read(&partitions, SOON, &self.cancel).unwrap();
        let shown = |offset: crate::protocol::recovery::CommittedOffset| (offset.offset, offset.metadata);
        read.into_iter().map(|(partition, committed)| (partition.partition, committed.map(shown))).collect()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let admin: AdminClient<_> = self.connection.asking_config(Isolation::ReadCommitted).create().unwrap();
        let _ = futures::executor::block_on(admin.delete_topics(&names, &AdminOptions::new()));
    }
}

fn settings(group: &str, topic: &str, producers: usize) -> PoolSettings {
    PoolSettings {
        group: group.to_owned(),
        ids: crate::protocol::transactional_ids(group, producers),
        former_ids: Vec::new(),
        witness: TopicPartition::new(topic, 0),
        transaction_timeout: 5 * SOON,
        commit_timeout: SOON,
        init_timeout: SOON,
    }
}

fn output<'a>(topic: &'a str, key: &'a [u8], value: &'a [u8]) -> Output<'a> {
    Output { topic, key: Some(key), value: Some(value), headers: &[], partition: None, timestamp_ms: None }
}

fn at(topic: &str, offsets: &[(i32, i64)]) -> Positions {
    offsets.iter().map(|(partition, offset)| (TopicPartition::new(topic, *partition), *offset)).collect()
}

/// A transaction with one record, flushed.
fn flushed(pool: &ProducerPool, topic: &str, value: &str) -> Flushed {
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    open.send(&output(topic, b"key", value.as_bytes())).unwrap();
    open.flush(SOON).unwrap()
}

fn committed(outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Committed(took) => took,
        other => panic!("{other:?}"),
    }
}
