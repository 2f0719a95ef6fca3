//! From settings to the graph of the job that they name.

use crate::{
    config::{self, JobKind, Settings},
    engine::plan::Plan,
    format::{DecodeRules, Formats},
    jobs::orders,
    protocol::Failure,
    stream::App,
};

/// The graph of the job, whose topics have these formats.
pub(super) fn of(settings: &Settings, formats: Formats) -> Result<Plan, Failure> {
    let app = App::new();
    match settings.job.kind {
        JobKind::Orders => orders::build(&app, &order_options(settings, formats))?,
    }
    app.into_plan()
}

fn order_options(settings: &Settings, formats: Formats) -> orders::Options {
    let (topics, options) = (&settings.topics, &settings.orders);
    orders::Options {
        job: settings.job.name.to_string(),
        input: settings.source.topic.clone(),
        topics: orders::Topics {
            order_status: topics.order_status.clone(),
            purchase_stats: topics.purchase_stats.clone(),
            late_orders: topics.late_orders.clone(),
            inventory_levels: topics.inventory_levels.clone(),
            low_stock_alerts: topics.low_stock_alerts.clone(),
            order_batches: topics.order_batches.clone(),
            dead_letters: topics.dead_letters.clone(),
        },
        formats,
        rules: DecodeRules {
            min_timestamp: *settings.source.timestamps.start(),
            max_timestamp: *settings.source.timestamps.end(),
            max_record_bytes: settings.source.max_record_bytes,
            max_id_bytes: settings.source.max_id_bytes,
        },
        identity: match options.identity {
            config::Identity::Event => orders::Identity::Event,
            config::Identity::Order => orders::Identity::Order,
        },
        deduplication_ttl: options.deduplication_ttl,
        tracking_ttl: options.tracking_ttl,
        window: options.window,
        allowed_lateness: options.allowed_lateness,
        initial_stock: options.initial_stock,
        low_stock_threshold: options.low_stock_threshold,
        alert: match options.alert {
            config::Alert::Crossing => orders::Alert::Crossing,
            config::Alert::Every => orders::Alert::Every,
        },
        batch_size: options.batch_size.get(),
    }
}
