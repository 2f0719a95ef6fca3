//! Broker, storage and instances together, and what can happen to them next.

use super::{
    PARTITIONS,
    broker::{Broker, EndTxn},
    instance::{Instance, Outside, Step},
    store::Store,
};
use crate::protocol::mutant::{Mutant, with};
use stateright::Model;
use std::{collections::HashMap, hash::BuildHasher, sync::Mutex};

/// What a run of the checker covers.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// Processes at the same time.
    pub(super) instances: usize,
    /// Records in the input, per partition.
    pub(super) records: [u8; PARTITIONS],
    /// Pool size of each attempt in turn; the last one goes on. Its length is the number of attempts.
    pub(super) pools: &'static [u8],
    /// Highest checkpoint number that is begun by a trigger; attempts after a dead one may use higher ones.
    pub(super) last: u8,
    /// Faults, besides crashes and pauses, which are free.
    pub(super) faults: u8,
    /// Whether crashes are explored (pauses always are).
    pub(super) crashes: bool,
    /// Somebody asks for a savepoint, once.
    pub(super) savepoint: bool,
    /// The deliberate bug.
    pub(super) mutant: Option<Mutant>,
    /// Broker and storage states from which a run without faults was tried: whether it recovered.
    pub(super) recovered: Mutex<HashMap<u64, bool>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) store: Store,
    /// In no particular order: processes have no names.
    pub(super) instances: Vec<Instance>,
    /// Attempts so far.
    pub(super) attempts: u8,
    faults: u8,
    savepoint: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A process begins an attempt.
    Start(usize),
    /// kill -9.
    Crash(usize),
    /// A process goes on; one that does not is paused.
    Go(usize, Step),
    /// A commit request arrives at the broker.
    Arrive(EndTxn),
    /// It arrives, and a copy of it is still under way (fault).
    ArriveAndRepeat(EndTxn),
    /// A put that its writer has given up arrives.
    Land(usize),
    /// The broker aborts a transaction for its age (fault).
    Expire(u8),
}

impl Scenario {
    pub(super) fn under<T>(&self, work: impl FnOnce() -> T) -> T {
        with(self.mutant, work)
    }

    fn pool(&self, attempt: u8) -> u8 {
        let last = self.pools.last().copied().unwrap_or(2);
        self.pools.get(usize::from(attempt)).copied().unwrap_or(last)
    }

    fn offer(&self, world: &World, healing: bool, actions: &mut Vec<Action>) {
        let faults = world.faults > 0 && !healing;
        let mut steps = Vec::new();
        for (index, instance) in world.instances.iter().enumerate() {
            if *instance == Instance::Down {
                if healing || usize::from(world.attempts) < self.pools.len() {
                    actions.push(Action::Start(index));
                }
                continue;
            }
            steps.clear();
            let last = if healing { u8::MAX } else { self.last };
            instance.steps(self.records, last, !world.savepoint && !healing, &mut steps);
            actions.extend(steps.iter().filter(|step| faults || !step.is_fault()).map(|step| Action::Go(index, *step)));
            if self.crashes && !healing && matches!(instance, Instance::Recovering(_) | Instance::Running(_)) {
                actions.push(Action::Crash(index));
            }
        }
        for request in &world.broker.wire {
            actions.push(Action::Arrive(*request));
            if faults && world.broker.epoch(request.id) == request.epoch {
                actions.push(Action::ArriveAndRepeat(*request));
            }
        }
        if !healing {
            actions.extend((0..world.store.late.len()).map(Action::Land));
        }
        if faults {
            actions.extend(world.broker.open().map(Action::Expire));
        }
    }

    fn apply(&self, world: &mut World, action: Action) {
        let World { broker, store, instances, .. } = world;
        let mut outside = Outside { broker, store, records: self.records };
        match action {
            Action::Start(index) => {
                world.attempts += 1;
                let attempt = world.attempts;
                instances[index] = Instance::start(attempt, self.pool(attempt - 1), &outside);
            }
            Action::Crash(index) => instances[index] = Instance::Down,
            Action::Go(index, step) => {
                instances[index].step(step, &mut outside);
                world.faults -= u8::from(step.is_fault()).min(world.faults);
                world.savepoint |= step == Step::Trigger(crate::protocol::Trigger::Savepoint);
            }
            Action::Arrive(request) | Action::ArriveAndRepeat(request) => {
                if matches!(action, Action::ArriveAndRepeat(_)) {
                    world.faults -= 1;
                } else {
                    broker.wire.remove(&request);
                }
                let ok = broker.end(request).is_ok();
                instances.iter_mut().for_each(|instance| instance.answered(request, ok));
            }
            Action::Land(index) => {
                if let Some((number, manifest)) = store.late.iter().nth(index).cloned() {
                    store.late.remove(&(number, manifest.clone()));
                    store.put(number, manifest);
                }
            }
            Action::Expire(id) => {
                world.faults -= 1;
                broker.initialise(id);
            }
        }
        world.forget();
        world.instances.sort();
    }

    /// Everything dies; then one process runs, and nothing fails any more.
    pub(super) fn recovers(&self, world: &World) -> bool {
        let mut world = world.clone();
        world.instances = vec![Instance::Down];
        world.store.late.clear();
        world.broker.wire.clear();
        let key = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one((&world.broker, &world.store));
        let known = self.recovered.lock().expect("no test panics with it").get(&key).copied();
        known.unwrap_or_else(|| {
            let recovers = self.heals(world);
            self.recovered.lock().expect("no test panics with it").insert(key, recovers);
            recovers
        })
    }

    /// Whether a process that is let alone finishes the job, in three attempts at most.
    fn heals(&self, mut world: World) -> bool {
        let mut actions = Vec::new();
        let mut starts = 0;
        for _ in 0..200 {
            actions.clear();
            self.offer(&world, true, &mut actions);
            match actions.iter().min_by_key(|action| matches!(action, Action::Go(..))) {
                Some(action) => {
                    starts += usize::from(matches!(action, Action::Start(_)));
                    self.apply(&mut world, *action);
                }
                None => break,
            }
            if starts > 3 {
                break;
            }
        }
        let all_read = world
            .broker
            .committed
            .iter()
            .zip(self.records)
            .all(|(committed, all)| matches!(committed, Some((offset, _)) if *offset == all));
        // A deliberate bug is to be caught where it does its harm, not beforehand by looking into the future.
        let holds = self.mutant.is_some() || super::properties::violated(&world).is_none();
        world.instances == [Instance::Finished] && all_read && holds
    }
}

impl World {
    /// Requests that nobody waits for and that can do nothing any more.
    fn forget(&mut self) {
        let (broker, instances) = (&mut self.broker, &self.instances);
        let wire = std::mem::take(&mut broker.wire);
        broker.wire = wire
            .into_iter()
            .filter(|request| {
                broker.epoch(request.id) == request.epoch || instances.iter().any(|instance| instance.awaits(*request))
            })
            .collect();
    }
}

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            broker: Broker::default(),
            store: Store::default(),
            instances: vec![Instance::Down; self.instances],
            attempts: 0,
            faults: self.faults,
            savepoint: !self.savepoint,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.under(|| self.offer(world, false, actions));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.under(|| self.apply(&mut next, action));
        Some(next)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        super::properties::all()
    }
}
