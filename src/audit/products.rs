//! One bucket of products: the running stock in the order of the output, and the alerts that follow from it.

use super::facts::{Place, ProductFact};
use super::report::Report;
use super::spill::Bucket;
use super::{Alert, JobRules, Topic};
use crate::comparison::{DifferenceKind, lists::lists};
use crate::protocol::Failure;
use compact_str::CompactString;
use std::collections::BTreeMap;
use std::fmt;

struct Level {
    place: Place,
    order: CompactString,
    change: i64,
    stock: i64,
    time: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    stock: i64,
    threshold: i64,
    time: i64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stock {} below {} at {}", self.stock, self.threshold, self.time)
    }
}

#[derive(Default)]
struct Product {
    levels: Vec<Level>,
    alerts: Vec<(Place, Told)>,
}

pub(super) fn judge(bucket: Bucket<(CompactString, ProductFact)>, rules: &JobRules, report: &mut Report) -> Result<(), Failure> {
    let mut products: BTreeMap<CompactString, Product> = BTreeMap::new();
    bucket.read(|(product, fact)| {
        let product = products.entry(product).or_default();
        match fact {
            ProductFact::Level { place, order, change, stock, time } => {
                product.levels.push(Level { place, order, change, stock, time });
            }
            ProductFact::Alert { place, stock, threshold, time } => product.alerts.push((place, Told { stock, threshold, time })),
        }
        Ok(())
    })?;
    for (name, mut product) in products {
        product.levels.sort_by_key(|level| level.place);
        product.alerts.sort_by_key(|(place, _)| *place);
        running_stock(&name, &product.levels, rules, report);
        let expected: Vec<Told> = product.levels.iter().filter_map(|level| alert(level, rules)).collect();
        let found: Vec<Told> = product.alerts.into_iter().map(|(_, told)| told).collect();
        let output = report.output(Topic::LowStockAlerts);
        output.expected += expected.len() as u64;
        lists(output, &name, &expected, &found, true);
    }
    Ok(())
}

/// stock(n) = stock(n - 1) + change(n). After a record that does not fit, it goes on from what that record says: one fault is told once.
fn running_stock(product: &CompactString, levels: &[Level], rules: &JobRules, report: &mut Report) {
    let output = report.output(Topic::InventoryLevels);
    let mut stock = rules.initial_stock;
    let mut partition = None;
    for level in levels {
        if level.stock != stock + level.change {
            let expected = format!("stock {} ({stock} before it, {:+} by {})", stock + level.change, level.change, level.order);
            let difference = || (format!("{product} at {}", level.place), expected, format!("stock {}", level.stock));
            output.note(DifferenceKind::Wrong, difference);
        }
        stock = level.stock;
        if *partition.get_or_insert(level.place.partition) != level.place.partition {
            let difference =
                || (product.to_string(), "all records of the product in one partition".to_owned(), level.place.to_string());
            output.note(DifferenceKind::Wrong, difference);
            partition = Some(level.place.partition);
        }
    }
}

fn alert(level: &Level, rules: &JobRules) -> Option<Told> {
    let threshold = rules.low_stock_threshold;
    let low = level.stock < threshold;
    let told = match rules.alert {
        Alert::Every => low,
        Alert::Crossing => low && level.stock - level.change >= threshold,
    };
    told.then_some(Told { stock: level.stock, threshold, time: level.time })
}
