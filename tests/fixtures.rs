//! Checkpoints that older versions wrote stay in the repository and are restored for good. See `tests/fixtures/README.md`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sluicegate::{
    checkpoint::{Anchor, Executor, InputPosition, Location, Manifest, Storage},
    engine::stored_states,
    protocol::{FailureKind, JobName, TopicPartition},
    state::{
        Budget, KeyGroups, Plan, Settings, StateDescriptor, StateKey, Store, Table, TableOptions, Timed, Unclaimed, Workspace,
        decode_value, encode_value,
    },
    stream::{
        BroadcastState, Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, OperatorList,
        Redistribution, StateValue, Timestamp, ValueState,
    },
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// All of them, with whether their manifests say what values are.
const FIXTURES: [(&str, bool); 3] = [("format-1-without-values", false), ("format-1", true), ("format-2", true)];

/// Entries of each state.
const ENTRIES: u32 = 12;

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    user_id: String,
    login_time: i64,
    last_activity: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sums {
    count: u64,
    mean: f64,
    per_category: BTreeMap<String, u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Status {
    Created,
    Cancelled { reason: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    status: Status,
    items: Vec<(String, u16)>,
}

/// An element of a list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    user: String,
    since: i64,
    status: Status,
}

/// A value of a broadcast map.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Limit {
    amount: u32,
    until: Option<i64>,
}

impl StateValue for Session {}
impl StateValue for Sums {}
impl StateValue for Order {}

fn time(n: u32) -> i64 {
    1_767_225_600_000 + i64::from(n) * 1_000
}

fn user(n: u32) -> String {
    format!("U-{n:02}")
}

fn session(n: u32) -> Session {
    Session { user_id: user(n), login_time: time(n), last_activity: time(n) + 500 }
}

fn window(n: u32) -> (i64, String) {
    (i64::from(n % 2) * 3_600_000, user(n))
}

fn sums(n: u32) -> Sums {
    Sums {
        count: u64::from(n) * 10_000_000_000,
        mean: f64::from(n) / 4.0,
        per_category: (0..n % 3).map(|category| (format!("c{category}"), n)).collect(),
        last: n.is_multiple_of(2).then_some(-i64::from(n)),
    }
}

fn order(n: u32) -> Order {
    let status = if n.is_multiple_of(2) { Status::Created } else { Status::Cancelled { reason: format!("reason {n}") } };
    Order { status, items: (0..n % 4).map(|item| (format!("P-{item}"), item as u16)).collect() }
}

fn waiting(n: u32) -> Waiting {
    Waiting { user: user(n), since: time(n), status: order(n).status }
}

fn limit(n: u32) -> Limit {
    Limit { amount: n * 100, until: n.is_multiple_of(2).then(|| time(n)) }
}

/// Writes one entry for each record.
struct Put<F>(F);

impl<F: FnMut(&Key<String>, u32) -> Result<(), Halt> + 'static> KeyedProcess<String, u32> for Put<F> {
    type Out = ();

    fn process(&mut self, user: &Key<String>, _: Timestamp, n: u32, _: &mut Emit<'_, ()>) -> Result<(), Halt> {
        (self.0)(user, n)
    }
}

/// Adds an operator with one state, into which `put` writes.
fn operator<K: StateKey, V: StateValue>(
    input: &KeyedStream<String, u32>,
    (operator, state, ttl): (&str, &str, Option<Duration>),
    put: impl Fn(&ValueState<K, V>, &Key<String>, u32) -> Result<(), Halt> + Clone + Send + Sync + 'static,
) {
    let _ = input.process(operator, |declare| {
        let state = match ttl {
            Some(ttl) => declare.value_with_ttl::<K, V>(state, ttl),
            None => declare.value::<K, V>(state),
        };
        move |context: &mut OperatorContext<'_, '_>| {
            let (state, put) = (context.state(&state)?, put.clone());
            Ok(Put(move |user: &Key<String>, n| put(&state, user, n)))
        }
    });
}

/// Adds an operator with states that no key has.
fn route<W, L>(
    input: &KeyedStream<String, u32>,
    put: impl Fn(&OperatorList<W>, &BroadcastState<String, L>, u32) + Clone + Send + Sync + 'static,
) where
    W: Serialize + DeserializeOwned + 'static,
    L: Serialize + DeserializeOwned + 'static,
{
    let _ = input.process("route", |declare| {
        let list = declare.operator_list::<W>("waiting", Redistribution::Split);
        let map = declare.broadcast::<String, L>("limits");
        move |context: &mut OperatorContext<'_, '_>| {
            let (list, map, put) = (context.state(&list)?, context.state(&map)?, put.clone());
            Ok(Put(move |_: &Key<String>, n| {
                put(&list, &map, n);
                Ok(())
            }))
        }
    });
}

/// The program that the fixtures are of.
fn program(input: &KeyedStream<String, u32>) {
    operator(input, ("sessions", "session", None), |state, user, n| state.put(user, session(n)));
    rest(input);
}

/// All of it but sessions.
fn rest(input: &KeyedStream<String, u32>) {
    routes(input);
    tracks(input);
    purchases_and_dedup(input);
}

/// What the program does with states that no key has: before there were any, there was no such operator.
fn routes(input: &KeyedStream<String, u32>) {
    route(input, |list, map, n| {
        list.add(waiting(n));
        map.put(user(n), limit(n));
    });
}

fn tracks(input: &KeyedStream<String, u32>) {
    operator(input, ("track", "order", None), |state, user, n| state.put(&Key::under(user.hash, format!("O-{n:02}")), order(n)));
}

fn purchases_and_dedup(input: &KeyedStream<String, u32>) {
    operator(input, ("purchases", "windows", None), |state, user, n| state.put(&Key::under(user.hash, window(n)), sums(n)));
    operator(input, ("dedup", "seen", Some(DAY)), |state, user, n| {
        state.put(&Key::under(user.hash, u64::from(n)), Timed { written_at: time(n), value: () })
    });
}

fn all<K: Ord, V>(key: impl Fn(u32) -> K, value: impl Fn(u32) -> V) -> BTreeMap<K, V> {
    (0..ENTRIES).map(|n| (key(n), value(n))).collect()
}

fn folder(fixture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture)
}

fn storage(fixture: &str) -> (Storage, Manifest) {
    storage_in(&folder(fixture))
}

fn storage_in(folder: &Path) -> (Storage, Manifest) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let job: JobName = "harness".parse().unwrap();
    let storage = Storage::inspect(&Location::folder(folder).unwrap(), &job, Executor::Own(Arc::new(runtime))).unwrap();
    let newest = *storage.markers().unwrap().last().unwrap();
    let (manifest, reference) = storage.read_manifest(newest.checkpoint).unwrap();
    assert_eq!(reference, newest, "{}: the manifest is the one that was marked", folder.display());
    (storage, manifest)
}

#[test]
fn what_older_versions_wrote_is_read_whole_key_by_key_and_value_by_value() {
    for (fixture, _) in FIXTURES {
        let (storage, manifest) = storage(fixture);
        let scratch = tempfile::tempdir().unwrap();
        let settings = Settings::new(scratch.path(), 16 << 20);
        let workspace = Workspace::create(scratch.path(), storage.job()).unwrap();
        storage.restore(&manifest, &workspace.db_dir(), Duration::from_secs(60), &|_| {}).unwrap();
        let states = stored_states(&manifest).unwrap();
        let store = Store::open_restored(workspace, &states, &settings, Unclaimed::Refuse).unwrap();
        let read = Read { store: store.clone(), budget: Budget::of(&settings) };
        assert_eq!(read.all("sessions", "session"), all(user, session), "{fixture}");
        assert_eq!(read.all("purchases", "windows"), all(window, sums), "{fixture}");
        assert_eq!(read.all("track", "order"), all(|n| format!("O-{n:02}"), order), "{fixture}");
        assert_eq!(read.all("dedup", "seen"), all(u64::from, |n| Timed { written_at: time(n), value: () }), "{fixture}");
        let seen: &StateDescriptor = states.iter().find(|state| state.name == "seen").unwrap();
        assert_eq!(seen.ttl_ms, Some(86_400_000));
    }
}

struct Read {
    store: Arc<Store>,
    budget: Arc<Budget>,
}

impl Read {
    fn all<K: StateKey + Ord + Debug, V: StateValue>(&self, operator: &str, state: &str) -> BTreeMap<K, V> {
        let mut plan = Plan::new(self.store.clone());
        let port = plan.port(self.store.state(operator, state).unwrap());
        let groups = KeyGroups::default();
        let options = TableOptions { groups, owned: 0..groups.count(), starts_empty: false };
        let mut table = Table::<K, V>::new(self.store.clone(), port, &self.budget, options).unwrap();
        let mut entries = BTreeMap::new();
        table
            .scan_prefix(&[], &mut |key, value| {
                assert!(entries.insert(key.clone(), again(value)).is_none(), "{key:?} is there twice");
                Ok(())
            })
            .unwrap();
        entries
    }
}

/// A copy of a value, through its bytes.
fn again<V: StateValue>(value: &V) -> V {
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes).unwrap();
    decode_value(&bytes).unwrap()
}

#[test]
fn the_same_program_goes_on_from_what_older_versions_wrote() {
    for (fixture, described) in FIXTURES {
        let (_, manifest) = storage(fixture);
        let values = |manifest: &Manifest| manifest.states().all(|(_, state)| state.details.contains_key("values"));
        assert_eq!(values(&manifest), described, "{fixture}");
        // given the program, restored
        let mut run = Harness::restore(&folder(fixture), |_, input| program(input)).unwrap();
        let expected = all(user, |n| json!({"user_id": user(n), "login_time": time(n), "last_activity": time(n) + 500}));
        assert_eq!(run.state("sessions", "session").unwrap(), expected, "{fixture}");
        let windows = run.state("purchases", "windows").unwrap();
        assert_eq!(
            windows["[0,\"U-02\"]"],
            json!({"count": 20_000_000_000_u64, "mean": 0.5, "per_category": {"c0": 2, "c1": 2}, "last": -2})
        );
        assert_eq!(
            run.state("track", "order").unwrap()["O-01"],
            json!({"status": {"Cancelled": {"reason": "reason 1"}}, "items": [["P-0", 0]]})
        );
        assert_eq!(run.state("dedup", "seen").unwrap()["7"], Value::Null);
        // when it goes on, and takes a checkpoint
        run.record(time(20), user(20), 20).unwrap();
        let later = tempfile::tempdir().unwrap();
        run.snapshot(later.path()).unwrap();
        // then that one holds both, and can be restored
        let mut again = Harness::restore(later.path(), |_, input| program(input)).unwrap();
        assert_eq!(again.state("track", "order").unwrap().len(), ENTRIES as usize + 1);
    }
}

#[test]
fn a_program_whose_types_have_grown_reads_what_older_versions_wrote() {
    /// A field is renamed, one removed, one added.
    #[derive(Serialize, Deserialize)]
    struct GrownSession {
        #[serde(alias = "user_id")]
        user: String,
        last_activity: i64,
        #[serde(default)]
        page_views: u32,
    }
    /// A number is widened, a variant added.
    #[derive(Serialize, Deserialize)]
    struct GrownOrder {
        status: GrownStatus,
        items: Vec<(String, u64)>,
    }
    #[derive(Serialize, Deserialize)]
    enum GrownStatus {
        Created,
        Cancelled { reason: String },
        Paid(i64),
    }
    impl StateValue for GrownSession {}
    impl StateValue for GrownOrder {}

    let program = |input: &KeyedStream<String, u32>| {
        operator(input, ("sessions", "session", None), |state: &ValueState<String, GrownSession>, user, _| {
            state.update(user, || unreachable!("it is restored"), |session| session.page_views += 1)
        });
        operator(input, ("track", "order", None), |state: &ValueState<String, GrownOrder>, user, n| {
            state.update(
                &Key::under(user.hash, format!("O-{n:02}")),
                || GrownOrder { status: GrownStatus::Paid(5), items: Vec::new() },
                |order| order.items.push(("P-9".to_owned(), 1 << 40)),
            )
        });
        routes(input);
        purchases_and_dedup(input);
    };
    for (fixture, _) in FIXTURES {
        let mut run = Harness::restore(&folder(fixture), |_, input| program(input)).unwrap();
        run.record(time(30), user(3), 30).unwrap();
        let session = json!({"user": "U-03", "last_activity": time(3) + 500, "page_views": 1});
        assert_eq!(run.state("sessions", "session").unwrap()["U-03"], session, "{fixture}");
        let order = json!({"status": {"Paid": 5}, "items": [["P-9", 1_u64 << 40]]});
        assert_eq!(run.state("track", "order").unwrap()["O-30"], order);
        // and is restored by itself, with entries of both in one state
        let later = tempfile::tempdir().unwrap();
        run.snapshot(later.path()).unwrap();
        let mut again = Harness::restore(later.path(), |_, input| program(input)).unwrap();
        again.record(time(31), user(4), 30).unwrap();
        assert_eq!(again.state("sessions", "session").unwrap()["U-04"]["page_views"], json!(1));
    }
}

#[test]
fn a_program_that_cannot_read_what_older_versions_wrote_is_refused_with_both_shapes() {
    #[derive(Serialize, Deserialize)]
    struct Needs {
        user_id: String,
        device: String,
    }
    impl StateValue for Needs {}
    for (fixture, described) in FIXTURES {
        let run = Harness::restore(&folder(fixture), |_, input| {
            operator(input, ("sessions", "session", None), |_: &ValueState<String, Needs>, _, _| Ok(()));
            rest(input);
        });
        let refused: Failure = run.err().unwrap();
        assert_eq!(refused.kind, FailureKind::Refused);
        let stored = match described {
            true => "{last_activity: i64, login_time: i64, user_id: text}",
            false => "values of this state look like {last_activity: integer, login_time: integer, user_id: text}",
        };
        for part in ["operator sessions, state session", stored, "{device: text, user_id: text}", "device"] {
            assert!(refused.message.contains(part), "{fixture}: {refused} does not say {part}");
        }
    }
}

/// A checkpoint of the program as this version writes it.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_into(folder.path());
    folder
}

fn write_into(folder: &Path) {
    let mut run = Harness::new(|_, input| program(input)).unwrap();
    for n in 0..ENTRIES {
        run.record(time(n), user(n), n).unwrap();
    }
    run.watermark(time(ENTRIES - 1)).unwrap();
    run.snapshot(folder).unwrap();
}

/// What lies in a manifest of `route`: the elements of its list, and the entries of its map.
fn routed(manifest: &Manifest) -> (Vec<Value>, Vec<Value>) {
    let route = manifest.operators.iter().find(|operator| operator.name == "route").unwrap();
    let of = |state: &str| {
        let elements = route.operator_state.iter().filter(|element| element["$state"] == state);
        elements.map(|element| element["element"].clone()).collect()
    };
    (of("waiting"), of("limits"))
}

#[test]
fn operator_state_is_described_and_goes_on() {
    // given the list and the map as they were written
    let folder = written();
    let (_, manifest) = storage_in(folder.path());
    let route = manifest.operators.iter().find(|operator| operator.name == "route").unwrap();
    let status = json!({"enum": {"Created": "unit", "Cancelled": {"struct": {"reason": "text"}}}});
    let waits = json!({"struct": {"user": "text", "since": "i64", "status": status}});
    let limits = json!({"map": ["text", {"struct": {"amount": "u32", "until": {"option": "i64"}}}]});
    assert_eq!(
        serde_json::to_value(&route.operator_state_shapes).unwrap(),
        json!([
            {"name": "waiting", "kind": "operator", "values": [waits]},
            {"name": "limits", "kind": "broadcast", "values": [limits]},
        ])
    );
    let list: Vec<Value> = (0..ENTRIES).map(|n| json!(waiting(n))).collect();
    let map: Vec<Value> = (0..ENTRIES).map(|n| json!([user(n), limit(n)])).collect();
    assert_eq!(routed(&manifest), (list.clone(), map.clone()));
    // when the same program goes on, then nothing of it is lost
    let mut run = Harness::restore(folder.path(), |_, input| program(input)).unwrap();
    run.record(time(20), user(20), 20).unwrap();
    let later = tempfile::tempdir().unwrap();
    run.snapshot(later.path()).unwrap();
    let (_, later) = storage_in(later.path());
    assert_eq!(routed(&later), ([list, vec![json!(waiting(20))]].concat(), [map, vec![json!([user(20), limit(20)])]].concat()));
}

#[test]
fn operator_state_whose_types_have_grown_is_read_and_what_does_not_fit_is_refused_with_both_shapes() {
    /// A field is renamed and a number widened, one is added.
    #[derive(Serialize, Deserialize)]
    struct Grown {
        #[serde(alias = "user")]
        who: String,
        #[serde(default)]
        tries: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct GrownLimit {
        amount: u64,
    }
    #[derive(Serialize, Deserialize)]
    struct Needs {
        user: String,
        device: String,
    }
    let folder = written();
    let program = |input: &KeyedStream<String, u32>| {
        operator(input, ("sessions", "session", None), |state, user, n| state.put(user, session(n)));
        tracks(input);
        purchases_and_dedup(input);
    };
    let mut run = Harness::restore(folder.path(), |_, input| {
        route::<Grown, GrownLimit>(input, |list, map, n| {
            assert_eq!((list.read(|all| all[3].who.clone()), map.read(&user(3), |limit| limit.unwrap().amount)), (user(3), 300));
            list.add(Grown { who: user(n), tries: 1 });
        });
        program(input);
    })
    .unwrap();
    run.record(time(30), user(30), 30).unwrap();
    let later = tempfile::tempdir().unwrap();
    run.snapshot(later.path()).unwrap();
    let (list, _) = routed(&storage_in(later.path()).1);
    assert_eq!((list.len(), &list[0]), (ENTRIES as usize + 1, &json!({"who": "U-00", "tries": 0})));

    let refused = |run: Result<Harness<String, u32, ()>, Failure>, parts: &[&str]| {
        let refused = run.err().unwrap();
        assert_eq!(refused.kind, FailureKind::Refused);
        for part in parts {
            assert!(refused.message.contains(part), "{refused} does not say {part}");
        }
    };
    let other_list = Harness::restore(folder.path(), |_, input| {
        route::<Needs, Limit>(input, |_, _, _| ());
        program(input);
    });
    let stored = "elements of {since: i64, status: one of [Cancelled {reason: text}, Created], user: text}";
    refused(other_list, &["operator route, state waiting", stored, "{device: text, user: text}", "\"device\" is new"]);
    let other_map = Harness::restore(folder.path(), |_, input| {
        route::<Waiting, String>(input, |_, _, _| ());
        program(input);
    });
    let stored = "entries of a map from text to {amount: u32, until?: i64}";
    refused(other_map, &["operator route, state limits", stored, "map from text to text"]);
    let gone = Harness::restore(folder.path(), |_, input| program(input));
    refused(gone, &["route/waiting", "renamed"]);
}

#[test]
fn a_renamed_operator_or_state_is_refused_by_its_old_name() {
    for (fixture, _) in FIXTURES {
        for name in [("visits", "session"), ("sessions", "visit")] {
            let run = Harness::restore(&folder(fixture), |_, input| {
                operator(input, (name.0, name.1, None), |state, user, n| state.put(user, session(n)));
                rest(input);
            });
            let refused = run.err().unwrap();
            assert_eq!(refused.kind, FailureKind::Refused);
            assert!(refused.message.contains("sessions/session") && refused.message.contains("renamed"), "{fixture}: {refused}");
        }
    }
}

/// What a job with Kafka and other ends has in its manifests.
fn ends(manifest: &mut Manifest) {
    let input = |topic: &str, offset, only_here| InputPosition {
        topic: topic.to_owned(),
        partition: 0,
        offset,
        began: 5,
        timestamp_seen: Some(time(1)),
        idle: false,
        only_here,
    };
    manifest.input = vec![input("lines", 700, true), input("orders", 70, false)];
    manifest.epoch = Some(3);
    manifest.anchor = Some(Anchor { topic: "totals".to_owned(), partition: 0 });
    manifest.set_staged([("out".to_owned(), vec!["out/.part-harness-00000003-00000000.staged".to_owned()])].into());
}

/// Puts them into the checkpoint in `folder`.
fn with_ends(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let job: JobName = "harness".parse().unwrap();
    let storage = Storage::inspect(&Location::folder(folder).unwrap(), &job, Executor::Own(Arc::new(runtime))).unwrap();
    let marked = *storage.markers().unwrap().last().unwrap();
    let (mut manifest, _) = storage.read_manifest(marked.checkpoint).unwrap();
    ends(&mut manifest);
    for kind in ["manifests", "committed"] {
        std::fs::remove_dir_all(folder.join("harness").join(kind)).unwrap();
    }
    storage.put_marker(storage.put_manifest(&manifest).unwrap()).unwrap();
}

#[test]
fn positions_anchor_and_staged_output_of_jobs_with_other_ends_are_read() {
    let (_, manifest) = storage("format-2");
    assert_eq!(manifest.format, 2);
    let mut right = manifest.clone();
    ends(&mut right);
    assert_eq!(manifest, right);
    let lines = TopicPartition::new("lines", 0);
    assert_eq!((manifest.only_here(), manifest.positions().get(&lines)), ([lines.clone()].into(), Some(&700)));
    // what had none of them has the format that it had
    for (fixture, _) in FIXTURES.into_iter().filter(|(fixture, _)| *fixture != "format-2") {
        let (_, manifest) = storage(fixture);
        let mut again = manifest.clone();
        again.set_staged(BTreeMap::new());
        assert_eq!((manifest.format, &again), (1, &manifest), "{fixture}");
    }
}

/// Writes the next one: see `tests/fixtures/README.md`.
#[test]
#[ignore = "writes into the repository"]
fn write() {
    let name = std::env::var("FIXTURE").expect("FIXTURE names the new folder below tests/fixtures");
    let folder = folder(&name);
    assert!(!folder.exists(), "{} is there: a fixture is never written again", folder.display());
    write_into(&folder);
    with_ends(&folder);
    // It only says which machine wrote it.
    std::fs::remove_file(folder.join("harness/started.json")).unwrap();
}
