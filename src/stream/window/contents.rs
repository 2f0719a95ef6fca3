//! What a window holds, and what it makes of that.

use super::{Window, WindowContext};
use crate::engine::Halt;
use crate::state::{StateKey, StateValue};
use crate::stream::operator::Emit;

/// What a window adds up to, one record at a time.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sluicegate::stream::{Aggregate, Failure, Harness, Outputs, StateValue, Tumbling, Window};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct Sum {
///     sum: u64,
///     count: u64,
/// }
/// impl StateValue for Sum {}
///
/// #[derive(Clone)]
/// struct Mean;
///
/// impl Aggregate<String, u64> for Mean {
///     type Accumulator = Sum;
///     type Out = String;
///     fn create(&self) -> Sum {
///         Sum { sum: 0, count: 0 }
///     }
///     fn add(&self, sum: &mut Sum, value: &u64) {
///         sum.sum += value;
///         sum.count += 1;
///     }
///     fn merge(&self, into: &mut Sum, from: Sum) {
///         into.sum += from.sum;
///         into.count += from.count;
///     }
///     fn result(&self, key: &String, window: Window, sum: &Sum) -> String {
///         format!("{key} from {}: {}", window.start, sum.sum / sum.count)
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut means = Harness::<String, u64, _>::new(|_, values| {
///     Outputs::of(&values.window(Tumbling::of(Duration::from_secs(1))).aggregate("means", Mean))
/// })?;
/// means.record(100, "a".into(), 3)?;
/// means.record(900, "a".into(), 5)?;
/// means.watermark(1_000)?;
/// assert_eq!(means.outputs.take(), [(999, "a from 0: 4".into())]);
/// # Ok(())
/// # }
/// ```
pub trait Aggregate<K, T>: Clone + Send + Sync + 'static {
    /// The sum so far.
    type Accumulator: StateValue;
    /// What a window emits for each key.
    type Out: Clone + Send + 'static;
    /// Nothing added yet.
    fn create(&self) -> Self::Accumulator;
    /// Adds one record.
    fn add(&self, accumulator: &mut Self::Accumulator, value: &T);
    /// Adds what another window held: two sessions have become one.
    fn merge(&self, into: &mut Self::Accumulator, from: Self::Accumulator);
    /// The window's result for `key`.
    fn result(&self, key: &K, window: Window, accumulator: &Self::Accumulator) -> Self::Out;
}

/// What the operators need to know of a window's function.
pub(super) trait Contents<K, T>: Clone + Send + Sync + 'static {
    /// What is kept.
    type Held: StateValue;
    type Out: Clone + Send + 'static;
    fn create(&self) -> Self::Held;
    fn add(&self, held: &mut Self::Held, value: T);
    fn merge(&self, into: &mut Self::Held, from: Self::Held);
    fn emit(&self, key: &K, context: &WindowContext, held: &Self::Held, out: &mut Emit<'_, Self::Out>) -> Result<(), Halt>;
}

/// An aggregate alone.
#[derive(Clone)]
pub(super) struct Aggregated<A>(pub(super) A);

impl<K: StateKey, T: 'static, A: Aggregate<K, T>> Contents<K, T> for Aggregated<A> {
    type Held = A::Accumulator;
    type Out = A::Out;

    fn create(&self) -> A::Accumulator {
        self.0.create()
    }
    fn add(&self, held: &mut A::Accumulator, value: T) {
        self.0.add(held, &value);
    }
    fn merge(&self, into: &mut A::Accumulator, from: A::Accumulator) {
        self.0.merge(into, from);
    }
    fn emit(&self, key: &K, context: &WindowContext, held: &A::Accumulator, out: &mut Emit<'_, A::Out>) -> Result<(), Halt> {
        out.push(self.0.result(key, context.window, held))
    }
}

/// An aggregate, whose results a function sees with key and window.
pub(super) struct AggregatedThen<A, P, U> {
    pub(super) aggregate: A,
    pub(super) process: P,
    pub(super) out: std::marker::PhantomData<fn() -> U>,
}

impl<A: Clone, P: Clone, U> Clone for AggregatedThen<A, P, U> {
    fn clone(&self) -> Self {
        Self { aggregate: self.aggregate.clone(), process: self.process.clone(), out: self.out }
    }
}

impl<K, T, A, P, U> Contents<K, T> for AggregatedThen<A, P, U>
where
    K: StateKey,
    T: 'static,
    A: Aggregate<K, T>,
    P: Fn(&K, &WindowContext, A::Out, &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    U: Clone + Send + 'static,
{
    type Held = A::Accumulator;
    type Out = U;

    fn create(&self) -> A::Accumulator {
        self.aggregate.create()
    }
    fn add(&self, held: &mut A::Accumulator, value: T) {
        self.aggregate.add(held, &value);
    }
    fn merge(&self, into: &mut A::Accumulator, from: A::Accumulator) {
        self.aggregate.merge(into, from);
    }
    fn emit(&self, key: &K, context: &WindowContext, held: &A::Accumulator, out: &mut Emit<'_, U>) -> Result<(), Halt> {
        (self.process)(key, context, self.aggregate.result(key, context.window, held), out)
    }
}

/// A reduce function, and what becomes of its result.
pub(super) struct Reducing<F, P, U> {
    pub(super) reduce: F,
    pub(super) process: P,
    pub(super) out: std::marker::PhantomData<fn() -> U>,
}

impl<F: Clone, P: Clone, U> Clone for Reducing<F, P, U> {
    fn clone(&self) -> Self {
        Self { reduce: self.reduce.clone(), process: self.process.clone(), out: self.out }
    }
}

impl<K, T, F, P, U> Contents<K, T> for Reducing<F, P, U>
where
    T: StateValue + Clone,
    F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    P: Fn(&K, &WindowContext, T, &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    U: Clone + Send + 'static,
{
    type Held = Option<T>;
    type Out = U;

    fn create(&self) -> Option<T> {
        None
    }
    fn add(&self, held: &mut Option<T>, value: T) {
        match held {
            Some(reduced) => (self.reduce)(reduced, value),
            none => *none = Some(value),
        }
    }
    fn merge(&self, into: &mut Option<T>, from: Option<T>) {
        if let Some(value) = from {
            Contents::<K, T>::add(self, into, value);
        }
    }
    fn emit(&self, key: &K, context: &WindowContext, held: &Option<T>, out: &mut Emit<'_, U>) -> Result<(), Halt> {
        held.clone().map_or(Ok(()), |reduced| (self.process)(key, context, reduced, out))
    }
}

/// All records, in the order in which they came.
pub(super) struct Whole<P, U> {
    pub(super) process: P,
    pub(super) out: std::marker::PhantomData<fn() -> U>,
}

impl<P: Clone, U> Clone for Whole<P, U> {
    fn clone(&self) -> Self {
        Self { process: self.process.clone(), out: self.out }
    }
}

impl<K, T, P, U> Contents<K, T> for Whole<P, U>
where
    T: StateValue,
    P: Fn(&K, &WindowContext, &[T], &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    U: Clone + Send + 'static,
{
    type Held = Vec<T>;
    type Out = U;

    fn create(&self) -> Vec<T> {
        Vec::new()
    }
    fn add(&self, held: &mut Vec<T>, value: T) {
        held.push(value);
    }
    fn merge(&self, into: &mut Vec<T>, from: Vec<T>) {
        into.extend(from);
    }
    fn emit(&self, key: &K, context: &WindowContext, held: &Vec<T>, out: &mut Emit<'_, U>) -> Result<(), Halt> {
        (self.process)(key, context, held, out)
    }
}
