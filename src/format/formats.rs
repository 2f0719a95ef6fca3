//! The formats of a job's topics: what is on the wire, chosen topic by topic.

use super::avro::{self, Header, OwnSchema, Plan, ReaderSchema, WriterSchema, fingerprint};
use super::registry::{Answer, Registry};
use super::{
    DecodeError, DecodeRules, ErrorClass, InventoryLevel, LowStockAlert, OrderEvent, OrderStatus, PurchaseStats, decode,
    decode_order, encode,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// How the values of one topic are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Avro in Confluent framing; the registry has the schemas.
    Avro,
    /// Avro in single-object encoding; the schemas are in the program.
    AvroSingleObject,
}

impl Format {
    /// All of them, by the words of the settings.
    pub const ALL: [(&'static str, Format); 3] =
        [("json", Self::Json), ("avro", Self::Avro), ("avro-single-object", Self::AvroSingleObject)];
}

/// How values of one output are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON.
    Json,
    /// As Avro behind this header.
    Avro(Header),
}

impl Encoding {
    /// Avro in single-object encoding.
    #[must_use]
    pub fn single_object(schema: OwnSchema) -> Self {
        Self::Avro(Header::of(WriterSchema::Fingerprint(fingerprint(schema.schema()))))
    }

    /// Avro in Confluent framing, with the number that the registry gave the schema.
    #[must_use]
    pub fn framed(id: u32) -> Self {
        Self::Avro(Header::of(WriterSchema::Id(id)))
    }

    #[inline]
    fn write<T: ?Sized>(&self, out: &mut Vec<u8>, value: &T, json: fn(&mut Vec<u8>, &T), avro: fn(&mut Vec<u8>, &T)) {
        match self {
            Self::Json => json(out, value),
            Self::Avro(header) => {
                out.extend_from_slice(header.as_bytes());
                avro(out, value);
            }
        }
    }

    /// Appends the value of an `orders` record.
    pub fn order(&self, out: &mut Vec<u8>, event: &OrderEvent) {
        self.write(out, event, encode::encode_order, avro::encode_order);
    }

    /// Appends the value of an `order-status` record.
    pub fn order_status(&self, out: &mut Vec<u8>, value: &OrderStatus) {
        self.write(out, value, encode::encode_order_status, avro::encode_order_status);
    }

    /// Appends the value of a `purchase-stats` record.
    pub fn purchase_stats(&self, out: &mut Vec<u8>, value: &PurchaseStats) {
        self.write(out, value, encode::encode_purchase_stats, avro::encode_purchase_stats);
    }

    /// Appends the value of an `inventory-levels` record.
    pub fn inventory_level(&self, out: &mut Vec<u8>, value: &InventoryLevel) {
        self.write(out, value, encode::encode_inventory_level, avro::encode_inventory_level);
    }

    /// Appends the value of a `low-stock-alerts` record.
    pub fn low_stock_alert(&self, out: &mut Vec<u8>, value: &LowStockAlert) {
        self.write(out, value, encode::encode_low_stock_alert, avro::encode_low_stock_alert);
    }
}

/// How input is read.
#[derive(Debug, Clone)]
pub enum Input {
    /// As JSON.
    Json,
    /// As Avro in Confluent framing, with the schemas of this registry.
    Avro(Arc<Registry>),
    /// As Avro in single-object encoding, with these schemas by their fingerprints.
    AvroSingleObject(Arc<HashMap<[u8; 8], Arc<Plan>>>),
}

impl Input {
    /// Single-object encoding with our own schema and `others`, each with a name for errors; all are read as `reader`.
    ///
    /// # Errors
    ///
    /// One of them cannot be resolved with `reader`; says which, and why.
    pub fn single_object(others: &[(String, apache_avro::Schema)], reader: &ReaderSchema) -> Result<Self, String> {
        let own = OwnSchema::OrderEvent;
        let mut plans = HashMap::new();
        for (name, schema) in
            others.iter().map(|(name, schema)| (name.as_str(), schema)).chain([(own.record_name(), own.schema())])
        {
            let plan = Plan::read_as(schema, &[], reader).map_err(|why| format!("{name}: {why}"))?;
            plans.insert(fingerprint(schema), Arc::new(plan));
        }
        Ok(Self::AvroSingleObject(Arc::new(plans)))
    }

    /// Which of the formats it is.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Json => Format::Json,
            Self::Avro(_) => Format::Avro,
            Self::AvroSingleObject(_) => Format::AvroSingleObject,
        }
    }
}

/// The formats of the order job. Dead letters have none: they hold what came.
#[derive(Debug, Clone)]
pub struct Formats {
    /// `orders`.
    pub orders: Input,
    /// `order-status`.
    pub order_status: Encoding,
    /// `purchase-stats`.
    pub purchase_stats: Encoding,
    /// `late-orders`: none if it has the format of `orders`, then events leave it as they came.
    pub late_orders: Option<Encoding>,
    /// `inventory-levels`.
    pub inventory_levels: Encoding,
    /// `low-stock-alerts`.
    pub low_stock_alerts: Encoding,
    /// `order-batches`.
    pub order_batches: Encoding,
}

impl Formats {
    /// JSON everywhere.
    #[must_use]
    pub fn json() -> Self {
        Self {
            orders: Input::Json,
            order_status: Encoding::Json,
            purchase_stats: Encoding::Json,
            late_orders: None,
            inventory_levels: Encoding::Json,
            low_stock_alerts: Encoding::Json,
            order_batches: Encoding::Json,
        }
    }
}

/// Reads order events of one format; each task has its own.
#[derive(Debug)]
pub struct OrderReader {
    input: Input,
    rules: DecodeRules,
    plans: HashMap<u32, Arc<Plan>>,
    /// What [`OrderReader::is_ready`] found against the record that comes next.
    refused: Option<(u32, DecodeError)>,
}

/// How often a reader that nobody asked whether it is ready looks for the answer of the registry.
const LOOK: Duration = Duration::from_millis(5);

impl OrderReader {
    /// Refuses what breaks `rules`.
    #[must_use]
    pub fn new(input: Input, rules: DecodeRules) -> Self {
        Self { input, rules, plans: HashMap::new(), refused: None }
    }

    /// Whether a record can be read now. Only a schema that the registry has not told yet stands against that, and it is asked for
    /// meanwhile.
    #[inline]
    pub fn is_ready(&mut self, record: &[u8]) -> bool {
        let Input::Avro(registry) = &self.input else { return true };
        // A record without a header needs no schema to be refused.
        let Ok((WriterSchema::Id(id), _)) = WriterSchema::of_framed(record) else { return true };
        if self.plans.contains_key(&id) {
            return true;
        }
        match registry.answer(id) {
            Answer::Plan(plan) => _ = self.plans.insert(id, plan),
            Answer::Refused(error) => self.refused = Some((id, error)),
            Answer::Waiting => return false,
        }
        true
    }

    /// Reads the value of one record (an absent value as no bytes). Waits for the registry if it has to: see [`OrderReader::is_ready`].
    ///
    /// # Errors
    ///
    /// The broken rule; see [`ErrorClass`].
    #[inline]
    pub fn read(&mut self, record: &[u8]) -> Result<OrderEvent, DecodeError> {
        if matches!(self.input, Input::Json) {
            return decode_order(record, &self.rules);
        }
        decode::has_a_size(record, &self.rules)?;
        if let Input::AvroSingleObject(plans) = &self.input {
            let (schema, avro) = WriterSchema::of_single_object(record)?;
            let plan = match schema {
                WriterSchema::Fingerprint(fingerprint) => plans.get(&fingerprint),
                WriterSchema::Id(_) => None,
            };
            let plan = plan.ok_or_else(|| DecodeError {
                class: ErrorClass::UnknownSchema,
                message: format!("{schema} is none of the {} at hand (format.schemas)", plans.len()),
            })?;
            return plan.decode(avro, record.len() - avro.len(), &self.rules);
        }
        let (schema, avro) = WriterSchema::of_framed(record)?;
        let WriterSchema::Id(id) = schema else { return decode_order(record, &self.rules) };
        loop {
            if let Some(plan) = self.plans.get(&id) {
                return plan.decode(avro, record.len() - avro.len(), &self.rules);
            }
            match self.refused.take() {
                Some((refused, error)) if refused == id => return Err(error),
                _ if self.is_ready(record) => {}
                _ => std::thread::sleep(LOOK),
            }
        }
    }
}
