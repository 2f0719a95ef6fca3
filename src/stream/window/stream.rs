//! Windowed streams while the graph is built.

use super::{
    Late, WindowContext, Windows,
    aligned::{Aligned, open_window},
    assigner::Global,
    built_in_triggers::{CountTrigger, DefaultTrigger, PurgingTrigger},
    contents::{Aggregate, Aggregated, AggregatedThen, Contents, Reducing, Whole},
    millis,
    pane::Panes,
    trigger::Trigger,
    triggered::{PaneOf, Span, Triggered},
};
use crate::engine::{Halt, MIN_WATERMARK, OperatorEvents, snapshot::Redistribution};
use crate::state::{StateKey, StateKind, StateValue};
use crate::stream::{
    app::{KeyedStream, SideStream, Stream},
    operator::{Emit, OperatorContext},
    state::{StateHandle, ValueState},
    timer::{Due, Service, TimeDomain},
};
use std::{marker::PhantomData, rc::Rc, time::Duration};

/// A keyed stream in windows: the windows of each key are its own. See [`KeyedStream::window`].
/// An example is at [`KeyedStream::window`].
pub struct WindowedStream<K, T, G = DefaultTrigger> {
    keyed: KeyedStream<K, T>,
    windows: Windows,
    lateness: i64,
    trigger: G,
    /// Whether the trigger is what the windows do anyway.
    is_default: bool,
    late: Option<SideStream<Late<T>>>,
}

impl<K: StateKey, T: Clone + Send + 'static> KeyedStream<K, T> {
    /// Puts each key's records into windows: [`super::Tumbling`], [`super::Sliding`], [`super::Session`] or [`Global`]. What is to be done
    /// with them is said by the last of the calls that follow: [`WindowedStream::reduce`], [`WindowedStream::aggregate`],
    /// [`WindowedStream::process`], ...
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Late, Outputs, Tumbling};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let second = Duration::from_secs(1);
    /// let mut sums = Harness::<String, u64, _>::new(|app, numbers| {
    ///     let late = app.side_output();
    ///     let windows = numbers.window(Tumbling::of(second)).allowed_lateness(second).side_output_late(&late);
    ///     let sums = windows.reduce("sums", |sum, number| *sum += number);
    ///     (Outputs::of(&sums), Outputs::of(&late.stream(&sums)))
    /// })?;
    /// sums.record(500, "a".into(), 1)?;
    /// sums.watermark(1_000)?;
    /// sums.record(600, "a".into(), 2)?; // late, and allowed to be: an updated result
    /// assert_eq!(sums.outputs.0.take(), [(999, 1), (999, 3)]);
    /// sums.watermark(2_000)?;
    /// sums.record(700, "a".into(), 3)?;
    /// assert_eq!(sums.outputs.1.take(), [(700, Late { value: 3, watermark: 2_000 })]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn window(&self, windows: impl Into<Windows>) -> WindowedStream<K, T> {
        let windows = windows.into();
        let trigger = match windows.domain() {
            _ if windows.never_end() => DefaultTrigger::Never,
            TimeDomain::EventTime => DefaultTrigger::EventTime,
            TimeDomain::ProcessingTime => DefaultTrigger::ProcessingTime,
        };
        WindowedStream { keyed: self.clone(), windows, lateness: 0, trigger, is_default: true, late: None }
    }

    /// Windows of `count` records of a key, whenever they come: [`Global`] ones with a purging [`CountTrigger`].
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs};
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut sums = Harness::<String, u64, _>::new(|_, numbers| {
    ///     Outputs::of(&numbers.count_window(2).reduce("sums", |sum, number| *sum += number))
    /// })?;
    /// for (at, key, number) in [(1, "a", 10), (2, "b", 20), (3, "a", 30), (4, "a", 40)] {
    ///     sums.record(at, key.into(), number)?;
    /// }
    /// assert_eq!(sums.outputs.take(), [(3, 40)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn count_window(&self, count: u64) -> WindowedStream<K, T, PurgingTrigger<CountTrigger>> {
        self.window(Global).trigger(PurgingTrigger::of(CountTrigger::of(count)))
    }
}

impl<K: StateKey, T: Clone + Send + 'static, G: Trigger<T>> WindowedStream<K, T, G> {
    /// Keeps a window for `lateness` after its end: what comes late is added to it, and (with the default trigger) each late record emits an
    /// updated result. For windows of event time; no lateness without it.
    #[must_use]
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { lateness: millis(lateness), ..self }
    }

    /// Records all of whose windows are gone go there. Without it they are counted and dropped.
    #[must_use]
    pub fn side_output_late(self, late: &SideStream<Late<T>>) -> Self {
        Self { late: Some(late.clone()), ..self }
    }

    /// Says when windows give out their results, instead of at their end.
    #[must_use]
    pub fn trigger<H: Trigger<T>>(self, trigger: H) -> WindowedStream<K, T, H> {
        let Self { keyed, windows, lateness, late, .. } = self;
        WindowedStream { keyed, windows, lateness, trigger, is_default: false, late }
    }

    /// Emits the window's records reduced to one: `reduce` brings each record into those before it.
    ///
    /// # Names
    /// `name` is the operator's identity in checkpoints, here and in the other functions.
    pub fn reduce(self, name: &str, reduce: impl Fn(&mut T, T) + Clone + Send + Sync + 'static) -> Stream<T>
    where
        T: StateValue,
    {
        self.reduce_then(name, reduce, |_, _, reduced, out| out.push(reduced))
    }

    /// As [`WindowedStream::reduce`]; `process` makes of the result, with key and window, what is emitted.
    ///
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs, Tumbling};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut highest = Harness::<String, u64, _>::new(|_, values| {
    ///     let windows = values.window(Tumbling::of(Duration::from_secs(1)));
    ///     Outputs::of(&windows.reduce_then("highest", |highest, value| *highest = value.max(*highest), |key, context, highest, out| {
    ///         out.push(format!("{key} from {}: {highest}", context.window.start))
    ///     }))
    /// })?;
    /// for value in [3, 9, 4] {
    ///     highest.record(1_500, "a".into(), value)?;
    /// }
    /// highest.watermark(2_000)?;
    /// assert_eq!(highest.outputs.take(), [(1_999, "a from 1000: 9".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reduce_then<U, P>(
        self,
        name: &str,
        reduce: impl Fn(&mut T, T) + Clone + Send + Sync + 'static,
        process: P,
    ) -> Stream<U>
    where
        T: StateValue,
        U: Clone + Send + 'static,
        P: Fn(&K, &WindowContext, T, &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    {
        self.build(name, Reducing { reduce, process, out: PhantomData })
    }

    /// Emits what the window's records add up to.
    pub fn aggregate<A: Aggregate<K, T>>(self, name: &str, aggregate: A) -> Stream<A::Out> {
        self.build(name, Aggregated(aggregate))
    }

    /// As [`WindowedStream::aggregate`]; `process` makes of the result, with key and window, what is emitted.
    pub fn aggregate_then<A, U, P>(self, name: &str, aggregate: A, process: P) -> Stream<U>
    where
        A: Aggregate<K, T>,
        U: Clone + Send + 'static,
        P: Fn(&K, &WindowContext, A::Out, &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    {
        self.build(name, AggregatedThen { aggregate, process, out: PhantomData })
    }

    /// Gives the window's records to `process`, in the order in which they came; those of sessions that became one, session by session. All
    /// of them are kept until the window goes: where an aggregate will do, it is smaller.
    /// ```
    /// use sluicegate::stream::{Failure, Harness, Outputs, Tumbling};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Failure> {
    /// let mut medians = Harness::<String, u64, _>::new(|_, values| {
    ///     let windows = values.window(Tumbling::of(Duration::from_secs(1)));
    ///     Outputs::of(&windows.process("medians", |key, context, values: &[u64], out| {
    ///         let mut sorted = values.to_vec();
    ///         sorted.sort();
    ///         out.push(format!("{key} until {}: {}", context.window.end, sorted[sorted.len() / 2]))
    ///     }))
    /// })?;
    /// for value in [3, 90, 4] {
    ///     medians.record(1_500, "a".into(), value)?;
    /// }
    /// medians.watermark(2_000)?;
    /// assert_eq!(medians.outputs.take(), [(1_999, "a until 2000: 4".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn process<U, P>(self, name: &str, process: P) -> Stream<U>
    where
        T: StateValue,
        U: Clone + Send + 'static,
        P: Fn(&K, &WindowContext, &[T], &mut Emit<'_, U>) -> Result<(), Halt> + Clone + Send + Sync + 'static,
    {
        self.build(name, Whole { process, out: PhantomData })
    }

    fn build<C: Contents<K, T>>(self, name: &str, contents: C) -> Stream<C::Out> {
        let Self { keyed, windows, lateness, trigger, is_default, late } = self;
        let grid = windows.grid().filter(|_| is_default && windows.domain() == TimeDomain::EventTime);
        if let Some(grid) = grid {
            return keyed.process(name, |declare| {
                // Where windows overlap, firing one takes a small part of the table.
                let kind = if grid.overlaps() { StateKind::Map } else { StateKind::Value };
                let state = declare.descriptor::<(i64, K), C::Held>(kind, "windows");
                let handle: StateHandle<ValueState<(i64, K), C::Held>> = StateHandle::new(state, None, ());
                move |context: &mut OperatorContext<'_, '_>| {
                    let restored = context.restored(Redistribution::Union);
                    Ok(Aligned {
                        grid,
                        lateness,
                        contents: contents.clone(),
                        state: context.state(&handle)?,
                        late: late.as_ref().map(|late| context.output(late)).transpose()?,
                        late_records: context.counter(OperatorEvents::Late),
                        watermark: context.restored_watermark().unwrap_or(MIN_WATERMARK),
                        open: restored.iter().map(open_window).collect::<Result<_, _>>()?,
                    })
                }
            });
        }
        keyed.process(name, |declare| {
            let panes = Panes::<K, PaneOf<K, T, C, G>>::declare(declare, windows.merge());
            let timers = declare.descriptor::<Due<Span<K>>, ()>(StateKind::Timer, "timers");
            move |context: &mut OperatorContext<'_, '_>| {
                let service = Rc::new(Service::open(context, &timers)?);
                context.alarm(service.clone());
                Ok(Triggered {
                    windows,
                    lateness,
                    contents: contents.clone(),
                    trigger: trigger.clone(),
                    panes: Panes::open(context, &panes, windows.merge())?,
                    timers: service,
                    late: late.as_ref().map(|late| context.output(late)).transpose()?,
                    late_records: context.counter(OperatorEvents::Late),
                })
            }
        })
    }
}
