//! Keyed state: typed write-back tables over one RocksDB.
//!
//! ```text
//!            task thread                                writer thread
//!  Key ──► Table (typed, in memory) ──chunks──► runs, sorted ──files──► RocksDB ──hard links──► Snapshot N
//!            │  barrier: freeze                    │                      ▲
//!            └── a key that is not in memory ──────┼──── get, scan ───────┘
//!                              applied, linked ◄───┘
//! ```
//!
//! - A [`Table`] is a write-back cache: RocksDB sees a value only through a freeze at a barrier, so reading and writing cost a
//!   hash look-up. Freezing takes microseconds at any size; encoding goes on beside the work ([`AnyTable`]).
//! - Snapshot N holds exactly the state at barrier N ([`WriterEvent`] says when it is there and why that is so).
//! - Memory is bounded by one number ([`Settings`], [`Budget`]).
//! - With [`Backend::Memory`] all entries are in tables and each snapshot is written whole; it is made of the same files.
//! - Keys and values have stable, self-describing bytes ([`StateKey`], [`StateValue`]); state moves by key group
//!   ([`KeyGroups`]), so the parallelism is not part of the format.
//! - Local state is a cache of a checkpoint and is never opened again after a crash ([`Workspace`]).
//! - A checkpoint can be looked into without the job's types ([`Stored`]).
//! - What values look like is kept beside them ([`ValueType`]), and compared with what the next program reads.
//!
//! # What a task does
//!
//! ```text
//! at start      one Port per table (Plan::port), then Plan::start, then Table::new on the task's thread
//! per record    get, upsert, remove, ...
//! per batch     encode_slice(n) of each table while it says false; maintain() of each table
//! at a barrier  freeze(N) of each table, forward the barrier, go on
//! idle, or waiting for room in an output: encode_slice, or checkpoint N could wait for this task and this task for N
//! ```

mod absence;
mod budget;
mod chunk;
mod descriptor;
mod disk;
mod eviction;
mod files;
mod freeze;
mod horizon;
pub mod inspect;
mod key;
mod key_group;
mod key_shape;
mod learn;
mod order;
mod port;
mod probe;
mod reads;
mod run;
mod scan;
mod settings;
mod slots;
mod snapshot;
mod store;
mod store_options;
mod stored;
mod sweep;
mod table;
mod trace;
mod trial;
mod value;
mod value_shape;
mod value_type;
mod whole;
mod workspace;
mod writer;

pub use budget::Budget;
pub use descriptor::{StateDescriptor, StateKind};
pub use disk::DiskUse;
pub use freeze::AnyTable;
pub use horizon::{Horizon, expired};
pub use key::{Key, StateKey};
pub use key_group::{KeyGroups, hash_key};
pub use key_shape::KeyShape;
pub use port::Port;
pub use settings::{Backend, MemoryReport, MemorySplit, Settings};
pub use snapshot::{Snapshot, SnapshotFile};
pub use store::{StateId, Store, Unclaimed, Visit, states_in};
pub use stored::{Entry, Stored};
pub use table::{Table, TableOptions};
pub use value::{StateValue, Timed, decode_value, encode_value};
pub use value_shape::ValueShape;
pub use value_type::{Choice, Field, Presence, Record, ValueType};
pub use workspace::Workspace;
pub use writer::{Plan, SnapshotReady, Writer, WriterEvent, WriterTimings};

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod store_tests;
