//! Operators with keyed state, and what they are given.

use super::{app::SideStream, state::StateHandle, state::ValueState};
use crate::engine::{
    Halt, MAX_WATERMARK, Mark, OperatorCounter, OperatorEvents, Timestamp,
    chain::{Collector, Downstream, Shared},
    context::Builder,
    exchange::Keyed,
    snapshot::{OperatorSnapshots, Redistribution},
};
use crate::protocol::Failure;
use crate::state::{Key, StateDescriptor, StateKey, StateValue};
use serde_json::Value;
use std::{cell::RefCell, marker::PhantomData, rc::Rc, sync::Arc, time::Duration};

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

    /// Elements of the operator's list state; they come back through [`OperatorContext::restored`].
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

/// Names an operator's states while the graph is built.
pub struct Declare {
    operator: String,
    states: Vec<StateDescriptor>,
}

impl Declare {
    pub(super) fn new(operator: &str) -> Self {
        Self { operator: operator.to_owned(), states: Vec::new() }
    }

    /// Keyed state: one value per key. `name` is its identity within the operator.
    pub fn value<K: StateKey, V: StateValue>(&mut self, name: &str) -> StateHandle<K, V> {
        let descriptor = StateDescriptor::value::<K>(&self.operator, name).holding::<V>();
        self.states.push(descriptor.clone());
        StateHandle::new(descriptor)
    }

    /// As [`Declare::value`], with a time to live in event time, counted from [`StateValue::written_at`]. An expired entry
    /// is removed some time after it expired: the operator must not rely on it being gone.
    pub fn value_with_ttl<K: StateKey, V: StateValue>(&mut self, name: &str, ttl: Duration) -> StateHandle<K, V> {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let descriptor = StateDescriptor::value::<K>(&self.operator, name).holding::<V>().ttl_ms(millis);
        self.states.push(descriptor.clone());
        StateHandle::new(descriptor)
    }

    pub(super) fn into_states(self) -> Vec<StateDescriptor> {
        self.states
    }
}

/// What an operator is made with, in each task.
pub struct OperatorContext<'a, 'b> {
    builder: &'a mut Builder<'b>,
    name: Arc<str>,
    sides: Vec<Rc<RefCell<dyn Downstream>>>,
}

impl<'a, 'b> OperatorContext<'a, 'b> {
    pub(super) fn new(builder: &'a mut Builder<'b>, name: &Arc<str>) -> Self {
        Self { builder, name: Arc::clone(name), sides: Vec::new() }
    }

    /// The state that `handle` declared, for the key groups of this task.
    pub fn state<K: StateKey, V: StateValue>(&mut self, handle: &StateHandle<K, V>) -> Result<ValueState<K, V>, Failure> {
        Ok(ValueState::new(self.builder.table::<K, V>(handle.descriptor())?))
    }

    /// A side output.
    pub fn output<T: Clone + Send + 'static>(&mut self, side: &SideStream<T>) -> Result<Output<T>, Failure> {
        let collector = side.consumers.build(self.builder)?;
        self.sides.push(Rc::new(RefCell::new(SideDownstream(Rc::clone(&collector)))));
        Ok(Output::new(collector))
    }

    /// The elements of the operator's list state that this task restores.
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

    pub(super) fn into_sides(self) -> Vec<Rc<RefCell<dyn Downstream>>> {
        self.sides
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
    wrap: W,
    input: PhantomData<fn(K, T)>,
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> KeyedCollector<K, T, P, W> {
    pub(super) fn new(
        name: Arc<str>,
        operator: P,
        main: Shared<W::Record>,
        sides: Vec<Rc<RefCell<dyn Downstream>>>,
        wrap: W,
    ) -> Self {
        Self { name, operator, main, sides, wrap, input: PhantomData }
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
        self.without_key(mark.watermark, |operator, out| operator.on_watermark(mark.watermark, out))?;
        self.main.borrow_mut().mark(mark)?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().mark(mark))
    }

    fn end(&mut self) -> Result<(), Halt> {
        self.without_key(MAX_WATERMARK, |operator, out| operator.on_end(out))?;
        self.main.borrow_mut().end()?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().end())
    }

    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt> {
        into.put(&self.name, self.operator.snapshot()?);
        self.main.borrow_mut().snapshot(into)?;
        self.sides.iter().try_for_each(|side| side.borrow_mut().snapshot(into))
    }
}

impl<K: StateKey, T: 'static, P: KeyedProcess<K, T>, W: Wrap<K, P::Out>> Collector<Keyed<K, T>> for KeyedCollector<K, T, P, W> {
    fn collect(&mut self, timestamp: Timestamp, record: Keyed<K, T>) -> Result<(), Halt> {
        let Keyed { key, value, .. } = record;
        let Self { operator, main, wrap, .. } = self;
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
