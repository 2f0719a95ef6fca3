//! What a task has in hand while it is built and while it runs.

use super::meter::Meter;
use super::{
    alignment::Alignment,
    event::{SourceCommand, TaskEvent},
    exchange::{ExchangePort, Keyed},
    frozen::Tables,
    halt::Halt,
    message::{Barrier, Mark, Message, Timestamp},
    output::{OutputBatch, OutputPort},
    port::{Port, Waiting},
    processing_time::{Alarms, ProcessingTime, Timed},
    pulse::{OperatorPulse, Pulse},
    snapshot::{ElementKind, NamedElement, Redistribution, redistribute},
    stop::Stop,
};
use crate::checkpoint::Manifest;
use crate::observe::Metrics;
use crate::protocol::Failure;
use crate::state::{
    AnyTable, Budget, KeyGroups, Port as StatePort, StateDescriptor, StateKey, StateValue, Store, Table, TableOptions,
};
use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::Value;
use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a restored task begins with.
#[derive(Debug, Clone, Default)]
pub struct RestoredVertex {
    /// Event time at the checkpoint.
    pub watermark: Option<Timestamp>,
    /// Per operator, the elements that its subtasks held, in order.
    pub operators: BTreeMap<String, Vec<Value>>,
}

impl RestoredVertex {
    /// What the operators of a vertex get back from `manifest`.
    pub fn of(manifest: &Manifest, operators: &[String]) -> Self {
        let known: Vec<_> = manifest.operators.iter().filter(|entry| operators.contains(&entry.name)).collect();
        Self {
            watermark: known.iter().find_map(|entry| entry.watermark),
            operators: known.iter().map(|entry| (entry.name.clone(), entry.operator_state.clone())).collect(),
        }
    }
}

/// What a task's state tables are made with.
pub struct TaskState {
    /// The attempt's RocksDB.
    pub store: Arc<Store>,
    /// Memory of all tables.
    pub budget: Arc<Budget>,
    /// One for each state of the task, by column family.
    pub ports: BTreeMap<String, StatePort>,
    /// Column families that the restored checkpoint holds.
    pub restored: Arc<BTreeSet<String>>,
}

/// One task: its place in the graph, its channels, its state.
pub struct TaskContext {
    /// Index in the attempt, over all vertices.
    pub task: usize,
    /// Name of the vertex.
    pub name: Arc<str>,
    /// Number within the vertex, from 0.
    pub subtask: usize,
    /// Tasks of the vertex.
    pub parallelism: usize,
    /// Key groups of the job.
    pub groups: KeyGroups,
    /// What the vertex restores.
    pub restored: Arc<RestoredVertex>,
    /// Where to report.
    pub events: Sender<TaskEvent>,
    /// The end of the attempt.
    pub stop: Stop,
    /// Counters of this task.
    pub metrics: Meter,
    /// What it is doing, for the watchdog.
    pub pulse: Arc<Pulse>,
    /// Where sources wait for each other.
    pub alignment: Arc<Alignment>,
    /// What state tables are made with; none in tasks without state.
    pub state: Option<TaskState>,
    /// Channels to downstream tasks, by edge.
    pub senders: BTreeMap<usize, Box<dyn Any + Send>>,
    /// Channels from upstream tasks, of one edge after the other.
    pub receivers: Vec<Box<dyn Any + Send>>,
    /// Commands to a source.
    pub commands: Option<Receiver<SourceCommand>>,
    /// The way to the sink.
    pub output: Option<Sender<Message<OutputBatch>>>,
    /// What only this kind of task knows, such as the opened reader of a source.
    pub input: Option<Box<dyn Any + Send>>,
}

/// The part of a task that its operators are built with and that lives as long as they do; stays on the task's thread.
pub struct Parts {
    exchanges: BTreeMap<usize, Rc<dyn Any>>,
    output: Option<Rc<RefCell<OutputPort>>>,
    ports: Vec<Rc<RefCell<dyn Port>>>,
    /// State tables of the task.
    pub tables: Tables,
    /// Operators that wait for processing time.
    pub alarms: Alarms,
}

impl Parts {
    /// Nothing built yet.
    pub fn new() -> Self {
        Self::at(ProcessingTime::system())
    }

    /// The same, with another clock than the machine's.
    pub fn at(clock: ProcessingTime) -> Self {
        Self { exchanges: BTreeMap::new(), output: None, ports: Vec::new(), tables: Tables::default(), alarms: Alarms::of(clock) }
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::new()
    }
}

/// Builds the operators of one task.
pub struct Builder<'a> {
    /// The task.
    pub context: &'a mut TaskContext,
    parts: &'a mut Parts,
}

impl<'a> Builder<'a> {
    /// Builds into `parts`.
    pub fn new(context: &'a mut TaskContext, parts: &'a mut Parts) -> Self {
        Self { context, parts }
    }

    fn waiting(&self) -> Waiting {
        Waiting::new(self.context.stop.clone(), self.parts.tables.clone(), Arc::clone(&self.context.pulse))
    }

    /// The port of an edge; consumers of several streams may share it.
    pub fn exchange<K: StateKey, T: Send + 'static>(&mut self, edge: usize) -> Result<Rc<RefCell<ExchangePort<K, T>>>, Failure> {
        let wrong = || Failure::fatal(format!("edge {edge} of task {} carries another type", self.context.name));
        if let Some(port) = self.parts.exchanges.get(&edge) {
            return Rc::clone(port).downcast().map_err(|_| wrong());
        }
        let senders = self.context.senders.remove(&edge).ok_or_else(wrong)?;
        let senders = senders.downcast::<Vec<Sender<Message<Vec<Keyed<K, T>>>>>>().map_err(|_| wrong())?;
        let port = Rc::new(RefCell::new(ExchangePort::new(*senders, self.waiting())));
        self.parts.exchanges.insert(edge, Rc::clone(&port) as Rc<dyn Any>);
        self.parts.ports.push(Rc::clone(&port) as Rc<RefCell<dyn Port>>);
        Ok(port)
    }

    /// The way to the sink, shared by all outputs of the task.
    pub fn output(&mut self) -> Result<Rc<RefCell<OutputPort>>, Failure> {
        if let Some(port) = &self.parts.output {
            return Ok(Rc::clone(port));
        }
        let sender = self.context.output.take();
        let sender = sender.ok_or_else(|| Failure::fatal(format!("task {} has no way to the sink", self.context.name)))?;
        let port = Rc::new(RefCell::new(OutputPort::new(sender, self.waiting())));
        self.parts.output = Some(Rc::clone(&port));
        self.parts.ports.push(Rc::clone(&port) as Rc<RefCell<dyn Port>>);
        Ok(port)
    }

    /// A state table of this task's key groups.
    pub fn table<K: StateKey, V: StateValue>(
        &mut self,
        descriptor: &StateDescriptor,
    ) -> Result<Rc<RefCell<Table<K, V>>>, Failure> {
        let name = descriptor.column_family();
        let state = self.context.state.as_mut();
        let state = state.ok_or_else(|| Failure::fatal(format!("task {} has no state", self.context.name)))?;
        let port = state.ports.remove(&name);
        let port = port.ok_or_else(|| Failure::fatal(format!("state {name} was not declared by task {}", self.context.name)))?;
        let options = TableOptions {
            groups: self.context.groups,
            owned: self.context.groups.range(self.context.subtask, self.context.parallelism),
            starts_empty: !state.restored.contains(&name),
        };
        let table = Table::new(Arc::clone(&state.store), port, &state.budget, options)?;
        let table = Rc::new(RefCell::new(table));
        self.parts.tables.add(Rc::clone(&table) as Rc<RefCell<dyn AnyTable>>);
        Ok(table)
    }

    /// One more operator of the task, for whoever watches what the task is doing.
    pub fn pulse(&self, operator: &str) -> OperatorPulse {
        OperatorPulse::of(&self.context.pulse, operator)
    }

    /// The processing time of the task.
    pub fn processing_time(&self) -> ProcessingTime {
        self.parts.alarms.clock().clone()
    }

    /// This operator waits for processing time.
    pub fn timed(&mut self, operator: Rc<RefCell<dyn Timed>>) {
        self.parts.alarms.add(operator);
    }

    /// The elements without a name of `operator`'s tasks that this subtask restores.
    pub fn restored(&self, operator: &str, how: Redistribution) -> Vec<Value> {
        let elements = self.context.restored.operators.get(operator).into_iter().flatten();
        let unnamed: Vec<Value> = elements.filter(|element| NamedElement::read(element).is_none()).cloned().collect();
        redistribute(&unnamed, how, self.context.subtask, self.context.parallelism)
    }

    /// The elements of the operator state `name` that all subtasks of `operator` stored, in order.
    pub fn restored_elements(&self, operator: &str, kind: ElementKind, name: &str) -> Vec<Value> {
        let elements = self.context.restored.operators.get(operator).into_iter().flatten();
        let named = elements.filter_map(NamedElement::read).filter(|named| named.kind == kind && named.state == name);
        named.map(|named| named.element).collect()
    }
}

impl Parts {
    /// The end of a round: what is gathered leaves the task.
    pub fn flush(&self) -> Result<(), Halt> {
        self.ports.iter().try_for_each(|port| port.borrow_mut().flush())
    }

    /// Gives a mark to every port.
    pub fn mark(&self, mark: Mark) -> Result<(), Halt> {
        self.ports.iter().try_for_each(|port| port.borrow_mut().mark(mark))
    }

    /// Gives the end to every port.
    pub fn end(&self) -> Result<(), Halt> {
        self.ports.iter().try_for_each(|port| port.borrow_mut().end())
    }

    /// Time that the ports waited for room since the last call.
    pub fn take_blocked(&self) -> Duration {
        self.ports.iter().map(|port| port.borrow_mut().take_blocked()).sum()
    }

    /// A barrier has passed all operators: freezes the tables and forwards it. Returns how long freezing took.
    pub fn barrier(&self, barrier: Barrier) -> Result<Duration, Halt> {
        let since = Instant::now();
        self.tables.freeze(barrier.checkpoint)?;
        let froze = since.elapsed();
        self.ports.iter().try_for_each(|port| port.borrow_mut().barrier(barrier))?;
        Ok(froze)
    }
}

impl TaskContext {
    /// The `subtask`th of `parallelism` tasks, alone: no channels, no state, nothing restored, and nobody hears what it reports.
    pub fn alone(name: &str, subtask: usize, parallelism: usize, groups: KeyGroups) -> Self {
        Self {
            task: subtask,
            name: name.into(),
            subtask,
            parallelism,
            groups,
            restored: Arc::default(),
            events: unbounded().0,
            stop: Stop::new(),
            metrics: Meter::new(&Metrics::new(), name, subtask),
            pulse: Arc::default(),
            alignment: Arc::default(),
            state: None,
            senders: BTreeMap::new(),
            receivers: Vec::new(),
            commands: None,
            output: None,
            input: None,
        }
    }

    /// Reports to the coordinator.
    pub fn report(&self, event: TaskEvent) -> Result<(), Halt> {
        Ok(self.stop.send(&self.events, event)?)
    }
}
