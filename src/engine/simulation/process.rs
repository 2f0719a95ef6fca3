//! One process of the job: attempt after attempt, as the supervisor has it.

use super::{
    attempt::attempt,
    checks::REFUSALS,
    fate::ProcessId,
    scene::Scene,
    world::{World, lock},
};
use crate::engine::coordinator::{Ending, Schedule};
use crate::protocol::FailureKind;
use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The settings of a process; each may have others.
#[derive(Debug, Clone)]
pub(super) struct Knobs {
    pub(super) producers: usize,
    pub(super) sources: usize,
    pub(super) schedule: Schedule,
    pub(super) retained: NonZeroU32,
    pub(super) transaction_timeout: Duration,
    pub(super) patience: Duration,
    /// Of a thousand snapshots, so many merge all tables.
    pub(super) merge: u32,
    pub(super) until_caught_up: bool,
}

impl Knobs {
    /// What somebody may have chosen.
    pub(super) fn any(world: &World) -> Self {
        let retained = u32::try_from(1 + world.dice(3)).unwrap_or(1);
        Self {
            producers: usize::try_from(2 + world.dice(3)).unwrap_or(2),
            sources: usize::try_from(1 + world.dice(3)).unwrap_or(1),
            schedule: Schedule {
                interval: Duration::from_millis(200 + world.dice(1300)),
                min_pause: Duration::ZERO,
                timeout: Duration::from_secs(15 + world.dice(20)),
            },
            retained: NonZeroU32::new(retained).unwrap_or(NonZeroU32::MIN),
            transaction_timeout: Duration::from_secs(8 + world.dice(40)),
            patience: Duration::from_secs(10 + world.dice(30)),
            merge: 250,
            until_caught_up: false,
        }
    }
}

/// How a process ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its last checkpoint is confirmed.
    Finished,
    /// Another one took over.
    Fenced,
    /// It would not go on.
    GivenUp,
}

/// A process that was started.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    stopping: Arc<AtomicBool>,
    ended: Arc<Mutex<Option<Ended>>>,
}

impl Process {
    /// Starts one.
    pub(super) fn start(scene: &Scene, knobs: Knobs) -> Self {
        let process = Self { id: scene.world.add_process(), stopping: Arc::default(), ended: Arc::default() };
        let (scene, running) = (scene.clone(), process.clone());
        scene.clone().world.spawn(process.id, "supervisor", move || {
            let ended = running.run(&scene, &knobs);
            scene.world.record(format_args!("process {}: {ended:?}", running.id.0));
            *lock(&running.ended) = Some(ended);
        });
        process
    }

    /// Asks for a last checkpoint and the end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// How it ended, if it did so by itself.
    pub(super) fn ended(&self) -> Option<Ended> {
        *lock(&self.ended)
    }

    fn run(&self, scene: &Scene, knobs: &Knobs) -> Ended {
        let world = &scene.world;
        loop {
            let failure = match attempt(scene, self.id, knobs, &self.stopping) {
                Ok(Ending::Finished) => return Ended::Finished,
                Ok(Ending::Failed { failure, .. }) | Err(failure) => failure,
            };
            world.record(format_args!("process {}: {:?}: {}", self.id.0, failure.kind, without_hashes(&failure.message)));
            world.count(match failure.kind {
                FailureKind::Transient => "attempts ended: transient",
                FailureKind::Attempt => "attempts ended: attempt",
                FailureKind::Fenced => "attempts ended: fenced",
                FailureKind::Refused | FailureKind::Fatal => "attempts ended: refused",
            });
            match failure.kind {
                FailureKind::Transient | FailureKind::Attempt => {
                    world.sleep(world.between(Duration::from_millis(10), Duration::from_secs(1)));
                }
                FailureKind::Fenced => return Ended::Fenced,
                FailureKind::Refused | FailureKind::Fatal => {
                    world.violated(REFUSALS, format_args!("process {}: {failure}", self.id.0));
                    return Ended::GivenUp;
                }
            }
        }
    }
}

/// Manifests carry the time of the machine, so that their hashes differ from run to run: nothing depends on them, and the
/// chronicle must not either.
fn without_hashes(message: &str) -> String {
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    message
        .split(|c: char| !digit(c))
        .filter(|word| word.len() >= 16)
        .fold(message.to_owned(), |text, hash| text.replace(hash, "#"))
}
