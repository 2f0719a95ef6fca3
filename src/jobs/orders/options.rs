//! What can be set of the order job.

use crate::format::{DecodeRules, Formats};
use std::time::Duration;

/// What makes two events the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The same order and event type.
    Event,
    /// The same order: only its first event is accepted.
    Order,
}

/// When a low stock is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// When a change takes the stock from the threshold or above to below it.
    Crossing,
    /// At every change that leaves it below.
    Every,
}

/// Names of the seven outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Each order after each of its events.
    pub order_status: String,
    /// Sums per user and window.
    pub purchase_stats: String,
    /// Events whose window is gone.
    pub late_orders: String,
    /// Stock after each change.
    pub inventory_levels: String,
    /// Products that run out.
    pub low_stock_alerts: String,
    /// Events in batches.
    pub order_batches: String,
    /// Records that cannot be used.
    pub dead_letters: String,
}

/// All of the job's settings, checked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the job, which its dead letters carry.
    pub job: String,
    /// Input topic.
    pub input: String,
    /// Output topics.
    pub topics: Topics,
    /// Formats of all of them.
    pub formats: Formats,
    /// What a usable record is.
    pub rules: DecodeRules,
    /// What a duplicate is.
    pub identity: Identity,
    /// For how long of event time an event is remembered.
    pub deduplication_ttl: Duration,
    /// For how long of event time an order is followed after its youngest event; not shorter than `deduplication_ttl`, or a copy that
    /// is still dropped would be of an order that is not known any more.
    pub tracking_ttl: Duration,
    /// Size of the purchase windows.
    pub window: Duration,
    /// For how long a window that fired takes late events.
    pub allowed_lateness: Duration,
    /// Stock of a product that no event has touched.
    pub initial_stock: i64,
    /// Below this a stock is low.
    pub low_stock_threshold: i64,
    /// When to tell.
    pub alert: Alert,
    /// Events per batch.
    pub batch_size: usize,
}

#[cfg(test)]
impl Options {
    /// The defaults, for an operator on its own: nothing has a topic.
    pub fn of_an_operator() -> Self {
        let topic = String::new;
        Self {
            job: "orders".into(),
            input: topic(),
            topics: Topics {
                order_status: topic(),
                purchase_stats: topic(),
                late_orders: topic(),
                inventory_levels: topic(),
                low_stock_alerts: topic(),
                order_batches: topic(),
                dead_letters: topic(),
            },
            formats: Formats::json(),
            rules: DecodeRules::default(),
            identity: Identity::Event,
            deduplication_ttl: Duration::from_secs(86_400),
            tracking_ttl: Duration::from_secs(2 * 86_400),
            window: Duration::from_secs(3_600),
            allowed_lateness: Duration::ZERO,
            initial_stock: 100,
            low_stock_threshold: 10,
            alert: Alert::Crossing,
            batch_size: 100,
        }
    }
}
