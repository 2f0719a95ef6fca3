//! Exactly-once ETL for Kafka: a stream-processing engine in one process and one binary.
//!
//! Output is held back inside a Kafka transaction until the checkpoint that it belongs to is durable; then outputs,
//! input offsets and the pointer to the state snapshot become visible in one Kafka transaction.
//!
//! ```text
//! Kafka partitions -> source tasks -> keyed exchange -> operator tasks -> sink task (open Kafka transaction of epoch N)
//!                                                            |                 ^
//!                                             state: table -> RocksDB          | permit to commit N
//!                                                            v                 |
//!                                               checkpoint storage <- checkpoint coordinator
//! ```
//!
//! # The rooms, in the order in which data passes; arrows point downwards only
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`cli`] | one file per command |
//! | [`config`] | files and environment to checked settings |
//! | [`stream`] | the public API: streams, keyed state, windows, operators |
//! | [`jobs`] | the jobs that ship; they see only [`stream`] and [`format`](mod@format) |
//! | [`engine`] | graph to tasks, channels, barriers, watermarks, supervisor |
//! | [`protocol`] | the checkpoint and commit rules as a pure state machine |
//! | [`state`] | state tables, RocksDB, key groups |
//! | [`checkpoint`] | manifests, storage, upload, restore, garbage collection |
//! | [`kafka`] | source reader, transactional producer pool, offsets; the only room that imports rdkafka |
//! | [`connectors`] | what is not Kafka |
//! | [`format`](mod@format) | wire types and their encodings |
//! | [`observe`] | metrics, logs, HTTP |
//! | [`comparison`] | what had to be in an output and what is there; for audits |
//! | [`audit`] | an independent recomputation of the order job, and the comparison |
#![deny(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod audit;
pub mod checkpoint;
pub mod cli;
pub mod comparison;
pub mod config;
pub mod connectors;
pub mod engine;
pub mod failpoint;
pub mod format;
pub mod jobs;
pub mod kafka;
pub mod observe;
pub mod protocol;
pub mod state;
pub mod stream;
