//! The two brokers that the suite of `conformance` runs on.

use super::{
    broker::Broker,
    cluster::SimulatedCluster,
    conformance::{Ground, RULES, fill_with_gaps},
    job::{INPUT, OUTPUT},
    network::Network,
    world::World,
};
use crate::engine::{
    cluster::Cluster,
    kafka_cluster::{KafkaCluster, KafkaSettings},
    local::LocalSource,
    source::SplitReader,
};
use crate::kafka::{Cluster as Administration, Connection, Creation, Isolation, Output, Producer, Start, TopicScan, TopicSpec};
use crate::protocol::{Failure, Positions, TopicPartition};
use crate::stream::conformance;
use std::{
    collections::{BTreeMap, BTreeSet},
    process,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(30);

struct Simulated {
    network: Network,
}

impl Ground for Simulated {
    fn cluster(&self, transaction_timeout: Duration) -> Box<dyn Cluster> {
        let process = Some(self.network.world.add_process());
        let (network, group) = (self.network.clone(), self.group().to_owned());
        Box::new(SimulatedCluster { network, process, group, transaction_timeout, patience: SOON })
    }

    fn group(&self) -> &str {
        "conformance"
    }

    fn input(&self) -> &str {
        INPUT
    }

    fn output(&self) -> &str {
        OUTPUT
    }

    fn outputs(&self) -> Vec<String> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        self.network.inside(|broker| broker.visible().map(|written| text(&written.value)).collect())
    }

    fn wait(&self, time: Duration) {
        self.network.world.sleep(time);
    }
}

#[test]
fn the_simulated_broker_keeps_the_rules() {
    for (name, rule) in RULES {
        for seed in 0..20 {
            let chronicle = World::run(seed, None, true, |world| {
                let network = Network::new(world, Broker::new(seed), |_, _| ());
                network.inside(|broker| broker.inputs.insert(INPUT.to_owned(), vec![Vec::new(); 2]));
                rule(&Simulated { network });
            });
            assert_eq!(chronicle.violation, None, "{name}, seed {seed}:\n{}", chronicle.lines.join("\n"));
        }
    }
}

struct Kafka {
    connection: Connection,
    group: String,
    input: String,
    output: String,
}

impl Kafka {
    /// Topics and a group for one rule.
    fn new(bootstrap_servers: String, number: usize) -> Self {
        let connection = Connection { bootstrap_servers, properties: BTreeMap::new() };
        let prefix = format!("sluicegate-conformance-{}-{number}", process::id());
        let (input, output, group) = (format!("{prefix}-in"), format!("{prefix}-out"), format!("{prefix}-group"));
        let admin = Administration::connect(&connection, SOON, &AtomicBool::new(false)).unwrap();
        for (name, partitions) in [(&input, 2), (&output, 1)] {
            let spec = TopicSpec { name: name.clone(), partitions, replication: None, configs: BTreeMap::new() };
            assert_eq!(admin.create_topics(&[spec]).unwrap(), [(name.clone(), Creation::Created)]);
        }
        Self { connection, group, input, output }
    }
}

impl Ground for Kafka {
    fn cluster(&self, transaction_timeout: Duration) -> Box<dyn Cluster> {
        let settings = KafkaSettings {
            connection: self.connection.clone(),
            group: self.group.clone(),
            start: Start::Earliest,
            transaction_timeout,
            patience: SOON,
            output_topics: vec![self.output.clone()],
        };
        Box::new(KafkaCluster::connect(settings, &[&self.input], &AtomicBool::new(false)).unwrap())
    }

    fn group(&self) -> &str {
        &self.group
    }

    fn input(&self) -> &str {
        &self.input
    }

    fn output(&self) -> &str {
        &self.output
    }

    fn outputs(&self) -> Vec<String> {
        let cancel = AtomicBool::new(false);
        let admin = Administration::connect(&self.connection, SOON, &cancel).unwrap();
        let partitions = admin.partitions(&self.output).unwrap();
        let mut found = Vec::new();
        TopicScan::whole(&self.connection, "sluicegate-conformance-scan", Isolation::ReadCommitted, &partitions)
            .unwrap()
            .run(&cancel, &mut |record| {
                found.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
                Ok(())
            })
            .unwrap();
        found
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// On the broker that `SLUICEGATE_TEST_BOOTSTRAP` names (`make test` starts one); without it, it says so and passes.
#[test]
fn kafka_keeps_the_rules() {
    let Ok(bootstrap_servers) = std::env::var("SLUICEGATE_TEST_BOOTSTRAP") else {
        eprintln!("skipped: SLUICEGATE_TEST_BOOTSTRAP names no broker");
        return;
    };
    std::thread::scope(|scope| {
        for (number, (name, rule)) in RULES.iter().enumerate() {
            let bootstrap_servers = bootstrap_servers.clone();
            let run = move || rule(&Kafka::new(bootstrap_servers, number));
            std::thread::Builder::new().name((*name).to_owned()).spawn_scoped(scope, run).unwrap();
        }
    });
}

/// A topic as a source: what the engine reads.
struct Topic {
    cluster: Arc<dyn Cluster>,
    name: String,
}

impl LocalSource for Topic {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        self.cluster.partitions(&self.name)
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), Failure> {
        let at = TopicPartition::new(self.name.as_str(), partition);
        let bounds = self.cluster.log_bounds(std::slice::from_ref(&at))?;
        bounds.get(&at).copied().ok_or_else(|| Failure::fatal(format!("{at} has no bounds")))
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        self.cluster.reader(positions)
    }

    fn bounded(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("topic {}", self.name)
    }
}

/// As [`kafka_keeps_the_rules`], for what other people's sources promise.
#[test]
fn kafka_is_a_source_that_can_be_read_again() {
    let Ok(bootstrap_servers) = std::env::var("SLUICEGATE_TEST_BOOTSTRAP") else {
        eprintln!("skipped: SLUICEGATE_TEST_BOOTSTRAP names no broker");
        return;
    };
    // Given a partition with transactions and gaps between them, one with plain records, and one that is empty
    let kafka = Kafka::new(bootstrap_servers, RULES.len());
    fill_with_gaps(&kafka);
    let mut producer = Producer::open(&kafka.connection, Arc::default()).unwrap();
    for number in 0..1_500 {
        let value = format!("value {number}");
        let (key, value) = (Some(&b"key"[..]), Some(value.as_bytes()));
        let output = Output { topic: &kafka.input, key, value, headers: &[], partition: Some(0), timestamp_ms: Some(number) };
        producer.send(&output).unwrap();
    }
    producer.flush(SOON).unwrap();
    let cluster: Arc<dyn Cluster> = kafka.cluster(SOON).into();
    for (name, records) in [(&kafka.output, [28].as_slice()), (&kafka.input, &[1_000, 0])] {
        let open = || Arc::new(Topic { cluster: Arc::clone(&cluster), name: name.clone() }) as Arc<dyn LocalSource>;
        // Then each gives its records again, from whatever position
        let read = conformance::positions(name, open).unwrap_or_else(|broken| panic!("{name}: {broken}"));
        assert_eq!(read.values().map(Vec::len).collect::<Vec<_>>(), records);
    }
}
