//! The graph while it is built.

use super::audit::{Audit, MakeAudit};
use super::declare::Declare;
use super::operator::{Bare, Emit, FlatMap, KeepKey, KeyedCollector, KeyedProcess, OperatorContext, Output, Wrap};
use crate::engine::{
    Halt,
    chain::{Collector, Shared, fan_out},
    context::{Builder, Parts, TaskContext},
    exchange::{ExchangePort, ExchangeReceiver, ExchangeSender, KeyBy, Keyed},
    keyed_task,
    output::{Encoder, RecordWriter},
    plan::{Channels, Edge, Plan, RunTask, Vertex, VertexKind},
    processing_time::Timed,
    source::{self, DeadRecord, Decode},
};
use crate::protocol::Failure;
use crate::state::{KeyGroups, StateDescriptor, StateKey};
use crossbeam_channel::bounded;
use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    sync::{Arc, Mutex},
};

/// Builds, on a task's thread, what takes a stream's records there.
pub(super) type Consumer<T> = Arc<dyn Fn(&mut Builder<'_>) -> Result<Shared<T>, Failure> + Send + Sync>;

/// The consumers of one stream; filled while the graph is built, read by its tasks.
pub(super) struct Consumers<T>(Arc<Mutex<Vec<Consumer<T>>>>);

impl<T> Clone for Consumers<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + 'static> Consumers<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(super) fn add(&self, consumer: Consumer<T>) {
        if let Ok(mut consumers) = self.0.lock() {
            consumers.push(consumer);
        }
    }

    /// One collector in front of all consumers, in the task that `builder` builds.
    pub(super) fn build(&self, builder: &mut Builder<'_>) -> Result<Shared<T>, Failure> {
        let consumers = self.0.lock().map(|consumers| consumers.clone()).unwrap_or_default();
        Ok(fan_out(consumers.iter().map(|consumer| consumer(builder)).collect::<Result<_, _>>()?))
    }
}

#[derive(Default)]
struct Draft {
    plan: Plan,
    names: BTreeSet<String>,
    errors: Vec<String>,
    audit: Option<MakeAudit>,
}

impl Draft {
    fn name(&mut self, name: &str) {
        if !self.names.insert(name.to_owned()) {
            self.errors.push(format!("two operators are named {name:?}: a name is an operator's identity, give each its own"));
        }
    }

    /// Keyed states are checked where they get their files; these have none.
    fn operator_states(&mut self, states: &[StateDescriptor]) {
        for (place, state) in states.iter().enumerate() {
            self.errors.extend(state.check().err().map(|failure| failure.message));
            if states.iter().take(place).any(|other| other.name == state.name) {
                self.errors.push(format!("two states have the same name {}: give them different names", state.column_family()));
            }
        }
    }
}

/// A job's graph while it is built.
/// ```
/// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution}};
///
/// # fn main() -> Result<(), sluicegate::stream::Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let (app, output) = (App::new(), Collected::new());
/// app.read("words", Collection::of(["to", "be", "or", "not", "to", "be"]))
///     .key_by(|word| word.to_string())
///     .sum("counts", |_| 1_u64)
///     .values()
///     .write_lines("counts", output.clone());
/// Execution::new("counts", folder.path()).run(app)?;
/// assert_eq!(output.lines(), ["1", "1", "1", "1", "2", "2"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct App {
    draft: Rc<RefCell<Draft>>,
}

impl App {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `topic`. The second stream holds the records that `decoder` (made once per task) could not decode.
    pub fn source<D: Decode>(
        &self,
        name: &str,
        topic: &str,
        decoder: impl Fn() -> D + Send + Sync + 'static,
    ) -> (Stream<D::Out>, Stream<DeadRecord>)
    where
        D::Out: Clone,
    {
        let (records, dead) = (Consumers::new(), Consumers::new());
        let (take, take_dead) = (records.clone(), dead.clone());
        let run = move |context: &mut TaskContext| {
            let mut parts = Parts::new();
            let mut builder = Builder::new(context, &mut parts);
            let (head, dead) = (take.build(&mut builder)?, take_dead.build(&mut builder)?);
            source::run(context, &mut parts, &mut decoder(), &head, &dead)
        };
        let vertex = self.vertex(name, VertexKind::Source { topic: topic.to_owned() }, Arc::new(run));
        (self.stream(vertex, records), self.stream(vertex, dead))
    }

    /// A stream that an operator writes to beside its main output: give the handle to [`OperatorContext::output`] and call
    /// [`SideStream::stream`] for what it emits.
    ///
    /// ```
    /// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Output, Outputs, Timestamp};
    ///
    /// /// Numbers go on, what is no number goes to the side.
    /// struct Parse(Output<String>);
    ///
    /// impl KeyedProcess<u64, String> for Parse {
    ///     type Out = i64;
    ///     fn process(&mut self, _: &Key<u64>, at: Timestamp, text: String, out: &mut Emit<'_, i64>) -> Result<(), Halt> {
    ///         match text.parse() {
    ///             Ok(number) => out.push(number),
    ///             Err(_) => self.0.push(at, text),
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut parse = Harness::<u64, String, _>::new(|app, texts| {
    ///     let side = app.side_output();
    ///     let to_side = side.clone();
    ///     let numbers = texts.process("parse", |_| {
    ///         move |context: &mut OperatorContext<'_, '_>| Ok(Parse(context.output(&to_side)?))
    ///     });
    ///     (Outputs::of(&numbers), Outputs::of(&side.stream(&numbers)))
    /// })?;
    /// parse.record(1, 0, "7".into())?;
    /// parse.record(2, 0, "seven".into())?;
    /// assert_eq!(parse.outputs.0.take(), [(1, 7)]);
    /// assert_eq!(parse.outputs.1.take(), [(2, "seven".into())]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn side_output<T: Clone + Send + 'static>(&self) -> SideStream<T> {
        SideStream { consumers: Consumers::new() }
    }

    /// The finished graph, or all that is wrong with it.
    pub fn into_plan(self) -> Result<Plan, Failure> {
        let draft = self.draft.borrow();
        let twice = draft.plan.sink_named_twice().map(|name| {
            format!("{name:?} is the name of a sink and of a topic of Kafka that the job writes to: give the sink another name")
        });
        let errors: Vec<String> = draft.errors.iter().cloned().chain(twice).collect();
        if errors.is_empty() { Ok(draft.plan.clone()) } else { Err(Failure::fatal(errors.join("; "))) }
    }

    /// The audit that was registered, if one was.
    pub(crate) fn registered_audit(&self) -> Option<Box<dyn Audit>> {
        let make = self.draft.borrow().audit.clone();
        make.map(|make| make())
    }

    /// Registers an audit; says whether there was one.
    pub(super) fn set_audit(&self, make: MakeAudit) -> bool {
        self.draft.borrow_mut().audit.replace(make).is_some()
    }

    /// Changes the plan: what is beside vertices and edges.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Plan) -> R) -> R {
        change(&mut self.draft.borrow_mut().plan)
    }

    /// Something is wrong with the graph; it is told with all else when the plan is asked for.
    pub(super) fn wrong(&self, message: String) {
        self.draft.borrow_mut().errors.push(message);
    }

    pub(super) fn vertex(&self, name: &str, kind: VertexKind, run: Arc<RunTask>) -> usize {
        let mut draft = self.draft.borrow_mut();
        if matches!(kind, VertexKind::Source { .. }) {
            draft.name(name);
        }
        let operators = vec![name.to_owned()];
        draft.plan.vertices.push(Vertex { name: name.to_owned(), kind, has_output: false, operators, run });
        draft.plan.vertices.len() - 1
    }

    pub(super) fn stream<T>(&self, vertex: usize, consumers: Consumers<T>) -> Stream<T> {
        Stream { app: self.clone(), vertex, consumers }
    }
}

/// A side output, see [`App::side_output`].
/// An example is at [`App::side_output`].
pub struct SideStream<T> {
    pub(super) consumers: Consumers<T>,
}

impl<T> Clone for SideStream<T> {
    fn clone(&self) -> Self {
        Self { consumers: self.consumers.clone() }
    }
}

impl<T: Clone + Send + 'static> SideStream<T> {
    /// What is written to this side output by an operator of `beside`'s task.
    pub fn stream<U>(&self, beside: &Stream<U>) -> Stream<T> {
        beside.app.stream(beside.vertex, self.consumers.clone())
    }
}

/// Records of one type, made by one task per subtask.
/// An example is at [`App`].
pub struct Stream<T> {
    pub(super) app: App,
    vertex: usize,
    pub(super) consumers: Consumers<T>,
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), vertex: self.vertex, consumers: self.consumers.clone() }
    }
}

impl<T: Clone + Send + 'static> Stream<T> {
    /// Sends each record to the task that owns its key.
    pub fn key_by<K: StateKey>(&self, select: impl Fn(&T) -> K + Clone + Send + Sync + 'static) -> KeyedStream<K, T> {
        key_all(std::slice::from_ref(self), select)
    }

    /// Keeps the records for which `keep` says yes.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut even =
    ///     Harness::<u64, u64, _>::new(|_, numbers| Outputs::of(&numbers.values().filter(|number| number % 2 == 0)))?;
    /// (1..=4).try_for_each(|number| even.record(0, 0, number))?;
    /// assert_eq!(even.outputs.take(), [(0, 2), (0, 4)]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&T) -> bool + Clone + Send + Sync + 'static) -> Stream<T> {
        self.flat_map(move |value, out| if keep(&value) { out.push(value) } else { Ok(()) })
    }

    /// One record for each.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut lengths = Harness::<u64, String, _>::new(|_, texts| Outputs::of(&texts.values().map(|text| text.len())))?;
    /// lengths.record(5, 0, "sluice".into())?;
    /// assert_eq!(lengths.outputs.take(), [(5, 6)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<U: Clone + Send + 'static>(&self, map: impl Fn(T) -> U + Clone + Send + Sync + 'static) -> Stream<U> {
        self.flat_map(move |value, out| out.push(map(value)))
    }

    /// Any number of records for each.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut words = Harness::<u64, String, _>::new(|_, lines| {
    ///     Outputs::of(&lines.values().flat_map(|line: String, out| {
    ///         line.split(' ').try_for_each(|word| out.push(word.to_owned()))
    ///     }))
    /// })?;
    /// words.record(5, 0, "to be".into())?;
    /// assert_eq!(words.outputs.take(), [(5, "to".to_owned()), (5, "be".to_owned())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn flat_map<U: Clone + Send + 'static>(
        &self,
        map: impl Fn(T, &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    ) -> Stream<U> {
        let consumers = Consumers::new();
        let take: Consumers<U> = consumers.clone();
        self.consumers.add(Arc::new(move |builder| {
            let out = Output::new(take.build(builder)?);
            Ok(shared(FlatMap::new(map.clone(), out)))
        }));
        self.app.stream(self.vertex, consumers)
    }

    /// Writes each record to `topic`: `encode` writes its key, then its value, then headers.
    /// ```
    /// use sluicegate::stream::{App, RawRecord, Timestamp, Undecodable};
    ///
    /// /// The length of a record's value, at the time that Kafka has for it.
    /// fn length(record: &RawRecord<'_>) -> Result<(Timestamp, usize), Undecodable> {
    ///     Ok((record.timestamp.unwrap_or(0), record.value.map_or(0, <[u8]>::len)))
    /// }
    ///
    /// let app = App::new();
    /// let (lengths, _) = app.source("texts", "texts", || length);
    /// // The text "sluice" in texts becomes a record with the key length and the value 6 in lengths.
    /// lengths.sink("lengths", |length, record| {
    ///     record.key(b"length");
    ///     record.value().extend_from_slice(length.to_string().as_bytes());
    /// });
    /// assert_eq!(app.into_plan().unwrap().topics, ["lengths"]);
    /// ```
    pub fn sink(&self, topic: &str, encode: impl Fn(&T, &mut RecordWriter<'_>) + Clone + Send + Sync + 'static) {
        let index = {
            let mut draft = self.app.draft.borrow_mut();
            if let Some(vertex) = draft.plan.vertices.get_mut(self.vertex) {
                vertex.has_output = true;
            }
            draft.plan.topics.push(topic.to_owned());
            let write = (self.vertex, draft.plan.topics.len() - 1);
            draft.plan.writes.push(write);
            u16::try_from(draft.plan.topics.len() - 1).unwrap_or(u16::MAX)
        };
        self.consumers.add(Arc::new(move |builder| Ok(shared(Encoder::new(builder.output()?, index, encode.clone())))));
    }
}

/// A stream whose records have been sent to the owners of their keys.
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Outputs, Timestamp, ValueState};
///
/// /// Passes on the first record of each key.
/// struct First(ValueState<String, bool>);
///
/// impl KeyedProcess<String, u64> for First {
///     type Out = u64;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: u64, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         if self.0.get(key)?.is_some() {
///             return Ok(());
///         }
///         self.0.put(key, true)?;
///         out.push(value)
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut totals = Harness::<String, u64, _>::new(|_, values| {
///     // Keyed as before: the next operator needs no exchange.
///     let first = values.process_keyed("first", |declare| {
///         let seen = declare.value("seen");
///         move |context: &mut OperatorContext<'_, '_>| Ok(First(context.state(&seen)?))
///     });
///     (Outputs::of(&first.values()), Outputs::of(&first.sum("sum", |value| *value).values()))
/// })?;
/// for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
///     totals.record(0, key.into(), value)?;
/// }
/// assert_eq!(totals.outputs.0.take(), [(0, 1), (0, 2)]);
/// assert_eq!(totals.outputs.1.take(), [(0, 1), (0, 2)]);
/// # Ok(())
/// # }
/// ```
pub struct KeyedStream<K, T> {
    pub(super) stream: Stream<Keyed<K, T>>,
}

impl<K, T> Clone for KeyedStream<K, T> {
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone() }
    }
}

impl<K: StateKey, T: Clone + Send + 'static> KeyedStream<K, T> {
    /// Runs an operator with keyed state. `name` is its identity in checkpoints. `declare` names its states while the graph is
    /// built, and returns what makes the operator in each task.
    pub fn process<P, F>(&self, name: &str, declare: impl FnOnce(&mut Declare) -> F) -> Stream<P::Out>
    where
        P: KeyedProcess<K, T>,
        P::Out: Clone + Send,
        F: Fn(&mut OperatorContext<'_, '_>) -> Result<P, Failure> + Send + Sync + 'static,
    {
        let consumers: Consumers<P::Out> = Consumers::new();
        let take = consumers.clone();
        self.attach(name, declare, take, Bare);
        self.stream.app.stream(self.stream.vertex, consumers)
    }

    /// As [`KeyedStream::process`], for operators whose outputs keep the key of their input: the result is keyed without
    /// another exchange.
    pub fn process_keyed<P, F>(&self, name: &str, declare: impl FnOnce(&mut Declare) -> F) -> KeyedStream<K, P::Out>
    where
        P: KeyedProcess<K, T>,
        P::Out: Clone + Send,
        F: Fn(&mut OperatorContext<'_, '_>) -> Result<P, Failure> + Send + Sync + 'static,
    {
        let consumers: Consumers<Keyed<K, P::Out>> = Consumers::new();
        let take = consumers.clone();
        self.attach(name, declare, take, KeepKey);
        KeyedStream { stream: self.stream.app.stream(self.stream.vertex, consumers) }
    }

    /// The records without their keys, in the same task.
    pub fn values(&self) -> Stream<T> {
        self.stream.map(|keyed| keyed.value)
    }

    fn attach<P, F, W>(&self, name: &str, declare: impl FnOnce(&mut Declare) -> F, out: Consumers<W::Record>, wrap: W)
    where
        P: KeyedProcess<K, T>,
        W: Wrap<K, P::Out>,
        W::Record: Clone,
        F: Fn(&mut OperatorContext<'_, '_>) -> Result<P, Failure> + Send + Sync + 'static,
    {
        let mut declared = Declare::new(name);
        let make = declare(&mut declared);
        {
            let mut draft = self.stream.app.draft.borrow_mut();
            draft.name(name);
            if let Some(vertex) = draft.plan.vertices.get_mut(self.stream.vertex) {
                if vertex.name.is_empty() {
                    vertex.name = name.to_owned();
                    vertex.operators.clear();
                }
                vertex.operators.push(name.to_owned());
            }
            let (keyed, of_operator) = declared.into_states();
            draft.operator_states(&of_operator);
            draft.plan.states.extend(keyed);
            draft.plan.operator_states.extend(of_operator);
        }
        let name: Arc<str> = name.into();
        self.stream.consumers.add(Arc::new(move |builder| {
            let main = out.build(builder)?;
            let pulse = builder.pulse(&name);
            let outside = pulse.enter();
            let mut context = OperatorContext::new(builder, &name);
            let operator = make(&mut context)?;
            let parts = context.into_parts();
            pulse.leave(outside);
            let collector = KeyedCollector::new(Arc::clone(&name), operator, main, parts, pulse, wrap)?;
            let waits = collector.waits_for_processing_time();
            let collector = Rc::new(RefCell::new(collector));
            if waits {
                builder.timed(Rc::clone(&collector) as Rc<RefCell<dyn Timed>>);
            }
            Ok(collector as Shared<Keyed<K, T>>)
        }));
    }
}

/// Sends the records of all of `streams` to the tasks that own their keys.
pub(super) fn key_all<K: StateKey, T: Clone + Send + 'static>(
    streams: &[Stream<T>],
    select: impl Fn(&T) -> K + Clone + Send + Sync + 'static,
) -> KeyedStream<K, T> {
    let keyed = KeyedStream::behind(&streams.first().map(|stream| stream.app.clone()).unwrap_or_default());
    for stream in streams {
        let select = select.clone();
        keyed.takes(stream, move |port, groups| shared(KeyBy::new(port, select.clone(), groups)));
    }
    keyed
}

impl<K: StateKey, T: Clone + Send + 'static> KeyedStream<K, T> {
    /// A new stage, which takes nothing yet.
    pub(super) fn behind(app: &App) -> Self {
        let consumers = Consumers::new();
        let take: Consumers<Keyed<K, T>> = consumers.clone();
        let run = move |context: &mut TaskContext| {
            let mut parts = Parts::new();
            let head = take.build(&mut Builder::new(context, &mut parts))?;
            keyed_task::run(context, &mut parts, &head)
        };
        let vertex = app.vertex("", VertexKind::Keyed, Arc::new(run));
        Self { stream: app.stream(vertex, consumers) }
    }

    /// This stage takes the records of `stream`, too; `send` makes what puts them onto the exchange.
    pub(super) fn takes<U: Clone + Send + 'static>(
        &self,
        stream: &Stream<U>,
        send: impl Fn(Rc<RefCell<ExchangePort<K, T>>>, KeyGroups) -> Shared<U> + Send + Sync + 'static,
    ) {
        let edge = {
            let mut draft = self.stream.app.draft.borrow_mut();
            if !Rc::ptr_eq(&self.stream.app.draft, &stream.app.draft) {
                draft.errors.push("streams of two graphs meet in one stage: build them with the same App".to_owned());
            }
            draft.plan.edges.push(Edge { from: stream.vertex, to: self.stream.vertex, channels: Arc::new(channels::<K, T>) });
            draft.plan.edges.len() - 1
        };
        stream.consumers.add(Arc::new(move |builder| {
            let port = builder.exchange::<K, T>(edge)?;
            Ok(send(port, builder.context.groups))
        }));
    }
}

pub(super) fn shared<T>(collector: impl Collector<T> + 'static) -> Shared<T> {
    Rc::new(RefCell::new(collector))
}

fn channels<K: StateKey, T: Send + 'static>(from: usize, to: usize, capacity: usize) -> Channels {
    let mut senders: Vec<Vec<ExchangeSender<K, T>>> = (0..from).map(|_| Vec::with_capacity(to)).collect();
    let mut receivers: Vec<Vec<ExchangeReceiver<K, T>>> = (0..to).map(|_| Vec::with_capacity(from)).collect();
    for upstream in &mut senders {
        for downstream in &mut receivers {
            let (sender, receiver) = bounded(capacity);
            upstream.push(sender);
            downstream.push(receiver);
        }
    }
    let boxed = |any: Box<dyn Any + Send>| any;
    Channels {
        senders: senders.into_iter().map(|s| boxed(Box::new(s))).collect(),
        receivers: receivers.into_iter().map(|r| boxed(Box::new(r))).collect(),
    }
}
