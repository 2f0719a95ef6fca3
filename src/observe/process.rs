//! The process itself, under the names that Prometheus' own clients use.

use super::{
    metrics::{counter, gauge},
    registry::Building,
};
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

const MEMORY: &str = "Memory of the process that is resident.";
const CPU: &str = "CPU time of the process, user and system.";
const FILES: &str = "Open file descriptors of the process.";
/// Unit of times in /proc/self/stat: USER_HZ, which Linux fixes at 100 for all user interfaces (man 5 proc, man 7 time).
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn list(building: &mut Building) {
    building.computed("process_resident_memory_bytes", "gauge", MEMORY);
    building.computed("process_cpu_seconds_total", "counter", CPU);
    building.computed("process_open_fds", "gauge", FILES);
}

/// What the system tells; nothing where there is no /proc.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    if let Some(bytes) = resident_bytes() {
        gauge(encoder, "process_resident_memory_bytes", MEMORY, bytes as f64)?;
    }
    if let Some(seconds) = cpu_seconds() {
        counter(encoder, "process_cpu_seconds", CPU, seconds)?;
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge(encoder, "process_open_fds", FILES, files.count() as f64)?;
    }
    Ok(())
}

/// Resident memory of this process, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// CPU time of this process.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((times.next()? + times.next()?) / TICKS_PER_SECOND)
}
