//! Naming an operator's states while the graph is built.

use super::state::{
    Accumulate, AggregatingState, BroadcastState, Elements, ListState, MapState, OperatorList, Reduce, ReducingState, State,
    StateHandle, Ttl, ValueState,
};
use super::timer::{Due, Timers};
use crate::engine::snapshot::Redistribution;
use crate::state::{StateDescriptor, StateKey, StateKind, StateValue};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};

/// Names an operator's states while the graph is built. A name is a state's identity within the operator; what a state of each kind can
/// do is told where its type is.
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, MapState, OperatorContext, Outputs, ReducingState, Timestamp, Ttl};
/// use std::time::Duration;
///
/// /// Of each user: the sum of what he spent, and how much in each shop within a day.
/// struct Spending {
///     sum: ReducingState<String, u64>,
///     shops: MapState<String, String, u64>,
/// }
///
/// impl KeyedProcess<String, (String, u64)> for Spending {
///     type Out = (u64, usize);
///     fn process(
///         &mut self,
///         user: &Key<String>,
///         _: Timestamp,
///         (shop, amount): (String, u64),
///         out: &mut Emit<'_, (u64, usize)>,
///     ) -> Result<(), Halt> {
///         self.sum.add(user, amount)?;
///         self.shops.update(user, shop, || 0, |spent| *spent += amount)?;
///         out.push((self.sum.get(user)?.unwrap_or(0), self.shops.entries(user)?.len()))
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut spending = Harness::<String, (String, u64), _>::new(|_, bought| {
///     Outputs::of(&bought.process("spending", |declare| {
///         let sum = declare.reducing("sum", |sum, amount| *sum += amount);
///         let shops = declare.with_ttl(Ttl::of(Duration::from_secs(86_400))).map("shops");
///         move |context: &mut OperatorContext<'_, '_>| Ok(Spending { sum: context.state(&sum)?, shops: context.state(&shops)? })
///     }))
/// })?;
/// spending.record(0, "ann".into(), ("books".into(), 20))?;
/// spending.record(1, "ann".into(), ("music".into(), 10))?;
/// spending.watermark(86_400_000)?;
/// spending.record(86_400_000, "ann".into(), ("music".into(), 5))?;
/// assert_eq!(spending.outputs.take(), [(0, (20, 1)), (1, (30, 2)), (86_400_000, (35, 1))]);
/// assert_eq!(spending.state("spending", "sum")?["ann"], 35);
/// # Ok(())
/// # }
/// ```
pub struct Declare {
    operator: String,
    keyed: Vec<StateDescriptor>,
    of_operator: Vec<StateDescriptor>,
}

impl Declare {
    pub(super) fn new(operator: &str) -> Self {
        Self { operator: operator.to_owned(), keyed: Vec::new(), of_operator: Vec::new() }
    }

    /// One value per key.
    pub fn value<K: StateKey, V: StateValue>(&mut self, name: &str) -> StateHandle<ValueState<K, V>> {
        self.keyed::<K, V, _>(StateKind::Value, name, None, ())
    }

    /// As [`Declare::value`], with a time to live in event time, counted from [`StateValue::written_at`]. An expired entry
    /// is removed some time after it expired: the operator must not rely on it being gone. [`Declare::with_ttl`] is for operators that
    /// do not want to judge that themselves.
    pub fn value_with_ttl<K: StateKey, V: StateValue>(&mut self, name: &str, ttl: Duration) -> StateHandle<ValueState<K, V>> {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let descriptor = StateDescriptor::value::<K>(&self.operator, name).holding::<V>().ttl_ms(millis);
        self.keyed.push(descriptor.clone());
        StateHandle::new(descriptor, None, ())
    }

    /// A list per key.
    pub fn list<K: StateKey, V: StateValue>(&mut self, name: &str) -> StateHandle<ListState<K, V>> {
        self.keyed::<K, Elements<V>, _>(StateKind::List, name, None, ())
    }

    /// A map per key.
    pub fn map<K: StateKey, MK: StateKey, MV: StateValue>(&mut self, name: &str) -> StateHandle<MapState<K, MK, MV>> {
        self.keyed::<(K, MK), MV, _>(StateKind::Map, name, None, ())
    }

    /// One value per key, into which `reduce` brings each value that is added.
    pub fn reducing<K: StateKey, V: StateValue>(
        &mut self,
        name: &str,
        reduce: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> StateHandle<ReducingState<K, V>> {
        self.keyed::<K, V, _>(StateKind::Reducing, name, None, Arc::new(reduce) as Reduce<V>)
    }

    /// An accumulator per key.
    pub fn aggregating<K: StateKey, A: Accumulate>(&mut self, name: &str, aggregate: A) -> StateHandle<AggregatingState<K, A>> {
        self.keyed::<K, A::Accumulator, _>(StateKind::Aggregating, name, None, aggregate)
    }

    /// The state that is declared with what this gives has a time to live: `declare.with_ttl(ttl).list::<K, V>("recent")`.
    pub fn with_ttl(&mut self, ttl: Ttl) -> Expiring<'_> {
        Expiring { declare: self, ttl }
    }

    /// Timers per key; an operator has them once, under the name `timers`.
    pub fn timers<K: StateKey>(&mut self) -> StateHandle<Timers<K>> {
        self.keyed::<Due<K>, (), _>(StateKind::Timer, "timers", None, ())
    }

    /// A keyed state that is the operator's own business.
    pub(super) fn descriptor<K: StateKey, V: StateValue>(&mut self, kind: StateKind, name: &str) -> StateDescriptor {
        let descriptor = StateDescriptor::value::<K>(&self.operator, name).kind(kind).holding::<V>();
        self.keyed.push(descriptor.clone());
        descriptor
    }

    /// A list of each subtask, given out anew as `how` says when the job restarts.
    pub fn operator_list<T: Serialize + DeserializeOwned + 'static>(
        &mut self,
        name: &str,
        how: Redistribution,
    ) -> StateHandle<OperatorList<T>> {
        let state = StateDescriptor::value::<()>(&self.operator, name).kind(StateKind::Operator);
        self.of_operator(state.of_elements::<T>(), how)
    }

    /// A map that is the same on every subtask.
    pub fn broadcast<K, V>(&mut self, name: &str) -> StateHandle<BroadcastState<K, V>>
    where
        K: Ord + Serialize + DeserializeOwned + 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        let state = StateDescriptor::value::<()>(&self.operator, name).kind(StateKind::Broadcast);
        self.of_operator(state.of_entries::<K, V>(), ())
    }

    fn keyed<K: StateKey, V: StateValue, S: State>(
        &mut self,
        kind: StateKind,
        name: &str,
        ttl: Option<Ttl>,
        given: S::Given,
    ) -> StateHandle<S> {
        let descriptor = StateDescriptor::value::<K>(&self.operator, name).kind(kind).holding::<V>();
        let descriptor = match ttl {
            Some(ttl) => descriptor.ttl_ms(ttl.descriptor_millis()),
            None => descriptor,
        };
        self.keyed.push(descriptor.clone());
        StateHandle::new(descriptor, ttl, given)
    }

    fn of_operator<S: State>(&mut self, descriptor: StateDescriptor, given: S::Given) -> StateHandle<S> {
        self.of_operator.push(descriptor.clone());
        StateHandle::new(descriptor, None, given)
    }

    /// Keyed states, and those of the operator.
    pub(super) fn into_states(self) -> (Vec<StateDescriptor>, Vec<StateDescriptor>) {
        (self.keyed, self.of_operator)
    }
}

/// Names states with a time to live, see [`Declare::with_ttl`].
/// An example is at [`Declare`].
pub struct Expiring<'d> {
    declare: &'d mut Declare,
    ttl: Ttl,
}

impl Expiring<'_> {
    /// One value per key.
    pub fn value<K: StateKey, V: StateValue>(self, name: &str) -> StateHandle<ValueState<K, V>> {
        self.declare.keyed::<K, V, _>(StateKind::Value, name, Some(self.ttl), ())
    }

    /// A list per key, each of its elements with a time of its own.
    pub fn list<K: StateKey, V: StateValue>(self, name: &str) -> StateHandle<ListState<K, V>> {
        self.declare.keyed::<K, Elements<V>, _>(StateKind::List, name, Some(self.ttl), ())
    }

    /// A map per key, each of its entries with a time of its own.
    pub fn map<K: StateKey, MK: StateKey, MV: StateValue>(self, name: &str) -> StateHandle<MapState<K, MK, MV>> {
        self.declare.keyed::<(K, MK), MV, _>(StateKind::Map, name, Some(self.ttl), ())
    }

    /// One value per key, into which `reduce` brings each value that is added.
    pub fn reducing<K: StateKey, V: StateValue>(
        self,
        name: &str,
        reduce: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> StateHandle<ReducingState<K, V>> {
        self.declare.keyed::<K, V, _>(StateKind::Reducing, name, Some(self.ttl), Arc::new(reduce) as Reduce<V>)
    }

    /// An accumulator per key.
    pub fn aggregating<K: StateKey, A: Accumulate>(self, name: &str, aggregate: A) -> StateHandle<AggregatingState<K, A>> {
        self.declare.keyed::<K, A::Accumulator, _>(StateKind::Aggregating, name, Some(self.ttl), aggregate)
    }
}
