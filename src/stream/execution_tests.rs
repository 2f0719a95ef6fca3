//! Jobs without Kafka, from the source to the published output.

use crate::connectors::{Collected, Collection, FileSink, FileSource, Generator};
use crate::stream::{
    App, Emit, Execution, Failure, FailureKind, Halt, Key, KeyedProcess, OperatorContext, RestartStrategy, Stream, Timestamp,
    ValueState,
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// Running sums by key.
struct Sum(ValueState<u64, u64>);

impl KeyedProcess<u64, u64> for Sum {
    type Out = String;

    fn process(&mut self, key: &Key<u64>, _: Timestamp, number: u64, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        let sum = self.0.update(
            key,
            || 0,
            |sum| {
                *sum += number;
                *sum
            },
        )?;
        out.push(format!("{} {number} {sum}", key.value))
    }
}

fn sums(numbers: &Stream<u64>, keys: u64) -> Stream<String> {
    numbers.key_by(move |number| number % keys).process("sums", |declare| {
        let sum = declare.value::<u64, u64>("sum");
        move |context: &mut OperatorContext<'_, '_>| Ok(Sum(context.state(&sum)?))
    })
}

/// What `sums` makes of 1 to `end`, in any order.
fn expected(end: u64, keys: u64) -> Vec<String> {
    let mut totals = vec![0; keys as usize];
    let mut lines: Vec<String> = (1..=end)
        .map(|number| {
            let total = &mut totals[(number % keys) as usize];
            *total += number;
            format!("{} {number} {total}", number % keys)
        })
        .collect();
    lines.sort();
    lines
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn numbers(path: &Path, range: std::ops::RangeInclusive<u64>) {
    let text: String = range.map(|number| format!("{number}\n")).collect();
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn number_file(path: &Path) -> FileSource<u64> {
    FileSource::parse(path, |line| line.parse::<u64>().map_err(|why| why.to_string()))
}

fn often(job: &str, folder: &Path) -> Execution {
    let restart = RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_millis(5) };
    Execution::new(job, folder).checkpoint_every(Duration::from_millis(20)).restart(restart)
}

fn hidden(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

fn until(mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < Duration::from_secs(120), "not reached");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_line_has_its_effect_once_though_the_job_fails_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.txt"), folder.path().join("out"));
    numbers(&input, 1..=2_000);
    let app = App::new();
    // slow enough for some checkpoints
    let read = app.read("numbers", number_file(&input).rate(5_000.0));
    sums(&read.fail_once_at("first", 700).fail_once_at("second", 1_500), 3).write_lines("out", FileSink::new(&output));
    often("sums", folder.path()).parallelism(2).run(app).unwrap();
    assert_eq!(sorted(FileSink::read(&output).unwrap()), expected(2_000, 3));
    assert_eq!(hidden(&output), Vec::<String>::new());
}

#[test]
fn a_job_that_is_run_again_goes_on_behind_the_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.txt"), folder.path().join("out"));
    let run = |parallelism| {
        let app = App::new();
        sums(&app.read("numbers", number_file(&input)), 5).write_lines("out", FileSink::new(&output).suffix(".txt"));
        often("sums", folder.path()).parallelism(parallelism).run(app).unwrap();
    };
    numbers(&input, 1..=100);
    run(1);
    assert_eq!(sorted(FileSink::read(&output).unwrap()), expected(100, 5));
    // nothing new: nothing comes
    run(3);
    assert_eq!(sorted(FileSink::read(&output).unwrap()), expected(100, 5));
    // what was appended comes, on top of the state of the run before
    numbers(&input, 101..=150);
    run(2);
    assert_eq!(sorted(FileSink::read(&output).unwrap()), expected(150, 5));
}

#[test]
fn a_file_that_grows_is_followed_and_half_a_line_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.txt"), folder.path().join("out"));
    fs::write(&input, "1\n2\n3").unwrap();
    let graph = || {
        let app = App::new();
        sums(&app.read("numbers", number_file(&input).follow()), 1).write_lines("out", FileSink::new(&output));
        app
    };
    let lines = || if output.exists() { FileSink::read(&output).unwrap() } else { Vec::new() };
    let running = often("sums", folder.path()).start(graph()).unwrap();
    until(|| lines().len() == 2);
    let mut file = fs::OpenOptions::new().append(true).open(&input).unwrap();
    file.write_all(b"0\n4\n").unwrap();
    until(|| lines().len() == 4);
    running.stop();
    running.wait().unwrap();
    // and what comes while the job is down is not lost
    file.write_all(b"5\n").unwrap();
    let running = often("sums", folder.path()).start(graph()).unwrap();
    until(|| lines().len() == 5);
    running.stop();
    running.wait().unwrap();
    assert_eq!(lines(), ["0 1 1", "0 2 3", "0 30 33", "0 4 37", "0 5 42"]);
}

#[test]
fn of_two_instances_the_older_one_ends_as_fenced_and_no_output_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let graph = || {
        let app = App::new();
        let source = Generator::new(1, |_, number| number + 1).rate(2_000.0);
        sums(&app.read("numbers", source), 4).write_lines("out", FileSink::new(&output));
        app
    };
    let lines = || if output.exists() { FileSink::read(&output).unwrap() } else { Vec::new() };
    let older = often("sums", folder.path()).start(graph()).unwrap();
    until(|| !lines().is_empty());
    let newer = often("sums", folder.path()).start(graph()).unwrap();
    let fenced = older.wait().unwrap_err();
    assert_eq!(fenced.kind, FailureKind::Fenced, "{fenced}");
    assert!(fenced.message.contains("another instance of job sums took over"), "{fenced}");
    let by_then = lines().len();
    until(|| lines().len() > by_then);
    newer.stop();
    newer.wait().unwrap();
    let lines = sorted(lines());
    assert_eq!(lines, expected(lines.len() as u64, 4));
}

#[test]
fn a_job_without_keyed_state_takes_checkpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    let (app, output) = (App::new(), Collected::new());
    let words = app.read("words", Collection::of(["a", "b", "c", "d"]).rate(40.0));
    words.fail_once_at("words", 3).map(str::to_uppercase).write_lines("out", output.clone());
    often("letters", folder.path()).run(app).unwrap();
    assert_eq!(output.lines(), ["A", "B", "C", "D"]);
}

#[test]
fn a_generator_in_several_partitions_makes_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let (app, output) = (App::new(), Collected::new());
    let source = Generator::new(7, |_, number| number + 1).count(1_000).partitions(3);
    sums(&app.read("numbers", source).fail_once_at("numbers", 400), 7).write_lines("out", output.clone());
    let by_key = |lines: Vec<String>| -> Vec<(String, String)> {
        // Partitions are read side by side, so that running sums depend on their order; what was summed does not.
        let pair =
            |line: String| line.split_once(' ').map(|(key, rest)| (key.to_owned(), rest.split(' ').next().unwrap().to_owned()));
        let mut pairs: Vec<_> = lines.into_iter().filter_map(pair).collect();
        pairs.sort();
        pairs
    };
    often("sums", folder.path()).parallelism(3).run(app).unwrap();
    assert_eq!(by_key(output.lines()), by_key(expected(1_000, 7)));
}

#[test]
fn a_file_is_rolled_when_it_is_large_enough() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let app = App::new();
    let source = Generator::new(1, |_, number| number + 1000).count(100);
    app.read("numbers", source).write_lines("out", FileSink::new(&output).suffix(".txt").roll_at_bytes(50));
    Execution::new("roll", folder.path()).checkpoint_every(Duration::from_secs(3600)).run(app).unwrap();
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&output).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_name().into_string().unwrap().ends_with(".txt"), "{entry:?}");
        sizes.push(entry.metadata().unwrap().len());
    }
    assert_eq!(sizes, [50; 10]);
    assert_eq!(FileSink::read(&output).unwrap(), (1000..1100).map(|number: u64| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn output_that_is_committed_is_published_by_the_next_start_and_what_is_not_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.txt"), folder.path().join("out"));
    let run = || {
        let app = App::new();
        sums(&app.read("numbers", number_file(&input)), 1).write_lines("out", FileSink::new(&output));
        // all output in the last commit
        Execution::new("sums", folder.path()).checkpoint_every(Duration::from_secs(3600)).run(app).unwrap();
    };
    numbers(&input, 1..=10);
    run();
    // given a crash after the commit, before its output was published: it lies under its staged name still
    let name = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).max().unwrap();
    fs::rename(output.join(&name), output.join(format!(".{name}.staged"))).unwrap();
    // and what an attempt has staged that did not commit
    let (job, _) = name.rsplit_once('-').unwrap();
    fs::write(output.join(format!(".{job}-00000099.staged")), "never committed\n").unwrap();
    assert!(FileSink::read(&output).unwrap().len() < 10);
    // when the job starts again
    run();
    // then the one is there and the other is gone
    assert_eq!(sorted(FileSink::read(&output).unwrap()), expected(10, 1));
    assert_eq!(hidden(&output), Vec::<String>::new());
}

#[test]
fn lost_commits_and_lost_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.txt"), folder.path().join("out"));
    let run = || {
        let app = App::new();
        sums(&app.read("numbers", number_file(&input)), 1).write_lines("out", FileSink::new(&output));
        often("sums", folder.path()).run(app)
    };
    let refused = |words: &str| {
        let failure: Failure = run().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        // There is no Kafka here, and no settings that speak of it.
        for foreign in ["Kafka", "kafka", "group", "topic", "retention"] {
            assert!(!failure.message.contains(foreign), "{foreign:?} is in {failure}");
        }
    };
    numbers(&input, 1..=10);
    run().unwrap();
    // the file is shorter than what was read of it
    fs::write(&input, "1\n").unwrap();
    refused("the log ends at 2: what was read of the source has been changed or cut off");
    // the commit log is gone, or the checkpoints as well
    fs::remove_file(folder.path().join("checkpoints/sums/local/committed.json")).unwrap();
    refused("has never committed with this checkpoint.storage");
    fs::remove_dir_all(&output).unwrap();
    refused("local/committed.json has no committed offsets");
    fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
    run().unwrap();
    assert_eq!(FileSink::read(&output).unwrap(), ["0 1 1"]);
}

#[test]
fn a_line_that_cannot_be_read_ends_the_job_or_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.txt");
    fs::write(&input, "1\r\ntwo\n3").unwrap();
    let app = App::new();
    app.read("numbers", number_file(&input)).write_lines("out", Collected::new());
    let failure = often("strict", folder.path()).run(app).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("\"two\": invalid digit") && failure.message.contains("position 6"), "{failure}");

    let (app, good, bad) = (App::new(), Collected::new(), Collected::new());
    let (numbers, dead) = app.read_or_dead("numbers", number_file(&input));
    numbers.write_lines("good", good.clone());
    dead.map(|dead| dead.error.message).write_lines("bad", bad.clone());
    often("lenient", folder.path()).run(app).unwrap();
    assert_eq!(good.lines(), ["1", "3"]);
    assert_eq!(bad.lines(), ["\"two\": invalid digit found in string"]);
}

#[test]
fn graphs_that_cannot_run_without_kafka_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let run = |app: App| often("wrong", folder.path()).run(app).unwrap_err().message;
    let app = App::new();
    app.read("words", Collection::of(["a"])).map(str::to_owned);
    assert!(run(app).contains("writes to no sink"));
    let app = App::new();
    let words = app.read("words", Collection::of(["a"]));
    words.write_lines("out", Collected::new());
    words.sink("topic", |word, record| record.value().extend_from_slice(word.as_bytes()));
    assert!(run(app).contains("\"topic\" is a topic of Kafka"));
    let app = App::new();
    for name in ["one", "two"] {
        app.read(name, Collection::of(["a"])).write_lines("out", Collected::new());
    }
    assert!(run(app).contains("two sinks are named \"out\""));
    let app = App::new();
    app.read("words", Collection::of(["a"]).rate(0.0)).write_lines("out", Collected::new());
    assert!(run(app).contains("a rate of 0"));
    let app = App::new();
    app.read("lines", FileSource::lines(folder.path().join("none"))).write_lines("out", Collected::new());
    assert!(run(app).contains("none: cannot be read"));
}
