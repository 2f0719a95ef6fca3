//! Values of the output topics, read by the audit's own reader.

use super::facts::Change;
use super::json::{Shape, Value};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Why an output record cannot be read.
pub(super) type Unreadable = String;

/// A record of `order-status` without its order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Status {
    pub user: CompactString,
    pub status: CompactString,
    /// Created, payment, shipping, delivery, cancellation.
    pub times: [Option<i64>; 5],
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.status, self.user)?;
        for (name, time) in ["created", "paid", "shipped", "delivered", "cancelled"].into_iter().zip(self.times) {
            match time {
                Some(time) => write!(f, ", {name} {time}")?,
                None => write!(f, ", {name} null")?,
            }
        }
        Ok(())
    }
}

/// A record of `purchase-stats` without its user. Money in hundredths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stats {
    pub start: i64,
    pub end: i64,
    pub orders: i64,
    pub pieces: i64,
    /// In rmp an i128 is 16 bytes; totals of many large orders need it.
    pub total: i128,
    pub average: i128,
    pub categories: BTreeMap<CompactString, i64>,
    /// Categories that the record says to have left out.
    pub omitted: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, orders, pieces, total, average, categories, omitted } = self;
        write!(f, "[{start}, {end}) {orders} orders, {pieces} items, total {total} and average {average} hundredths, ")?;
        // There may be very many.
        let shown: Vec<_> = categories.iter().take(20).collect();
        write!(f, "{} categories ({omitted} left out): {shown:?}", categories.len())
    }
}

/// A record of `inventory-levels`.
pub(super) struct Level {
    pub order: CompactString,
    pub change: Change,
    pub stock: i64,
}

/// A record of `low-stock-alerts`.
pub(super) struct AlertRecord {
    pub product: CompactString,
    pub stock: i64,
    pub threshold: i64,
    pub time: i64,
}

/// A record of `order-batches`.
pub(super) struct Batch<'a> {
    pub id: CompactString,
    pub size: i64,
    pub orders: Vec<&'a str>,
}

pub(super) fn status(bytes: &[u8]) -> Result<(CompactString, Status), Unreadable> {
    let fields = Fields::of(bytes)?;
    let mut times = [None; 5];
    let names = ["createdTime", "paymentTime", "shippingTime", "deliveryTime", "cancellationTime"];
    for (place, name) in times.iter_mut().zip(names) {
        *place = fields.integer_or_null(name)?;
    }
    Ok((fields.string("orderId")?, Status { user: fields.string("userId")?, status: fields.string("status")?, times }))
}

pub(super) fn stats(bytes: &[u8], omitted: Option<&str>) -> Result<(CompactString, Stats), Unreadable> {
    let omitted = match omitted.map(str::parse) {
        None => 0,
        Some(Ok(number)) if number > 0 => number,
        Some(_) => return Err("header stats.omitted_categories is not a whole number from 1".to_owned()),
    };
    let fields = Fields::of(bytes)?;
    let mut categories = BTreeMap::new();
    let counts = fields.value("categoryCount")?.fields().map_err(|error| error.to_string())?;
    for (category, count) in counts.ok_or("categoryCount is not an object")? {
        let count = integer(count).ok_or_else(|| format!("categoryCount of {category} is {}", count.text()))?;
        if categories.insert(category.as_str().into(), count).is_some() {
            return Err(format!("categoryCount has {category} twice"));
        }
    }
    let stats = Stats {
        start: fields.integer("windowStart")?,
        end: fields.integer("windowEnd")?,
        orders: fields.integer("orderCount")?,
        pieces: fields.integer("itemCount")?,
        total: fields.money("totalAmount")?,
        average: fields.money("averageOrderValue")?,
        categories,
        omitted,
    };
    Ok((fields.string("userId")?, stats))
}

pub(super) fn level(bytes: &[u8]) -> Result<Level, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(Level {
        order: fields.string("orderId")?,
        change: Change {
            product: fields.string("productId")?,
            change: fields.integer("change")?,
            time: fields.integer("timestamp")?,
        },
        stock: fields.integer("stock")?,
    })
}

pub(super) fn alert(bytes: &[u8]) -> Result<AlertRecord, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(AlertRecord {
        product: fields.string("productId")?,
        stock: fields.integer("stock")?,
        threshold: fields.integer("threshold")?,
        time: fields.integer("timestamp")?,
    })
}

pub(super) fn batch(bytes: &[u8]) -> Result<Batch<'_>, Unreadable> {
    let fields = Fields::of(bytes)?;
    let orders = fields.value("orders")?.elements().ok_or("orders is not an array")?;
    Ok(Batch {
        id: fields.string("batchId")?,
        size: fields.integer("size")?,
        orders: orders.into_iter().map(Value::text).collect(),
    })
}

/// Order and event type of an event that an output carries unchanged.
pub(super) fn identity(bytes: &[u8]) -> Result<(CompactString, CompactString), Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok((fields.string("orderId")?, fields.string("eventType")?))
}

struct Fields<'a>(Vec<(String, Value<'a>)>);

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let fields = Value::whole(text).and_then(Value::fields).map_err(|error| error.to_string())?;
        fields.map(Fields).ok_or_else(|| "it is not an object".to_owned())
    }

    fn value(&self, name: &str) -> Result<Value<'a>, Unreadable> {
        let mut named = self.0.iter().filter(|field| field.0 == name);
        match (named.next(), named.next()) {
            (Some((_, value)), None) => Ok(*value),
            (None, _) => Err(format!("{name} is missing")),
            (Some(_), Some(_)) => Err(format!("{name} is there twice")),
        }
    }

    fn string(&self, name: &str) -> Result<CompactString, Unreadable> {
        let value = self.value(name)?;
        let text = value.string().map_err(|error| error.to_string())?;
        text.map(CompactString::from).ok_or_else(|| format!("{name} is {}, not a string", value.text()))
    }

    fn integer(&self, name: &str) -> Result<i64, Unreadable> {
        let value = self.value(name)?;
        integer(value).ok_or_else(|| format!("{name} is {}, not a whole number", value.text()))
    }

    fn integer_or_null(&self, name: &str) -> Result<Option<i64>, Unreadable> {
        if self.value(name)?.is_null() { Ok(None) } else { self.integer(name).map(Some) }
    }

    fn money(&self, name: &str) -> Result<i128, Unreadable> {
        let value = self.value(name)?;
        let cents = || {
            let (whole, places) = value.text().split_once('.')?;
            (places.len() == 2).then_some(())?;
            [whole, places].concat().parse::<i128>().ok()
        };
        cents().ok_or_else(|| format!("{name} is {}, not a number with two places", value.text()))
    }
}

fn integer(value: Value<'_>) -> Option<i64> {
    (value.shape() == Shape::Number).then(|| value.text().parse().ok())?
}
