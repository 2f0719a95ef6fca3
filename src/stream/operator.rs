//! Operators with keyed state, and what they are given.

use super::{
    app::SideStream,
    held::{Alarm, Held, Kept},
    state::{EventTime, State, StateHandle},
    timer::{Service, TimeDomain, Timer},
};
use crate::engine::{
    Halt, MAX_WATERMARK, MIN_WATERMARK, Mark, OperatorCounter, OperatorEvents, Timestamp,
    chain::{Collector, Downstream, Shared},
    context::Builder,
    exchange::Keyed,
    processing_time::{ProcessingTime, Timed},
    pulse::OperatorPulse,
    snapshot::{ElementKind, OperatorSnapshots, Redistribution},
};
use crate::protocol::Failure;
use crate::state::{Key, KeyGroups, StateDescriptor, StateKey, StateValue, Table};
use serde_json::Value;
use std::{any::Any, cell::RefCell, marker::PhantomData, ops::Range, rc::Rc, sync::Arc};

/// An operator that sees each record with its key. It runs on one thread and owns what it holds; several of them share the
/// key space.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Outputs, Timestamp, ValueState};
///
/// /// Passes on what is higher than everything before it under its key.
/// struct Records(ValueState<String, i64>);
///
/// impl KeyedProcess<String, i64> for Records {
///     type Out = i64;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: i64, out: &mut Emit<'_, i64>) -> Result<(), Halt> {
///         if self.0.read(key, |highest| highest.is_some_and(|highest| value <= *highest))? {
///             return Ok(());
///         }
///         self.0.put(key, value)?;
///         out.push(value)
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut records = Harness::<String, i64, _>::new(|_, values| {
///     Outputs::of(&values.process("records", |declare| {
///         let highest = declare.value("highest");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Records(context.state(&highest)?))
///     }))
/// })?;
/// for (at, key, value) in [(1, "a", 3), (2, "b", 1), (3, "a", 2), (4, "a", 5)] {
///     records.record(at, key.into(), value)?;
/// }
/// assert_eq!(records.outputs.take(), [(1, 3), (2, 1), (4, 5)]);
/// # Ok(())
/// # }
/// ```
pub trait KeyedProcess<K, T>: 'static {
    /// Records of the main output.
    type Out: 'static;

    /// Takes one record.
    fn process(&mut self, key: &Key<K>, timestamp: Timestamp, value: T, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt>;

    /// Event time has reached `watermark`.
    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = (watermark, out);
        Ok(())
    }

    /// A timer that was registered for `key` is due, and gone. What [`Emit::push`] emits has the timer's time. Timers of one domain
    /// come in the order of time; those of event time come before [`KeyedProcess::on_watermark`] is called.
    fn on_timer(&mut self, key: &Key<K>, timer: Timer, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = (key, timer, out);
        Ok(())
    }

    /// Processing time has reached `now`, at which a timer was due; called after the timers, and only in operators that have them.
    fn on_processing_time(&mut self, now: Timestamp, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = (now, out);
        Ok(())
    }

    /// No record will follow: give out what is held back.
    fn on_end(&mut self, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt> {
        let _ = out;
        Ok(())
    }

    /// Elements without a name that belong to this task instead of keys; they come back through [`OperatorContext::restored`].
    fn snapshot(&mut self) -> Result<Vec<Value>, Halt> {
        Ok(Vec::new())
    }
}

/// Where an operator puts its records.
/// ```
/// use sluicegate::stream::{Failure, Harness, Outputs};
///
/// # fn main() -> Result<(), Failure> {
/// let mut parts = Harness::<u64, (i64, String), _>::new(|_, texts| {
///     Outputs::of(&texts.values().flat_map(|(at, text): (i64, String), out| {
///         out.push(text.clone())?;
///         out.push_at(at, text)
///     }))
/// })?;
/// parts.record(5, 0, (1_000, "again".into()))?;
/// assert_eq!(parts.outputs.take(), [(5, "again".to_owned()), (1_000, "again".to_owned())]);
/// # Ok(())
/// # }
/// ```
pub struct Emit<'a, T> {
    collect: &'a mut dyn FnMut(Timestamp, T) -> Result<(), Halt>,
    timestamp: Timestamp,
}

impl<T> Emit<'_, T> {
    /// Emits with the event time of the record that is being processed (of the watermark, where there is none).
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), Halt> {
        (self.collect)(self.timestamp, value)
    }

    /// The same place, for what has another event time.
    pub(super) fn at(&mut self, timestamp: Timestamp) -> Emit<'_, T> {
        Emit { collect: &mut *self.collect, timestamp }
    }

    /// The event time that [`Emit::push`] emits with, in ms.
    pub(super) fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Emits with an event time.
    pub fn push_at(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        (self.collect)(timestamp, value)
    }
}

/// A side output in the hands of an operator.
/// An example is at [`App::side_output`](super::App::side_output).
pub struct Output<T> {
    collector: Shared<T>,
}

impl<T> Output<T> {
    pub(super) fn new(collector: Shared<T>) -> Self {
        Self { collector }
    }

    /// Emits one record.
    #[inline]
    pub fn push(&self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        self.collector.borrow_mut().collect(timestamp, value)
    }
}

/// What an operator is made with, in each task.
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, Outputs, Redistribution, Timestamp};
///
/// /// Counts the records of its task. What it keeps has no type and no name: it is its own to read.
/// struct Count(u64);
///
/// impl KeyedProcess<String, String> for Count {
///     type Out = u64;
///     fn process(&mut self, _: &Key<String>, _: Timestamp, _: String, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
///         self.0 += 1;
///         out.push(self.0)
///     }
///     fn snapshot(&mut self) -> Result<Vec<serde_json::Value>, Halt> {
///         Ok(vec![self.0.into()])
///     }
/// }
///
/// fn counts(records: &KeyedStream<String, String>) -> Outputs<u64> {
///     Outputs::of(&records.process("count", |_| {
///         |context: &mut OperatorContext<'_, '_>| {
///             let restored = context.restored(Redistribution::Split);
///             Ok(Count(restored.iter().filter_map(serde_json::Value::as_u64).sum()))
///         }
///     }))
/// }
///
/// # fn main() -> Result<(), Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let mut before = Harness::new(|_, records| counts(records))?;
/// before.record(0, "a".into(), "x".into())?;
/// before.snapshot(folder.path())?;
/// let mut after = Harness::restore(folder.path(), |_, records| counts(records))?;
/// after.record(0, "b".into(), "y".into())?;
/// assert_eq!(after.outputs.take(), [(0, 2)]);
/// # Ok(())
/// # }
/// ```
pub struct OperatorContext<'a, 'b> {
    builder: &'a mut Builder<'b>,
    name: Arc<str>,
    sides: Vec<Rc<RefCell<dyn Downstream>>>,
    held: Held,
}

impl<'a, 'b> OperatorContext<'a, 'b> {
    pub(super) fn new(builder: &'a mut Builder<'b>, name: &Arc<str>) -> Self {
        let held = Held::of(builder.context.subtask);
        Self { builder, name: Arc::clone(name), sides: Vec::new(), held }
    }

    /// The state that `handle` declared: of a keyed one, what belongs to the key groups of this task.
    pub fn state<S: State>(&mut self, handle: &StateHandle<S>) -> Result<S, Failure> {
        S::open(self, handle)
    }

    pub(super) fn table<K: StateKey, V: StateValue>(
        &mut self,
        descriptor: &StateDescriptor,
    ) -> Result<Rc<RefCell<Table<K, V>>>, Failure> {
        self.builder.table(descriptor)
    }

    /// Event time, for states whose time to live is judged by it.
    pub(super) fn time(&mut self) -> Rc<EventTime> {
        let stored = self.restored_elements(ElementKind::EventTime, "").first().and_then(Value::as_i64);
        let watermark = self.restored_watermark().filter(|time| *time != MAX_WATERMARK);
        self.held.time(|| stored.max(watermark).unwrap_or(MIN_WATERMARK))
    }

    /// Elements of the operator state `name` that all subtasks stored.
    pub(super) fn restored_elements(&self, kind: ElementKind, name: &str) -> Vec<Value> {
        self.builder.restored_elements(&self.name, kind, name)
    }

    /// Number of this subtask, and how many there are.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.builder.context.subtask, self.builder.context.parallelism)
    }

    /// This operator state is a part of the snapshots from now on.
    pub(super) fn keep(&mut self, kept: Rc<dyn Kept>) {
        self.held.keep(kept);
    }

    /// Processing time of the task.
    pub(super) fn processing_time(&self) -> ProcessingTime {
        self.builder.processing_time()
    }

    /// Key groups of the job, and those of this task.
    pub(super) fn groups(&self) -> (KeyGroups, Range<u16>) {
        let groups = self.builder.context.groups;
        let (subtask, parallelism) = self.place();
        (groups, groups.range(subtask, parallelism))
    }

    /// The task wakes for these timers.
    pub(super) fn alarm(&mut self, alarm: Rc<dyn Alarm>) {
        self.held.alarm(alarm);
    }

    /// The operator is called for these timers.
    pub(super) fn timers(&mut self, timers: Rc<dyn Any>) {
        self.held.timers(timers);
    }

    /// A side output.
    pub fn output<T: Clone + Send + 'static>(&mut self, side: &SideStream<T>) -> Result<Output<T>, Failure> {
        let collector = side.consumers.build(self.builder)?;
        self.sides.push(Rc::new(RefCell::new(SideDownstream(Rc::clone(&collector)))));
        Ok(Output::new(collector))
    }

    /// Of the elements that [`KeyedProcess::snapshot`] gave in all tasks, those that this task restores. A state with a name and a type
    /// is declared instead ([`super::OperatorList`]).
    pub fn restored(&self, how: Redistribution) -> Vec<Value> {
        self.builder.restored(&self.name, how)
    }

    /// Event time at the checkpoint that is restored.
    pub fn restored_watermark(&self) -> Option<Timestamp> {
        self.builder.context.restored.watermark
    }

    /// A counter of this operator, shown as a metric.
    pub fn counter(&self, events: OperatorEvents) -> OperatorCounter {
        self.builder.context.metrics.counter(events)
    }

    pub(super) fn into_parts(self) -> (Vec<Rc<RefCell<dyn Downstream>>>, Held) {
        (self.sides, self.held)
    }
}

/// Passes marks and ends on to a side output.
struct SideDownstream<T>(Shared<T>);

impl<T> Downstream for SideDownstream<T> {
    fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
        self.0.borrow_mut().mark(mark)
    }
    fn end(&mut self) -> Result<(), Halt> {
        self.0.borrow_mut().end()
    }
    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt> {
        self.0.borrow_mut().snapshot(into)
    }
}

/// How an operator's outputs become records of its stream: bare, or under the key of the record that they come from.
pub(super) trait Wrap<K, U>: Copy + Send + Sync + 'static {
    type Record: 'static;
    fn under(self, key: &Key<K>, timestamp: Timestamp, value: U) -> Self::Record;
    /// For what is emitted outside of any record.
    fn free(self, value: U) -> Option<Self::Record>;
}

#[derive(Clone, Copy)]
pub(super) struct Bare;

impl<K, U: 'static> Wrap<K, U> for Bare {
    type Record = U;
    fn under(self, _: &Key<K>, _: Timestamp, value: U) -> U {
        value
    }
    fn free(self, value: U) -> Option<U> {
        Some(value)
    }
}

#[derive(Clone, Copy)]
pub(super) struct KeepKey;

impl<K: StateKey, U: 'static> Wrap<K, U> for KeepKey {
    type Record = Keyed<K, U>;
    fn under(self, key: &Key<K>, timestamp: Timestamp, value: U) -> Keyed<K, U> {
        Keyed { key: key.clone(), timestamp, value }
    }
    fn free(self, _: U) -> Option<Keyed<K, U>> {
        None
    }
}

/// Runs one operator within a chain.
pub(super) struct KeyedCollector<K, T, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> {
    name: Arc<str>,
    operator: P,
    main: Shared<W::Record>,
    sides: Vec<Rc<RefCell<dyn Downstream>>>,
    held: Held,
    timers: Option<Rc<Service<K>>>,
    pulse: OperatorPulse,
    wrap: W,
    input: PhantomData<fn(K, T)>,
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> KeyedCollector<K, T, P, W> {
    pub(super) fn new(
        name: Arc<str>,
        operator: P,
        main: Shared<W::Record>,
        (sides, mut held): (Vec<Rc<RefCell<dyn Downstream>>>, Held),
        pulse: OperatorPulse,
        wrap: W,
    ) -> Result<Self, Failure> {
        let other = || Failure::fatal(format!("operator {name} declares timers for keys of another type than its stream has"));
        let timers = held.take_timers().map(|timers| timers.downcast().map_err(|_| other())).transpose()?;
        Ok(Self { name, operator, main, sides, held, timers, pulse, wrap, input: PhantomData })
    }

    /// Whether the task has to wake for it.
    pub(super) fn waits_for_processing_time(&self) -> bool {
        self.held.has_alarms()
    }

    /// Fires the timers of `domain` that are due at `time`, in the order of time.
    fn fire_timers(&mut self, domain: TimeDomain, time: Timestamp) -> Result<(), Halt> {
        let Self { operator, main, wrap, held, timers: Some(timers), pulse, .. } = self else { return Ok(()) };
        while let Some((due, key)) = timers.queue(domain).pop_due(time)? {
            pulse.beat();
            let key = Key::new(key);
            if domain == TimeDomain::EventTime {
                held.record(due);
            }
            let mut collect = |at, value| main.borrow_mut().collect(at, wrap.under(&key, at, value));
            operator.on_timer(&key, Timer { time: due, domain }, &mut Emit { collect: &mut collect, timestamp: due })?;
        }
        Ok(())
    }

    /// Calls the operator outside of any record.
    fn without_key(
        &mut self,
        timestamp: Timestamp,
        call: impl FnOnce(&mut P, &mut Emit<'_, P::Out>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let Self { operator, main, wrap, name, .. } = self;
        let mut collect = |timestamp, value| match wrap.free(value) {
            Some(record) => main.borrow_mut().collect(timestamp, record),
            None => Err(Failure::fatal(format!("operator {name} keeps keys and emits outside of any record")).into()),
        };
        call(operator, &mut Emit { collect: &mut collect, timestamp })
    }
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> Downstream for KeyedCollector<K, T, P, W> {
    fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
        let outside = self.pulse.enter();
        self.held.advance(mark.watermark);
        if let Some(timers) = &self.timers {
            timers.advance(mark.watermark);
        }
        self.fire_timers(TimeDomain::EventTime, mark.watermark)?;
        self.without_key(mark.watermark, |operator, out| operator.on_watermark(mark.watermark, out))?;
        self.pulse.leave(outside);
        self.main.borrow_mut().mark(mark)?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().mark(mark))
    }

    fn end(&mut self) -> Result<(), Halt> {
        let outside = self.pulse.enter();
        self.held.advance(MAX_WATERMARK);
        self.without_key(MAX_WATERMARK, |operator, out| operator.on_end(out))?;
        self.pulse.leave(outside);
        self.main.borrow_mut().end()?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().end())
    }

    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt> {
        let outside = self.pulse.enter();
        into.put(&self.name, self.operator.snapshot()?);
        into.put(&self.name, self.held.snapshot()?);
        self.pulse.leave(outside);
        self.main.borrow_mut().snapshot(into)?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().snapshot(into))
    }
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> Collector<Keyed<K, T>> for KeyedCollector<K, T, P, W> {
    fn collect(&mut self, timestamp: Timestamp, record: Keyed<K, T>) -> Result<(), Halt> {
        let Keyed { key, value, .. } = record;
        let Self { operator, main, wrap, held, pulse, .. } = self;
        let outside = pulse.enter();
        held.record(timestamp);
        let mut collect = |at, value| main.borrow_mut().collect(at, wrap.under(&key, at, value));
        let done = operator.process(&key, timestamp, value, &mut Emit { collect: &mut collect, timestamp });
        pulse.leave(outside);
        done
    }
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> Timed for KeyedCollector<K, T, P, W> {
    fn next(&self) -> Option<Timestamp> {
        self.held.next_alarm()
    }

    fn fire(&mut self, now: Timestamp) -> Result<(), Halt> {
        if self.held.next_alarm().is_none_or(|next| next > now) {
            return Ok(());
        }
        let outside = self.pulse.enter();
        self.fire_timers(TimeDomain::ProcessingTime, now)?;
        self.without_key(now, |operator, out| operator.on_processing_time(now, out))?;
        self.pulse.leave(outside);
        Ok(())
    }
}

/// A stateless operator.
pub(super) struct FlatMap<F, U> {
    map: F,
    out: Output<U>,
}

impl<F, U> FlatMap<F, U> {
    pub(super) fn new(map: F, out: Output<U>) -> Self {
        Self { map, out }
    }
}

impl<F, U> Downstream for FlatMap<F, U> {
    fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
        self.out.collector.borrow_mut().mark(mark)
    }
    fn end(&mut self) -> Result<(), Halt> {
        self.out.collector.borrow_mut().end()
    }
    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt> {
        self.out.collector.borrow_mut().snapshot(into)
    }
}

impl<T, U, F: Fn(T, &mut Emit<'_, U>) -> Result<(), Halt>> Collector<T> for FlatMap<F, U> {
    fn collect(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        let mut out = self.out.collector.borrow_mut();
        let mut collect = |at, value| out.collect(at, value);
        (self.map)(value, &mut Emit { collect: &mut collect, timestamp })
    }
}
