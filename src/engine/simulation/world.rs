//! A world with one clock, one dice and one thing happening at a time.
//!
//! The engine's calls block, so everything that can wait is a *fiber*: a thread that runs only while it holds the baton. Whoever
//! waits looks up in the agenda who is due next, moves the clock there and hands the baton over. So there is no more
//! concurrency here than in a loop over events, and the order depends on nothing but the seed; but code that blocks is run as it is.
//! A fiber of a process that is killed unwinds, and nothing that it does while unwinding reaches anybody (`fate.rs`).

use super::fate::{Process, ProcessId};
use crate::protocol::mutant::{self, Mutant};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// One thread of control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FiberId(u64);

/// The fiber that makes the world and ends it.
const OPERATOR: FiberId = FiberId(0);

thread_local! {
    static CURRENT: Cell<FiberId> = const { Cell::new(OPERATOR) };
}

/// What a fiber of a killed process unwinds with.
struct Killed;

type Message = Box<dyn FnOnce() + Send>;

enum Due {
    Fiber(FiberId),
    Message(Message),
}

#[derive(Default)]
struct Baton(Mutex<bool>, Condvar);

impl Baton {
    fn give(&self) {
        *lock(&self.0) = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut given = lock(&self.0);
        while !std::mem::take(&mut *given) {
            given = self.1.wait(given).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One thread of control, as the agenda knows it.
pub(super) struct Fiber {
    baton: Arc<Baton>,
    pub(super) process: Option<ProcessId>,
    /// Its place in the agenda.
    due: Option<(Duration, u64)>,
    /// It waits for a notification, not only for the time.
    listens: bool,
    notified: bool,
    pub(super) killed: bool,
}

/// Everything that the world knows; whoever runs may change it.
pub(super) struct State {
    pub(super) now: Duration,
    random: ChaCha8Rng,
    agenda: BTreeMap<(Duration, u64), Due>,
    sequence: u64,
    pub(super) fibers: BTreeMap<FiberId, Fiber>,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    threads: Vec<JoinHandle<()>>,
    switches: u64,
    hasher: blake3::Hasher,
    lines: Vec<String>,
    counts: Counts,
    violation: Option<(&'static str, String)>,
}

struct Shared {
    state: Mutex<State>,
    mutant: Option<Mutant>,
    keep_lines: bool,
}

/// The world; clones are the same one.
#[derive(Clone)]
pub(super) struct World(Arc<Shared>);

/// How often what has happened.
pub(super) type Counts = BTreeMap<&'static str, u64>;

/// What is left of a world that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chronicle {
    /// Hash of all that happened, in order.
    pub(super) hash: blake3::Hash,
    /// How often somebody's turn came.
    pub(super) turns: u64,
    /// When it ended.
    pub(super) ended: Duration,
    /// How often what has happened.
    pub(super) counts: Counts,
    /// What happened, if it was to be kept.
    pub(super) lines: Vec<String>,
    /// Which check failed first, and the facts.
    pub(super) violation: Option<(&'static str, String)>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Makes a world out of `seed`, in which `operator` runs to its end; then all others are killed.
    pub(super) fn run(seed: u64, mutant: Option<Mutant>, keep_lines: bool, operator: impl FnOnce(&World)) -> Chronicle {
        let state = State {
            now: Duration::ZERO,
            random: ChaCha8Rng::seed_from_u64(seed),
            agenda: BTreeMap::new(),
            sequence: 0,
            fibers: BTreeMap::new(),
            processes: BTreeMap::new(),
            threads: Vec::new(),
            switches: 0,
            hasher: blake3::Hasher::new(),
            lines: Vec::new(),
            counts: Counts::new(),
            violation: None,
        };
        let world = World(Arc::new(Shared { state: Mutex::new(state), mutant, keep_lines }));
        CURRENT.set(OPERATOR);
        world.state().fibers.insert(OPERATOR, Fiber::new(None));
        world.guarded("operator", || mutant::with(mutant, || operator(&world)));
        let processes: Vec<ProcessId> = world.state().processes.keys().copied().collect();
        processes.into_iter().for_each(|process| world.kill(process));
        world.state().agenda.retain(|_, due| matches!(due, Due::Fiber(_)));
        while world.state().fibers.len() > 1 {
            world.sleep(Duration::ZERO);
        }
        let threads = std::mem::take(&mut world.state().threads);
        threads.into_iter().for_each(|thread| drop(thread.join()));
        let mut state = world.state();
        Chronicle {
            hash: state.hasher.finalize(),
            turns: state.switches,
            ended: state.now,
            counts: std::mem::take(&mut state.counts),
            lines: std::mem::take(&mut state.lines),
            violation: state.violation.take(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// The time since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.state().now
    }

    /// A number below `below`.
    pub(super) fn dice(&self, below: u64) -> u64 {
        self.state().random.random_range(0..below.max(1))
    }

    /// Whether something comes true that does so `permille` times in a thousand.
    pub(super) fn chance(&self, permille: u32) -> bool {
        self.dice(1000) < u64::from(permille)
    }

    /// A time between the two.
    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.dice(micros(most.saturating_sub(least)) + 1))
    }

    /// Writes down what happened.
    pub(super) fn record(&self, what: fmt::Arguments<'_>) {
        let mut state = self.state();
        let line = format!("{:>12.6} {what}", state.now.as_secs_f64());
        state.hasher.update(line.as_bytes());
        if self.0.keep_lines {
            state.lines.push(line);
        }
    }

    /// Counts what happened.
    pub(super) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// A check has failed. The first one counts, and the operator is told.
    pub(super) fn violated(&self, check: &'static str, facts: impl fmt::Display) {
        self.record(format_args!("VIOLATED: {check}: {facts}"));
        self.state().violation.get_or_insert_with(|| (check, facts.to_string()));
        self.notify(OPERATOR);
    }

    /// Whether a check has failed.
    pub(super) fn is_violated(&self) -> bool {
        self.state().violation.is_some()
    }

    /// The fiber that runs now.
    pub(super) fn current(&self) -> FiberId {
        CURRENT.get()
    }

    /// The process of the fiber that runs now.
    pub(super) fn process(&self) -> Option<ProcessId> {
        self.state().fibers.get(&CURRENT.get()).and_then(|fiber| fiber.process)
    }

    /// Lets others run for this long.
    pub(super) fn sleep(&self, time: Duration) {
        let mut state = self.state();
        let at = state.now + time;
        state.schedule(CURRENT.get(), at);
        self.give_way(state);
    }

    /// Lets others run until somebody notifies this fiber, or until this time.
    pub(super) fn wait(&self, until: Option<Duration>) {
        let mut state = self.state();
        let me = CURRENT.get();
        let Some(fiber) = state.fibers.get_mut(&me) else { return };
        if std::mem::take(&mut fiber.notified) {
            return;
        }
        fiber.listens = true;
        if let Some(until) = until {
            let at = until.max(state.now);
            state.schedule(me, at);
        }
        self.give_way(state);
        if let Some(fiber) = self.state().fibers.get_mut(&me) {
            (fiber.listens, fiber.notified) = (false, false);
        }
    }

    /// Wakes a fiber that waits; one that does not wait yet will not.
    pub(super) fn notify(&self, fiber: FiberId) {
        let mut state = self.state();
        let now = state.now;
        match state.fibers.get_mut(&fiber) {
            Some(listening) if listening.listens => state.schedule(fiber, now),
            Some(busy) => busy.notified = true,
            None => {}
        }
    }

    /// Runs `message` so much later, whatever becomes of its sender. It must not wait.
    pub(super) fn later(&self, delay: Duration, message: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        let key = (state.now + delay, state.next());
        state.agenda.insert(key, Due::Message(Box::new(message)));
    }

    /// Everything that is still on its way arrives now, in order.
    pub(super) fn settle(&self) {
        let due: Vec<Due> =
            self.state().agenda.extract_if(.., |_, due| matches!(due, Due::Message(_))).map(|(_, due)| due).collect();
        for due in due {
            if let Due::Message(message) = due {
                message();
            }
        }
    }

    /// A fiber of a process.
    pub(super) fn spawn(&self, process: ProcessId, name: &'static str, work: impl FnOnce() + Send + 'static) -> FiberId {
        let mut state = self.state();
        let id = FiberId(state.next() + 1);
        let fiber = Fiber::new(Some(process));
        let baton = Arc::clone(&fiber.baton);
        state.fibers.insert(id, fiber);
        let now = state.now;
        state.schedule(id, now);
        let world = self.clone();
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn(move || {
            CURRENT.set(id);
            baton.wait();
            if !world.is_killed() {
                world.guarded(name, || mutant::with(world.0.mutant, work));
            }
            world.leave();
        });
        state.threads.push(thread.expect("a thread"));
        id
    }

    /// Waits until these fibers have ended.
    pub(super) fn join(&self, fibers: &[FiberId]) {
        while fibers.iter().any(|fiber| self.state().fibers.contains_key(fiber)) {
            self.wait(None);
        }
    }

    fn is_killed(&self) -> bool {
        self.state().fibers.get(&CURRENT.get()).is_none_or(|fiber| fiber.killed)
    }

    /// A panic is a finding; the end of a killed process is not.
    fn guarded(&self, name: &str, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work))
            && !panic.is::<Killed>()
        {
            self.violated("nothing panics", format_args!("{name}: {}", panic_text(panic.as_ref())));
        }
    }

    /// The running fiber ends.
    fn leave(&self) {
        let mut state = self.state();
        let gone = state.fibers.remove(&CURRENT.get());
        if let Some(place) = gone.and_then(|fiber| fiber.due) {
            state.agenda.remove(&place);
        }
        let now = state.now;
        let waiting: Vec<FiberId> = state.fibers.iter().filter(|(_, fiber)| fiber.listens).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|fiber| state.schedule(fiber, now));
        self.give_way(state);
    }

    /// Whoever is due next gets the baton; returns when it comes back.
    fn give_way<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if thread::panicking() {
            return;
        }
        let me = CURRENT.get();
        let mine = state.fibers.get(&me).map(|fiber| Arc::clone(&fiber.baton));
        loop {
            let Some(((at, _), due)) = state.agenda.pop_first() else { panic!("nobody can go on") };
            state.now = state.now.max(at);
            let next = match due {
                Due::Fiber(fiber) => fiber,
                Due::Message(message) => {
                    drop(state);
                    message();
                    state = self.state();
                    continue;
                }
            };
            let now = state.now;
            let Some(fiber) = state.fibers.get_mut(&next) else { continue };
            fiber.due = None;
            let (killed, process) = (fiber.killed, fiber.process);
            let paused = process.and_then(|process| state.processes.get(&process)).map_or(Duration::ZERO, |it| it.paused_until);
            if paused > now && !killed {
                state.schedule(next, paused);
                continue;
            }
            state.switches += 1;
            if next != me {
                let baton = state.fibers.get(&next).map(|fiber| Arc::clone(&fiber.baton));
                drop(state);
                if let Some(baton) = baton {
                    baton.give();
                }
                let Some(mine) = mine else { return };
                mine.wait();
            } else {
                drop(state);
            }
            break;
        }
        if self.is_killed() {
            resume_unwind(Box::new(Killed));
        }
    }
}

impl Fiber {
    fn new(process: Option<ProcessId>) -> Self {
        Self { baton: Arc::default(), process, due: None, listens: false, notified: false, killed: false }
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Puts a fiber into the agenda.
    pub(super) fn schedule(&mut self, id: FiberId, at: Duration) {
        let key = (at, self.next());
        let Some(fiber) = self.fibers.get_mut(&id) else { return };
        if let Some(before) = fiber.due.replace(key) {
            self.agenda.remove(&before);
        }
        self.agenda.insert(key, Due::Fiber(id));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
