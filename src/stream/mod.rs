//! The public API: streams, keyed streams, state, windows. A job is written with this and nothing else of the engine.
//!
//! ```text
//! let app = App::new();
//! let (orders, dead) = app.source("orders", "orders-topic", decoder);
//! let tracked = orders.key_by(|order| order.id.clone()).process("track", |declare| { … });
//! tracked.sink("order-status", |status, record| { … });
//! let plan = app.into_plan()?;
//! ```

mod app;
mod declare;
mod harness;
mod held;
mod operator;
mod state;
mod window;

pub use crate::engine::exchange::Keyed;
pub use crate::engine::output::RecordWriter;
pub use crate::engine::snapshot::Redistribution;
pub use crate::engine::source::{DeadRecord, Decode, LazyHeaders, RawRecord, Undecodable};
pub use crate::engine::{Halt, MAX_WATERMARK, MIN_WATERMARK, OperatorCounter, OperatorEvents, Timestamp};
pub use crate::protocol::Failure;
pub use crate::state::{Key, StateKey, StateValue};
pub use app::{App, KeyedStream, SideStream, Stream};
pub use declare::{Declare, Expiring};
pub use harness::{Harness, Outputs};
pub use operator::{Emit, KeyedProcess, OperatorContext, Output};
pub use state::{
    Accumulate, AggregatingState, BroadcastState, ListState, MapState, OperatorList, ReducingState, State, StateHandle, Ttl,
    ValueState,
};
pub use window::{Aggregate, Late, TumblingWindows, Window};

/// What operators return. Any [`Failure`] ends the attempt; the restart strategy decides what follows.
pub type Result<T> = std::result::Result<T, Halt>;
