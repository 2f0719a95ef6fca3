//! Sources and sinks that are not Kafka: see [`crate::connectors`] for those that there are.

use super::app::{App, Stream};
use crate::engine::{
    local::{LocalSource, TwoPhaseCommitSink},
    source::{DeadRecord, Decode},
    watermark_strategy::{WatermarkStrategy, WithWatermarks},
};
use crate::protocol::Failure;
use serde::Serialize;
use std::{fmt::Display, io::Write, sync::Arc};

/// A source of records of one type: where they lie, and how they are read.
/// ```
/// use sluicegate::{
///     connectors::Collected,
///     stream::{
///         App, Execution, Failure, LazyHeaders, LocalSource, Positions, RawRecord, Round, Source, SplitReader, Timestamp, Undecodable,
///         conformance,
///     },
/// };
/// use std::{collections::BTreeSet, sync::Arc, time::Duration};
///
/// /// The squares of 0 to 9: the position is the number.
/// #[derive(Clone, Copy)]
/// struct Squares;
///
/// type Decoded = Result<(Timestamp, i64), Undecodable>;
///
/// impl Source for Squares {
///     type Out = i64;
///     type Decoder = fn(&RawRecord<'_>) -> Decoded;
///
///     fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static) {
///         let square: Self::Decoder = |record| Ok((record.offset, record.offset * record.offset));
///         (Arc::new(self), move || square)
///     }
/// }
///
/// impl LocalSource for Squares {
///     fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
///         Ok(BTreeSet::from([0]))
///     }
///     fn bounds(&self, _: i32) -> Result<(i64, i64), Failure> {
///         Ok((0, 10))
///     }
///     fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
///         Ok(Box::new(Reader(positions.values().next().copied().unwrap_or(0))))
///     }
///     fn bounded(&self) -> bool {
///         true
///     }
///     fn describe(&self) -> String {
///         "squares".into()
///     }
/// }
///
/// /// At the next number.
/// struct Reader(i64);
///
/// impl SplitReader for Reader {
///     fn poll(&mut self, _: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure> {
///         let mut round = Round::default();
///         while self.0 < 10 && round.records < max {
///             let (timestamp, key, value, headers) = (None, None, None, LazyHeaders::none());
///             each(RawRecord { topic: "squares", partition: 0, offset: self.0, timestamp, key, value, headers });
///             self.0 += 1;
///             round.records += 1;
///         }
///         if self.0 == 10 {
///             round.dry.push((0, 10));
///         }
///         Ok(round)
///     }
///     fn add(&mut self, _: &Positions) -> Result<(), Failure> {
///         Ok(()) // There is one partition only.
///     }
///     fn lag(&self, _: &Positions) -> Vec<(i32, i64)> {
///         vec![(0, 10 - self.0)]
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// assert_eq!(conformance::source(|| Squares), Ok(()));
/// let (app, output) = (App::new(), Collected::new());
/// app.read("squares", Squares).filter(|square| square % 2 == 1).write_lines("odd", output.clone());
/// Execution::new("squares", folder.path()).run(app)?;
/// assert_eq!(output.lines(), ["1", "9", "25", "49", "81"]);
/// # Ok(())
/// # }
/// ```
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
/// An example is at [`WatermarkStrategy`].
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
    /// ```
    /// use sluicegate::{connectors::{Collected, FileSource}, stream::{App, Execution}};
    ///
    /// # fn main() -> Result<(), sluicegate::stream::Failure> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("numbers.txt");
    /// std::fs::write(&path, "7\nseven\n8\n").unwrap();
    /// let (app, output, aside) = (App::new(), Collected::new(), Collected::new());
    /// let source = FileSource::parse(&path, |line| line.parse::<u32>().map_err(|why| why.to_string()));
    /// let (numbers, dead) = app.read_or_dead("numbers", source);
    /// numbers.write_lines("numbers", output.clone());
    /// dead.map(|dead| dead.error.message).write_lines("aside", aside.clone());
    /// Execution::new("numbers", folder.path()).run(app)?;
    /// assert_eq!(output.lines(), ["7", "8"]);
    /// assert_eq!(aside.lines(), [r#""seven": invalid digit found in string"#]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_or_dead<S: Source>(&self, name: &str, source: S) -> (Stream<S::Out>, Stream<DeadRecord>) {
        let (local, decoder) = source.into_parts();
        self.change(|plan| plan.sources.insert(name.to_owned(), local));
        self.source(name, name, decoder)
    }
}

impl<T: Clone + Send + 'static> Stream<T> {
    /// Writes each record to `sink`: `encode` appends its bytes. `name` is the identity of the sink in checkpoints.
    ///
    /// ```
    /// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution}};
    ///
    /// # fn main() -> Result<(), sluicegate::stream::Failure> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let (app, output) = (App::new(), Collected::new());
    /// let numbers = app.read("numbers", Collection::of([7_u32, 255]));
    /// numbers.write("hex", output.clone(), |number, bytes| bytes.extend_from_slice(format!("{number:#x}").as_bytes()));
    /// Execution::new("hex", folder.path()).run(app)?;
    /// assert_eq!(output.lines(), ["0x7", "0xff"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(
        &self,
        name: &str,
        sink: impl TwoPhaseCommitSink + 'static,
        encode: impl Fn(&T, &mut Vec<u8>) + Clone + Send + Sync + 'static,
    ) {
        let taken = self.app.change(|plan| plan.sinks.insert(name.to_owned(), Arc::new(sink))).is_some();
        if taken {
            self.app.wrong(format!("two sinks are named {name:?}: a name is a sink's identity, give each its own"));
        }
        self.sink(name, move |record, writer| encode(record, writer.value()));
    }

    /// Writes each record as it is displayed.
    pub fn write_lines(&self, name: &str, sink: impl TwoPhaseCommitSink + 'static)
    where
        T: Display,
    {
        // Writing into memory does not fail.
        self.write(name, sink, |record, line| drop(write!(line, "{record}")));
    }

    /// Writes each record as JSON.
    ///
    /// ```
    /// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution}};
    ///
    /// # fn main() -> Result<(), sluicegate::stream::Failure> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let (app, output) = (App::new(), Collected::new());
    /// app.read("pairs", Collection::of([("to", 2)])).write_json("json", output.clone());
    /// Execution::new("pairs", folder.path()).run(app)?;
    /// assert_eq!(output.lines(), [r#"["to",2]"#]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_json(&self, name: &str, sink: impl TwoPhaseCommitSink + 'static)
    where
        T: Serialize,
    {
        let lines = self.to_json(name, |_| Vec::new());
        lines.write(name, sink, |(_, line), out| out.extend_from_slice(line));
    }

    /// Writes each record to the topic of Kafka as JSON, with the key that `key` finds in it. [`Stream::sink`] is for other formats and for
    /// headers.
    ///
    /// ```
    /// use serde::Serialize;
    /// use sluicegate::stream::Stream;
    ///
    /// #[derive(Clone, Serialize)]
    /// struct Level {
    ///     product: String,
    ///     stock: i64,
    /// }
    ///
    /// // A level of 3 of P-7 becomes a record with the key P-7 and the value {"product":"P-7","stock":3}.
    /// fn publish(levels: &Stream<Level>) {
    ///     levels.sink_json("levels", |level| level.product.as_bytes());
    /// }
    /// ```
    pub fn sink_json(&self, topic: &str, key: impl Fn(&T) -> &[u8] + Clone + Send + Sync + 'static)
    where
        T: Serialize,
    {
        self.to_json(topic, move |record| key(record).to_vec()).sink(topic, |(key, value), record| {
            record.key(key);
            record.value().extend_from_slice(value);
        });
    }

    /// Key and JSON of each record.
    fn to_json(&self, sink: &str, key: impl Fn(&T) -> Vec<u8> + Clone + Send + Sync + 'static) -> Stream<(Vec<u8>, Vec<u8>)>
    where
        T: Serialize,
    {
        let of = sink.to_owned();
        self.flat_map(move |record, out| match serde_json::to_vec(&record) {
            Ok(json) => out.push((key(&record), json)),
            Err(why) => Err(Failure::fatal(format!("sink {of}: a record has no JSON form: {why}")).into()),
        })
    }
}
