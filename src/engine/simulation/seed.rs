//! One seed: what befalls the job, and that it recovers when nothing does any more.

use super::{
    broker::Record,
    checks::RECOVERS,
    fate::Fate,
    files::Ends,
    job::INPUT,
    process::{Ended, Knobs, Process},
    scene::{Scene, Weather},
    world::{Chronicle, World},
};
use crate::protocol::mutant::Mutant;
use std::time::Duration;

/// The run without faults must be over by then.
const RECOVERY: Duration = Duration::from_secs(300);

/// What a seed came to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) chronicle: Chronicle,
    /// Commits that took effect.
    pub(super) commits: usize,
    /// Attempts.
    pub(super) attempts: u32,
    /// Records in the input.
    pub(super) records: usize,
}

/// Plays `seed` for a job with these ends, with one deliberate bug if one is given.
pub(super) fn play(ends: Ends, seed: u64, mutant: Option<Mutant>, keep_lines: bool) -> Outcome {
    let (mut commits, mut attempts, mut records) = (0, 0, 0);
    let chronicle = World::run(seed, mutant, keep_lines, |world| {
        let scene = Scene::new(world, seed, ends);
        let partitions = usize::try_from(1 + world.dice(3)).unwrap_or(1);
        scene.network.inside(|broker| broker.inputs.insert(INPUT.to_owned(), vec![Vec::new(); partitions]));
        befall(&scene);
        if !world.is_violated() {
            recover(&scene);
        }
        commits = scene.checks.commits();
        attempts = scene.next_attempt() - 1;
        scene.network.inside(|broker| (0..broker.given_up).for_each(|_| world.count("transactions open for too long")));
        records = scene.network.inside(|broker| broker.inputs.values().flatten().map(Vec::len).sum());
    });
    Outcome { chronicle, commits, attempts, records }
}

/// Records arrive, processes start, stop, die and sleep, and the weather changes.
fn befall(scene: &Scene) {
    let world = &scene.world;
    let mut processes: Vec<Process> = Vec::new();
    let end = world.between(Duration::from_secs(4), Duration::from_secs(25));
    while world.now() < end && !world.is_violated() {
        let alive: Vec<Process> = processes.iter().filter(|process| world.is_alive(process.id)).cloned().collect();
        let one = alive.get(usize::try_from(world.dice(alive.len() as u64)).unwrap_or(0)).cloned();
        match (world.dice(12), one) {
            (0..4, _) => append(scene),
            (4..6, Some(process)) => {
                let fate = match world.dice(5) {
                    0 | 1 => Fate::Kill,
                    2 | 3 => Fate::Pause(world.between(Duration::from_millis(50), Duration::from_secs(3))),
                    _ => Fate::Pause(world.between(Duration::from_secs(1), Duration::from_secs(90))),
                };
                world.doom(process.id, u32::try_from(world.dice(60)).unwrap_or(0), fate);
            }
            (6, Some(process)) => world.kill(process.id),
            (7, Some(process)) if world.chance(300) => process.stop(),
            (8, _) => scene.set_weather(match world.dice(7) {
                0..3 => Weather::calm(),
                3..6 => Weather::rough(),
                _ => Weather::storm(),
            }),
            (9, Some(_)) if alive.len() < 2 => processes.push(Process::start(scene, Knobs::any(world))),
            (_, None) => processes.push(Process::start(scene, Knobs::any(world))),
            _ => {}
        }
        world.wait(Some(world.now() + world.between(Duration::from_millis(5), Duration::from_millis(700))));
    }
    append(scene);
    processes.iter().for_each(|process| world.kill(process.id));
}

/// Some records for one partition; the others are idle meanwhile.
fn append(scene: &Scene) {
    let world = &scene.world;
    let (partition, count) = (world.dice(3), 1 + world.dice(5));
    let records: Vec<Record> = (0..count).map(|_| Record { key: ["a", "b", "c"][world.dice(3) as usize].to_owned() }).collect();
    scene.network.inside(|broker| {
        let logs = broker.inputs.entry(INPUT.to_owned()).or_default();
        let partition = usize::try_from(partition).unwrap_or(0) % logs.len().max(1);
        if let Some(log) = logs.get_mut(partition) {
            log.extend(records);
        }
    });
}

/// Everything has died, nothing fails any more: one process gives out what is left, and ends.
fn recover(scene: &Scene) {
    let world = &scene.world;
    world.record(format_args!("the faults end"));
    scene.set_weather(Weather::calm());
    world.sleep(Duration::from_millis(1));
    scene.settle();
    let last = Process::start(scene, Knobs { until_caught_up: true, ..Knobs::any(world) });
    let deadline = world.now() + RECOVERY;
    while world.now() < deadline && world.is_alive(last.id) && !world.is_violated() {
        world.wait(Some(world.now() + Duration::from_millis(200)));
    }
    if world.is_violated() {
        return;
    }
    match last.ended() {
        Some(Ended::Finished) => {}
        other => return world.violated(RECOVERS, format_args!("the last process: {other:?}")),
    }
    scene.checks.at_the_end();
    let committed: i64 = scene.checks.committed().values().sum();
    let wanted: usize = scene.network.inside(|broker| broker.inputs.values().flatten().map(Vec::len).sum());
    if usize::try_from(committed) != Ok(wanted) {
        world.violated(RECOVERS, format_args!("{committed} records of {wanted} were given out"));
    }
}
