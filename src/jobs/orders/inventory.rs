//! Stage 6: the stock of each product.

use super::{Alert, Options, names, track::StockChange};
use crate::format::{InventoryLevel, LowStockAlert};
use crate::stream::{App, Emit, Halt, Key, KeyedProcess, OperatorContext, Output, StateValue, Stream, Timestamp, ValueState};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stock {
    stock: i64,
}

impl StateValue for Stock {}

struct Inventory {
    stock: ValueState<CompactString, Stock>,
    alerts: Output<LowStockAlert>,
    initial: i64,
    threshold: i64,
    alert: Alert,
}

/// Keeps the stock; the second stream tells when it is low.
pub fn attach(app: &App, changes: &Stream<StockChange>, options: &Options) -> (Stream<InventoryLevel>, Stream<LowStockAlert>) {
    let alerts = app.side_output::<LowStockAlert>();
    let side = alerts.clone();
    let (initial, threshold, alert) = (options.initial_stock, options.low_stock_threshold, options.alert);
    let by_product = changes.key_by(|change| change.product_id.clone());
    let levels = by_product.process(names::INVENTORY, |declare| {
        let stock = declare.value::<CompactString, Stock>("stock");
        move |context: &mut OperatorContext<'_, '_>| {
            Ok(Inventory { stock: context.state(&stock)?, alerts: context.output(&side)?, initial, threshold, alert })
        }
    });
    let alerts = alerts.stream(&levels);
    (levels, alerts)
}

impl KeyedProcess<CompactString, StockChange> for Inventory {
    type Out = InventoryLevel;

    fn process(
        &mut self,
        key: &Key<CompactString>,
        timestamp: Timestamp,
        value: StockChange,
        out: &mut Emit<'_, InventoryLevel>,
    ) -> Result<(), Halt> {
        let StockChange { product_id, order_id, change } = value;
        let initial = self.initial;
        let (before, stock) = self.stock.update(
            key,
            || Stock { stock: initial },
            |state| {
                let before = state.stock;
                state.stock = before.saturating_add(change);
                (before, state.stock)
            },
        )?;
        let low = stock < self.threshold
            && match self.alert {
                Alert::Crossing => before >= self.threshold,
                Alert::Every => true,
            };
        if low {
            let alert = LowStockAlert { product_id: product_id.clone(), stock, threshold: self.threshold, timestamp };
            self.alerts.push(timestamp, alert)?;
        }
        out.push(InventoryLevel { product_id, order_id, change, stock, timestamp })
    }
}
