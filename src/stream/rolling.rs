//! Rolling results: after each record, what all records of its key so far come to.

use super::{
    app::KeyedStream,
    operator::{Emit, KeyedProcess, OperatorContext},
    state::ReducingState,
};
use crate::engine::{Halt, Timestamp};
use crate::state::{Key, StateKey, StateValue};
use std::ops::AddAssign;

impl<K: StateKey, T: Clone + Send + 'static> KeyedStream<K, T> {
    /// For each record, all records of its key so far reduced to one: `reduce` brings a record into those before it. It never forgets a
    /// key; to begin anew from time to time, see [`KeyedStream::window`].
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut longest = Harness::<u64, String, _>::new(|_, words| {
    ///     let longest = words.reduce("longest", |longest, word| {
    ///         if word.len() > longest.len() {
    ///             *longest = word;
    ///         }
    ///     });
    ///     Outputs::of(&longest.values())
    /// })?;
    /// for word in ["to", "gate", "be"] {
    ///     longest.record(0, 7, word.into())?;
    /// }
    /// assert_eq!(longest.outputs.take(), [(0, "to".into()), (0, "gate".into()), (0, "gate".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reduce(&self, name: &str, reduce: impl Fn(&mut T, T) + Send + Sync + 'static) -> KeyedStream<K, T>
    where
        T: StateValue,
    {
        self.rolling(name, |value| value, reduce)
    }

    /// For each record, the sum of what `select` reads from the records of its key so far.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut spent = Harness::<String, (String, u64), _>::new(|_, bought| {
    ///     Outputs::of(&bought.sum("spent", |(_, price)| *price).values())
    /// })?;
    /// spent.record(1, "ann".into(), ("book".into(), 20))?;
    /// spent.record(2, "bob".into(), ("pen".into(), 3))?;
    /// spent.record(3, "ann".into(), ("lamp".into(), 30))?;
    /// assert_eq!(spent.outputs.take(), [(1, 20), (2, 3), (3, 50)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sum<N>(&self, name: &str, select: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> KeyedStream<K, N>
    where
        N: StateValue + Clone + AddAssign,
    {
        self.rolling(name, move |value| select(&value), |sum: &mut N, number| *sum += number)
    }

    /// For each record, the lowest of what `select` reads from the records of its key so far.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut lowest =
    ///     Harness::<String, i64, _>::new(|_, degrees| Outputs::of(&degrees.min("lowest", |degrees| *degrees).values()))?;
    /// for degrees in [4, -2, 3] {
    ///     lowest.record(0, "here".into(), degrees)?;
    /// }
    /// assert_eq!(lowest.outputs.take(), [(0, 4), (0, -2), (0, -2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn min<N>(&self, name: &str, select: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> KeyedStream<K, N>
    where
        N: StateValue + Clone + Ord,
    {
        let lower = |lowest: &mut N, number: N| {
            if number < *lowest {
                *lowest = number;
            }
        };
        self.rolling(name, move |value| select(&value), lower)
    }

    /// For each record, the highest of what `select` reads from the records of its key so far.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut highest =
    ///     Harness::<String, i64, _>::new(|_, degrees| Outputs::of(&degrees.max("highest", |degrees| *degrees).values()))?;
    /// for degrees in [-2, 4, 3] {
    ///     highest.record(0, "here".into(), degrees)?;
    /// }
    /// assert_eq!(highest.outputs.take(), [(0, -2), (0, 4), (0, 4)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max<N>(&self, name: &str, select: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> KeyedStream<K, N>
    where
        N: StateValue + Clone + Ord,
    {
        let higher = |highest: &mut N, number: N| {
            if number > *highest {
                *highest = number;
            }
        };
        self.rolling(name, move |value| select(&value), higher)
    }

    fn rolling<N>(
        &self,
        name: &str,
        select: impl Fn(T) -> N + Clone + Send + Sync + 'static,
        reduce: impl Fn(&mut N, N) + Send + Sync + 'static,
    ) -> KeyedStream<K, N>
    where
        N: StateValue + Clone,
    {
        self.process_keyed(name, |declare| {
            let result = declare.reducing::<K, N>("result", reduce);
            move |context: &mut OperatorContext<'_, '_>| Ok(Rolling { result: context.state(&result)?, select: select.clone() })
        })
    }
}

struct Rolling<K, N, F> {
    result: ReducingState<K, N>,
    select: F,
}

impl<K: StateKey, T, N: StateValue + Clone, F: Fn(T) -> N + 'static> KeyedProcess<K, T> for Rolling<K, N, F> {
    type Out = N;

    fn process(&mut self, key: &Key<K>, _: Timestamp, value: T, out: &mut Emit<'_, N>) -> Result<(), Halt> {
        self.result.add(key, (self.select)(value))?;
        self.result.get(key)?.map_or(Ok(()), |result| out.push(result))
    }
}

#[cfg(test)]
mod tests {
    use crate::stream::{Harness, KeyedStream, Outputs};

    #[test]
    fn a_rolling_result_goes_on_after_a_restore_and_is_kept_by_the_name_of_the_operator() {
        let graph = |_: &crate::stream::App, input: &KeyedStream<String, u64>| Outputs::of(&input.sum("sums", |n| *n).values());
        let folder = tempfile::tempdir().unwrap();
        let mut run = Harness::new(graph).unwrap();
        run.record(1, "a".into(), 5).unwrap();
        run.record(2, "b".into(), 7).unwrap();
        assert_eq!(run.state("sums", "result").unwrap()["a"], 5);
        run.snapshot(folder.path()).unwrap();
        let mut run = Harness::restore(folder.path(), graph).unwrap();
        run.record(3, "a".into(), 2).unwrap();
        assert_eq!(run.outputs.take(), [(3, 7)]);
    }
}
