//! Seen from outside: metrics, logs, health.
//!
//! ```text
//! tasks, coordinator, supervisor ──► Arc<Metrics>, Arc<Health> ──► HTTP: /metrics, /livez, /readyz     (own thread)
//!                                └─► tracing ────────────────────► standard error, text or JSON
//! ```
//!
//! There are no globals but the subscriber that `tracing` itself is: who counts is handed an [`Metrics`], takes the handles that it
//! needs once (they are atomics behind an `Arc`), and counts per batch. `docs/metrics.md` is tested against [`Metrics::listing`].

mod checkpoint;
mod health;
mod http;
pub mod logging;
mod metrics;
mod process;
mod registry;
mod snapshot;
mod state_metrics;

pub use checkpoint::{CheckpointReport, Phases};
pub use health::{Health, Status};
pub use http::Server;
pub use metrics::{AttemptMetrics, CheckpointMetrics, EventMetrics, Metrics, SinkMetrics, SourceMetrics, TaskMetrics, TaskTime};
pub use registry::{Counter, Gauge, Labelled, Listed, Seconds};
pub use snapshot::{CheckpointSnapshot, Snapshot, TaskSnapshot};
pub use state_metrics::StateMetrics;

#[cfg(test)]
mod tests;
