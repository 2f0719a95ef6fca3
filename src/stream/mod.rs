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
mod audit;
mod broadcast;
pub mod conformance;
mod connect;
mod dead_letters;
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

pub use crate::comparison::{Difference, DifferenceKind};
pub use crate::engine::exchange::Keyed;
pub use crate::engine::local::{LocalSource, Owner, Sink, SinkTransaction, SinkWriter, TwoPhaseCommitSink};
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
pub use audit::{Audit, Committed, Findings};
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
/// An example is at [`KeyedProcess`].
pub type Result<T> = std::result::Result<T, Halt>;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// Rust files below `folder`, without those of tests.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let of_tests = |path: &PathBuf| path.file_stem().is_some_and(|name| name.to_string_lossy().contains("tests"));
        let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
        entries.filter(|path| !of_tests(path)).flat_map(below).collect()
    }

    #[test]
    fn every_public_type_shows_an_example_or_says_where_one_is() {
        let mut looked_at = 0;
        for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stream")) {
            let text = fs::read_to_string(&file).unwrap();
            let mut about = String::new();
            for line in text.lines() {
                let is_type = ["pub struct ", "pub trait ", "pub enum ", "pub type "].iter().any(|word| line.starts_with(word));
                if is_type {
                    looked_at += 1;
                    let shown = about.contains("```") || about.contains("An example is at [");
                    assert!(shown, "{}: no example at {line:?}", file.display());
                }
                match line.starts_with("///") || line.starts_with("#[") {
                    true => about.push_str(line),
                    false => about.clear(),
                }
            }
        }
        assert!(looked_at > 50, "only {looked_at} types were found");
    }
}
