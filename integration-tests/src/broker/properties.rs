//! The server properties of the brokers that are started here.

use super::Options;
use std::collections::BTreeMap;

/// What all ways to run a broker share. Realistic where exactly-once depends on it (transaction limits, clean-up intervals,
/// retention checks keep Kafka's defaults); small where only start-up time does.
pub(super) fn common(options: &Options) -> BTreeMap<String, String> {
    let brokers = options.brokers;
    let (replication, in_sync) = if brokers >= 3 { (3, 2) } else { (1, 1) };
    let defaults = [
        ("process.roles", "broker,controller".to_owned()),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        // A topic that is missing is an error to be shown, not something to be made up.
        ("auto.create.topics.enable", "false".to_owned()),
        ("default.replication.factor", replication.to_string()),
        ("min.insync.replicas", in_sync.to_string()),
        ("offsets.topic.replication.factor", replication.to_string()),
        ("transaction.state.log.replication.factor", replication.to_string()),
        ("transaction.state.log.min.isr", in_sync.to_string()),
        ("share.coordinator.state.topic.replication.factor", replication.to_string()),
        ("share.coordinator.state.topic.min.isr", in_sync.to_string()),
        // 50 partitions each by default: 3 to 4 s at the first use. One coordinator per broker is what a test can tell apart.
        ("offsets.topic.num.partitions", brokers.to_string()),
        ("transaction.state.log.num.partitions", brokers.to_string()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        // Event times of the loads lie months back, and may be used as record timestamps: time-based retention would take them.
        ("log.retention.ms", "-1".to_owned()),
    ];
    let mut properties: BTreeMap<_, _> = defaults.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    properties.extend(options.properties.clone());
    properties
}

/// As a Java properties file.
pub(super) fn file(properties: &BTreeMap<String, String>) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n");
    properties.iter().map(|(name, value)| format!("{name}={}\n", escaped(value))).collect()
}
