//! A job without Kafka, exactly once all the same: the commit log is a file.
//!
//! ```text
//! <storage>/<job>/local/lock            held while one of the two below is looked at and replaced
//! <storage>/<job>/local/owner.json      epoch of the instance that took the job over last
//! <storage>/<job>/local/committed.json  offsets, pointer to the checkpoint, and the outputs that belong to it
//! ```
//!
//! What a transaction is to Kafka is here one replaced file:
//!
//! ```text
//! outputs of epoch N, staged aside ──► manifest N durable ──► permit ──► committed.json replaced ──► outputs published
//!                                                                        ▲ the commit              ▲ again by recovery
//! ```
//!
//! # Why nothing is lost and nothing comes twice
//!
//! 1. *One step.* Offsets, pointer and the list of staged outputs are in one file, which is written beside, synchronised and renamed:
//!    after any crash there is the old one or the new one.
//! 2. *Staged is durable before it is named.* A transaction is flushed (its files and their folder are synchronised) before the permit
//!    for its commit can exist.
//! 3. *Published after the commit, and by whoever comes next.* What the log names is published after the log was replaced; a crash in
//!    between is finished by the next [`CommitLog::take_over`]. To publish what was published changes nothing. What is staged and not
//!    named was never committed: it is removed.
//! 4. *One owner.* Taking over raises the epoch, committing asks for it, both under the lock: an instance that was overtaken finds an
//!    epoch that is not its own and commits nothing more.

mod cluster;
mod commit_log;
mod connect;
mod durable;
mod sinks;
#[cfg(test)]
mod tests;
mod transactions;

pub use cluster::LocalCluster;
pub use commit_log::{CommitLog, Committed, Publication};
pub use connect::{LocalSource, Owner, Sink, SinkTransaction, SinkWriter, TwoPhaseCommitSink};
pub use durable::{replace, sync_folder};
pub(super) use sinks::{Sinks, Staging, publish, recover, warn};
