//! State: what operators remember, in kinds.
//!
//! | kind | declared with | in an operator | what it holds |
//! | --- | --- | --- | --- |
//! | value | [`Declare::value`](super::Declare::value) | [`ValueState`] | one value per key |
//! | list | [`Declare::list`](super::Declare::list) | [`ListState`] | a list per key, one entry |
//! | map | [`Declare::map`](super::Declare::map) | [`MapState`] | a map per key, an entry for each of its keys |
//! | reducing | [`Declare::reducing`](super::Declare::reducing) | [`ReducingState`] | one value per key, of all that were added |
//! | aggregating | [`Declare::aggregating`](super::Declare::aggregating) | [`AggregatingState`] | an accumulator per key |
//! | timers | [`Declare::timers`](super::Declare::timers) | [`Timers`](super::Timers) | when a key wants to be called |
//! | operator list | [`Declare::operator_list`](super::Declare::operator_list) | [`OperatorList`] | elements of a subtask, of no key |
//! | broadcast | [`Declare::broadcast`](super::Declare::broadcast) | [`BroadcastState`] | a map that is the same on every subtask |
//!
//! A state is declared while the graph is built, which gives a [`StateHandle`]; in each task
//! [`OperatorContext::state`](super::OperatorContext::state) makes the state of it. The first six belong to keys: they move with their
//! keys when the parallelism changes, lie in RocksDB where memory is short, and, timers apart, may have a time to live ([`Ttl`]).

mod aggregating;
mod aging;
mod broadcast;
mod entries;
mod list;
mod map;
mod operator_list;
mod reducing;
mod ttl;
mod value;

pub use aggregating::{Accumulate, AggregatingState};
pub use broadcast::BroadcastState;
pub use list::ListState;
pub use map::MapState;
pub use operator_list::OperatorList;
pub use reducing::ReducingState;
pub use ttl::Ttl;
pub use value::ValueState;

pub(super) use aging::EventTime;
pub(super) use list::Elements;
pub(super) use reducing::Reduce;

use super::operator::OperatorContext;
use crate::protocol::Failure;
use crate::state::StateDescriptor;
use std::marker::PhantomData;

/// A kind of state, as an operator has it in its hands.
/// An example is at [`Declare`](super::Declare).
pub trait State: Sized {
    /// What is given at the declaration beside the name, such as a function.
    type Given: Clone + Send + Sync + 'static;

    /// Makes the state of a task; call [`OperatorContext::state`].
    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure>;
}

/// A state that was declared while the graph was built.
/// An example is at [`Declare`](super::Declare).
pub struct StateHandle<S: State> {
    descriptor: StateDescriptor,
    ttl: Option<Ttl>,
    given: S::Given,
    kind: PhantomData<fn() -> S>,
}

impl<S: State> StateHandle<S> {
    pub(super) fn new(descriptor: StateDescriptor, ttl: Option<Ttl>, given: S::Given) -> Self {
        Self { descriptor, ttl, given, kind: PhantomData }
    }

    /// Names of operator and state, kind, and shape of the key.
    pub fn descriptor(&self) -> &StateDescriptor {
        &self.descriptor
    }

    /// The time to live that it was declared with.
    pub fn ttl(&self) -> Option<Ttl> {
        self.ttl
    }
}

impl<S: State> Clone for StateHandle<S> {
    fn clone(&self) -> Self {
        Self::new(self.descriptor.clone(), self.ttl, self.given.clone())
    }
}

#[cfg(test)]
mod conformance;
