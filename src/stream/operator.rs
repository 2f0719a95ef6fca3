//! Operators with keyed state, and what they are given.

use super::{
    app::SideStream,
    held::{Held, Kept},
    state::{EventTime, State, StateHandle},
};
use crate::engine::{
    Halt, MAX_WATERMARK, MIN_WATERMARK, Mark, OperatorCounter, OperatorEvents, Timestamp,
    chain::{Collector, Downstream, Shared},
    context::Builder,
    exchange::Keyed,
    snapshot::{ElementKind, OperatorSnapshots, Redistribution},
};
use crate::protocol::Failure;
use crate::state::{Key, StateDescriptor, StateKey, StateValue, Table};
use serde_json::Value;
use std::{cell::RefCell, marker::PhantomData, rc::Rc, sync::Arc};

/// An operator that sees each record with its key. It runs on one thread and owns what it holds; several of them share the
/// key space.
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

    /// Emits with an event time.
    pub fn push_at(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        (self.collect)(timestamp, value)
    }
}

/// A side output in the hands of an operator.
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
    wrap: W,
    input: PhantomData<fn(K, T)>,
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> KeyedCollector<K, T, P, W> {
    pub(super) fn new(
        name: Arc<str>,
        operator: P,
        main: Shared<W::Record>,
        (sides, held): (Vec<Rc<RefCell<dyn Downstream>>>, Held),
        wrap: W,
    ) -> Self {
        Self { name, operator, main, sides, held, wrap, input: PhantomData }
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
        self.held.advance(mark.watermark);
        self.without_key(mark.watermark, |operator, out| operator.on_watermark(mark.watermark, out))?;
        self.main.borrow_mut().mark(mark)?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().mark(mark))
    }

    fn end(&mut self) -> Result<(), Halt> {
        self.held.advance(MAX_WATERMARK);
        self.without_key(MAX_WATERMARK, |operator, out| operator.on_end(out))?;
        self.main.borrow_mut().end()?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().end())
    }

    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt> {
        into.put(&self.name, self.operator.snapshot()?);
        into.put(&self.name, self.held.snapshot()?);
        self.main.borrow_mut().snapshot(into)?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().snapshot(into))
    }
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> Collector<Keyed<K, T>> for KeyedCollector<K, T, P, W> {
    fn collect(&mut self, timestamp: Timestamp, record: Keyed<K, T>) -> Result<(), Halt> {
        let Keyed { key, value, .. } = record;
        let Self { operator, main, wrap, held, .. } = self;
        held.record(timestamp);
        let mut collect = |at, value| main.borrow_mut().collect(at, wrap.under(&key, at, value));
        operator.process(&key, timestamp, value, &mut Emit { collect: &mut collect, timestamp })
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
