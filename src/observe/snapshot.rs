//! The figures of a moment as plain data, for JSON.

use super::{Metrics, process, registry::Gauge};
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of a moment. Counts are since the process began.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Records read.
    pub records_in: u64,
    /// Records sent, by topic.
    pub records_out: BTreeMap<String, u64>,
    /// Events processed.
    pub accepted: u64,
    /// Copies dropped.
    pub duplicates: u64,
    /// Events too late for their window.
    pub late: u64,
    /// Records that could not be processed.
    pub dead_letters: u64,
    /// Records still to be read, by `topic-partition`.
    pub lag: BTreeMap<String, i64>,
    /// Milliseconds since 1970; none before the first.
    pub watermark: Option<i64>,
    /// The last committed checkpoint; none before the first.
    pub checkpoint: Option<CheckpointSnapshot>,
    /// Checkpoints that were given up.
    pub failed_checkpoints: u64,
    /// Attempts after the first.
    pub restarts: u64,
    /// Failed attempts.
    pub failures: u64,
    /// Memory for state by part, in bytes.
    pub state_memory: BTreeMap<String, i64>,
    /// Disk that local state takes by part, in bytes.
    pub state_disk: BTreeMap<String, i64>,
    /// Files of the job in the checkpoint storage by part, in bytes.
    pub checkpoint_storage: BTreeMap<String, i64>,
    /// How each task spent its time so far.
    pub tasks: Vec<TaskSnapshot>,
    /// Resident memory of the process, in bytes, where the system tells.
    pub resident_bytes: Option<u64>,
    /// CPU time of the process, where the system tells.
    pub cpu_seconds: Option<f64>,
}

/// The last committed checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointSnapshot {
    /// Its number.
    pub number: i64,
    /// From trigger to commit, in seconds.
    pub duration_seconds: f64,
    /// Size of the state, in bytes.
    pub size_bytes: i64,
    /// What was uploaded, in bytes.
    pub new_bytes: i64,
}

/// How a task spent its time, in seconds since the process began.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct TaskSnapshot {
    /// Stage of the job.
    pub stage: String,
    /// Number within the stage.
    pub task: String,
    /// On records.
    pub busy_seconds: f64,
    /// On waiting for room further down.
    pub backpressured_seconds: f64,
    /// On waiting for input.
    pub idle_seconds: f64,
}

impl Metrics {
    /// The figures of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.state.look_at_the_disk();
        let by_part = |parts: Vec<(Vec<String>, Gauge)>| -> BTreeMap<String, i64> {
            parts.into_iter().map(|(part, bytes)| (part.join("-"), bytes.get())).collect()
        };
        let checkpoints = &self.checkpoints;
        let checkpoint = (checkpoints.results.with(&["completed"]).get() > 0).then(|| CheckpointSnapshot {
            number: checkpoints.last_number.get(),
            duration_seconds: checkpoints.last_duration.get(),
            size_bytes: checkpoints.last_size.get(),
            new_bytes: checkpoints.last_new.get(),
        });
        Snapshot {
            records_in: self.source.total_records(),
            records_out: self.sink.by_topic().into_iter().map(|(topic, n)| (topic.join("-"), n.get())).collect(),
            accepted: self.events.accepted.get(),
            duplicates: self.events.duplicates.get(),
            late: self.events.late.get(),
            dead_letters: self.events.total_dead_letters(),
            lag: self.source.lags().into_iter().map(|(partition, lag)| (partition.join("-"), lag.get())).collect(),
            watermark: self.source.watermark(),
            checkpoint,
            failed_checkpoints: checkpoints.results.with(&["failed"]).get(),
            restarts: self.attempts.restarts.get(),
            failures: self.attempts.total_failures(),
            state_memory: by_part(self.state.memory_parts()),
            state_disk: by_part(self.state.disk_parts()),
            checkpoint_storage: by_part(checkpoints.stored_parts()),
            tasks: self.task_times(),
            resident_bytes: process::resident_bytes(),
            cpu_seconds: process::cpu_seconds(),
        }
    }

    fn task_times(&self) -> Vec<TaskSnapshot> {
        let mut tasks: BTreeMap<(String, String), TaskSnapshot> = BTreeMap::new();
        for (labels, seconds) in self.tasks.all() {
            let [stage, task, state] = labels.as_slice() else { continue };
            let entry = tasks.entry((stage.clone(), task.clone())).or_default();
            entry.stage.clone_from(stage);
            entry.task.clone_from(task);
            match state.as_str() {
                "busy" => entry.busy_seconds = seconds.get(),
                "backpressured" => entry.backpressured_seconds = seconds.get(),
                _ => entry.idle_seconds = seconds.get(),
            }
        }
        tasks.into_values().collect()
    }
}
