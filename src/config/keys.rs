//! The one list of settings: name, default, what is allowed, what it is for.

/// One setting, as `docs/configuration.md` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// The default, as one would write it (without TOML's quotes).
    pub default: &'static str,
    /// What may be written.
    pub allowed: &'static str,
    /// What it is for.
    pub about: &'static str,
}

const fn key(name: &'static str, default: &'static str, allowed: &'static str, about: &'static str) -> Key {
    Key { name, default, allowed, about }
}

/// All settings, section by section. `[kafka.properties]` is beside it: it takes any librdkafka property that is not ours.
pub const KEYS: &[Key] = &[
    key(
        "job.name",
        "orders",
        "1 to 24 of a-z, 0-9, - and _",
        "Identity of the job: its transactional ids and its folder in the checkpoint storage carry it. Two running jobs never share one.",
    ),
    key("job.kind", "orders", "orders", "Which of the built-in jobs runs."),
    key(
        "job.parallelism",
        "0",
        "0 to job.max_parallelism",
        "Tasks per stage; 0 means one for each core. May change between runs.",
    ),
    key(
        "job.max_parallelism",
        "128",
        "1 to 32768",
        "Number of key groups that the state is divided into. Fixed for the life of a job.",
    ),
    key("kafka.bootstrap_servers", "localhost:9092", "host:port, several with commas", "Brokers to begin with."),
    key(
        "kafka.group",
        "sluicegate-<job.name>",
        "1 to 200 of a-z, A-Z, 0-9, ., - and _",
        "Consumer group that the input offsets, and with them the pointer to the checkpoint, are committed under.",
    ),
    key(
        "kafka.transaction_timeout",
        "15min",
        "1s to 15min",
        "The broker aborts a transaction that is open for longer. At most the broker's transaction.max.timeout.ms; at least checkpoint.interval + checkpoint.min_pause + checkpoint.timeout + 2s.",
    ),
    key(
        "kafka.producers",
        "0",
        "0, or 2 to 16",
        "Transactional producers taken in turn; 0 means as many as checkpoint.interval needs (500ms / interval + 2, at most 16).",
    ),
    key(
        "kafka.connect_timeout",
        "1min",
        "1s to 1h",
        "How long a command tries to reach a broker before it gives up with exit code 1.",
    ),
    key("source.topic", "orders", "a topic name", "Input topic."),
    key(
        "source.start",
        "earliest",
        "earliest, latest, { timestamp = \"2026-01-01T00:00:00Z\" } or { offsets = { 0 = 120, 1 = 80 } }",
        "Where a job without a checkpoint begins: resolved to offsets once, at its first start. Partitions that offsets does not name begin at the earliest record.",
    ),
    key(
        "source.max_out_of_orderness",
        "5s",
        "0s to 1d",
        "The watermark of a partition is its largest timestamp minus this: how much later than a newer event an older one may come and still be on time.",
    ),
    key(
        "source.idle_timeout",
        "30s",
        "0s to 1d",
        "A partition with nothing to read for this long no longer holds back the watermark; 0s means that it always does.",
    ),
    key(
        "source.partition_discovery_interval",
        "5min",
        "0s, or 1s to 1d",
        "How often new partitions of the input topic are looked for; 0s means never.",
    ),
    key(
        "source.min_timestamp",
        "2000-01-01T00:00:00Z",
        "a time in UTC, or milliseconds since 1970",
        "A record with an earlier event time goes to the dead letters.",
    ),
    key(
        "source.max_timestamp",
        "2100-01-01T00:00:00Z",
        "a time in UTC, or milliseconds since 1970",
        "A record with a later event time goes to the dead letters: a single one would end all windows.",
    ),
    key(
        "source.max_record_bytes",
        "900KiB",
        "1KiB to 64MiB",
        "A larger input record goes to the dead letters. With 16KiB for its headers it must fit into the property message.max.bytes (1200000 by default).",
    ),
    key(
        "checkpoint.interval",
        "1s",
        "10ms to 1h",
        "Time from the start of one checkpoint to the start of the next, and so how often output becomes visible.",
    ),
    key("checkpoint.min_pause", "0s", "0s to 1h", "Least time from the end of one checkpoint to the start of the next."),
    key("checkpoint.timeout", "10min", "1s to 14min", "A checkpoint that takes longer has failed."),
    key(
        "checkpoint.tolerable_failures",
        "0",
        "0 to 1000",
        "How many checkpoints in a row may fail before the attempt ends and the restart strategy decides.",
    ),
    key("checkpoint.retained", "1", "1 to 1000", "How many completed checkpoints are kept in the storage."),
    key(
        "checkpoint.storage",
        "data/checkpoints",
        "a folder, or a URL: file://, s3://, gs:// or az://",
        "Where checkpoints are kept. It must survive the machine if the job is to.",
    ),
    key(
        "state.dir",
        "data/state",
        "a folder",
        "Working copy of the state; a cache of a checkpoint, emptied at every start. Best on a fast local disk.",
    ),
    key("state.memory", "256MiB", "32MiB to 1TiB", "Memory for state: tables, write buffers and caches together."),
    key(
        "state.backend",
        "rocksdb",
        "rocksdb or memory",
        "Where state is while the job runs: in memory as far as it has room there, the rest in state.dir (rocksdb), or all of it in memory, each checkpoint written whole (memory). May change between runs.",
    ),
    key(
        "restart.strategy",
        "fixed-delay",
        "fixed-delay, exponential-delay, failure-rate or none",
        "What happens after a failed attempt: another one after a pause that is always the same, or that grows; another one as long as failures are rare; or exit.",
    ),
    key(
        "restart.attempts",
        "5",
        "1 to 1000000",
        "fixed-delay: restarts before the program gives up. The second completed checkpoint of an attempt sets the count back to zero; the first is taken at once and shows nothing.",
    ),
    key("restart.delay", "30s", "0s to 1h", "fixed-delay and failure-rate: pause between a failed attempt and the next."),
    key("restart.initial_delay", "1s", "1ms to 1h", "exponential-delay: the first pause."),
    key("restart.max_delay", "1min", "1ms to 1d", "exponential-delay: the longest pause."),
    key("restart.multiplier", "1.5", "1 to 100", "exponential-delay: how many times as long each pause is as the one before."),
    key(
        "restart.reset_threshold",
        "1h",
        "1s to 365d",
        "exponential-delay: after so long without a failure, pauses begin with restart.initial_delay again.",
    ),
    key(
        "restart.jitter",
        "0.1",
        "0 to 1",
        "exponential-delay: a pause is longer or shorter by up to this part of it, so that jobs that failed together do not come back together.",
    ),
    key(
        "restart.max_failures",
        "1",
        "1 to 1000000",
        "failure-rate: so many failures within restart.interval are followed by another attempt; one more ends the program.",
    ),
    key("restart.interval", "1min", "1s to 365d", "failure-rate: the time that failures are counted over."),
    key(
        "orders.identity",
        "event",
        "event or order",
        "What makes an event a duplicate: the same orderId and eventType (event), or the same orderId alone (order).",
    ),
    key(
        "orders.deduplication_ttl",
        "1d",
        "1s to 365d",
        "How long, in event time, an event is remembered for finding its duplicates.",
    ),
    key(
        "orders.tracking_ttl",
        "90d",
        "1s to 365d, not shorter than orders.deduplication_ttl",
        "How long, in event time, an order is known after its youngest event: an event that comes later begins it anew.",
    ),
    key("orders.window", "1h", "1s to 365d", "Length of the windows of purchase-stats."),
    key(
        "orders.allowed_lateness",
        "0s",
        "0s to 365d",
        "How long after its end, in event time, a window is kept to send an updated result for a late order; later ones go to late-orders.",
    ),
    key("orders.initial_stock", "1000", "-1000000000000 to 1000000000000", "Stock of a product before its first order."),
    key("orders.low_stock_threshold", "10", "-1000000000000 to 1000000000000", "Stock below which an alert is sent."),
    key(
        "orders.alert",
        "crossing",
        "crossing or every",
        "When an alert is sent: when the stock falls below the threshold, or at every change that leaves it below.",
    ),
    key("orders.batch_size", "100", "1 to 10000", "Orders in a record of order-batches."),
    key("topics.prefix", "", "part of a topic name", "Put in front of every output topic below."),
    key("topics.order_status", "order-status", "a topic name", "Every accepted event's order, as it is after it."),
    key("topics.purchase_stats", "purchase-stats", "a topic name", "Per user and window, what was bought."),
    key("topics.late_orders", "late-orders", "a topic name", "Orders whose window was already over."),
    key("topics.inventory_levels", "inventory-levels", "a topic name", "Every change of a product's stock."),
    key("topics.low_stock_alerts", "low-stock-alerts", "a topic name", "Products that run out."),
    key("topics.order_batches", "order-batches", "a topic name", "Accepted events in batches."),
    key("topics.dead_letters", "dead-letters", "a topic name", "Records that could not be processed, with the reason."),
    key(
        "format.orders",
        "json",
        "json, avro or avro-single-object",
        "Format of the input topic. avro is Confluent framing with a schema registry, avro-single-object needs none: docs/formats.md.",
    ),
    key("format.order_status", "json", "json, avro or avro-single-object", "Format of order-status."),
    key("format.purchase_stats", "json", "json, avro or avro-single-object", "Format of purchase-stats."),
    key(
        "format.late_orders",
        "json",
        "json, avro or avro-single-object",
        "Format of late-orders: with that of the input, events leave as they came.",
    ),
    key("format.inventory_levels", "json", "json, avro or avro-single-object", "Format of inventory-levels."),
    key("format.low_stock_alerts", "json", "json, avro or avro-single-object", "Format of low-stock-alerts."),
    key("format.order_batches", "json", "json, avro or avro-single-object", "Format of order-batches."),
    key(
        "format.schemas",
        "",
        "a folder, or nothing",
        "Schemas of producers that write orders in single-object encoding, beside our own: every *.avsc file in this folder.",
    ),
    key(
        "registry.url",
        "",
        "http://host:port/path or https://…, or nothing",
        "Schema registry with Confluent's API. There has to be one if a topic has the format avro.",
    ),
    key(
        "registry.subject_strategy",
        "topic-name",
        "topic-name, record-name or topic-record-name",
        "What a schema's subject is called: <topic>-value, the record's full name, or <topic>-<the record's full name>.",
    ),
    key(
        "registry.auto_register",
        "true",
        "true or false",
        "Whether schemas of outputs are registered at the start; with false they have to be there.",
    ),
    key("registry.username", "", "a text", "User for HTTP basic authentication; nothing for none."),
    key("registry.password", "", "a text", "Its password; best in the environment variable SLUICEGATE__REGISTRY__PASSWORD."),
    key(
        "registry.ca_certificate",
        "",
        "a file, or nothing",
        "Certificates in PEM that the registry's own is signed by, beside those that the system trusts.",
    ),
    key(
        "registry.client_certificate",
        "",
        "a file, or nothing",
        "Certificate and key in PEM for a registry that wants to know its clients.",
    ),
    key(
        "registry.timeout",
        "10s",
        "100ms to 5min",
        "How long one request to the registry may take. At the start it is tried for kafka.connect_timeout.",
    ),
    key(
        "http.listen",
        "127.0.0.1:9464",
        "host:port, or off",
        "Address of /livez, /readyz and /metrics. Port 0 takes a free one, which the log names.",
    ),
    key(
        "log.level",
        "info",
        "error, warn, info, debug, trace, or directives like info,sluicegate::kafka=debug",
        "What is logged, on standard error.",
    ),
    key("log.format", "text", "text or json", "How it is logged."),
];
