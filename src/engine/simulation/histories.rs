//! Single histories, without dice: recoveries that must not ask a person for help, the one that must, and a slow store.

use super::{
    broker::Record,
    files::Ends,
    job::INPUT,
    process::{Ended, Knobs, Process},
    scene::{GROUP, Scene, Weather},
    world::World,
};
use crate::checkpoint::faulty;
use crate::engine::{cluster::Cluster, coordinator::Schedule, recovery::second_look, stop::Stop};
use crate::protocol::{Failure, FailureKind, TopicPartition, transactional_ids};
use std::{collections::BTreeSet, time::Duration};

/// Plays `script` in a world without faults.
fn world(script: impl FnOnce(&Scene)) {
    let chronicle = World::run(1, None, true, |world| {
        let scene = Scene::new(world, 1, Ends::Kafka);
        scene.network.inside(|broker| {
            let log = (0..20).map(|_| Record { key: "a".to_owned() }).collect();
            broker.inputs.insert(INPUT.to_owned(), vec![log]);
        });
        script(&scene);
    });
    assert_eq!(chronicle.violation, None, "{}", chronicle.lines.join("\n"));
}

/// Runs a process until it has given everything out.
fn run(scene: &Scene) {
    let knobs = Knobs { until_caught_up: true, ..Knobs::any(&scene.world) };
    let process = Process::start(scene, knobs);
    while scene.world.is_alive(process.id) && !scene.world.is_violated() {
        scene.world.wait(Some(scene.world.now() + Duration::from_millis(100)));
    }
    assert_eq!(process.ended(), Some(Ended::Finished));
}

/// Waits for so many commits in the scene's whole history.
fn until(scene: &Scene, commits: usize) {
    while scene.checks.commits() < commits && !scene.world.is_violated() {
        scene.world.wait(Some(scene.world.now() + Duration::from_micros(100)));
    }
}

#[test]
fn a_list_that_lags_does_not_hide_the_checkpoint_that_kafka_names() {
    world(|scene| {
        run(scene);
        let lagging = faulty::Faults { stale_list: 1000, ..faulty::Faults::default() };
        scene.set_weather(Weather { store: lagging, ..Weather::calm() });
        run(scene);
    });
}

#[test]
fn what_is_missed_counts_only_while_the_job_is_ours() {
    world(|scene| {
        let take_over = || {
            let cluster = scene.cluster(&Knobs::any(&scene.world), scene.world.add_process());
            let witness = TopicPartition::new(INPUT, 0);
            let ids = transactional_ids(GROUP, 2);
            cluster.transactions(&BTreeSet::new(), &ids, &witness, &Stop::new()).unwrap()
        };
        let mut mine = take_over();
        let missing = || Failure::refused("a file is missing");
        assert_eq!(second_look(missing(), &mut *mine), missing());
        let _successor = take_over();
        let looked = second_look(missing(), &mut *mine);
        assert_eq!(looked.kind, FailureKind::Fenced, "{looked}");
        // Other failures do not ask.
        assert_eq!(second_look(Failure::transient("away"), &mut *mine).kind, FailureKind::Transient);
    });
}

#[test]
fn a_first_manifest_that_was_torn_is_begun_again() {
    world(|scene| {
        let process = Process::start(scene, Knobs::any(&scene.world));
        let torn = faulty::Faults { torn: 1000, ..faulty::Faults::default() };
        // The folder is made, then every put is torn.
        while !scene.stored("counts/started.json") {
            scene.world.wait(Some(scene.world.now() + Duration::from_micros(100)));
        }
        scene.set_weather(Weather { store: torn, ..Weather::calm() });
        while !scene.stored("counts/manifests/00000000000000000000.json") {
            scene.world.wait(Some(scene.world.now() + Duration::from_micros(100)));
        }
        scene.world.kill(process.id);
        scene.set_weather(Weather::calm());
        assert_eq!(scene.checks.commits(), 0);
        run(scene);
    });
}

#[test]
fn clearing_away_that_takes_longer_than_a_checkpoint_may_holds_nobody_up() {
    world(|scene| {
        let (interval, timeout) = (Duration::from_millis(300), Duration::from_secs(2));
        let schedule = Schedule { interval, min_pause: Duration::ZERO, timeout };
        let process = Process::start(scene, Knobs { schedule, ..Knobs::any(&scene.world) });
        until(scene, 3);
        // Marker and garbage of this one take seconds each.
        scene.set_weather(Weather { slow_store: 1000, ..Weather::calm() });
        scene.world.wait(Some(scene.world.now() + Duration::from_secs(20)));
        scene.set_weather(Weather::calm());
        until(scene, 6);
        assert_eq!(process.ended(), None);
    });
}

#[test]
fn what_an_attempt_reads_first_does_not_wait_for_a_whole_interval() {
    world(|scene| {
        let (interval, timeout) = (Duration::from_secs(20), Duration::from_secs(10));
        let schedule = Schedule { interval, min_pause: Duration::ZERO, timeout };
        let knobs = || Knobs { schedule, ..Knobs::any(&scene.world) };
        // Given a start, and one after a kill
        let first = Process::start(scene, knobs());
        for begin in [0, 3] {
            // When three checkpoints are committed
            let times = [1, 2, 3].map(|commits| {
                until(scene, begin + commits);
                scene.world.now().as_secs_f64()
            });
            // Then the second follows the first after a quarter of the interval, and the third after a whole one
            let (second, third) = (times[1] - times[0], times[2] - times[1]);
            assert!((4.0..6.0).contains(&second), "{second}");
            assert!((19.0..21.0).contains(&third), "{third}");
            if begin == 0 {
                scene.world.kill(first.id);
                Process::start(scene, knobs());
            }
        }
    });
}
