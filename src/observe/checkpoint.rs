//! A completed checkpoint: what it took, in the metrics and in one line of the log.

use super::Metrics;
use crate::protocol::{CheckpointId, Positions};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Durations of the parts of a checkpoint. Some run beside each other: they do not add up to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// From the trigger until every task had all its barriers.
    pub align: Duration,
    /// Until the broker had confirmed every record of the transaction.
    pub flush: Duration,
    /// Until the frozen state was in the local store and its snapshot made.
    pub state_write: Duration,
    /// Until all new files were in the storage.
    pub upload: Duration,
    /// Until the manifest was in the storage.
    pub manifest: Duration,
    /// Sending offsets and committing.
    pub commit: Duration,
}

impl Phases {
    /// The parts with their names.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Duration); 6] {
        [
            ("align", self.align),
            ("flush", self.flush),
            ("state_write", self.state_write),
            ("upload", self.upload),
            ("manifest", self.manifest),
            ("commit", self.commit),
        ]
    }
}

/// A checkpoint that Kafka has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// From trigger to commit.
    pub duration: Duration,
    /// Parts of the duration.
    pub phases: Phases,
    /// Size of the whole state that it names, in bytes.
    pub size_bytes: u64,
    /// What it had to upload, in bytes.
    pub new_bytes: u64,
    /// Input records since the checkpoint before.
    pub records_in: u64,
    /// Output records since the checkpoint before.
    pub records_out: u64,
    /// Committed offsets.
    pub offsets: Positions,
}

impl CheckpointReport {
    /// Records it in the metrics and logs its line.
    pub fn publish(&self, metrics: &Metrics) {
        let to = &metrics.checkpoints;
        to.results.with(&["completed"]).inc();
        to.duration.observe(self.duration.as_secs_f64());
        for (phase, duration) in self.phases.named() {
            to.phases.with(&[phase]).observe(duration.as_secs_f64());
        }
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        to.last_number.set(signed(self.checkpoint.0));
        to.last_duration.set(self.duration.as_secs_f64());
        to.last_size.set(signed(self.size_bytes));
        to.last_new.set(signed(self.new_bytes));
        to.last_time.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            checkpoint = self.checkpoint.0,
            duration_ms = ms(self.duration),
            align_ms = ms(self.phases.align),
            flush_ms = ms(self.phases.flush),
            state_write_ms = ms(self.phases.state_write),
            upload_ms = ms(self.phases.upload),
            manifest_ms = ms(self.phases.manifest),
            commit_ms = ms(self.phases.commit),
            bytes = self.size_bytes,
            new_bytes = self.new_bytes,
            records_in = self.records_in,
            records_out = self.records_out,
            offsets = %show_offsets(&self.offsets),
            "checkpoint committed"
        );
    }
}

/// `orders: 0=120 1=80`: short, because it is in every line.
fn show_offsets(offsets: &Positions) -> String {
    let mut text = String::new();
    let mut topic = None;
    for (partition, offset) in offsets {
        if topic != Some(&partition.topic) {
            text.push_str(if text.is_empty() { "" } else { "; " });
            text.push_str(&partition.topic);
            text.push(':');
            topic = Some(&partition.topic);
        }
        text.push_str(&format!(" {}={offset}", partition.partition));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TopicPartition;

    #[test]
    fn offsets_are_grouped_by_topic() {
        let offsets = [("b", 0, 7), ("a", 1, 80), ("a", 0, 120)]
            .map(|(topic, partition, offset)| (TopicPartition::new(topic, partition), offset));
        assert_eq!(show_offsets(&offsets.into()), "a: 0=120 1=80; b: 0=7");
    }
}
