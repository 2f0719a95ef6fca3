//! Timers: an operator asks to be called for a key when time gets there.
//!
//! ```text
//! register ──► table (domain, (time, key)), in the order of time within each key group: checkpointed, restored, rescaled
//!                 │ of each group the next few that are due
//!                 ▼
//!              fronts, by time ──► on_timer, in the order of time over all groups of the task
//! ```
//!
//! A front is no state: it is a bound before which its group has no timer, and some timers that were read ahead. So memory does not
//! grow with the timers, and a watermark that nothing waits for costs one comparison.

use super::{
    held::Alarm,
    operator::OperatorContext,
    state::{State, StateHandle},
};
use crate::engine::{Halt, MIN_WATERMARK, Timestamp, processing_time::ProcessingTime};
use crate::protocol::Failure;
use crate::state::{Key, KeyGroups, StateDescriptor, StateKey, Table};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    rc::Rc,
};

/// Timers of a group that are read ahead at once.
const READ_AHEAD: usize = 128;

/// The key of a timer's entry: domain, time in ms, what the timer is for.
pub(super) type Due<N> = (u8, (Timestamp, N));

/// By which time a timer fires.
/// An example is at [`Timers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeDomain {
    /// That of the records: when the watermark has reached it.
    EventTime,
    /// That of the clock on the wall.
    ProcessingTime,
}

impl TimeDomain {
    /// A part of the state's format.
    fn code(self) -> u8 {
        match self {
            Self::EventTime => 0,
            Self::ProcessingTime => 1,
        }
    }
}

/// A timer that is due.
/// An example is at [`Timers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// The time that it was registered for, in ms since the epoch.
    pub time: Timestamp,
    /// By which time.
    pub domain: TimeDomain,
}

/// Timers per key. They are keyed state: a checkpoint holds them, and they move with their keys. A key has at most one timer for a time
/// and domain; registering it again changes nothing.
///
/// - A timer of **event time** fires when the watermark reaches its time; one that is registered for a time behind the watermark, with the
///   next watermark. A drain fires all of them.
/// - A timer of **processing time** fires when the clock has reached its time. One that was due while the job was down fires when it is up
///   again. A drain leaves those that are not due in its checkpoint.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Outputs, Timer, Timers, Timestamp, ValueState};
///
/// // Says which users have been quiet for a second of event time.
/// struct Quiet {
///     last: ValueState<String, i64>,
///     timers: Timers<String>,
/// }
///
/// impl KeyedProcess<String, ()> for Quiet {
///     type Out = String;
///
///     fn process(&mut self, user: &Key<String>, at: Timestamp, _: (), _: &mut Emit<'_, String>) -> Result<(), Halt> {
///         if let Some(last) = self.last.get(user)? {
///             self.timers.delete_event_time_timer(user, last + 1_000)?;
///         }
///         self.last.put(user, at)?;
///         self.timers.register_event_time_timer(user, at + 1_000)
///     }
///
///     fn on_timer(&mut self, user: &Key<String>, _: Timer, out: &mut Emit<'_, String>) -> Result<(), Halt> {
///         self.last.remove(user)?;
///         out.push(user.value.clone())
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut harness = Harness::<String, (), _>::new(|_, visits| {
///     Outputs::of(&visits.process("quiet", |declare| {
///         let (last, timers) = (declare.value("last"), declare.timers());
///         move |context: &mut OperatorContext<'_, '_>| {
///             Ok(Quiet { last: context.state(&last)?, timers: context.state(&timers)? })
///         }
///     }))
/// })?;
/// harness.record(1_000, "ann".into(), ())?;
/// harness.record(1_400, "bob".into(), ())?;
/// harness.record(1_600, "ann".into(), ())?;
/// harness.watermark(2_500)?;
/// assert_eq!(harness.outputs.take(), [(2_400, "bob".into())]);
/// harness.watermark(2_600)?;
/// assert_eq!(harness.outputs.take(), [(2_600, "ann".into())]);
/// # Ok(())
/// # }
/// ```
pub struct Timers<K> {
    service: Rc<Service<K>>,
}

impl<K: StateKey> State for Timers<K> {
    type Given = ();

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        let service = Rc::new(Service::open(context, handle.descriptor())?);
        context.alarm(Rc::clone(&service) as Rc<dyn Alarm>);
        context.timers(Rc::clone(&service) as Rc<dyn std::any::Any>);
        Ok(Self { service })
    }
}

impl<K: StateKey> Timers<K> {
    /// [`super::KeyedProcess::on_timer`] is called for `key` when the watermark reaches `time`, in ms.
    pub fn register_event_time_timer(&self, key: &Key<K>, time: Timestamp) -> Result<(), Halt> {
        self.service.event.register(key.hash, &key.value, time)
    }

    /// Takes it back; nothing happens where there is none.
    pub fn delete_event_time_timer(&self, key: &Key<K>, time: Timestamp) -> Result<(), Halt> {
        self.service.event.delete(key.hash, &key.value, time)
    }

    /// [`super::KeyedProcess::on_timer`] is called for `key` when the clock reaches `time`, in ms since the epoch.
    pub fn register_processing_time_timer(&self, key: &Key<K>, time: Timestamp) -> Result<(), Halt> {
        self.service.processing.register(key.hash, &key.value, time)
    }

    /// Takes it back; nothing happens where there is none.
    pub fn delete_processing_time_timer(&self, key: &Key<K>, time: Timestamp) -> Result<(), Halt> {
        self.service.processing.delete(key.hash, &key.value, time)
    }

    /// The event time that all inputs have reached, in ms; [`super::MIN_WATERMARK`] while that is not known.
    #[must_use]
    pub fn current_watermark(&self) -> Timestamp {
        self.service.watermark.get()
    }

    /// Takes the earliest timer of event time that is due, as [`super::KeyedProcess::on_timer`] would be called for it.
    #[cfg(test)]
    pub(super) fn pop_due(&self, until: Timestamp) -> Result<Option<(Timestamp, K)>, Halt> {
        self.service.event.pop_due(until)
    }

    /// The time on the clock, in ms since the epoch. An answer that depends on it is another one after a replay.
    #[must_use]
    pub fn current_processing_time(&self) -> Timestamp {
        self.service.clock.now()
    }
}

/// The timers of one operator in one task, for `N`: a key, or a window of a key.
pub(super) struct Service<N> {
    event: Queue<N>,
    processing: Queue<N>,
    watermark: Cell<Timestamp>,
    clock: ProcessingTime,
}

impl<N: StateKey> Service<N> {
    pub(super) fn open(context: &mut OperatorContext<'_, '_>, descriptor: &StateDescriptor) -> Result<Self, Failure> {
        let table = context.table(descriptor)?;
        let (groups, owned) = context.groups();
        let queue = |domain| Queue::new(domain, Rc::clone(&table), groups, owned.clone());
        Ok(Self {
            event: queue(TimeDomain::EventTime),
            processing: queue(TimeDomain::ProcessingTime),
            watermark: Cell::new(context.restored_watermark().unwrap_or(MIN_WATERMARK)),
            clock: context.processing_time(),
        })
    }

    pub(super) fn queue(&self, domain: TimeDomain) -> &Queue<N> {
        match domain {
            TimeDomain::EventTime => &self.event,
            TimeDomain::ProcessingTime => &self.processing,
        }
    }

    pub(super) fn advance(&self, watermark: Timestamp) {
        self.watermark.set(watermark);
    }

    pub(super) fn watermark(&self) -> Timestamp {
        self.watermark.get()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl<N: StateKey> Alarm for Service<N> {
    fn next(&self) -> Option<Timestamp> {
        self.processing.next()
    }
}

/// The timers of one domain.
pub(super) struct Queue<N> {
    domain: u8,
    table: Rc<RefCell<Table<Due<N>, ()>>>,
    groups: KeyGroups,
    fronts: RefCell<Fronts<N>>,
}

/// What is known of the earliest timers.
struct Fronts<N> {
    /// Groups that may have timers, by the bound of each.
    by_time: BTreeSet<(Timestamp, u16)>,
    groups: BTreeMap<u16, Front<N>>,
}

/// The earliest timers of a group.
struct Front<N> {
    /// The group has no timer before this.
    bound: Timestamp,
    /// All of the group's timers up to the last of these, in order; some may have been deleted. Empty = not read.
    ahead: VecDeque<(Timestamp, N)>,
}

impl<N> Fronts<N> {
    fn set_bound(&mut self, group: u16, bound: Timestamp) {
        let front = self.groups.entry(group).or_insert_with(|| Front { bound, ahead: VecDeque::new() });
        self.by_time.remove(&(front.bound, group));
        front.bound = bound;
        self.by_time.insert((bound, group));
    }

    /// The group has a timer at `time`, which it perhaps did not have.
    fn registered(&mut self, group: u16, time: Timestamp) {
        match self.groups.get_mut(&group) {
            None => self.set_bound(group, time),
            Some(front) => {
                if front.ahead.back().is_some_and(|(last, _)| time <= *last) {
                    front.ahead.clear();
                }
                if time < front.bound {
                    front.ahead.clear();
                    self.set_bound(group, time);
                }
            }
        }
    }

    fn remove(&mut self, group: u16) {
        if let Some(front) = self.groups.remove(&group) {
            self.by_time.remove(&(front.bound, group));
        }
    }
}

impl<N: StateKey> Queue<N> {
    fn new(domain: TimeDomain, table: Rc<RefCell<Table<Due<N>, ()>>>, groups: KeyGroups, owned: Range<u16>) -> Self {
        // Nothing is known of what was restored: every group is looked at once.
        let mut fronts = Fronts { by_time: BTreeSet::new(), groups: BTreeMap::new() };
        owned.for_each(|group| fronts.set_bound(group, Timestamp::MIN));
        Self { domain: domain.code(), table, groups, fronts: RefCell::new(fronts) }
    }

    /// A timer for `what`, which belongs to the key with this hash.
    pub(super) fn register(&self, hash: u64, what: &N, time: Timestamp) -> Result<(), Halt> {
        if self.table.borrow_mut().insert_if_absent(&self.key(hash, what, time), ())? {
            self.fronts.borrow_mut().registered(self.groups.group(hash), time);
        }
        Ok(())
    }

    pub(super) fn delete(&self, hash: u64, what: &N, time: Timestamp) -> Result<(), Halt> {
        self.table.borrow_mut().remove(&self.key(hash, what, time))?;
        Ok(())
    }

    fn key(&self, hash: u64, what: &N, time: Timestamp) -> Key<Due<N>> {
        Key::under(hash, (self.domain, (time, what.clone())))
    }

    /// No timer is due before this; none = there is none.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.fronts.borrow().by_time.first().map(|(bound, _)| *bound)
    }

    /// Takes the earliest timer whose time is `until` or before. By time; timers of one time by key group, then by what they are for.
    pub(super) fn pop_due(&self, until: Timestamp) -> Result<Option<(Timestamp, N)>, Halt> {
        let mut fronts = self.fronts.borrow_mut();
        loop {
            let Some((bound, group)) = fronts.by_time.first().copied().filter(|(bound, _)| *bound <= until) else {
                return Ok(None);
            };
            let ahead = fronts.groups.get_mut(&group).and_then(|front| front.ahead.pop_front());
            let Some((time, what)) = ahead else {
                self.read_ahead(&mut fronts, group, bound, until)?;
                continue;
            };
            let next = fronts.groups.get(&group).and_then(|front| front.ahead.front()).map_or(time, |(next, _)| *next);
            fronts.set_bound(group, next);
            if self.table.borrow_mut().remove(&self.key(self.groups.hash_in(group), &what, time))? {
                return Ok(Some((time, what)));
            }
        }
    }

    fn read_ahead(&self, fronts: &mut Fronts<N>, group: u16, bound: Timestamp, until: Timestamp) -> Result<(), Halt> {
        let mut from = vec![self.domain];
        bound.encode(&mut from);
        let first = self.table.borrow().first_keys(group, &[self.domain], &from, READ_AHEAD)?;
        let Some((_, (earliest, _))) = first.first() else {
            fronts.remove(group);
            return Ok(());
        };
        fronts.set_bound(group, *earliest);
        if let Some(front) = fronts.groups.get_mut(&group) {
            front.ahead = first.into_iter().map(|(_, due)| due).take_while(|(time, _)| *time <= until).collect();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
