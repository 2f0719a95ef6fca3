//! Runs operators in a test: no Kafka, no configuration, no threads to wait for. State and checkpoints are the real ones, so that a
//! test can do what matters most with state that is to live for years: take a checkpoint with one version of an operator and go on
//! from it with the next.

use super::app::{App, Consumers, KeyedStream, Stream};
use crate::engine::{
    Halt, Mark, Timestamp,
    alone::Alone,
    chain::{Collector, Downstream},
    exchange::Keyed,
    plan::VertexKind,
    snapshot::OperatorSnapshots,
};
use crate::protocol::Failure;
use crate::state::StateKey;
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

/// One stage of a job, run on the thread of its test. It has one task, which owns all keys. State and checkpoints are the real ones, so
/// that a test can take a checkpoint with one version of an operator and go on from it with the next.
///
/// ```
/// use sluicegate::stream::{
///     Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, Outputs, Timestamp, ValueState,
/// };
///
/// /// Adds up numbers by key.
/// struct Sum(ValueState<String, u64>);
///
/// impl KeyedProcess<String, u64> for Sum {
///     type Out = String;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: u64, out: &mut Emit<'_, String>) -> Result<(), Halt> {
///         let sum = self.0.update(key, || 0, |sum| { *sum += value; *sum })?;
///         out.push(format!("{}={sum}", key.value))
///     }
/// }
///
/// fn sums(numbers: &KeyedStream<String, u64>) -> Outputs<String> {
///     Outputs::of(&numbers.process("sums", |declare| {
///         let sum = declare.value::<String, u64>("sum");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Sum(context.state(&sum)?))
///     }))
/// }
///
/// # fn main() -> Result<(), Failure> {
/// // Input and output:
/// let mut harness = Harness::new(|_, numbers| sums(numbers))?;
/// harness.record(1_000, "a".into(), 2)?;
/// harness.record(1_500, "b".into(), 5)?;
/// harness.record(2_000, "a".into(), 3)?;
/// assert_eq!(harness.outputs.take(), [(1_000, "a=2".into()), (1_500, "b=5".into()), (2_000, "a=5".into())]);
///
/// // What is kept:
/// let state = harness.state("sums", "sum")?;
/// assert_eq!((state["a"].as_u64(), state["b"].as_u64()), (Some(5), Some(5)));
///
/// // And what a later version finds:
/// let folder = tempfile::tempdir().map_err(|why| Failure::fatal(why.to_string()))?;
/// harness.snapshot(folder.path())?;
/// let mut next = Harness::restore(folder.path(), |_, numbers| sums(numbers))?;
/// next.record(3_000, "a".into(), 1)?;
/// assert_eq!(next.outputs.take(), [(3_000, "a=6".into())]);
/// # Ok(())
/// # }
/// ```
pub struct Harness<K, T, O> {
    alone: Alone<K, T>,
    /// What the graph was built to: one [`Outputs`], or several.
    pub outputs: O,
}

impl<K: StateKey, T: Clone + Send + 'static, O> Harness<K, T, O> {
    /// Runs what `graph` makes of its input; it may be any operators with and without state, windows, side outputs.
    ///
    /// # Errors
    /// Fatal: the graph is wrong, or has another `key_by`: a harness is for one stage.
    pub fn new(graph: impl FnOnce(&App, &KeyedStream<K, T>) -> O) -> Result<Self, Failure> {
        Self::start(None, graph)
    }

    /// As [`Harness::new`], from the newest checkpoint that [`Harness::snapshot`] has put into `folder`.
    ///
    /// # Errors
    /// Refused: its state cannot be read by this graph, as a job would refuse it.
    pub fn restore(folder: &Path, graph: impl FnOnce(&App, &KeyedStream<K, T>) -> O) -> Result<Self, Failure> {
        Self::start(Some(folder), graph)
    }

    fn start(folder: Option<&Path>, graph: impl FnOnce(&App, &KeyedStream<K, T>) -> O) -> Result<Self, Failure> {
        let app = App::new();
        let vertex = app.vertex("", VertexKind::Keyed, Arc::new(|_| Ok(())));
        let consumers: Consumers<Keyed<K, T>> = Consumers::new();
        let input = KeyedStream { stream: app.stream(vertex, consumers.clone()) };
        let outputs = graph(&app, &input);
        let alone = Alone::start(app.into_plan()?, folder, |builder| consumers.build(builder))?;
        Ok(Self { alone, outputs })
    }

    /// One record, with its event time in ms.
    ///
    /// # Errors
    /// What the operators fail with.
    pub fn record(&mut self, timestamp: Timestamp, key: K, value: T) -> Result<(), Failure> {
        failed(self.alone.record(timestamp, key, value))
    }

    /// Event time reaches `watermark`, in ms. It never goes back.
    ///
    /// # Errors
    /// What the operators fail with.
    pub fn watermark(&mut self, watermark: Timestamp) -> Result<(), Failure> {
        failed(self.alone.mark(watermark))
    }

    /// Processing time reaches `now`, in ms: timers of processing time fire. It is 0 at first, also after a restore, and never goes
    /// back.
    ///
    /// # Errors
    /// What the operators fail with.
    pub fn processing_time(&mut self, now: Timestamp) -> Result<(), Failure> {
        failed(self.alone.processing_time(now))
    }

    /// The input has ended: operators give out what they hold back. Windows need [`crate::stream::MAX_WATERMARK`] before.
    ///
    /// # Errors
    /// What the operators fail with.
    pub fn end(&mut self) -> Result<(), Failure> {
        failed(self.alone.end())
    }

    /// What the state `name` of `operator` holds, as `sluicegate state scan` would show it: keys as commands write them (a text as it
    /// is, a pair as a JSON array), values as JSON.
    ///
    /// # Errors
    /// Fatal: there is no such state.
    pub fn state(&mut self, operator: &str, name: &str) -> Result<BTreeMap<String, Value>, Failure> {
        failed(self.alone.entries(operator, name))
    }

    /// Puts a checkpoint of all state into `folder`; the commands of sluicegate can look into it (job `harness`).
    ///
    /// # Errors
    /// Fatal: the folder cannot be written.
    pub fn snapshot(&mut self, folder: &Path) -> Result<(), Failure> {
        failed(self.alone.checkpoint(folder))
    }
}

fn failed<T>(result: Result<T, Halt>) -> Result<T, Failure> {
    result.map_err(|halt| match halt {
        Halt::Failed(failure) => failure,
        Halt::Stopped => Failure::attempt("the task was stopped"),
    })
}

/// Records of one stream of a [`Harness`].
/// An example is at [`Harness`].
pub struct Outputs<T>(Arc<Mutex<Vec<(Timestamp, T)>>>);

impl<T: Clone + Send + 'static> Outputs<T> {
    /// Takes the records of `stream`: a main output, or a side output.
    #[must_use]
    pub fn of(stream: &Stream<T>) -> Self {
        let records = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&records);
        stream.consumers.add(Arc::new(move |_| Ok(Rc::new(RefCell::new(Taking(Arc::clone(&taken)))))));
        Self(records)
    }

    /// The records since the last call, with their event times in ms.
    #[must_use]
    pub fn take(&self) -> Vec<(Timestamp, T)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The end of a stream.
struct Taking<T>(Arc<Mutex<Vec<(Timestamp, T)>>>);

impl<T> Downstream for Taking<T> {
    fn mark(&mut self, _: Mark) -> Result<(), Halt> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), Halt> {
        Ok(())
    }
    fn snapshot(&mut self, _: &mut OperatorSnapshots) -> Result<(), Halt> {
        Ok(())
    }
}

impl<T> Collector<T> for Taking<T> {
    fn collect(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((timestamp, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FailureKind;
    use crate::stream::{Aggregate, Late, Tumbling, Window};
    use serde_json::json;
    use std::time::Duration;

    #[derive(Clone)]
    struct Count;

    impl Aggregate<String, u32> for Count {
        type Accumulator = u64;
        type Out = (String, u64);
        fn create(&self) -> u64 {
            0
        }
        fn add(&self, sum: &mut u64, value: &u32) {
            *sum += u64::from(*value);
        }
        fn merge(&self, into: &mut u64, from: u64) {
            *into += from;
        }
        fn result(&self, key: &String, _: Window, sum: &u64) -> (String, u64) {
            (key.clone(), *sum)
        }
    }

    type Windows = (Outputs<(String, u64)>, Outputs<Late<u32>>);

    fn windows(app: &App, input: &KeyedStream<String, u32>) -> Windows {
        let late = app.side_output();
        let windows = input.window(Tumbling::of(Duration::from_secs(1))).side_output_late(&late);
        let counts = windows.aggregate("counts", Count);
        (Outputs::of(&counts), Outputs::of(&late.stream(&counts)))
    }

    #[test]
    fn a_window_fires_by_event_time_and_what_comes_late_goes_to_the_side() {
        let mut run = Harness::new(windows).unwrap();
        run.record(100, "a".into(), 1).unwrap();
        run.record(900, "a".into(), 2).unwrap();
        run.record(1_100, "a".into(), 4).unwrap();
        assert_eq!(
            run.state("counts", "windows").unwrap(),
            [(r#"[0,"a"]"#.into(), json!(3)), (r#"[1000,"a"]"#.into(), json!(4))].into()
        );
        run.watermark(1_000).unwrap();
        assert_eq!(run.outputs.0.take(), [(999, ("a".into(), 3))]);
        run.record(200, "a".into(), 8).unwrap();
        assert_eq!(run.outputs.1.take(), [(200, Late { value: 8, watermark: 1_000 })]);
        assert!(run.outputs.0.take().is_empty());
    }

    #[test]
    fn event_time_and_what_an_operator_holds_besides_its_keyed_state_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Harness::new(windows).unwrap();
        run.record(1_100, "a".into(), 4).unwrap();
        run.watermark(1_050).unwrap();
        run.snapshot(folder.path()).unwrap();
        run.record(1_200, "a".into(), 1).unwrap();
        run.snapshot(folder.path()).unwrap();
        // the newest one is restored, and its open windows with it
        let mut run = Harness::restore(folder.path(), windows).unwrap();
        run.record(500, "a".into(), 1).unwrap();
        assert_eq!(run.outputs.1.take().len(), 1, "the watermark is where it was");
        run.watermark(2_000).unwrap();
        assert_eq!(run.outputs.0.take(), [(1_999, ("a".into(), 5))]);
        assert!(run.state("counts", "windows").unwrap().is_empty());
    }

    #[test]
    fn what_a_harness_cannot_run_is_said() {
        let two = Harness::<String, u32, _>::new(|_, input| Outputs::of(&input.values().key_by(|n| u64::from(*n)).values()));
        assert!(two.err().unwrap().message.contains("one stage"));
        let nowhere = tempfile::tempdir().unwrap();
        let nothing = Harness::<String, u32, _>::restore(nowhere.path(), windows).err().unwrap();
        assert_eq!(nothing.kind, FailureKind::Refused);
        let mut run = Harness::<String, u32, _>::new(windows).unwrap();
        assert!(run.state("counts", "window").unwrap_err().message.contains("counts/window"));
    }
}
