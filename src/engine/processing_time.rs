//! Processing time: what the clock on the wall shows, and who waits for it.
//!
//! Timers outlive the process, so they are kept in milliseconds since the epoch, and not by [`super::clock::Clock`], which knows no date.

use super::{halt::Halt, message::Timestamp};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The time of one task, in ms since the epoch. It never goes back while the task runs. Clones are the same clock.
#[derive(Clone)]
pub struct ProcessingTime {
    read: Rc<dyn Fn() -> Timestamp>,
    latest: Rc<Cell<Timestamp>>,
}

impl ProcessingTime {
    /// The machine's.
    #[must_use]
    pub fn system() -> Self {
        Self::of(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
        })
    }

    /// A clock that shows what `read` says, unless that goes back.
    pub fn of(read: impl Fn() -> Timestamp + 'static) -> Self {
        Self { read: Rc::new(read), latest: Rc::new(Cell::new(Timestamp::MIN)) }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.latest.set(self.latest.get().max((self.read)()));
        self.latest.get()
    }
}

impl fmt::Debug for ProcessingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessingTime")
    }
}

/// An operator with timers of processing time.
pub trait Timed {
    /// No timer is due before this time; none = there is no timer.
    fn next(&self) -> Option<Timestamp>;
    /// Fires what is due at `now`.
    fn fire(&mut self, now: Timestamp) -> Result<(), Halt>;
}

/// The operators of one task that wait for processing time.
pub struct Alarms {
    clock: ProcessingTime,
    operators: Vec<Rc<RefCell<dyn Timed>>>,
}

impl Alarms {
    /// None yet.
    #[must_use]
    pub fn of(clock: ProcessingTime) -> Self {
        Self { clock, operators: Vec::new() }
    }

    /// The task's clock.
    #[must_use]
    pub fn clock(&self) -> &ProcessingTime {
        &self.clock
    }

    /// One more.
    pub fn add(&mut self, operator: Rc<RefCell<dyn Timed>>) {
        self.operators.push(operator);
    }

    /// Fires what is due; whether anything was.
    pub fn fire(&self) -> Result<bool, Halt> {
        let Some(next) = self.next() else { return Ok(false) };
        let now = self.clock.now();
        if next > now {
            return Ok(false);
        }
        self.operators.iter().try_for_each(|operator| operator.borrow_mut().fire(now))?;
        Ok(true)
    }

    /// How long a task may sleep that would sleep for `patience`.
    #[must_use]
    pub fn patience(&self, patience: Duration) -> Duration {
        match self.next() {
            None => patience,
            Some(next) => {
                let left = next.saturating_sub(self.clock.now());
                patience.min(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
            }
        }
    }

    fn next(&self) -> Option<Timestamp> {
        self.operators.iter().filter_map(|operator| operator.borrow().next()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(Option<Timestamp>, Vec<Timestamp>);

    impl Timed for At {
        fn next(&self) -> Option<Timestamp> {
            self.0
        }
        fn fire(&mut self, now: Timestamp) -> Result<(), Halt> {
            self.1.push(now);
            self.0 = None;
            Ok(())
        }
    }

    #[test]
    fn a_task_sleeps_until_the_next_timer_and_time_never_goes_back() {
        let time = Rc::new(Cell::new(1_000));
        let shown = Rc::clone(&time);
        let mut alarms = Alarms::of(ProcessingTime::of(move || shown.get()));
        let second = Duration::from_secs(1);
        assert_eq!(alarms.patience(second), second, "nobody waits");
        let operator = Rc::new(RefCell::new(At(Some(1_300), Vec::new())));
        alarms.add(operator.clone());
        assert_eq!(alarms.patience(second), Duration::from_millis(300));
        assert!(!alarms.fire().unwrap());
        time.set(1_400);
        assert_eq!(alarms.patience(second), Duration::ZERO);
        assert!(alarms.fire().unwrap());
        assert_eq!(operator.borrow().1, [1_400]);
        time.set(5);
        assert_eq!(alarms.clock().now(), 1_400);
        assert_eq!(alarms.patience(second), second);
    }
}
