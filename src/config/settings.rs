//! Settings as meant: typed and checked. See `docs/configuration.md` for what each is for; units are in the types.

use crate::{
    checkpoint::Location,
    format::{Format, registry::RegistrySettings},
    kafka::{Connection, Start},
    protocol::JobName,
    state::Backend,
};
use std::{
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

/// All settings of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[job]`
    pub job: Job,
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[source]`
    pub source: Source,
    /// `[checkpoint]`
    pub checkpoint: Checkpoint,
    /// `[state]`
    pub state: State,
    /// `[restart]`
    pub restart: Restart,
    /// `[orders]`
    pub orders: Orders,
    /// `[topics]`
    pub topics: Topics,
    /// `[format]`
    pub format: Formats,
    /// `[registry]`; none without an address, and then no topic has the format avro.
    pub registry: Option<RegistrySettings>,
    /// `[http]`
    pub http: Http,
    /// `[log]`
    pub log: Log,
}

/// `[job]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Identity of the job.
    pub name: JobName,
    /// Which built-in job runs.
    pub kind: JobKind,
    /// Tasks per stage; 0 as written has become the number of cores here, and it is at most `max_parallelism`.
    pub parallelism: NonZeroUsize,
    /// Number of key groups.
    pub max_parallelism: NonZeroU16,
    /// A task that is busy with one thing for longer has stalled; none: it may take as long as it takes.
    pub task_timeout: Option<Duration>,
}

/// The built-in jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// The order job.
    Orders,
}

/// `[kafka]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// Brokers, and the user's librdkafka properties; none that sluicegate sets itself.
    pub connection: Connection,
    /// Consumer group of the offsets.
    pub group: String,
    /// `transaction.timeout.ms`.
    pub transaction_timeout: Duration,
    /// Transactional producers taken in turn; 0 as written has become the derived number here.
    pub producers: usize,
    /// How long a broker that does not answer is tried.
    pub connect_timeout: Duration,
}

/// `[source]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Input topic.
    pub topic: String,
    /// Where a job without a checkpoint begins.
    pub start: Start,
    /// A partition's watermark is its largest timestamp minus this.
    pub max_out_of_orderness: Duration,
    /// When an empty partition stops holding back the watermark; none: never.
    pub idle_timeout: Option<Duration>,
    /// How often new partitions are looked for; none: never.
    pub partition_discovery_interval: Option<Duration>,
    /// Event times that are taken, in milliseconds since 1970.
    pub timestamps: RangeInclusive<i64>,
    /// Largest input record that is processed, in bytes.
    pub max_record_bytes: usize,
    /// Longest identifier and category, in bytes.
    pub max_id_bytes: usize,
}

/// `[checkpoint]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// From start to start.
    pub interval: Duration,
    /// From end to start, at least.
    pub min_pause: Duration,
    /// Longest duration of one.
    pub timeout: Duration,
    /// Failed ones in a row that do not end the attempt.
    pub tolerable_failures: u32,
    /// Completed ones that are kept.
    pub retained: NonZeroU32,
    /// Where they are kept. The job's name is not part of it.
    pub storage: Location,
}

/// `[state]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Working copy of the state, absolute.
    pub dir: PathBuf,
    /// Memory for state, in bytes.
    pub memory: u64,
    /// Where state is while the job runs.
    pub backend: Backend,
}

/// `[restart]`
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Restart {
    /// A failed attempt ends the program.
    None,
    /// Another attempt after a pause.
    FixedDelay {
        /// Restarts; the second completed checkpoint of an attempt sets the count back to zero.
        attempts: u32,
        /// The pause.
        delay: Duration,
    },
    /// Any number of attempts, after pauses that grow.
    ExponentialDelay {
        /// The first pause.
        initial_delay: Duration,
        /// The longest.
        max_delay: Duration,
        /// How many times as long each pause is as the one before.
        multiplier: f64,
        /// Time without a failure after which pauses begin anew.
        reset_threshold: Duration,
        /// Part by which a pause is longer or shorter at random.
        jitter: f64,
    },
    /// Other attempts as long as failures are rare.
    FailureRate {
        /// Failures within the interval that are followed by another attempt.
        failures: u32,
        /// What they are counted over.
        interval: Duration,
        /// The pause.
        delay: Duration,
    },
}

/// `[orders]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// What makes an event a duplicate.
    pub identity: Identity,
    /// How long an event is remembered, in event time.
    pub deduplication_ttl: Duration,
    /// How long an order is known after its youngest event, in event time; not shorter than `deduplication_ttl`.
    pub tracking_ttl: Duration,
    /// Length of the tumbling windows.
    pub window: Duration,
    /// How long a window is kept after its end, in event time.
    pub allowed_lateness: Duration,
    /// Stock of a product before its first order.
    pub initial_stock: i64,
    /// Stock below which an alert is sent.
    pub low_stock_threshold: i64,
    /// When an alert is sent.
    pub alert: Alert,
    /// Orders per batch record.
    pub batch_size: NonZeroUsize,
}

/// What makes an event a duplicate of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The same order and the same event type.
    Event,
    /// The same order: only its first event is accepted.
    Order,
}

/// When a low-stock alert is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// When a change takes the stock from the threshold or above to below it.
    Crossing,
    /// At every change that leaves it below.
    Every,
}

/// `[topics]`: full names of the output topics, the prefix already in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Orders after each accepted event.
    pub order_status: String,
    /// Windows.
    pub purchase_stats: String,
    /// Orders too late for their window.
    pub late_orders: String,
    /// Changes of stock.
    pub inventory_levels: String,
    /// Products that run out.
    pub low_stock_alerts: String,
    /// Batches of accepted events.
    pub order_batches: String,
    /// Records that could not be processed.
    pub dead_letters: String,
}

impl Topics {
    /// All output topics.
    #[must_use]
    pub fn all(&self) -> [&str; 7] {
        [
            &self.order_status,
            &self.purchase_stats,
            &self.late_orders,
            &self.inventory_levels,
            &self.low_stock_alerts,
            &self.order_batches,
            &self.dead_letters,
        ]
    }
}

/// `[format]`: of each topic. Dead letters hold what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formats {
    /// Input.
    pub orders: Format,
    /// Orders after each accepted event.
    pub order_status: Format,
    /// Windows.
    pub purchase_stats: Format,
    /// Orders too late for their window.
    pub late_orders: Format,
    /// Changes of stock.
    pub inventory_levels: Format,
    /// Products that run out.
    pub low_stock_alerts: Format,
    /// Batches of accepted events.
    pub order_batches: Format,
    /// Folder of producers' schemas for single-object encoding.
    pub schemas: Option<PathBuf>,
    /// File with the schema that the input is read as.
    pub reader_schema: Option<PathBuf>,
}

impl Formats {
    /// Topics and formats of the outputs, by the names of the settings.
    #[must_use]
    pub fn outputs(&self) -> [(&'static str, Format); 6] {
        [
            ("order_status", self.order_status),
            ("purchase_stats", self.purchase_stats),
            ("late_orders", self.late_orders),
            ("inventory_levels", self.inventory_levels),
            ("low_stock_alerts", self.low_stock_alerts),
            ("order_batches", self.order_batches),
        ]
    }

    /// The first topic whose schemas are in a registry.
    pub(super) fn first_with_registry(&self) -> Option<&'static str> {
        let all = [("orders", self.orders)].into_iter().chain(self.outputs());
        all.into_iter().find(|(_, format)| *format == Format::Avro).map(|(topic, _)| topic)
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `host:port`; none: no HTTP.
    pub listen: Option<String>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives of `tracing_subscriber::EnvFilter`.
    pub level: String,
    /// How it is written.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
