//! From settings to the formats of the topics: schemas are looked up, and registered where that is wanted.

use crate::{
    config::Settings,
    format::{
        Encoding, Format, Formats, Input,
        avro::{OwnSchema, ReaderSchema},
        registry::Registry,
    },
    protocol::Failure,
};
use apache_avro::Schema;
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::runtime::Handle;

/// Asks the registry on behalf of one command.
pub(super) struct Connecting<'a> {
    settings: &'a Settings,
    registry: Option<Arc<Registry>>,
    cancel: &'a AtomicBool,
}

impl<'a> Connecting<'a> {
    /// Sends nothing yet.
    pub(super) fn new(settings: &'a Settings, runtime: &Handle, cancel: &'a AtomicBool) -> Result<Self, Failure> {
        let reader = reader_schema(settings)?;
        let registry = settings.registry.clone();
        let registry = registry.map(|registry| Registry::new(registry, reader, runtime.clone())).transpose()?;
        Ok(Self { settings, registry, cancel })
    }

    /// The registry, for a topic of the format avro.
    pub(super) fn registry(&self) -> Result<&Arc<Registry>, Failure> {
        self.registry.as_ref().ok_or_else(|| Failure::fatal("registry.url is not set"))
    }

    /// The formats of a run. A registry that does not answer is tried for `kafka.connect_timeout`.
    pub(super) fn all(&self) -> Result<Formats, Failure> {
        let (settings, topics) = (self.settings, &self.settings.topics);
        let format = &settings.format;
        Ok(Formats {
            orders: self.input()?,
            order_status: self.encoding(format.order_status, &topics.order_status, OwnSchema::OrderStatus)?,
            purchase_stats: self.encoding(format.purchase_stats, &topics.purchase_stats, OwnSchema::PurchaseStats)?,
            late_orders: match format.late_orders {
                same if same == format.orders => None,
                other => Some(self.encoding(other, &topics.late_orders, OwnSchema::OrderEvent)?),
            },
            inventory_levels: self.encoding(format.inventory_levels, &topics.inventory_levels, OwnSchema::InventoryLevel)?,
            low_stock_alerts: self.encoding(format.low_stock_alerts, &topics.low_stock_alerts, OwnSchema::LowStockAlert)?,
            order_batches: self.encoding(format.order_batches, &topics.order_batches, OwnSchema::OrderBatch)?,
        })
    }

    /// How the input is read.
    pub(super) fn input(&self) -> Result<Input, Failure> {
        match self.settings.format.orders {
            Format::Json => Ok(Input::Json),
            Format::Avro => {
                // Whether it answers at all: a job that can read nothing should say so at once.
                self.registry()?.answers(self.settings.kafka.connect_timeout, self.cancel)?;
                Ok(Input::Avro(Arc::clone(self.registry()?)))
            }
            Format::AvroSingleObject => Ok(single_object(self.settings)?.0),
        }
    }

    /// How values of `schema` are written to `topic`.
    pub(super) fn encoding(&self, format: Format, topic: &str, schema: OwnSchema) -> Result<Encoding, Failure> {
        Ok(match format {
            Format::Json => Encoding::Json,
            Format::AvroSingleObject => Encoding::single_object(schema),
            Format::Avro => {
                let patience = self.settings.kafka.connect_timeout;
                Encoding::framed(self.registry()?.number(topic, schema, patience, self.cancel)?)
            }
        })
    }
}

/// Output topics whose schemas are in the registry.
pub(super) fn registered_outputs(settings: &Settings) -> Vec<(&str, OwnSchema)> {
    let (format, topics) = (&settings.format, &settings.topics);
    let all = [
        (format.order_status, &topics.order_status, OwnSchema::OrderStatus),
        (format.purchase_stats, &topics.purchase_stats, OwnSchema::PurchaseStats),
        (format.late_orders, &topics.late_orders, OwnSchema::OrderEvent),
        (format.inventory_levels, &topics.inventory_levels, OwnSchema::InventoryLevel),
        (format.low_stock_alerts, &topics.low_stock_alerts, OwnSchema::LowStockAlert),
        (format.order_batches, &topics.order_batches, OwnSchema::OrderBatch),
    ];
    // Late orders of the input's format leave as they came, with the schemas of their producers.
    let verbatim = |schema| schema == OwnSchema::OrderEvent && format.late_orders == format.orders;
    let registered = all.into_iter().filter(|(format, _, schema)| *format == Format::Avro && !verbatim(*schema));
    registered.map(|(_, topic, schema)| (topic.as_str(), schema)).collect()
}

/// The schemas in `format.schemas`, by the names of their files.
pub(super) fn producers_schemas(settings: &Settings) -> Result<Vec<(String, Schema)>, Failure> {
    let Some(folder) = &settings.format.schemas else { return Ok(Vec::new()) };
    let failed = |path: &Path, why: String| Failure::fatal(format!("format.schemas: {}: {why}", path.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error.to_string()))? {
        let path = entry.map_err(|error| failed(folder, error.to_string()))?.path();
        if path.extension().is_some_and(|extension| extension == "avsc") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(|error| failed(path, error.to_string()))?;
        let schema = Schema::parse_str(&text).map_err(|error| failed(path, format!("is no Avro schema: {error}")))?;
        Ok((path.display().to_string(), schema))
    };
    paths.iter().map(|path| read(path)).collect()
}

/// Reads single-object encoding; and how many schemas of producers are at hand.
pub(super) fn single_object(settings: &Settings) -> Result<(Input, usize), Failure> {
    let schemas = producers_schemas(settings)?;
    let input = Input::single_object(&schemas, &reader_schema(settings)?);
    Ok((input.map_err(|why| Failure::fatal(format!("format.schemas: {why}")))?, schemas.len()))
}

/// What the input is read as: the schema in `format.reader_schema`, else our own.
pub(super) fn reader_schema(settings: &Settings) -> Result<ReaderSchema, Failure> {
    let Some(path) = &settings.format.reader_schema else { return Ok(ReaderSchema::own()) };
    let failed = |why: String| Failure::fatal(format!("format.reader_schema: {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    ReaderSchema::parse(&text).map_err(failed)
}

/// Threads for requests to a registry, for commands that have none.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("cannot start the I/O threads: {error}")))
}
