//! Real brokers, real kills: what the demo, the benchmarks, the chaos campaign and the tests of sluicegate share.
//!
//! ```text
//! Broker (given | Docker | JVM)   Job = one configuration, its folders, its topics
//!      ▲                                │ run, start
//!      │ records, offsets               ▼
//! topics ◄─────────────────────── Service = one running `sluicegate`, that can be killed, paused, asked
//! ```
//!
//! Everything that is started here ends with the process that started it, however that ends: see [`leftovers`].
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod access;
pub mod bench;
pub mod broker;
pub mod cache;
pub mod chaos;
pub mod daemon;
pub mod deadline;
pub mod http;
pub mod job;
pub mod leftovers;
pub mod metrics;
pub mod ports;
pub mod process;
pub mod progress;
pub mod proxy;
pub mod registry;
pub mod s3;
pub mod service;
pub mod topics;
pub mod variables;

pub use anyhow::{Context, Error, Result, anyhow, bail, ensure};

/// A number that nobody else has: for names and ports, never for anything that a seed must repeat.
fn arbitrary() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
