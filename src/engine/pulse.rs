//! What a task is doing, for whoever watches it: a few words of memory that only the task writes, without a clock and without a lock.
//!
//! ```text
//! doing = operator (24 bits) · phase (8 bits)     what it is at
//! beats                                           grows with whatever is taken up or put down
//! ```
//!
//! A task that works on one record for long shows the same beats for long; one that waits, for input or for room, shows
//! [`Phase::Waiting`]. The operators write it for each record: two plain stores into a cache line that nobody else writes.

use std::{
    fmt, fs,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

/// What a task is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It waits for something that is not its own: input, room further down, a broker, the end. It never stalls here.
    Waiting = 0,
    /// It builds its operators, and restores what they hold.
    Starting = 1,
    /// It reads its input.
    Reading = 2,
    /// A record.
    Record = 3,
    /// Event time has moved: windows and timers fire.
    Watermark = 4,
    /// Timers of processing time.
    Timer = 5,
    /// A barrier: it gives its state to a checkpoint.
    Barrier = 6,
    /// The end of the input.
    End = 7,
}

impl Phase {
    fn of(doing: u32) -> Self {
        match doing & 0xff {
            1 => Self::Starting,
            2 => Self::Reading,
            3 => Self::Record,
            4 => Self::Watermark,
            5 => Self::Timer,
            6 => Self::Barrier,
            7 => Self::End,
            _ => Self::Waiting,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Reading => "reading its input",
            Self::Record => "processing a record",
            Self::Watermark => "acting on a watermark",
            Self::Timer => "firing timers of processing time",
            Self::Barrier => "giving its state to a checkpoint",
            Self::End => "acting on the end of the input",
        })
    }
}

/// What a task was at; given back to [`Pulse::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doing(u32);

/// An operator of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorId(u32);

/// The signs of life of one task. One thread writes them.
#[derive(Debug)]
pub struct Pulse {
    beats: AtomicU64,
    doing: AtomicU32,
    operators: Mutex<Vec<String>>,
    /// The thread as the operating system numbers it, where it tells.
    thread: OnceLock<u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        let doing = AtomicU32::new(Phase::Starting as u32);
        Self { beats: AtomicU64::new(0), doing, operators: Mutex::new(Vec::new()), thread: OnceLock::new() }
    }
}

impl Pulse {
    /// The caller's thread is the task's.
    pub fn begin(&self) {
        // "<process>/task/<thread>", on Linux.
        let link = fs::read_link("/proc/thread-self").ok();
        let number = link.and_then(|link| link.file_name()?.to_str()?.parse().ok());
        if let Some(number) = number {
            // A task has one thread.
            let _ = self.thread.set(number);
        }
        self.beat();
    }

    /// One more operator; its name is told when the task stalls in it.
    pub fn operator(&self, name: &str) -> OperatorId {
        let mut operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        operators.push(name.to_owned());
        OperatorId(u32::try_from(operators.len()).unwrap_or(0) << 8)
    }

    /// The task turns to something else.
    #[inline]
    pub fn turn_to(&self, phase: Phase) {
        self.doing.store(phase as u32, Relaxed);
        self.beat();
    }

    /// It turns to `phase` for a while: what is returned is given to [`Pulse::leave`] afterwards.
    #[inline]
    pub fn visit(&self, phase: Phase) -> Doing {
        let before = self.doing.load(Relaxed);
        self.turn_to(phase);
        Doing(before)
    }

    #[inline]
    fn visit_in(&self, operator: OperatorId, phase: Phase) -> Doing {
        let before = self.doing.load(Relaxed);
        self.doing.store(operator.0 | phase as u32, Relaxed);
        self.beat();
        Doing(before)
    }

    /// It enters an operator, for whatever it is at.
    #[inline]
    pub fn enter(&self, operator: OperatorId) -> Doing {
        let before = self.doing.load(Relaxed);
        self.doing.store(operator.0 | (before & 0xff), Relaxed);
        self.beat();
        Doing(before)
    }

    /// It is back where it was.
    #[inline]
    pub fn leave(&self, before: Doing) {
        self.doing.store(before.0, Relaxed);
        self.beat();
    }

    /// It gets on with what it is at. Nobody else writes, so that nothing has to be locked.
    #[inline]
    pub fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// How often it has moved, and whether it waits.
    pub(super) fn look(&self) -> (u64, bool) {
        (self.beats.load(Relaxed), Phase::of(self.doing.load(Relaxed)) == Phase::Waiting)
    }

    /// What it is at, in words.
    pub(super) fn describe(&self) -> String {
        let doing = self.doing.load(Relaxed);
        let operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        let operator = usize::try_from(doing >> 8).ok().and_then(|number| operators.get(number.checked_sub(1)?));
        match operator {
            Some(operator) => format!("{} in operator {operator:?}", Phase::of(doing)),
            None => Phase::of(doing).to_string(),
        }
    }

    /// The thread's number, where the operating system tells.
    pub(super) fn number(&self) -> Option<u64> {
        self.thread.get().copied()
    }

    /// The thread, and what the operating system says of it: whether it runs or sleeps, and where in the kernel.
    pub(super) fn thread(&self) -> Option<String> {
        let number = self.thread.get()?;
        let folder = format!("/proc/self/task/{number}");
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let state = status.lines().find_map(|line| line.strip_prefix("State:"))?.trim().to_owned();
        // "0" where the kernel does not tell, or the thread is not in it.
        let place = fs::read_to_string(format!("{folder}/wchan")).ok().filter(|place| place != "0" && !place.is_empty());
        let place = place.map_or_else(String::new, |place| format!(" in {place}"));
        Some(format!("thread {number} of process {}: {state}{place}", std::process::id()))
    }
}

/// The pulse of a task, as one of its operators writes it.
#[derive(Debug, Clone)]
pub struct OperatorPulse {
    task: Arc<Pulse>,
    id: OperatorId,
}

impl OperatorPulse {
    /// The operator `name` of a task.
    pub fn of(task: &Arc<Pulse>, name: &str) -> Self {
        Self { id: task.operator(name), task: Arc::clone(task) }
    }

    /// The task enters the operator; what is returned is given to [`OperatorPulse::leave`].
    #[inline]
    pub fn enter(&self) -> Doing {
        self.task.enter(self.id)
    }

    /// The task turns to `phase` in the operator, for a while.
    #[inline]
    pub fn visit(&self, phase: Phase) -> Doing {
        self.task.visit_in(self.id, phase)
    }

    /// It is back where it was.
    #[inline]
    pub fn leave(&self, before: Doing) {
        self.task.leave(before);
    }

    /// It gets on within the operator.
    #[inline]
    pub fn beat(&self) {
        self.task.beat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_is_at_is_told_with_the_innermost_operator() {
        let pulse = Pulse::default();
        assert_eq!(pulse.describe(), "starting");
        let (track, alerts) = (pulse.operator("track"), pulse.operator("alerts"));
        pulse.turn_to(Phase::Record);
        let outside = pulse.enter(track);
        let in_track = pulse.enter(alerts);
        assert_eq!(pulse.describe(), "processing a record in operator \"alerts\"");
        pulse.leave(in_track);
        assert_eq!(pulse.describe(), "processing a record in operator \"track\"");
        // waiting for room is no work of the operator
        let waiting = pulse.visit(Phase::Waiting);
        assert!(pulse.look().1);
        pulse.leave(waiting);
        assert!(!pulse.look().1);
        let beats = pulse.look().0;
        pulse.leave(outside);
        assert_eq!(pulse.describe(), "processing a record");
        assert!(pulse.look().0 > beats);
    }
}
