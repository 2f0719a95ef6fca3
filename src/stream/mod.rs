//! The public API: streams, keyed streams, state, windows. A job is written with this and nothing else of the engine.
//!
//! ```text
//! let app = App::new();
//! let (orders, dead) = app.source("orders", "orders-topic", decoder);
//! let tracked = orders.key_by(|order| order.id.clone()).process("track", |declare| { … });
//! tracked.sink("order-status", |status, record| { … });
//! let plan = app.into_plan()?;
//! ```
//!
//! `App::main` makes a program of a job, with the command line of sluicegate; [`Execution`] runs one that reads and writes no Kafka in this
//! process.

mod app;
mod broadcast;
mod connect;
mod declare;
mod execution;
mod fault;
mod harness;
mod held;
mod interval_join;
mod local;
mod operator;
mod rolling;
mod state;
mod timer;
mod union;
mod window;

pub use crate::engine::exchange::Keyed;
pub use crate::engine::local::{LocalSink, LocalSource, Owner, StagedOutput};
pub use crate::engine::output::RecordWriter;
pub use crate::engine::snapshot::Redistribution;
pub use crate::engine::source::{DeadRecord, Decode, LazyHeaders, RawRecord, Round, SplitReader, Undecodable};
pub use crate::engine::watermark_strategy::{WatermarkGenerator, WatermarkOutput, WatermarkStrategy, WithWatermarks};
pub use crate::engine::{
    ExponentialDelay, Halt, MAX_WATERMARK, MIN_WATERMARK, OperatorCounter, OperatorEvents, Outgoing, RestartStrategy, Timestamp,
};
pub use crate::protocol::{Failure, FailureKind, JobName, Positions};
pub use crate::state::{Key, StateKey, StateValue};
pub use app::{App, KeyedStream, SideStream, Stream};
pub use broadcast::{BroadcastConnectedStream, KeyedBroadcastProcess, KeyedBroadcastStream};
pub use connect::{ConnectedKeyedStreams, ConnectedStreams, KeyedCoProcess, Side};
pub use declare::{Declare, Expiring};
pub use execution::{Execution, Running};
pub use harness::{Harness, Outputs};
pub use local::{Source, Watermarked};
pub use operator::{Emit, KeyedProcess, OperatorContext, Output};
pub use state::{
    Accumulate, AggregatingState, BroadcastState, ListState, MapState, OperatorList, ReducingState, State, StateHandle, Ttl,
    ValueState,
};
pub use timer::{TimeDomain, Timer, Timers};
pub use union::UnionStream;
pub use window::{
    Aggregate, ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DefaultTrigger, EventTimeTrigger,
    Global, Late, ProcessingTimeTrigger, PurgingTrigger, Session, Sliding, Trigger, TriggerContext, TriggerResult, Tumbling,
    Window, WindowContext, WindowedStream, Windows,
};

/// What operators return. Any [`Failure`] ends the attempt; the restart strategy decides what follows.
pub type Result<T> = std::result::Result<T, Halt>;
