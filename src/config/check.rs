//! From settings as written to settings as meant: the only place that checks them.

use super::raw::{Entry, Origin, PROPERTIES, Raw};
use super::value::{DURATION_FORM, SIZE_FORM, Value, duration, show_duration, show_size, size};
use super::{
    Alert, Checkpoint, Http, Identity, Job, JobKind, KEYS, Kafka, Log, LogFormat, Orders, Problems, Restart, Settings, Source,
    State, Topics,
};
use crate::{
    checkpoint::Location,
    kafka::{Connection, Start},
    protocol::{Failure, JobName, MAX_PRODUCERS, producers_needed},
    state::Backend,
};
use std::{
    collections::BTreeMap,
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Default of the broker's transaction.max.timeout.ms.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(900);
/// What a transaction still lives for after its checkpoint is durable: sending offsets, commit, one retry of librdkafka's 500 ms.
const COMMIT_MARGIN: Duration = Duration::from_secs(2);
/// Room for the headers of a dead letter: those of the record, and where it came from and why.
const HEADER_BYTES: u64 = 16 << 10;
/// Longest topic name that Kafka takes.
const TOPIC_LENGTH: usize = 249;
const STOCK: RangeInclusive<i64> = -1_000_000_000_000..=1_000_000_000_000;

/// Checks everything; `problems` are those that were met when reading.
pub(super) fn settings(raw: &Raw, problems: Problems) -> Result<Settings, Problems> {
    let mut check = Check { raw, problems };
    let settings = check.all();
    match settings {
        Some(settings) if check.problems.is_empty() => Ok(settings),
        _ => Err(check.problems.sorted()),
    }
}

pub(super) struct Check<'a> {
    pub(super) raw: &'a Raw,
    problems: Problems,
}

impl Check<'_> {
    /// None only after a problem was added.
    fn all(&mut self) -> Option<Settings> {
        let job = self.job();
        let checkpoint = self.checkpoint();
        let kafka = self.kafka(job.as_ref().map(|job| &job.name), checkpoint.as_ref());
        let source = self.source();
        let state = self.state();
        let restart = self.restart();
        let orders = self.orders();
        let topics = self.topics(source.as_ref().map(|source| source.topic.as_str()));
        let format = self.format();
        let registry = self.registry(format.as_ref());
        let listen = self.read("http.listen", listen);
        let level = self.read("log.level", level);
        let log_format = self.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        if let (Some(checkpoint), Some(state)) = (&checkpoint, &state) {
            self.folders_are_apart(checkpoint, state);
        }
        if let (Some(source), Some(kafka)) = (&source, &kafka) {
            self.records_fit(source, kafka);
        }
        Some(Settings {
            job: job?,
            kafka: kafka?,
            source: source?,
            checkpoint: checkpoint?,
            state: state?,
            restart: restart?,
            orders: orders?,
            topics: topics?,
            format: format?,
            registry: registry?,
            http: Http { listen: listen? },
            log: Log { level: level?, format: log_format? },
        })
    }

    fn job(&mut self) -> Option<Job> {
        let name = self.read("job.name", |v| text(v)?.parse::<JobName>().map_err(|e| e.to_string()));
        let kind = self.choice("job.kind", &[("orders", JobKind::Orders)]);
        let groups = self.integer("job.max_parallelism", 1..=32_768).and_then(|n| NonZeroU16::new(u16::try_from(n).ok()?));
        let largest = groups.map_or(32_768, |groups| i64::from(groups.get()));
        let tasks = self.integer("job.parallelism", 0..=largest).and_then(|n| usize::try_from(n).ok());
        let task_timeout = self.duration_or_off("job.task_timeout");
        let groups = groups?;
        let parallelism = NonZeroUsize::new(tasks?).unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            cores.min(groups.into())
        });
        Some(Job { name: name?, kind: kind?, parallelism, max_parallelism: groups, task_timeout: task_timeout? })
    }

    fn checkpoint(&mut self) -> Option<Checkpoint> {
        let interval = self.duration("checkpoint.interval", Duration::from_millis(10)..=HOUR);
        let min_pause = self.duration("checkpoint.min_pause", Duration::ZERO..=HOUR);
        let timeout = self.duration("checkpoint.timeout", SECOND..=Duration::from_secs(14 * 60));
        let failures = self.integer("checkpoint.tolerable_failures", 0..=1000).and_then(|n| u32::try_from(n).ok());
        let retained = self.count("checkpoint.retained", 1..=1000).and_then(|n| NonZeroU32::try_from(n).ok());
        let storage = self.read("checkpoint.storage", storage);
        Some(Checkpoint {
            interval: interval?,
            min_pause: min_pause?,
            timeout: timeout?,
            tolerable_failures: failures?,
            retained: retained?,
            storage: storage?,
        })
    }

    fn kafka(&mut self, job: Option<&JobName>, checkpoint: Option<&Checkpoint>) -> Option<Kafka> {
        let bootstrap_servers = self.read("kafka.bootstrap_servers", servers);
        let group = match (self.raw.entries.contains_key("kafka.group"), job) {
            (false, job) => job.map(|job| format!("sluicegate-{job}")),
            (true, _) => self.read("kafka.group", |v| kafka_name(v, 200)),
        };
        let timeout = self.duration("kafka.transaction_timeout", SECOND..=LONGEST_TRANSACTION);
        let producers = self.read("kafka.producers", |value| match value.integer() {
            Some(n) if n == 0 || (2..=MAX_PRODUCERS as i64).contains(&n) => Ok(n.unsigned_abs() as usize),
            _ => Err(format!("allowed is 0, or 2 to {MAX_PRODUCERS}")),
        });
        let connect_timeout = self.duration("kafka.connect_timeout", SECOND..=HOUR);
        let properties = self.properties();
        if let (Some(timeout), Some(checkpoint)) = (timeout, checkpoint) {
            self.transaction_outlives_checkpoint(timeout, checkpoint);
        }
        let producers = match (producers?, checkpoint) {
            (0, Some(checkpoint)) => producers_needed(checkpoint.interval),
            (0, None) => return None,
            (n, _) => n,
        };
        let connection = Connection { bootstrap_servers: bootstrap_servers?, properties };
        self.librdkafka_takes(&connection, timeout?);
        Some(Kafka { connection, group: group?, transaction_timeout: timeout?, producers, connect_timeout: connect_timeout? })
    }

    fn properties(&mut self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        for (name, Entry { value, origin }) in &self.raw.properties {
            match value.scalar() {
                Some(text) => _ = properties.insert(name.clone(), text),
                None => self.problems.add(
                    origin.clone(),
                    format!("{PROPERTIES}.{name}"),
                    format!("{value} is not a property's value; allowed are text, whole numbers, true and false"),
                ),
            }
        }
        properties
    }

    fn source(&mut self) -> Option<Source> {
        let topic = self.read("source.topic", |v| kafka_name(v, TOPIC_LENGTH));
        let start = self.read("source.start", start);
        let out_of_orderness = self.duration("source.max_out_of_orderness", Duration::ZERO..=DAY);
        let idle_timeout = self.duration("source.idle_timeout", Duration::ZERO..=DAY);
        let discovery = self.duration_or_off("source.partition_discovery_interval");
        let earliest = self.read("source.min_timestamp", timestamp);
        let latest = self.read("source.max_timestamp", timestamp);
        let bytes = self.read("source.max_record_bytes", |v| in_sizes(v, (1 << 10)..=(64 << 20)));
        let id_bytes = self.read("source.max_id_bytes", |v| in_sizes(v, 16..=(64 << 10)));
        if let (Some(earliest), Some(latest)) = (earliest, latest)
            && earliest >= latest
        {
            self.problem("source.max_timestamp", "is not later than source.min_timestamp".to_owned());
        }
        Some(Source {
            topic: topic?,
            start: start?,
            max_out_of_orderness: out_of_orderness?,
            idle_timeout: idle_timeout.map(|d| (!d.is_zero()).then_some(d))?,
            partition_discovery_interval: discovery?,
            timestamps: earliest?..=latest?,
            max_record_bytes: usize::try_from(bytes?).ok()?,
            max_id_bytes: usize::try_from(id_bytes?).ok()?,
        })
    }

    fn state(&mut self) -> Option<State> {
        let dir = self.read("state.dir", |v| absolute(&text(v)?));
        let memory = self.read("state.memory", |v| in_sizes(v, (32 << 20)..=(1 << 40)));
        let backend = self.choice("state.backend", &[("rocksdb", Backend::RocksDb), ("memory", Backend::Memory)]);
        Some(State { dir: dir?, memory: memory?, backend: backend? })
    }

    fn restart(&mut self) -> Option<Restart> {
        let strategies = ["fixed-delay", "exponential-delay", "failure-rate", "none"];
        let strategy = self.choice("restart.strategy", &strategies.map(|name| (name, name)));
        let attempts = self.integer("restart.attempts", 1..=1_000_000).and_then(|n| u32::try_from(n).ok());
        let delay = self.duration("restart.delay", Duration::ZERO..=HOUR);
        let initial_delay = self.duration("restart.initial_delay", Duration::from_millis(1)..=HOUR);
        let max_delay = self.duration("restart.max_delay", Duration::from_millis(1)..=DAY);
        let multiplier = self.decimal("restart.multiplier", 1.0..=100.0);
        let reset_threshold = self.duration("restart.reset_threshold", SECOND..=YEAR);
        let jitter = self.decimal("restart.jitter", 0.0..=1.0);
        let failures = self.integer("restart.max_failures", 1..=1_000_000).and_then(|n| u32::try_from(n).ok());
        let interval = self.duration("restart.interval", SECOND..=YEAR);
        if let (Some(initial), Some(max)) = (initial_delay, max_delay)
            && initial > max
        {
            self.problem("restart.max_delay", "is shorter than restart.initial_delay".to_owned());
        }
        let (attempts, delay, failures, interval) = (attempts?, delay?, failures?, interval?);
        let (initial_delay, max_delay, multiplier) = (initial_delay?, max_delay?, multiplier?);
        let (reset_threshold, jitter) = (reset_threshold?, jitter?);
        Some(match strategy? {
            "fixed-delay" => Restart::FixedDelay { attempts, delay },
            "exponential-delay" => Restart::ExponentialDelay { initial_delay, max_delay, multiplier, reset_threshold, jitter },
            "failure-rate" => Restart::FailureRate { failures, interval, delay },
            _ => Restart::None,
        })
    }

    fn orders(&mut self) -> Option<Orders> {
        let identity = self.choice("orders.identity", &[("event", Identity::Event), ("order", Identity::Order)]);
        let deduplication_ttl = self.duration("orders.deduplication_ttl", SECOND..=YEAR);
        let tracking_ttl = self.duration("orders.tracking_ttl", SECOND..=YEAR);
        if let (Some(tracking), Some(deduplication)) = (tracking_ttl, deduplication_ttl) {
            self.orders_are_known_as_long_as_their_events(tracking, deduplication);
        }
        let window = self.duration("orders.window", SECOND..=YEAR);
        let allowed_lateness = self.duration("orders.allowed_lateness", Duration::ZERO..=YEAR);
        let initial_stock = self.integer("orders.initial_stock", STOCK);
        let low_stock_threshold = self.integer("orders.low_stock_threshold", STOCK);
        let alert = self.choice("orders.alert", &[("crossing", Alert::Crossing), ("every", Alert::Every)]);
        let batch_size = self.count("orders.batch_size", 1..=10_000);
        Some(Orders {
            identity: identity?,
            deduplication_ttl: deduplication_ttl?,
            tracking_ttl: tracking_ttl?,
            window: window?,
            allowed_lateness: allowed_lateness?,
            initial_stock: initial_stock?,
            low_stock_threshold: low_stock_threshold?,
            alert: alert?,
            batch_size: batch_size?,
        })
    }

    /// A copy would be dropped of an order that the job no longer knows: what came of it could not be told any more.
    fn orders_are_known_as_long_as_their_events(&mut self, tracking: Duration, deduplication: Duration) {
        if tracking < deduplication {
            let message = format!(
                "{} is shorter than orders.deduplication_ttl ({}): an order must be known for as long as copies of its events are \
                 dropped; allowed is {} to {}, or a shorter orders.deduplication_ttl",
                show_duration(tracking),
                show_duration(deduplication),
                show_duration(deduplication),
                show_duration(YEAR),
            );
            // Named where something was written: the defaults agree with each other.
            let keys = ["orders.tracking_ttl", "orders.deduplication_ttl"];
            let written = keys.into_iter().find(|key| self.raw.entries.contains_key(*key)).unwrap_or("orders.tracking_ttl");
            self.problems.add(self.origin(written), "orders.tracking_ttl", message);
        }
    }

    fn topics(&mut self, input: Option<&str>) -> Option<Topics> {
        let prefix = self.read("topics.prefix", |v| {
            text(v).and_then(|text| if text.is_empty() { Ok(text) } else { kafka_name(v, TOPIC_LENGTH) })
        });
        // The first key that took a name, so that the second can name it.
        let mut taken: BTreeMap<String, &'static str> = BTreeMap::new();
        taken.extend(input.map(|topic| (topic.to_owned(), "source.topic")));
        let mut topic = |key: &'static str| {
            let name = self.read(key, |v| kafka_name(v, TOPIC_LENGTH))?;
            let full = format!("{}{name}", prefix.as_deref()?);
            if full.len() > TOPIC_LENGTH {
                self.problem(key, format!("with topics.prefix it is longer than {TOPIC_LENGTH} characters"));
            } else if let Some(other) = taken.insert(full.clone(), key) {
                self.problem(key, format!("topic {full:?} is the one of {other} as well; every topic of a job is its own"));
            }
            Some(full)
        };
        let order_status = topic("topics.order_status");
        let purchase_stats = topic("topics.purchase_stats");
        let late_orders = topic("topics.late_orders");
        let inventory_levels = topic("topics.inventory_levels");
        let low_stock_alerts = topic("topics.low_stock_alerts");
        let order_batches = topic("topics.order_batches");
        let dead_letters = topic("topics.dead_letters");
        Some(Topics {
            order_status: order_status?,
            purchase_stats: purchase_stats?,
            late_orders: late_orders?,
            inventory_levels: inventory_levels?,
            low_stock_alerts: low_stock_alerts?,
            order_batches: order_batches?,
            dead_letters: dead_letters?,
        })
    }

    /// The broker aborts what takes longer, so a checkpoint must not be allowed to.
    fn transaction_outlives_checkpoint(&mut self, timeout: Duration, checkpoint: &Checkpoint) {
        let least = checkpoint.interval + checkpoint.min_pause + checkpoint.timeout + COMMIT_MARGIN;
        if timeout < least {
            let message = format!(
                "{} is too short: a transaction stays open for up to checkpoint.interval ({}) + checkpoint.min_pause ({}) + \
                 checkpoint.timeout ({}) + {} for the commit = {}; allow that, at most {}, or shorten checkpoint.timeout",
                show_duration(timeout),
                show_duration(checkpoint.interval),
                show_duration(checkpoint.min_pause),
                show_duration(checkpoint.timeout),
                show_duration(COMMIT_MARGIN),
                show_duration(least),
                show_duration(LONGEST_TRANSACTION),
            );
            // Named where something was written: the defaults agree with each other.
            let keys = ["kafka.transaction_timeout", "checkpoint.timeout", "checkpoint.interval", "checkpoint.min_pause"];
            let written = keys.into_iter().find(|key| self.raw.entries.contains_key(*key)).unwrap_or("kafka.transaction_timeout");
            self.problems.add(self.origin(written), "kafka.transaction_timeout", message);
        }
    }

    /// Names and values of properties are librdkafka's to judge.
    fn librdkafka_takes(&mut self, connection: &Connection, transaction_timeout: Duration) {
        if connection.properties.is_empty() {
            return;
        }
        for problem in connection.check(transaction_timeout) {
            match self.raw.properties.get(&problem.property) {
                Some(entry) => {
                    let key = format!("{PROPERTIES}.{}", problem.property);
                    self.problems.add(entry.origin.clone(), key, problem.message);
                }
                // Of several together: any of them leads to where they are written.
                None => {
                    let origin = self.raw.properties.values().next().map_or(Origin::Default, |entry| entry.origin.clone());
                    self.problems.add(origin, PROPERTIES, problem.message);
                }
            }
        }
    }

    /// The working copy is emptied at every start: checkpoints must not lie in it.
    fn folders_are_apart(&mut self, checkpoint: &Checkpoint, state: &State) {
        let Some(storage) = checkpoint.storage.as_folder() else { return };
        if storage.starts_with(&state.dir) || state.dir.starts_with(storage) {
            let message = format!(
                "{} and checkpoint.storage {} lie in each other, but state.dir is emptied at every start; take two folders side by side",
                state.dir.display(),
                storage.display()
            );
            self.problem("state.dir", message);
        }
    }

    /// A record that cannot be processed is passed on whole, so it must be able to leave again.
    fn records_fit(&mut self, source: &Source, kafka: &Kafka) {
        let (name, limit) = ("message.max.bytes", kafka.connection.message_max_bytes());
        let largest = source.max_record_bytes as u64 + HEADER_BYTES;
        if largest > limit {
            let message = format!(
                "{} of an input record and {} for a dead letter's headers do not fit into {PROPERTIES} \"{name}\" = {limit}; \
                 raise that (and the topics' max.message.bytes) or lower this",
                show_size(source.max_record_bytes as u64),
                show_size(HEADER_BYTES)
            );
            self.problem("source.max_record_bytes", message);
            return;
        }
        // Escaped, a byte may become six, so a status takes 12 of them and one as the key; a batch takes an id and its key beside the events.
        let (record, id) = (source.max_record_bytes as u64, source.max_id_bytes as u64);
        let largest = (14 * id).max(record + 8 * id) + 1024;
        if largest > limit {
            let message = format!(
                "{} would allow records of up to {largest} bytes in the outputs, which do not fit into {PROPERTIES} \"{name}\" = {limit}; \
                 raise that (and the topics' max.message.bytes) or lower this",
                show_size(id)
            );
            self.problem("source.max_id_bytes", message);
        }
    }

    /// Reads a key, or its default if nothing is written. What cannot be read is a problem.
    pub(super) fn read<T>(&mut self, key: &str, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let default = KEYS.iter().find(|known| known.name == key).map(|known| Value::Text(known.default.to_owned()));
        let value = self.raw.entries.get(key).map(|entry| entry.value.clone()).or(default)?;
        parse(&value).map_err(|why| self.problem(key, format!("{value}: {why}"))).ok()
    }

    pub(super) fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.read(key, |value| {
            let parsed = value.scalar().and_then(|text| duration(&text)).ok_or_else(|| format!("allowed is {DURATION_FORM}"))?;
            if range.contains(&parsed) {
                return Ok(parsed);
            }
            Err(format!("allowed is {} to {}", show_duration(*range.start()), show_duration(*range.end())))
        })
    }

    /// A second to a day; 0s, which becomes none, turns off what it is for.
    fn duration_or_off(&mut self, key: &str) -> Option<Option<Duration>> {
        self.read(key, |value| match text(value).map(|t| duration(&t)) {
            Ok(Some(d)) if d.is_zero() || (SECOND..=DAY).contains(&d) => Ok((!d.is_zero()).then_some(d)),
            _ => Err("allowed is 0s, or 1s to 1d".to_owned()),
        })
    }

    fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.read(key, |value| {
            let allowed = || format!("allowed is a whole number from {} to {}", range.start(), range.end());
            value.integer().filter(|n| range.contains(n)).ok_or_else(allowed)
        })
    }

    fn decimal(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.read(key, |value| {
            let text = match value {
                Value::Other(text) => Some(text.clone()),
                value => value.scalar(),
            };
            let parsed = text.and_then(|text| text.trim().parse::<f64>().ok());
            let allowed = || format!("allowed is a number from {} to {}", range.start(), range.end());
            parsed.filter(|number| range.contains(number)).ok_or_else(allowed)
        })
    }

    fn count(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<NonZeroUsize> {
        self.integer(key, range).and_then(|n| NonZeroUsize::new(usize::try_from(n).ok()?))
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |value| {
            let wanted = value.scalar();
            let found = choices.iter().find(|(name, _)| wanted.as_deref() == Some(*name));
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            found.map(|(_, choice)| *choice).ok_or_else(|| format!("allowed is {}", names.join(" or ")))
        })
    }

    fn origin(&self, key: &str) -> Origin {
        self.raw.entries.get(key).map_or(Origin::Default, |entry| entry.origin.clone())
    }

    pub(super) fn problem(&mut self, key: &str, message: String) {
        self.problems.add(self.origin(key), key, message);
    }
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    value.scalar().ok_or_else(|| "allowed is a text".to_owned())
}

fn in_sizes(value: &Value, range: RangeInclusive<u64>) -> Result<u64, String> {
    let parsed = value.scalar().and_then(|text| size(&text)).ok_or_else(|| format!("allowed is {SIZE_FORM}"))?;
    if range.contains(&parsed) {
        return Ok(parsed);
    }
    Err(format!("allowed is {} to {}", show_size(*range.start()), show_size(*range.end())))
}

/// Names of topics and groups.
fn kafka_name(value: &Value, longest: usize) -> Result<String, String> {
    let name = text(value)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > longest || name == "." || name == ".." || !name.chars().all(legal) {
        return Err(format!("allowed are 1 to {longest} characters of a-z, A-Z, 0-9, '.', '_' and '-'"));
    }
    Ok(name)
}

fn servers(value: &Value) -> Result<String, String> {
    let list = text(value)?;
    let servers: Vec<&str> = list.split(',').map(str::trim).collect();
    if servers.iter().all(|server| host_and_port(server).is_some_and(|(_, port)| port != 0)) {
        return Ok(servers.join(","));
    }
    Err("allowed is host:port, or several with commas between".to_owned())
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    (!host.is_empty() && !host.contains(char::is_whitespace) && !host.contains('/')).then_some((host, port))
}

fn listen(value: &Value) -> Result<Option<String>, String> {
    let address = text(value)?;
    if address == "off" {
        return Ok(None);
    }
    match host_and_port(&address) {
        Some(_) => Ok(Some(address)),
        None => Err("allowed is host:port, like \"127.0.0.1:9464\", or \"off\"".to_owned()),
    }
}

fn level(value: &Value) -> Result<String, String> {
    let directives = text(value)?;
    let allowed = "allowed is error, warn, info, debug, trace, or directives like \"info,sluicegate::kafka=debug\"";
    // The filter takes any word for the name of a target, so a misspelt level would silence everything.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let sound = directives.split(',').all(|directive| match directive.trim().rsplit_once('=') {
        Some((_, level)) => levels.contains(&level),
        None => levels.contains(&directive.trim()),
    });
    match tracing_subscriber::EnvFilter::try_new(&directives) {
        Ok(_) if sound => Ok(directives),
        _ => Err(allowed.to_owned()),
    }
}

/// Milliseconds since 1970, written as such or as RFC 3339.
fn timestamp(value: &Value) -> Result<i64, String> {
    let allowed = || "allowed is a time like \"2026-01-01T00:00:00Z\", or milliseconds since 1970".to_owned();
    if let Some(milliseconds) = value.integer() {
        return if milliseconds >= 0 { Ok(milliseconds) } else { Err(allowed()) };
    }
    let time: SystemTime = humantime::parse_rfc3339_weak(&text(value)?).map_err(|_| allowed())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| allowed())?;
    i64::try_from(since.as_millis()).map_err(|_| allowed())
}

fn start(value: &Value) -> Result<Start, String> {
    let allowed = || {
        "allowed is \"earliest\", \"latest\", { timestamp = \"2026-01-01T00:00:00Z\" } or { offsets = { 0 = 120, 1 = 80 } }"
            .to_owned()
    };
    let table = match value {
        Value::Text(word) if word == "earliest" => return Ok(Start::Earliest),
        Value::Text(word) if word == "latest" => return Ok(Start::Latest),
        Value::Table(table) if table.len() == 1 => table,
        _ => return Err(allowed()),
    };
    match table.first_key_value() {
        Some((key, time)) if key == "timestamp" => timestamp(time).map(Start::Timestamp),
        Some((key, Value::Table(offsets))) if key == "offsets" => offsets
            .iter()
            .map(|(partition, offset)| {
                let partition: Option<i32> = partition.parse().ok().filter(|n| *n >= 0);
                let offset = offset.integer().filter(|n| *n >= 0);
                partition.zip(offset).ok_or_else(|| "partitions and offsets are whole numbers from 0".to_owned())
            })
            .collect::<Result<_, _>>()
            .map(Start::Offsets),
        _ => Err(allowed()),
    }
}

pub(super) fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.trim().is_empty() {
        return Err("allowed is the path of a folder".to_owned());
    }
    let path = std::path::absolute(path).map_err(|error| format!("has no absolute path: {error}"))?;
    if path.parent().is_none() {
        return Err("allowed is a folder below the root".to_owned());
    }
    Ok(path)
}

fn storage(value: &Value) -> Result<Location, String> {
    let text = text(value)?;
    // The room names the setting, as it must where nobody else does.
    let named = format!("checkpoint.storage = {text:?}: ");
    text.parse().map_err(|failure: Failure| failure.message.trim_start_matches(&named).to_owned())
}
