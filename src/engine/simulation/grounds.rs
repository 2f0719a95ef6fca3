//! The two brokers that the suite of `conformance` runs on.

use super::{
    broker::Broker,
    cluster::SimulatedCluster,
    conformance::{Ground, RULES},
    job::{INPUT, OUTPUT},
    network::Network,
    world::World,
};
use crate::engine::{
    cluster::Cluster,
    kafka_cluster::{KafkaCluster, KafkaSettings},
};
use crate::kafka::{Cluster as Administration, Connection, Creation, Isolation, Start, TopicScan, TopicSpec};
use std::{collections::BTreeMap, process, sync::atomic::AtomicBool, time::Duration};

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
