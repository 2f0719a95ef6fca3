//! Each combination of a time to live, for each kind.

use super::*;
use crate::engine::MAX_WATERMARK;

/// Writes 7 under the key; reads whether it is there.
struct Kind {
    name: &'static str,
    write: fn(&Kinds, &Key<String>),
    is_there: fn(&Kinds, &Key<String>) -> bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "value",
        write: |kinds, key| kinds.value.put(key, 7).unwrap(),
        is_there: |kinds, key| kinds.value.get(key).unwrap().is_some(),
    },
    Kind {
        name: "list",
        write: |kinds, key| kinds.list.add(key, 7).unwrap(),
        is_there: |kinds, key| !kinds.list.get(key).unwrap().is_empty(),
    },
    Kind {
        name: "map",
        write: |kinds, key| kinds.map.put(key, 1, 7).unwrap(),
        is_there: |kinds, key| kinds.map.get(key, 1).unwrap().is_some(),
    },
    Kind {
        name: "reducing",
        write: |kinds, key| kinds.highest.add(key, 7).unwrap(),
        is_there: |kinds, key| kinds.highest.get(key).unwrap().is_some(),
    },
    Kind {
        name: "aggregating",
        write: |kinds, key| kinds.total.add(key, 7).unwrap(),
        is_there: |kinds, key| kinds.total.get(key).unwrap().is_some(),
    },
];

fn hundred() -> Ttl {
    Ttl::of(Duration::from_millis(100))
}

/// An attempt with all kinds, each written at event time 0 and read at 60.
fn written(dir: &Path, backend: Backend, ttl: Ttl) -> Attempt {
    let mut attempt = Attempt::start(dir, backend, 1 << 20, 1, &Handles::declare(Some(ttl)), &Stored::default());
    attempt.record(0);
    for kind in &KINDS {
        (kind.write)(&attempt.tasks[0].kinds, &key(1));
    }
    attempt.advance(60);
    for kind in &KINDS {
        assert!((kind.is_there)(&attempt.tasks[0].kinds, &key(1)), "{}", kind.name);
    }
    attempt
}

#[test]
fn an_entry_lives_from_its_last_write_or_from_its_last_read_as_was_declared() {
    for backend in BACKENDS {
        for (ttl, last) in [
            (hundred(), 99),
            (hundred().update_on_create_and_write(), 99),
            (hundred().update_on_read_and_write(), 159),
            (hundred().update_on_read_and_write().update_on_create_and_write(), 99),
        ] {
            for (watermark, there) in [(last, true), (last + 1, false)] {
                let dir = TempDir::new().unwrap();
                let mut attempt = written(dir.path(), backend, ttl);
                attempt.advance(watermark);
                for kind in &KINDS {
                    let found = (kind.is_there)(&attempt.tasks[0].kinds, &key(1));
                    assert_eq!(found, there, "{} of {backend:?} with {ttl:?} at {watermark}", kind.name);
                }
            }
        }
    }
}

#[test]
fn what_has_expired_is_returned_once_where_that_is_allowed_and_nobody_cleaned_up() {
    for backend in BACKENDS {
        for (ttl, first) in [
            (hundred().never_return_expired().clean_up_incrementally(0), false),
            (hundred().never_return_expired(), false),
            (hundred().return_expired_if_not_cleaned_up().clean_up_incrementally(0), true),
            // the access itself cleans up before it reads
            (hundred().return_expired_if_not_cleaned_up().clean_up_incrementally(5), false),
        ] {
            let dir = TempDir::new().unwrap();
            let mut attempt = written(dir.path(), backend, ttl);
            attempt.advance(100);
            for kind in &KINDS {
                let kinds = &attempt.tasks[0].kinds;
                assert_eq!((kind.is_there)(kinds, &key(1)), first, "{} of {backend:?} with {ttl:?}", kind.name);
                assert!(!(kind.is_there)(kinds, &key(1)), "reading it has removed it: {}", kind.name);
            }
        }
    }
}

#[test]
fn entries_of_a_map_and_elements_of_a_list_have_times_of_their_own() {
    for backend in BACKENDS {
        let dir = TempDir::new().unwrap();
        let handles = Handles::declare(Some(hundred()));
        let mut attempt = Attempt::start(dir.path(), backend, 1 << 20, 1, &handles, &Stored::default());
        for (time, number) in [(0, 1), (50, 2)] {
            attempt.record(time);
            attempt.tasks[0].kinds.list.add(&key(1), number).unwrap();
            attempt.tasks[0].kinds.map.put(&key(1), number as i64, number).unwrap();
        }
        attempt.advance(100);
        let kinds = &attempt.tasks[0].kinds;
        assert_eq!(kinds.list.get(&key(1)).unwrap(), [2]);
        assert_eq!(kinds.map.entries(&key(1)).unwrap(), [(2, 2)]);
        // a record that is late is written at the watermark, or it would be gone at once
        attempt.record(-500);
        let kinds = &attempt.tasks[0].kinds;
        kinds.list.add(&key(1), 3).unwrap();
        assert_eq!(kinds.list.get(&key(1)).unwrap(), [2, 3]);
        attempt.advance(199);
        assert_eq!(attempt.tasks[0].kinds.list.get(&key(1)).unwrap(), [3]);
        attempt.advance(200);
        assert!(attempt.tasks[0].kinds.map.is_empty(&key(1)).unwrap());
        assert!(attempt.tasks[0].kinds.list.get(&key(1)).unwrap().is_empty());
    }
}

#[test]
fn incremental_clean_up_removes_what_nobody_reads_any_more() {
    for backend in BACKENDS {
        let dir = TempDir::new().unwrap();
        let handles = Handles::declare(Some(hundred().clean_up_incrementally(3)));
        let mut attempt = Attempt::start(dir.path(), backend, 1 << 20, 1, &handles, &Stored::default());
        attempt.record(0);
        for number in 0..100 {
            attempt.tasks[0].kinds.value.put(&key(number), 1).unwrap();
        }
        attempt.advance(100);
        // when another key is read often enough that each entry was looked at
        for _ in 0..40 {
            attempt.tasks[0].kinds.value.get(&key(200)).unwrap();
        }
        // then a checkpoint has none of them
        let stored = attempt.checkpoint(CheckpointId(1), dir.path());
        drop(attempt);
        let attempt = Attempt::start(
            dir.path(),
            backend,
            1 << 20,
            1,
            &handles,
            &Stored { watermark: None, elements: Vec::new(), ..stored },
        );
        let mut left = 0;
        let mut count = |_: &String, _: &u64| {
            left += 1;
            Ok(())
        };
        attempt.tasks[0].kinds.value.scan(&[], &mut count).unwrap();
        assert_eq!(left, 0, "{backend:?}");
    }
}

#[test]
fn a_replay_from_a_checkpoint_reads_what_was_read_before_whatever_was_cleaned_up_since() {
    for backend in BACKENDS {
        for ttl in [hundred(), hundred().update_on_read_and_write()].map(|ttl| ttl.clean_up_incrementally(50)) {
            let dir = TempDir::new().unwrap();
            let mut attempt = written(dir.path(), backend, ttl);
            // given a checkpoint at 60, confirmed, and one at 120 whose files were merged at the horizon of the first
            let first = attempt.checkpoint(CheckpointId(1), dir.path());
            attempt.store.horizon().raise(60);
            attempt.advance(120);
            attempt.store.compact();
            attempt.maintain();
            // and with each access to another key all that has expired went from memory
            KINDS.iter().for_each(|kind| assert!(!(kind.is_there)(&attempt.tasks[0].kinds, &key(9))));
            let second = attempt.checkpoint(CheckpointId(2), dir.path());
            let read = |attempt: &mut Attempt, from: Timestamp| -> Vec<bool> {
                let read = (from..400).step_by(13).flat_map(|watermark| {
                    attempt.advance(watermark);
                    KINDS.iter().map(|kind| (kind.is_there)(&attempt.tasks[0].kinds, &key(1))).collect::<Vec<_>>()
                });
                read.collect()
            };
            let seen = read(&mut attempt, 120);
            drop(attempt);
            // then a replay from either reads the same, with either backend
            for (stored, from) in [(&first, 60), (&second, 120)] {
                for backend in BACKENDS {
                    let handles = Handles::declare(Some(ttl));
                    let mut replayed = Attempt::start(dir.path(), backend, 0, 1, &handles, stored);
                    replayed.advance(from);
                    replayed.advance(120);
                    assert_eq!(read(&mut replayed, 120), seen, "{backend:?} with {ttl:?} from {from}");
                }
            }
        }
    }
}

#[test]
fn the_end_of_event_time_makes_nothing_expire_and_nothing_expired_come_back() {
    for backend in BACKENDS {
        let dir = TempDir::new().unwrap();
        let ttl = hundred().clean_up_incrementally(0);
        let mut attempt = written(dir.path(), backend, ttl);
        attempt.advance(90);
        attempt.record(90);
        KINDS.iter().for_each(|kind| (kind.write)(&attempt.tasks[0].kinds, &key(2)));
        attempt.advance(150);
        // given a drain: the watermark is the end of time
        attempt.advance(MAX_WATERMARK);
        let is_there = |attempt: &Attempt, number: u8| KINDS.map(|kind| (kind.is_there)(&attempt.tasks[0].kinds, &key(number)));
        let stored = attempt.checkpoint(CheckpointId(1), dir.path());
        assert_eq!(stored.watermark, Some(MAX_WATERMARK));
        assert_eq!((is_there(&attempt, 1), is_there(&attempt, 2)), ([false; 5], [true; 5]));
        drop(attempt);
        // then a job that begins from there has the time that it had before
        let attempt = Attempt::start(dir.path(), backend, 1 << 20, 1, &Handles::declare(Some(ttl)), &stored);
        assert_eq!((is_there(&attempt, 1), is_there(&attempt, 2)), ([false; 5], [true; 5]));
    }
}

#[test]
fn a_state_that_gets_a_time_to_live_reads_what_was_written_without() {
    let dir = TempDir::new().unwrap();
    let (plain, timed) = (Handles::declare(None), Handles::declare(Some(hundred())));
    let mut attempt = Attempt::start(dir.path(), Backend::RocksDb, 1 << 20, 1, &plain, &Stored::default());
    KINDS.iter().for_each(|kind| (kind.write)(&attempt.tasks[0].kinds, &key(1)));
    let stored = attempt.checkpoint(CheckpointId(1), dir.path());
    drop(attempt);
    // then it is as old as can be, and expires with the first watermark
    let mut attempt = Attempt::start(dir.path(), Backend::RocksDb, 1 << 20, 1, &timed, &stored);
    for (watermark, there) in [(None, true), (Some(-1_000_000), false)] {
        watermark.into_iter().for_each(|watermark| attempt.advance(watermark));
        let found = KINDS.map(|kind| (kind.is_there)(&attempt.tasks[0].kinds, &key(1)));
        assert_eq!(found, [there; 5]);
    }
}
