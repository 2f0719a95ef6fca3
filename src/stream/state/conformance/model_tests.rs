//! Random schedules against plain maps.

use super::*;
use proptest::prelude::*;

/// What a plain map has, with the time from which a time to live counts.
type Aged<V> = (Timestamp, V);

#[derive(Debug, Clone, Default)]
struct Model {
    ttl: Option<(i64, bool)>,
    watermark: Timestamp,
    record: Timestamp,
    values: BTreeMap<String, Aged<u64>>,
    lists: BTreeMap<String, Vec<Aged<u64>>>,
    maps: BTreeMap<(String, i64), Aged<u64>>,
    highest: BTreeMap<String, Aged<u64>>,
    totals: BTreeMap<String, Aged<(u64, u64)>>,
    split: Vec<u64>,
    rules: BTreeMap<String, u64>,
    timers: BTreeSet<(Timestamp, String)>,
}

/// Reads as the state does.
fn look<K: Ord, V: Clone>(all: &mut BTreeMap<K, Aged<V>>, key: &K, ttl: Option<(i64, bool)>, at: (i64, i64)) -> Option<V> {
    let (written_at, value) = all.get_mut(key)?;
    if !lives(*written_at, ttl, at) {
        all.remove(key);
        return None;
    }
    if ttl.is_some_and(|(_, reads_update)| reads_update) {
        *written_at = at.1.max(*written_at);
    }
    Some(value.clone())
}

/// `at` is the watermark, and the time of what is written now.
fn lives(written_at: Timestamp, ttl: Option<(i64, bool)>, at: (i64, i64)) -> bool {
    ttl.is_none_or(|(millis, _)| written_at.saturating_add(millis) > at.0)
}

fn change<K: Ord, V>(
    all: &mut BTreeMap<K, Aged<V>>,
    key: K,
    ttl: Option<(i64, bool)>,
    at: (i64, i64),
    default: V,
    change: impl FnOnce(&mut V),
) {
    if all.get(&key).is_some_and(|(written_at, _)| !lives(*written_at, ttl, at)) {
        all.remove(&key);
    }
    let (written_at, value) = all.entry(key).or_insert((at.1, default));
    *written_at = at.1.max(*written_at);
    change(value);
}

impl Model {
    fn at(&self) -> (i64, i64) {
        (self.watermark, self.record.max(self.watermark))
    }

    fn advance(&mut self, watermark: Timestamp) {
        self.record = MIN_WATERMARK;
        self.watermark = watermark;
    }

    /// Reads all there is of `key`, and compares.
    fn compare(&mut self, attempt: &Attempt, key: &Key<String>) {
        let (ttl, at, name, kinds) = (self.ttl, self.at(), &key.value, attempt.of(key));
        assert_eq!(kinds.value.get(key).unwrap(), look(&mut self.values, name, ttl, at), "value of {name}");
        let list = self.lists.entry(name.clone()).or_default();
        list.retain(|(written_at, _)| lives(*written_at, ttl, at));
        if ttl.is_some_and(|(_, reads_update)| reads_update) {
            list.iter_mut().for_each(|(written_at, _)| *written_at = at.1.max(*written_at));
        }
        assert_eq!(kinds.list.get(key).unwrap(), list.iter().map(|(_, value)| *value).collect::<Vec<_>>(), "list of {name}");
        let map_keys: Vec<i64> =
            self.maps.range((name.clone(), i64::MIN)..=(name.clone(), i64::MAX)).map(|((_, k), _)| *k).collect();
        let mut expected = Vec::new();
        for map_key in map_keys {
            expected.extend(look(&mut self.maps, &(name.clone(), map_key), ttl, at).map(|value| (map_key, value)));
        }
        assert_eq!(kinds.map.is_empty(key).unwrap(), expected.is_empty(), "map of {name}");
        assert_eq!(kinds.map.entries(key).unwrap(), expected, "map of {name}");
        assert_eq!(kinds.highest.get(key).unwrap(), look(&mut self.highest, name, ttl, at), "highest of {name}");
        assert_eq!(kinds.total.get(key).unwrap(), look(&mut self.totals, name, ttl, at), "total of {name}");
    }

    /// Every timer that is due fires, and no other one.
    fn fire(&mut self, attempt: &Attempt, until: Timestamp) {
        let later = self.timers.split_off(&(until.saturating_add(1), String::new()));
        assert_eq!(attempt.fire(until), std::mem::replace(&mut self.timers, later), "timers until {until}");
    }

    fn compare_all(&mut self, attempt: &Attempt) {
        self.fire(attempt, 1_000_000);
        (0..KEYS).for_each(|number| self.compare(attempt, &key(number)));
        let mut split: Vec<u64> = attempt.tasks.iter().flat_map(|task| task.kinds.split.read(<[u64]>::to_vec)).collect();
        split.sort_unstable();
        self.split.sort_unstable();
        assert_eq!(split, self.split);
        for task in &attempt.tasks {
            let mut rules = BTreeMap::new();
            task.kinds.rules.for_each(|key, value| _ = rules.insert(key.clone(), *value));
            assert_eq!(rules, self.rules);
        }
    }

    /// One of the things that an operator can do, in the state and in the plain maps.
    fn act(&mut self, attempt: &Attempt, what: u8, number: u8, n: u64) {
        let key = key(number);
        let (ttl, at, name, kinds) = (self.ttl, self.at(), key.value.clone(), attempt.of(&key));
        let map_key = (name.clone(), n as i64 % 4 - 2);
        match what {
            0 => {
                kinds.value.put(&key, n).unwrap();
                self.values.insert(name, (at.1, n));
            }
            1 => {
                kinds.value.update(&key, || 100, |value| *value += n).unwrap();
                change(&mut self.values, name, ttl, at, 100, |value| *value += n);
            }
            2 => {
                let there = self.values.remove(&name).is_some_and(|(written_at, _)| lives(written_at, ttl, at));
                assert_eq!(kinds.value.remove(&key).unwrap(), there);
            }
            3 => {
                kinds.list.add_all(&key, [n, n + 1]).unwrap();
                let list = self.lists.entry(name).or_default();
                list.retain(|(written_at, _)| lives(*written_at, ttl, at));
                list.extend([(at.1, n), (at.1, n + 1)]);
            }
            4 => {
                kinds.list.update(&key, vec![n; n as usize % 3]).unwrap();
                self.lists.insert(name, vec![(at.1, n); n as usize % 3]);
            }
            5 => {
                kinds.list.clear(&key).unwrap();
                self.lists.remove(&name);
            }
            6 => {
                kinds.map.put(&key, map_key.1, n).unwrap();
                self.maps.insert(map_key, (at.1, n));
            }
            7 => {
                kinds.map.update(&key, map_key.1, || 100, |value| *value += n).unwrap();
                change(&mut self.maps, map_key, ttl, at, 100, |value| *value += n);
            }
            8 => {
                let there = self.maps.remove(&map_key).is_some_and(|(written_at, _)| lives(written_at, ttl, at));
                assert_eq!(kinds.map.remove(&key, map_key.1).unwrap(), there);
            }
            9 => {
                let found = look(&mut self.maps, &map_key, ttl, at);
                assert_eq!(kinds.map.contains(&key, map_key.1).unwrap(), found.is_some());
            }
            10 => {
                kinds.map.clear(&key).unwrap();
                self.maps.retain(|(of, _), _| *of != name);
            }
            11 => {
                kinds.highest.add(&key, n).unwrap();
                change(&mut self.highest, name, ttl, at, 0, |highest| *highest = n.max(*highest));
            }
            12 => {
                kinds.total.add(&key, n).unwrap();
                change(&mut self.totals, name, ttl, at, (0, 0), |(sum, count)| {
                    *sum += n;
                    *count += 1;
                });
            }
            13 => {
                kinds.highest.clear(&key).unwrap();
                kinds.total.clear(&key).unwrap();
                self.highest.remove(&name);
                self.totals.remove(&name);
            }
            14 => {
                kinds.split.add(n);
                self.split.push(n);
            }
            15 => {
                // What reaches every subtask.
                attempt.tasks.iter().for_each(|task| task.kinds.rules.put(name.clone(), n));
                self.rules.insert(name, n);
            }
            16 => {
                let time = n as i64 % 40 * 10;
                kinds.timers.register_event_time_timer(&key, time).unwrap();
                self.timers.insert((time, name));
            }
            17 => {
                let time = n as i64 % 40 * 10;
                kinds.timers.delete_event_time_timer(&key, time).unwrap();
                self.timers.remove(&(time, name));
            }
            _ => self.compare(attempt, &key),
        }
    }
}

const KEYS: u8 = 12;

#[derive(Debug, Clone)]
enum Step {
    Act {
        what: u8,
        key: u8,
        n: u64,
    },
    /// A record so long after the watermark, or before it.
    Record(i64),
    Advance(i64),
    Freeze,
    Encode,
    Maintain,
    /// Finish the running checkpoint: what expired before it may go physically.
    Complete,
    Compact,
    /// Crash, and restore the last finished checkpoint.
    Crash(usize, Backend),
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![Just(Backend::RocksDb), Just(Backend::Memory)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0_u8..24, 0..KEYS, 0_u64..50).prop_map(|(what, key, n)| Step::Act { what, key, n }),
        6 => (-30_i64..60).prop_map(Step::Record),
        4 => (0_i64..40).prop_map(Step::Advance),
        3 => Just(Step::Freeze),
        3 => Just(Step::Encode),
        3 => Just(Step::Maintain),
        2 => Just(Step::Complete),
        1 => Just(Step::Compact),
        1 => (1_usize..4, backend()).prop_map(|(parallelism, backend)| Step::Crash(parallelism, backend)),
    ]
}

fn ttl() -> impl Strategy<Value = Option<Ttl>> {
    let ttl = (any::<bool>(), prop_oneof![Just(0_usize), Just(5), Just(100)]).prop_map(|(reads_update, looks)| {
        let ttl = Ttl::of(Duration::from_millis(100)).clean_up_incrementally(looks);
        Some(if reads_update { ttl.update_on_read_and_write() } else { ttl })
    });
    prop_oneof![1 => Just(None), 2 => ttl]
}

fn run(memory: usize, backend: Backend, parallelism: usize, ttl: Option<Ttl>, steps: &[Step]) {
    let dir = TempDir::new().unwrap();
    let handles = Handles::declare(ttl);
    let mut stored = Stored::default();
    let mut attempt = Attempt::start(dir.path(), backend, memory, parallelism, &handles, &stored);
    let ttl = ttl.map(|ttl| (ttl.millis(), ttl.reads_update()));
    let mut model = Model { ttl, watermark: MIN_WATERMARK, record: MIN_WATERMARK, ..Model::default() };
    let mut finished = model.clone();
    let mut running: Option<(CheckpointId, Model)> = None;
    let mut next = CheckpointId(1);
    // The first record comes before anything is written.
    attempt.record(0);
    model.record = 0;
    let mut time = 0;
    for step in steps {
        match *step {
            Step::Act { what, key, n } => model.act(&attempt, what, key, n),
            Step::Record(after) => {
                model.record = time + after;
                attempt.record(time + after);
            }
            Step::Advance(by) => {
                time += by;
                attempt.advance(time);
                model.advance(time);
                model.fire(&attempt, time);
                // The records that follow.
                attempt.record(time);
                model.record = time;
            }
            Step::Freeze => {
                if running.is_none() {
                    attempt.freeze(next);
                    running = Some((next, model.clone()));
                    next = next.next();
                }
            }
            Step::Encode => _ = attempt.encode(),
            Step::Maintain => attempt.maintain(),
            Step::Complete => {
                if let Some((at, then)) = running.take() {
                    stored = attempt.complete(at, then.watermark, dir.path());
                    attempt.store.horizon().raise(then.watermark);
                    finished = then;
                }
            }
            Step::Compact => attempt.store.compact(),
            Step::Crash(parallelism, backend) => {
                drop(attempt);
                running = None;
                attempt = Attempt::start(dir.path(), backend, memory, parallelism, &handles, &stored);
                model = finished.clone();
                time = model.watermark.max(0);
                attempt.record(time);
                model.record = time;
                finished.record = time;
            }
        }
    }
    model.compare_all(&attempt);
    if let Some((at, then)) = running.take() {
        stored = attempt.complete(at, then.watermark, dir.path());
        finished = then;
    }
    drop(attempt);
    for backend in BACKENDS {
        let attempt = Attempt::start(dir.path(), backend, memory, 2, &handles, &stored);
        let mut model = finished.clone();
        model.advance(model.watermark);
        model.compare_all(&attempt);
    }
}

proptest! {
    // As the tables' own: PROPTEST_CASES widens it, TMPDIR on memory makes it quick.
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24), ..ProptestConfig::default() })]

    #[test]
    fn every_kind_is_what_plain_maps_say_and_clean_up_changes_nothing_that_is_read(
        memory in prop_oneof![Just(0_usize), 500_usize..20_000, Just(1 << 30)],
        backend in backend(),
        parallelism in 1_usize..4,
        ttl in ttl(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        run(memory, backend, parallelism, ttl, &steps);
    }
}
