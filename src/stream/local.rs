//! Sources and sinks that are not Kafka: see [`crate::connectors`] for those that there are.

use super::app::{App, Stream};
use crate::engine::{
    local::{LocalSink, LocalSource},
    source::{DeadRecord, Decode},
    watermark_strategy::{WatermarkStrategy, WithWatermarks},
};
use crate::protocol::Failure;
use serde::Serialize;
use std::{fmt::Display, io::Write, sync::Arc};

/// A source of records of one type: where they lie, and how they are read.
pub trait Source {
    /// The records.
    type Out: Clone + Send + 'static;
    /// Makes them out of what is read.
    type Decoder: Decode<Out = Self::Out>;

    /// Where they lie, and what makes a decoder for each task.
    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static);

    /// The same source, with watermarks that are made as `strategy` says.
    fn with_watermarks(self, strategy: WatermarkStrategy<Self::Out>) -> Watermarked<Self>
    where
        Self: Sized,
    {
        Watermarked { source: self, strategy }
    }
}

/// A source with a [`WatermarkStrategy`], see [`Source::with_watermarks`].
pub struct Watermarked<S: Source> {
    source: S,
    strategy: WatermarkStrategy<S::Out>,
}

impl<S: Source> Source for Watermarked<S> {
    type Out = S::Out;
    type Decoder = WithWatermarks<S::Decoder>;

    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static) {
        let (local, decoder) = self.source.into_parts();
        let strategy = self.strategy;
        (local, move || decoder().with_watermarks(strategy.clone()))
    }
}

impl App {
    /// Reads `source`. `name` is its identity in checkpoints. A record that cannot be decoded ends the job: [`App::read_or_dead`] is for
    /// input that is not clean.
    ///
    /// ```
    /// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution}};
    ///
    /// # fn main() -> Result<(), sluicegate::stream::Failure> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let (app, output) = (App::new(), Collected::new());
    /// app.read("words", Collection::of(["to", "be"])).map(str::to_uppercase).write_lines("shouted", output.clone());
    /// Execution::new("shout", folder.path()).run(app)?;
    /// assert_eq!(output.lines(), ["TO", "BE"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read<S: Source>(&self, name: &str, source: S) -> Stream<S::Out> {
        let (records, dead) = self.read_or_dead(name, source);
        let name = name.to_owned();
        let _ = dead.flat_map::<()>(move |DeadRecord { partition, offset, error, .. }, _| {
            Err(Failure::fatal(format!(
                "source {name}, partition {partition}, position {offset}: {} ({}). To put such records aside, read the source with \
                 App::read_or_dead",
                error.message, error.class
            ))
            .into())
        });
        records
    }

    /// Reads `source`. The second stream holds the records that could not be decoded.
    pub fn read_or_dead<S: Source>(&self, name: &str, source: S) -> (Stream<S::Out>, Stream<DeadRecord>) {
        let (local, decoder) = source.into_parts();
        self.change(|plan| plan.sources.insert(name.to_owned(), local));
        self.source(name, name, decoder)
    }
}

impl<T: Clone + Send + 'static> Stream<T> {
    /// Writes each record to `sink`: `encode` appends its bytes. `name` is the identity of the sink in checkpoints.
    pub fn write(
        &self,
        name: &str,
        sink: impl LocalSink + 'static,
        encode: impl Fn(&T, &mut Vec<u8>) + Clone + Send + Sync + 'static,
    ) {
        let taken = self.app.change(|plan| plan.sinks.insert(name.to_owned(), Arc::new(sink))).is_some();
        if taken {
            self.app.wrong(format!("two sinks are named {name:?}: a name is a sink's identity, give each its own"));
        }
        self.sink(name, move |record, writer| encode(record, writer.value()));
    }

    /// Writes each record as it is displayed.
    pub fn write_lines(&self, name: &str, sink: impl LocalSink + 'static)
    where
        T: Display,
    {
        // Writing into memory does not fail.
        self.write(name, sink, |record, line| drop(write!(line, "{record}")));
    }

    /// Writes each record as JSON.
    pub fn write_json(&self, name: &str, sink: impl LocalSink + 'static)
    where
        T: Serialize,
    {
        let of = name.to_owned();
        let lines = self.flat_map(move |record, out| match serde_json::to_vec(&record) {
            Ok(line) => out.push(line),
            Err(why) => Err(Failure::fatal(format!("sink {of}: a record has no JSON form: {why}")).into()),
        });
        lines.write(name, sink, |line, out| out.extend_from_slice(line));
    }
}
