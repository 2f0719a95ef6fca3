//! The way to the broker: requests and answers take time, get lost, and arrive after their sender has given up or died.

use super::{
    broker::{Broker, Refusal},
    world::{World, lock},
};
use crate::engine::stop::Stop;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// How often each fault comes, per thousand requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// The request does not arrive.
    pub(super) lost: u32,
    /// The broker does it, and the answer does not arrive.
    pub(super) answer_lost: u32,
    /// The request arrives after its sender has given it up and tried again, or has ended.
    pub(super) late: u32,
    /// It takes seconds.
    pub(super) slow: u32,
}

impl Faults {
    /// A network to be reckoned with.
    pub(super) const ROUGH: Self = Self { lost: 20, answer_lost: 25, late: 25, slow: 15 };
    /// Hardly anything goes through at once.
    pub(super) const STORM: Self = Self { lost: 120, answer_lost: 120, late: 80, slow: 60 };
}

/// After so long without an answer a request is sent again.
const ANSWER: Duration = Duration::from_millis(1500);
/// Between two tries, when the broker says so.
const AGAIN: Duration = Duration::from_millis(20);
/// The latest that a late request arrives.
const LATEST: Duration = Duration::from_secs(40);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The broker refuses.
    Refused(Refusal),
    /// None came in time; the request may have been carried out.
    TimedOut,
    /// The attempt is over.
    Stopped,
}

type Check = Arc<dyn Fn(&Broker, Duration) + Send + Sync>;

/// A broker behind a network. Clones are the same one.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) world: World,
    broker: Arc<Mutex<Broker>>,
    faults: Arc<Mutex<Faults>>,
    /// Called after each request that the broker has carried out.
    check: Check,
}

impl Network {
    /// The way to `broker`; `check` looks at it after each request.
    pub(super) fn new(world: &World, broker: Broker, check: impl Fn(&Broker, Duration) + Send + Sync + 'static) -> Self {
        Self { world: world.clone(), broker: Arc::new(Mutex::new(broker)), faults: Arc::default(), check: Arc::new(check) }
    }

    /// From now on these faults.
    pub(super) fn set_faults(&self, faults: Faults) {
        *lock(&self.faults) = faults;
    }

    /// Looks at the broker itself, past the network.
    pub(super) fn inside<T>(&self, look: impl FnOnce(&mut Broker) -> T) -> T {
        look(&mut lock(&self.broker))
    }

    /// Sends a request again and again, until it is answered or `patience` is over.
    pub(super) fn call<R, F>(&self, doing: &str, patience: Duration, stop: &Stop, request: F) -> Result<R, Trouble>
    where
        R: Send + 'static,
        F: Fn(&mut Broker, Duration) -> Result<R, Refusal> + Clone + Send + 'static,
    {
        let world = &self.world;
        let deadline = world.now() + patience;
        loop {
            if stop.stopped() {
                return Err(Trouble::Stopped);
            }
            world.request();
            let Faults { lost, answer_lost, late, slow } = *lock(&self.faults);
            let dice = u32::try_from(world.dice(1000)).unwrap_or(u32::MAX);
            let way = if world.chance(slow) {
                world.between(Duration::from_millis(200), Duration::from_secs(8))
            } else {
                world.between(Duration::from_micros(300), Duration::from_millis(3))
            };
            world.sleep(way);
            let answer = match dice {
                _ if dice < lost => {
                    world.record(format_args!("{}: {doing}: lost", self.sender()));
                    world.count("requests lost");
                    None
                }
                _ if dice < lost + answer_lost => {
                    drop(self.arrive(doing, &request, "answer lost"));
                    world.count("answers lost");
                    None
                }
                _ if dice < lost + answer_lost + late => {
                    let (network, request, doing) = (self.clone(), request.clone(), format!("{}: {doing}", self.sender()));
                    let delay = world.between(Duration::ZERO, LATEST);
                    world.count("requests late");
                    world.record(format_args!("{doing}: on its way for {delay:?}"));
                    world.later(delay, move || drop(network.deliver(&doing, &request, "late")));
                    None
                }
                _ => Some(self.arrive(doing, &request, "")),
            };
            let pause = match answer {
                Some(Err(Refusal::Concurrent | Refusal::Unstable)) => world.between(AGAIN / 4, AGAIN * 4),
                Some(Err(refusal)) => return Err(Trouble::Refused(refusal)),
                Some(Ok(answer)) => return Ok(answer),
                None => ANSWER,
            };
            if world.now() + pause >= deadline {
                return Err(Trouble::TimedOut);
            }
            world.sleep(pause);
        }
    }

    fn sender(&self) -> String {
        self.world.process().map_or_else(|| "operator".to_owned(), |process| format!("process {}", process.0))
    }

    fn arrive<R>(
        &self,
        doing: &str,
        request: &impl Fn(&mut Broker, Duration) -> Result<R, Refusal>,
        note: &str,
    ) -> Result<R, Refusal> {
        self.deliver(&format!("{}: {doing}", self.sender()), request, note)
    }

    fn deliver<R>(
        &self,
        doing: &str,
        request: &impl Fn(&mut Broker, Duration) -> Result<R, Refusal>,
        note: &str,
    ) -> Result<R, Refusal> {
        let now = self.world.now();
        let mut broker = lock(&self.broker);
        let answer = request(&mut broker, now);
        let said = answer.as_ref().err().map_or_else(|| "done".to_owned(), |refusal| format!("{refusal:?}"));
        self.world.record(format_args!("{doing}: {said} {note}"));
        (self.check)(&broker, now);
        answer
    }
}
