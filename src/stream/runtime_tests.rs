//! Jobs of several sources that wait for each other, watermarks of one's own, and tasks that stall or only wait.

use crate::connectors::{Collected, Collection, FileSource};
use crate::protocol::FailureKind;
use crate::stream::{
    App, Emit, Execution, Key, KeyedProcess, OperatorContext, RestartStrategy, Result as OperatorResult, Source, Timestamp,
    Tumbling, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

fn often(job: &str, folder: &Path) -> Execution {
    Execution::new(job, folder).checkpoint_every(20 * MS)
}

fn until(mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < Duration::from_secs(120), "not reached");
        thread::sleep(5 * MS);
    }
}

#[test]
fn a_job_of_two_sources_goes_on_in_each_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (even, odd) = (folder.path().join("even.txt"), folder.path().join("odd.txt"));
    let append = |path: &Path, numbers: &mut dyn Iterator<Item = u64>| {
        let text: String = numbers.map(|number| format!("{number}\n")).collect();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let file = |path: &Path| FileSource::parse(path, |line| line.parse::<u64>().map_err(|why| why.to_string())).rate(2_000.0);
    let output = Collected::new();
    let run = || {
        let app = App::new();
        let (even, odd) = (app.read("even", file(&even)), app.read("odd", file(&odd)).fail_once_at("odd", 70));
        let running = even.union(&odd).key_by(|number| number % 2).sum("sums", |number| *number);
        running.values().write_lines("out", output.clone());
        let restart = RestartStrategy::FixedDelay { attempts: 3, delay: 5 * MS };
        often("two", folder.path()).parallelism(2).restart(restart).run(app).unwrap();
    };
    // What comes to each key is in the order of its file, so that the sums are those of a plain loop.
    let expected = |end: u64| {
        let mut sums = [0, 0];
        let mut lines: Vec<String> = (1..=end)
            .map(|number| {
                let sum = &mut sums[(number % 2) as usize];
                *sum += number;
                sum.to_string()
            })
            .collect();
        lines.sort();
        lines
    };
    let sorted = || {
        let mut lines = output.lines();
        lines.sort();
        lines
    };
    append(&even, &mut (1..=200).filter(|number| number % 2 == 0));
    append(&odd, &mut (1..=200).filter(|number| number % 2 == 1));
    run();
    assert_eq!(sorted(), expected(200));
    // and the next run goes on behind what was read of each
    append(&even, &mut (201..=300).filter(|number| number % 2 == 0));
    append(&odd, &mut (201..=300).filter(|number| number % 2 == 1));
    run();
    assert_eq!(sorted(), expected(300));
}

#[test]
fn two_sources_of_one_topic_are_refused_by_its_name() {
    let app = App::new();
    for name in ["one", "two"] {
        let (records, _) = app.source(name, "orders", || Nothing);
        records.sink("out", |(), _| ());
    }
    let refused = app.into_plan().unwrap().inputs().unwrap_err();
    assert!(refused.message.contains("two sources read topic \"orders\""), "{refused}");
}

struct Nothing;

impl crate::stream::Decode for Nothing {
    type Out = ();
    fn decode(&mut self, _: &crate::stream::RawRecord<'_>) -> Result<(Timestamp, ()), crate::stream::Undecodable> {
        Ok((0, ()))
    }
}

/// Milliseconds that a source may be ahead.
const DRIFT: u64 = 100;
/// What a task reads in one round.
const ROUND: i64 = 1024;

fn aligned(idle: Option<Duration>) -> WatermarkStrategy<i64> {
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_watermark_alignment("all", Duration::from_millis(DRIFT));
    match idle {
        Some(idle) => strategy.with_idleness(idle),
        None => strategy,
    }
}

fn millis(range: impl Iterator<Item = i64>) -> Collection<i64> {
    Collection::of(range).timestamps(|at| *at)
}

#[test]
fn a_source_that_is_ahead_waits_for_the_slowest_and_no_longer_than_that_has_anything_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let (app, output) = (App::new(), Collected::new());
    // given a source that takes a second for its two seconds of event time, and one that could read twenty of them at once
    let slow = millis((1..=200).map(|number| number * 10)).rate(200.0).with_watermarks(aligned(None));
    let fast = millis(1..=20_000).with_watermarks(aligned(None));
    let (at, worst) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let (seen, furthest) = (Arc::clone(&at), Arc::clone(&worst));
    let slow = app.read("slow", slow).map(move |time| {
        seen.store(time, Ordering::SeqCst);
        time
    });
    let fast = app.read("fast", fast).map(move |time| {
        let slowest = at.load(Ordering::SeqCst);
        // when that one has ended, there is nobody to wait for
        if slowest < 2_000 {
            furthest.fetch_max(time - slowest, Ordering::SeqCst);
        }
        time
    });
    slow.union(&fast).key_by(|time| *time as u64).values().write_lines("out", output.clone());
    often("aligned", folder.path()).run(app).unwrap();
    // then it was never further ahead than it may be, and everything has come
    let worst = worst.load(Ordering::SeqCst);
    assert!(worst <= DRIFT as i64 + ROUND, "{worst} ms ahead");
    assert!(worst > 0);
    assert_eq!(output.lines().len(), 20_200);
}

#[test]
fn nobody_waits_for_a_source_that_is_idle_and_a_source_that_waits_takes_barriers() {
    for idle in [Some(100 * MS), None] {
        let folder = tempfile::tempdir().unwrap();
        let silent = folder.path().join("silent.txt");
        fs::write(&silent, "").unwrap();
        let (app, output) = (App::new(), Collected::new());
        let source = FileSource::parse(&silent, |line| line.parse::<i64>().map_err(|why| why.to_string())).follow();
        let silent = app.read("silent", source.timestamps(|at| *at).with_watermarks(aligned(idle)));
        let busy = app.read("busy", millis(1..=5_000).with_watermarks(aligned(None)));
        silent.union(&busy).key_by(|time| *time as u64).values().write_lines("out", output.clone());
        let running = often("idle", folder.path()).start(app).unwrap();
        match idle {
            Some(_) => until(|| output.lines().len() == 5_000),
            // It may read one round before it knows that it is ahead, and no more.
            None => until(|| !output.lines().is_empty()),
        }
        // the last checkpoint needs a barrier from each source
        running.stop();
        running.wait().unwrap();
        match idle {
            Some(_) => assert_eq!(output.lines().len(), 5_000),
            None => assert!(output.lines().len() as i64 <= ROUND, "{}", output.lines().len()),
        }
    }
}

/// A record says itself that nothing older will come.
struct Complete;

impl WatermarkGenerator<(i64, bool)> for Complete {
    fn on_event(&mut self, (_, complete): &(i64, bool), timestamp: Timestamp, output: &mut WatermarkOutput) {
        if *complete {
            output.emit_watermark(timestamp);
        }
    }
}

#[test]
fn windows_fire_when_an_own_generator_says_so_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.jsonl");
    fs::write(&input, "[100,false]\n[900,false]\n[5000,false]\n").unwrap();
    let (app, output, read) = (App::new(), Collected::new(), Collected::new());
    let source = FileSource::<(i64, bool)>::json(&input).follow().timestamps(|(at, _)| *at);
    let events = app.read("events", source.with_watermarks(WatermarkStrategy::for_generator(|| Complete)));
    events.map(|(at, _)| at).write_lines("read", read.clone());
    let windows = events.map(|(at, _)| at as u64).key_by(|_| 0_u64).window(Tumbling::of(Duration::from_secs(1)));
    windows.reduce("sums", |sum, at| *sum += at).write_lines("out", output.clone());
    let running = often("generated", folder.path()).start(app).unwrap();
    until(|| read.lines().len() == 3);
    assert!(output.lines().is_empty(), "5000 says nothing of what is older");
    let mut file = fs::OpenOptions::new().append(true).open(&input).unwrap();
    file.write_all(b"[1000,true]\n").unwrap();
    until(|| output.lines() == ["1000"]);
    running.stop();
    running.wait().unwrap();
}

/// Sleeps at the second record, once.
struct Sleeper(Arc<AtomicBool>);

impl KeyedProcess<u64, u64> for Sleeper {
    type Out = u64;
    fn process(&mut self, _: &Key<u64>, _: Timestamp, number: u64, out: &mut Emit<'_, u64>) -> OperatorResult<()> {
        if number == 2 && !self.0.swap(true, Ordering::SeqCst) {
            assert!(look_up_in_a_slow_service());
        }
        out.push(number)
    }
}

#[inline(never)]
fn look_up_in_a_slow_service() -> bool {
    let asked = Instant::now();
    thread::sleep(Duration::from_secs(5));
    // Something to do behind the call: else the function has left the stack when it is made.
    asked.elapsed() > Duration::from_secs(1)
}

#[test]
fn a_task_that_stalls_fails_the_attempt_and_is_named_with_what_it_was_doing() {
    let folder = tempfile::tempdir().unwrap();
    let (output, slept) = (Collected::new(), Arc::new(AtomicBool::new(false)));
    let graph = || {
        let (app, slept) = (App::new(), Arc::clone(&slept));
        let numbers = app.read("numbers", Collection::of(1..=3_u64)).key_by(|_| 0_u64);
        let awake = numbers.process("sleeper", move |_| move |_: &mut OperatorContext<'_, '_>| Ok(Sleeper(Arc::clone(&slept))));
        awake.write_lines("out", output.clone());
        app
    };
    let execution = often("stall", folder.path()).task_timeout(1_000 * MS);
    let failure = execution.run(graph()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Attempt);
    for part in [
        "task sleeper-0: stalled: processing a record in operator \"sleeper\" for",
        "job.task_timeout is 1.0s",
        #[cfg(target_os = "linux")]
        "S (sleeping)",
        // what the job's code has called last, its function, and the operator
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        "; stack: ",
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        " <- look_up_in_a_slow_service (",
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        "/src/stream/runtime_tests.rs:",
    ] {
        assert!(failure.message.contains(part), "{failure} does not say {part}");
    }
    // of the engine nothing is told that is the same for each stall
    assert!(!failure.message.contains("keyed_task.rs"), "{failure}");
    // what was not committed comes with the next attempt
    execution.run(graph()).unwrap();
    assert_eq!(output.lines(), ["1", "2", "3"]);
}

/// Emits more for one record than there is room for: seven batches, of which four find it.
struct Wide;

const WIDE: u64 = 7 * 512;
/// Of one record; a batch takes a second.
const PACE: Duration = Duration::from_millis(2);

impl KeyedProcess<u64, u64> for Wide {
    type Out = u64;
    fn process(&mut self, _: &Key<u64>, _: Timestamp, _: u64, out: &mut Emit<'_, u64>) -> OperatorResult<()> {
        (0..WIDE).try_for_each(|number| out.push(number))
    }
}

/// Takes its time for each record, though less than would be a stall; for a batch it takes more.
struct Slow;

impl KeyedProcess<u64, u64> for Slow {
    type Out = u64;
    fn process(&mut self, _: &Key<u64>, _: Timestamp, number: u64, out: &mut Emit<'_, u64>) -> OperatorResult<()> {
        thread::sleep(PACE);
        out.push(number)
    }
}

#[test]
fn an_operator_that_waits_for_room_in_the_midst_of_a_record_is_not_taken_for_one_that_stalls() {
    let folder = tempfile::tempdir().unwrap();
    let (app, output) = (App::new(), Collected::new());
    let wide = app.read("numbers", Collection::of([1_u64])).key_by(|number| *number);
    let wide = wide.process("wide", |_| |_: &mut OperatorContext<'_, '_>| Ok(Wide));
    let slow = wide.key_by(|_| 0_u64).process("slow", |_| |_: &mut OperatorContext<'_, '_>| Ok(Slow));
    slow.write_lines("out", output.clone());
    let began = Instant::now();
    often("pressed", folder.path()).task_timeout(900 * MS).run(app).unwrap();
    assert!(began.elapsed() > WIDE as u32 * PACE);
    assert_eq!(output.lines().len() as u64, WIDE);
}
