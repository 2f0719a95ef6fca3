//! What figures are worthless without: the machine.

use crate::broker::{Broker, VERSION};
use std::fs;

/// Processor, cores, memory and broker, in one sentence.
#[must_use]
pub fn describe(broker: &Broker) -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let memory = memory.map_or_else(String::new, |kilobytes| format!(", {} GiB", (kilobytes + (1 << 19)) >> 20));
    let kafka = match broker.nodes() {
        0 => "a Kafka elsewhere".to_owned(),
        1 => format!("Apache Kafka {VERSION} (one broker, heap 1 GiB) on the same cores"),
        nodes => format!("Apache Kafka {VERSION} ({nodes} brokers) on the same cores"),
    };
    format!("{cores} cores ({processor}){memory}, {kafka}")
}

/// The value of the first line `name : value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}
