//! All metrics of a process, in one place and without globals.

use super::{
    process,
    registry::{Building, Counter, Gauge, Labelled, Listed, Seconds},
    state_metrics::StateMetrics,
};
use crate::checkpoint::Holdings;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, TypedMetric, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    /// Reading from Kafka.
    pub source: SourceMetrics,
    /// Writing to Kafka.
    pub sink: SinkMetrics,
    /// What became of the events.
    pub events: EventMetrics,
    /// Checkpoints.
    pub checkpoints: CheckpointMetrics,
    /// Threads.
    pub tasks: TaskMetrics,
    /// State.
    pub state: StateMetrics,
    /// Attempts and failures.
    pub attempts: AttemptMetrics,
    registry: Registry,
    listing: Vec<Listed>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut building = Building::new();
        let source = SourceMetrics::new(&mut building);
        let sink = SinkMetrics::new(&mut building);
        let events = EventMetrics::new(&mut building);
        let checkpoints = CheckpointMetrics::new(&mut building);
        let tasks = TaskMetrics::new(&mut building);
        let state = StateMetrics::new(&mut building);
        let attempts = AttemptMetrics::new(&mut building);
        process::list(&mut building);
        let Building { mut registry, listing } = building;
        registry.register_collector(Box::new(Computed { watermark: Arc::clone(&source.watermark) }));
        Self { source, sink, events, checkpoints, tasks, state, attempts, registry, listing }
    }
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The metrics in OpenMetrics text, which Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.state.look_at_the_disk();
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// Every metric that [`encode`](Self::encode) can show.
    #[must_use]
    pub fn listing(&self) -> &[Listed] {
        &self.listing
    }
}

/// What is to stay below 50 ms is told in small steps.
fn stalls() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0, 30.0,
    ])
}

/// Buckets from 1 ms to the default checkpoint timeout.
fn durations() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0])
}

/// Reading from Kafka.
#[derive(Debug)]
pub struct SourceMetrics {
    records: Labelled<Counter>,
    bytes: Labelled<Counter>,
    lag: Labelled<Gauge>,
    held: Labelled<Gauge>,
    /// Milliseconds since 1970; `i64::MIN` for none.
    watermark: Arc<AtomicI64>,
}

impl SourceMetrics {
    fn new(b: &mut Building) -> Self {
        let topic = &["topic"];
        let metrics = Self {
            records: b.labelled(
                "records_in",
                topic,
                "Records read, those read again after a recovery included.",
                Counter::default,
            ),
            bytes: b.labelled("in_bytes", topic, "Bytes of keys and values read.", Counter::default),
            lag: b.labelled(
                "lag_records",
                &["topic", "partition"],
                "Records between the position of the job and the end of the partition.",
                Gauge::default,
            ),
            held: b.labelled(
                "held_records",
                topic,
                "Records that were read and wait for the schema registry to say what their schema is; nothing behind them is read meanwhile.",
                Gauge::default,
            ),
            watermark: Arc::new(AtomicI64::new(i64::MIN)),
        };
        b.computed("sluicegate_watermark_timestamp_seconds", "gauge", "The job's watermark; absent before the first.");
        b.computed("sluicegate_watermark_lag_seconds", "gauge", "Clock minus watermark, at the time of the scrape.");
        metrics
    }

    /// Records read from `topic`.
    pub fn records(&self, topic: &str) -> Counter {
        self.records.with(&[topic])
    }

    /// Bytes of keys and values read from `topic`.
    pub fn bytes(&self, topic: &str) -> Counter {
        self.bytes.with(&[topic])
    }

    /// Records that are still to be read in a partition.
    pub fn lag(&self, topic: &str, partition: i32) -> Gauge {
        self.lag.with(&[topic, &partition.to_string()])
    }

    /// Records of `topic` that wait for their schema.
    pub fn held(&self, topic: &str) -> Gauge {
        self.held.with(&[topic])
    }

    /// Sets the job's watermark, in milliseconds since 1970.
    pub fn set_watermark(&self, milliseconds: i64) {
        self.watermark.store(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn watermark(&self) -> Option<i64> {
        some_watermark(&self.watermark)
    }

    pub(super) fn total_records(&self) -> u64 {
        self.records.all().iter().map(|(_, c)| c.get()).sum()
    }

    pub(super) fn lags(&self) -> Vec<(Vec<String>, Gauge)> {
        self.lag.all()
    }
}

/// `i64::MIN` (nothing seen) and `i64::MAX` (drained) are no times.
fn some_watermark(watermark: &AtomicI64) -> Option<i64> {
    Some(watermark.load(Ordering::Relaxed)).filter(|w| *w != i64::MIN && *w != i64::MAX)
}

/// Writing to Kafka.
#[derive(Debug)]
pub struct SinkMetrics {
    records: Labelled<Counter>,
    bytes: Labelled<Counter>,
}

impl SinkMetrics {
    fn new(b: &mut Building) -> Self {
        let topic = &["topic"];
        Self {
            records: b.labelled(
                "records_out",
                topic,
                "Records sent; they are visible to readers once their checkpoint is committed, or never.",
                Counter::default,
            ),
            bytes: b.labelled("out_bytes", topic, "Bytes of keys and values sent.", Counter::default),
        }
    }

    /// Records sent to `topic`.
    pub fn records(&self, topic: &str) -> Counter {
        self.records.with(&[topic])
    }

    /// Bytes of keys and values sent to `topic`.
    pub fn bytes(&self, topic: &str) -> Counter {
        self.bytes.with(&[topic])
    }

    pub(super) fn by_topic(&self) -> Vec<(Vec<String>, Counter)> {
        self.records.all()
    }
}

/// What became of the events.
#[derive(Debug)]
pub struct EventMetrics {
    /// Events that passed de-duplication.
    pub accepted: Counter,
    /// Copies that were dropped.
    pub duplicates: Counter,
    /// Events whose window was already over.
    pub late: Counter,
    dead: Labelled<Counter>,
}

impl EventMetrics {
    fn new(b: &mut Building) -> Self {
        Self {
            accepted: b.plain("events_accepted", "Events that were processed after de-duplication.", Counter::default()),
            duplicates: b.plain("events_duplicate", "Copies of earlier events, dropped.", Counter::default()),
            late: b.plain("events_late", "Events whose window was already over, sent to late-orders.", Counter::default()),
            dead: b.labelled(
                "dead_letters",
                &["error"],
                "Records that could not be processed, by class of error.",
                Counter::default,
            ),
        }
    }

    /// Records that could not be processed for this class of error.
    pub fn dead_letters(&self, error_class: &str) -> Counter {
        self.dead.with(&[error_class])
    }

    pub(super) fn total_dead_letters(&self) -> u64 {
        self.dead.all().iter().map(|(_, c)| c.get()).sum()
    }
}

/// Checkpoints. A completed one is told whole, with a [`CheckpointReport`](super::CheckpointReport).
#[derive(Debug)]
pub struct CheckpointMetrics {
    pub(super) results: Labelled<Counter>,
    pub(super) duration: Histogram,
    pub(super) phases: Labelled<Histogram>,
    pub(super) last_number: Gauge,
    pub(super) last_duration: prometheus_client::metrics::gauge::Gauge<f64, std::sync::atomic::AtomicU64>,
    pub(super) last_size: Gauge,
    pub(super) last_new: Gauge,
    pub(super) last_time: prometheus_client::metrics::gauge::Gauge<f64, std::sync::atomic::AtomicU64>,
    stored: Labelled<Gauge>,
    stall: Labelled<Histogram>,
}

impl CheckpointMetrics {
    fn new(b: &mut Building) -> Self {
        Self {
            results: b.labelled(
                "checkpoints",
                &["result"],
                "Checkpoints that were committed (completed) or given up (failed).",
                Counter::default,
            ),
            duration: b.plain("checkpoint_duration_seconds", "From the trigger of a checkpoint to its commit.", durations()),
            phases: b.labelled(
                "checkpoint_phase_duration_seconds",
                &["phase"],
                "Parts of a checkpoint: align, flush, state_write, upload, manifest, commit. Some run beside each other.",
                durations,
            ),
            last_number: b.plain("checkpoint_last_number", "Number of the last committed checkpoint.", Gauge::default()),
            last_duration: b.plain(
                "checkpoint_last_duration_seconds",
                "Duration of the last committed checkpoint.",
                Default::default(),
            ),
            last_size: b.plain(
                "checkpoint_last_size_bytes",
                "Size of the state in the last committed checkpoint.",
                Gauge::default(),
            ),
            last_new: b.plain("checkpoint_last_new_bytes", "What the last committed checkpoint had to upload.", Gauge::default()),
            last_time: b.plain(
                "checkpoint_last_commit_timestamp_seconds",
                "When the last checkpoint was committed.",
                Default::default(),
            ),
            stored: b.labelled(
                "checkpoint_storage_bytes",
                &["part"],
                "Files of the job in the checkpoint storage: referenced (by the checkpoints that are kept) and unreferenced (they go after a later commit). Savepoints come on top.",
                Gauge::default,
            ),
            stall: b.labelled(
                "barrier_stall_seconds",
                &["stage"],
                "How long a task could not process records because of a barrier.",
                stalls,
            ),
        }
    }

    /// A checkpoint that was given up.
    pub fn failed(&self) {
        self.results.with(&["failed"]).inc();
    }

    /// What is in the checkpoint storage.
    pub fn stored(&self, holdings: Holdings) {
        for (part, amount) in [("referenced", holdings.referenced), ("unreferenced", holdings.unreferenced)] {
            self.stored.with(&[part]).set(i64::try_from(amount.bytes).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn stored_parts(&self) -> Vec<(Vec<String>, Gauge)> {
        self.stored.all()
    }

    /// How long the tasks of a stage stood still for barriers, in seconds.
    pub fn stall(&self, stage: &str) -> Histogram {
        self.stall.with(&[stage])
    }
}

/// Threads: how they spend their time.
#[derive(Debug)]
pub struct TaskMetrics {
    time: Labelled<Seconds>,
}

/// How a task spends its time. Each is a sum; their rates add up to 1.
#[derive(Debug, Clone)]
pub struct TaskTime {
    busy: Seconds,
    backpressured: Seconds,
    idle: Seconds,
}

impl TaskTime {
    /// Time spent on records.
    pub fn busy(&self, duration: Duration) {
        self.busy.inc_by(duration.as_secs_f64());
    }

    /// Time spent on waiting for room further down.
    pub fn backpressured(&self, duration: Duration) {
        self.backpressured.inc_by(duration.as_secs_f64());
    }

    /// Time spent on waiting for input.
    pub fn idle(&self, duration: Duration) {
        self.idle.inc_by(duration.as_secs_f64());
    }
}

impl TaskMetrics {
    fn new(b: &mut Building) -> Self {
        let about = "Time of a task by what it did: busy, backpressured (no room further down) or idle (no input); the rate is the share.";
        Self { time: b.labelled("task_time_seconds", &["stage", "task", "state"], about, Seconds::default) }
    }

    /// The time of task number `task` of a stage.
    pub fn time(&self, stage: &str, task: usize) -> TaskTime {
        let task = task.to_string();
        let of = |state| self.time.with(&[stage, &task, state]);
        TaskTime { busy: of("busy"), backpressured: of("backpressured"), idle: of("idle") }
    }

    pub(super) fn all(&self) -> Vec<(Vec<String>, Seconds)> {
        self.time.all()
    }
}

/// Attempts and failures.
#[derive(Debug)]
pub struct AttemptMetrics {
    /// Attempts after the first.
    pub restarts: Counter,
    failures: Labelled<Counter>,
    /// From the start, or from the failure of the attempt before, to the first commit.
    pub recovery: Histogram,
    /// Set from the health at each scrape, so that the two cannot disagree.
    pub(super) running: Gauge,
}

impl AttemptMetrics {
    fn new(b: &mut Building) -> Self {
        Self {
            restarts: b.plain("restarts", "Attempts after the first.", Counter::default()),
            failures: b.labelled("failures", &["kind"], "Failed attempts, by kind of failure.", Counter::default),
            recovery: b.plain(
                "recovery_duration_seconds",
                "From the start, or from the failure of the attempt before, to the first commit.",
                durations(),
            ),
            running: b.plain("running", "1 while the job runs, 0 while it starts, recovers, waits or stops.", Gauge::default()),
        }
    }

    /// Failures of one kind: `transient`, `attempt`, `fenced`, `refused`, `fatal`.
    pub fn failures(&self, kind: &str) -> Counter {
        self.failures.with(&[kind])
    }

    pub(super) fn total_failures(&self) -> u64 {
        self.failures.all().iter().map(|(_, c)| c.get()).sum()
    }
}

/// What is computed when it is asked for.
struct Computed {
    watermark: Arc<AtomicI64>,
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Computed")
    }
}

impl Collector for Computed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(watermark) = some_watermark(&self.watermark) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let at = watermark as f64 / 1000.0;
            gauge(&mut encoder, "sluicegate_watermark_timestamp_seconds", "The job's watermark.", at)?;
            let about = "Clock minus watermark, at the time of the scrape.";
            gauge(&mut encoder, "sluicegate_watermark_lag_seconds", about, now - at)?;
        }
        process::encode(&mut encoder)
    }
}

pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), fmt::Error> {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, <ConstGauge as TypedMetric>::TYPE)?)
}

pub(super) fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), fmt::Error> {
    let metric = prometheus_client::metrics::counter::ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}
