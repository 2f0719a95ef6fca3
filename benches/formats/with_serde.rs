//! serde_json into the same fields, straight and by way of its generic value.

use crate::{
    Result,
    row::{JSON, Load, Row, Sums},
};
use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Value, value::RawValue};
use sluicegate::format::{EventType, write_money};
use smallvec::SmallVec;

/// An order event, as one would write it down for serde. Money is exact, by the text of its number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: CompactString,
    user_id: CompactString,
    event_type: EventType,
    #[serde(with = "money")]
    amount: Decimal,
    item_count: u32,
    category: CompactString,
    items: SmallVec<[Item; 3]>,
    timestamp: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    product_id: CompactString,
    product_name: CompactString,
    quantity: u32,
    #[serde(with = "money")]
    price: Decimal,
}

mod money {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Decimal, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        Decimal::from_str_exact(text.get()).map_err(de::Error::custom)
    }

    pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(24);
        write_money(&mut text, *value);
        let text = String::from_utf8(text).map_err(ser::Error::custom)?;
        RawValue::from_string(text).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

pub fn rows(load: &Load, rounds: usize) -> Result<Vec<Row>> {
    let records = load.records(JSON);
    let straight = Row::measure(
        (JSON, "serde_json, straight into a type"),
        records,
        rounds,
        |record| Ok(serde_json::from_slice::<Order>(record)?),
        |out, order| Ok(serde_json::to_writer(out, order)?),
        |sums, order| {
            let item = |item: &Item| sluicegate::format::Item {
                product_id: item.product_id.clone(),
                product_name: item.product_name.clone(),
                quantity: item.quantity,
                price: item.price,
            };
            sums.event(&sluicegate::format::OrderEvent {
                order_id: order.order_id.clone(),
                user_id: order.user_id.clone(),
                event_type: order.event_type,
                amount: order.amount,
                item_count: order.item_count,
                category: order.category.clone(),
                items: order.items.iter().map(item).collect(),
                timestamp: order.timestamp,
            });
            Ok(())
        },
    )?;
    let generic = Row::measure(
        (JSON, "serde_json::Value (money as a binary float)"),
        records,
        rounds,
        |record| Ok(serde_json::from_slice::<Value>(record)?),
        |out, value| Ok(serde_json::to_writer(out, value)?),
        |sums, value| generic_sums(sums, value).ok_or_else(|| format!("{value} is no order").into()),
    )?;
    Ok(vec![straight, generic])
}

fn generic_sums(sums: &mut Sums, order: &Value) -> Option<()> {
    let cents = |value: &Value| value.as_f64().map(|money| (money * 100.0).round() as i64);
    sums.events += 1;
    sums.cents += cents(order.get("amount")?)?;
    sums.pieces += order.get("itemCount")?.as_u64()?;
    for name in ["orderId", "userId", "category"] {
        sums.text(order.get(name)?.as_str()?);
    }
    let kind = order.get("eventType")?.as_str()?;
    sums.types += EventType::ALL.iter().position(|known| known.as_str() == kind)? as u64;
    sums.milliseconds += order.get("timestamp")?.as_i64()?;
    for item in order.get("items")?.as_array()? {
        sums.cents += cents(item.get("price")?)?;
        sums.pieces += item.get("quantity")?.as_u64()?;
        for name in ["productId", "productName"] {
            sums.text(item.get(name)?.as_str()?);
        }
    }
    Some(())
}
