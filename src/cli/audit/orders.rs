//! `sluicegate audit`

use super::{Shown, Steps, committed, not_recovery, scan};
use crate::{
    audit::{self, Committed, JobRules, Options, Progress, Record, SchemaName, Step, Topic, WriterSchema},
    cli::{Code, Given, Stop, formats, topics::Names},
    config::{self, Settings},
    format::{
        Format,
        avro::{OwnSchema, fingerprint},
        registry::Registry,
    },
    jobs::orders::names,
    kafka::Polled,
    observe::logging,
    protocol::Failure,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::runtime::Handle;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate audit --json --set kafka.bootstrap_servers=localhost:9092")]
pub struct Audit {
    #[command(flatten)]
    shown: Shown,
    /// For temporary files, about half the size of what is read; without it, the system's
    #[arg(long, value_name = "FOLDER")]
    temp_dir: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

impl Audit {
    pub(in crate::cli) fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let committed = prepare(&settings)?;
        let runtime = formats::runtime()?;
        let formats = audit_formats(&settings, runtime.handle())?;
        let options = Options { temp_dir: self.temp_dir.clone(), shown: self.shown.differences, formats, ..Options::default() };
        let mut topics = KafkaTopics { settings: &settings };
        let mut steps = Steps::begin();
        let report =
            audit::audit(&mut topics, &committed, &rules(&settings), &options, &mut |progress| show(&mut steps, progress))
                .map_err(not_recovery)?;
        steps.finish();
        self.shown.show(report.verdict(), || report.to_json(), || report.to_table())
    }
}

fn show(steps: &mut Steps<Step>, Progress { step, done, total }: Progress) {
    steps.show(step, done, total, || match step {
        Step::Reading(topic) => format!("reading {:<16}", topic.as_str()),
        Step::Judging => format!("{:<24}", "comparing"),
    });
}

/// What the job has committed, in the audit's words.
fn prepare(settings: &Settings) -> Result<Committed, Failure> {
    let (job, mut offsets) = committed(settings, &Names::of(settings))?;
    let manifest = job.manifest;
    let operator = |name: &str| manifest.operators.iter().find(|operator| operator.name == name);
    let watermark = operator(names::PURCHASES).and_then(|operator| operator.watermark).unwrap_or(i64::MIN);
    let waiting = operator(names::BATCHES).map_or(&[][..], |operator| &operator.operator_state);
    // A job that keeps them in a declared list has them one level deeper.
    let event = |element: &Value| element.get("event").or_else(|| element.pointer("/element/event"))?.as_str().map(str::to_owned);
    let waiting = waiting.iter().map(|element| match event(element) {
        Some(event) => Ok(event.into_bytes()),
        None => Err(Failure::fatal(format!("checkpoint {}: an event that waits for its batch has no JSON", manifest.checkpoint))),
    });
    Ok(Committed {
        input_topic: settings.source.topic.clone(),
        input: offsets.remove(&settings.source.topic).unwrap_or_default(),
        watermark,
        // A drain moves the watermark to the end of time, and it never moves back.
        drained: watermark == i64::MAX,
        waiting: waiting.collect::<Result<_, _>>()?,
    })
}

/// The settings that the outputs depend on.
fn rules(settings: &Settings) -> JobRules {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let orders = &settings.orders;
    JobRules {
        identity: match orders.identity {
            config::Identity::Event => audit::Identity::Event,
            config::Identity::Order => audit::Identity::Order,
        },
        dedup_ttl: ms(orders.deduplication_ttl),
        tracking_ttl: ms(orders.tracking_ttl),
        window: ms(orders.window),
        allowed_lateness: ms(orders.allowed_lateness),
        initial_stock: orders.initial_stock,
        low_stock_threshold: orders.low_stock_threshold,
        alert: match orders.alert {
            config::Alert::Crossing => audit::Alert::Crossing,
            config::Alert::Every => audit::Alert::Every,
        },
        batch_size: orders.batch_size.get() as u64,
        min_timestamp: *settings.source.timestamps.start(),
        max_timestamp: *settings.source.timestamps.end(),
        max_record_bytes: settings.source.max_record_bytes,
        max_id_bytes: settings.source.max_id_bytes,
    }
}

/// The formats that the settings give the topics, in the audit's words.
fn audit_formats(settings: &Settings, runtime: &Handle) -> Result<audit::Formats, Failure> {
    let of = |format| match format {
        Format::Json => audit::Format::Json,
        Format::Avro => audit::Format::Avro,
        Format::AvroSingleObject => audit::Format::AvroSingleObject,
    };
    let format = &settings.format;
    let topics = [
        (Topic::Orders, format.orders),
        (Topic::OrderStatus, format.order_status),
        (Topic::PurchaseStats, format.purchase_stats),
        (Topic::LateOrders, format.late_orders),
        (Topic::InventoryLevels, format.inventory_levels),
        (Topic::LowStockAlerts, format.low_stock_alerts),
        (Topic::OrderBatches, format.order_batches),
    ];
    let reader = formats::reader_schema(settings)?;
    let own = OwnSchema::ALL.into_iter().map(|own| own.schema().clone());
    let known = own.chain(formats::producers_schemas(settings)?.into_iter().map(|(_, schema)| schema));
    let schemas = KnownSchemas {
        by_fingerprint: known.map(|schema| (fingerprint(&schema), schema)).collect(),
        registry: settings
            .registry
            .clone()
            .map(|registry| Registry::new(registry, reader.clone(), runtime.clone()))
            .transpose()?,
        patience: settings.kafka.connect_timeout,
    };
    Ok(audit::Formats {
        topics: topics.map(|(topic, format)| (topic, of(format))).into(),
        schemas: Arc::new(schemas),
        reader: Some(reader.schema().clone()),
    })
}

/// Schemas of the program, of files, and of the registry.
struct KnownSchemas {
    by_fingerprint: BTreeMap<[u8; 8], apache_avro::Schema>,
    registry: Option<Arc<Registry>>,
    patience: Duration,
}

impl audit::Schemas for KnownSchemas {
    fn schema(&self, name: SchemaName) -> Result<Option<WriterSchema>, Failure> {
        match (name, &self.registry) {
            (SchemaName::Fingerprint(fingerprint), _) => {
                let schema = self.by_fingerprint.get(&fingerprint).cloned();
                Ok(schema.map(|schema| WriterSchema { schema, others: Vec::new() }))
            }
            (SchemaName::Id(_), None) => Ok(None),
            (SchemaName::Id(id), Some(registry)) => {
                let found = registry.schema(id, self.patience, &AtomicBool::new(false))?;
                Ok(found.map(|found| WriterSchema { schema: found.schema, others: found.others }))
            }
        }
    }
}

/// The topics of the job on Kafka, as readers of committed records see them.
struct KafkaTopics<'a> {
    settings: &'a Settings,
}

impl KafkaTopics<'_> {
    fn name(&self, topic: Topic) -> &str {
        let topics = &self.settings.topics;
        match topic {
            Topic::Orders => &self.settings.source.topic,
            Topic::OrderStatus => &topics.order_status,
            Topic::PurchaseStats => &topics.purchase_stats,
            Topic::LateOrders => &topics.late_orders,
            Topic::InventoryLevels => &topics.inventory_levels,
            Topic::LowStockAlerts => &topics.low_stock_alerts,
            Topic::OrderBatches => &topics.order_batches,
            Topic::DeadLetters => &topics.dead_letters,
        }
    }
}

impl audit::Topics for KafkaTopics<'_> {
    fn scan(
        &mut self,
        topic: Topic,
        ranges: Option<&BTreeMap<i32, Range<i64>>>,
        each: &mut dyn FnMut(&Record<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        scan(self.settings, self.name(topic), ranges, &mut |polled: &Polled<'_>| {
            let headers = polled.headers();
            let headers: Vec<(&str, &[u8])> =
                headers.iter().map(|(name, value)| (name.as_ref(), value.unwrap_or_default())).collect();
            let Polled { partition, offset, key, value, timestamp_ms: timestamp, .. } = *polled;
            each(&Record { partition, offset, key, value, timestamp, headers: &headers })
        })
    }
}
