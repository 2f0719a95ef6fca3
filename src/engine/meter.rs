//! Counters of one task, cheap enough to be used for each batch.

use super::output::OutputBatch;
use crate::observe::{Metrics, TaskTime};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A counter of an operator.
#[derive(Debug, Clone)]
pub struct OperatorCounter(prometheus_client::metrics::counter::Counter);

impl OperatorCounter {
    /// Counts `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }
}

/// What a task reports of itself.
#[derive(Debug, Clone)]
pub struct Meter {
    metrics: Arc<Metrics>,
    stage: Arc<str>,
    time: TaskTime,
}

impl Meter {
    /// The counters of task number `subtask` of `stage`.
    pub fn new(metrics: &Arc<Metrics>, stage: &str, subtask: usize) -> Self {
        Self { metrics: Arc::clone(metrics), stage: stage.into(), time: metrics.tasks.time(stage, subtask) }
    }

    /// Time without input.
    pub fn idle(&self, time: Duration) {
        self.time.idle(time);
    }

    /// Time without room further down.
    pub fn blocked(&self, time: Duration) {
        self.time.backpressured(time);
    }

    /// Time at work.
    pub fn busy(&self, time: Duration) {
        self.time.busy(time);
    }

    /// A barrier kept the task from work for so long.
    pub fn stall(&self, time: Duration) {
        self.metrics.checkpoints.stall(&self.stage).observe(time.as_secs_f64());
    }

    /// Event time of a source.
    pub fn watermark(&self, milliseconds: i64) {
        self.metrics.source.set_watermark(milliseconds);
    }

    /// Records and bytes that a source read.
    pub fn read(&self, topic: &str, records: u64, bytes: u64) {
        self.metrics.source.records(topic).inc_by(records);
        self.metrics.source.bytes(topic).inc_by(bytes);
    }

    /// How far a source is behind the end of each partition.
    pub fn lag(&self, topic: &str, lag: &[(i32, i64)]) {
        for (partition, records) in lag {
            self.metrics.source.lag(topic, *partition).set(*records);
        }
    }

    /// So many more records (or less) that a source holds back.
    pub fn held(&self, topic: &str, records: i64) {
        self.metrics.source.held(topic).inc_by(records);
    }

    /// Records that a source could not decode.
    pub fn dead_letter(&self, class: &str) {
        self.metrics.events.dead_letters(class).inc();
    }

    /// Records and bytes written, by topic.
    pub fn written(&self, batch: &OutputBatch, topics: &[String]) {
        let mut sums: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
        for record in &batch.records {
            let (records, bytes) = sums.entry(record.topic).or_default();
            *records += 1;
            *bytes += batch.value(record).map_or(0, <[u8]>::len) as u64;
        }
        for (topic, (records, bytes)) in sums {
            let topic = topics.get(usize::from(topic)).map_or("", String::as_str);
            self.metrics.sink.records(topic).inc_by(records);
            self.metrics.sink.bytes(topic).inc_by(bytes);
        }
    }

    /// A counter of an operator.
    pub fn counter(&self, name: OperatorEvents) -> OperatorCounter {
        let events = &self.metrics.events;
        OperatorCounter(match name {
            OperatorEvents::Accepted => events.accepted.clone(),
            OperatorEvents::Duplicates => events.duplicates.clone(),
            OperatorEvents::Late => events.late.clone(),
        })
    }
}

/// What operators count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorEvents {
    /// Records that passed a check.
    Accepted,
    /// Records that came before.
    Duplicates,
    /// Records whose window is gone.
    Late,
}
