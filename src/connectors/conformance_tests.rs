//! Our own connectors keep what is asked of everybody's.

use super::{Collected, Collection, FileSink, FileSource, Generator};
use crate::stream::{Failure, Outgoing, Owner, TwoPhaseCommitSink, conformance};
use std::{fs, path::PathBuf, sync::Barrier, thread};

fn passes(result: Result<(), conformance::Broken>) {
    result.unwrap_or_else(|broken| panic!("{broken}"));
}

#[test]
fn files_are_sources() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let many: String = (0..3_000).map(|number| format!("line {number}{}", if number % 3 == 0 { "\r\n" } else { "\n" })).collect();
    let (many, short) = (file("many", &many), file("short", "one\n\nthree, without an end"));
    let (empty, half) = (file("empty", ""), file("half", "whole\nhalf of a li"));
    passes(conformance::source(|| FileSource::lines(&many)));
    passes(conformance::source(|| FileSource::lines(&short).and(&many).and(&empty)));
    // What has no end yet is waited for: it is not a record.
    passes(conformance::source(|| FileSource::lines(&half).and(&empty).and(&many).follow()));
    // Lines that cannot be parsed are told again in the same way.
    passes(conformance::source(|| FileSource::parse(&short, |line| line.parse::<u64>().map_err(|why| why.to_string()))));
}

#[test]
fn collections_and_generators_are_sources() {
    passes(conformance::source(|| Collection::of(0..2_500_u32).timestamps(|number| i64::from(*number))));
    passes(conformance::source(|| Collection::<u32>::of([])));
    passes(conformance::source(|| Generator::new(1, |random, number| (number, random.below(1_000))).count(1_000).partitions(3)));
    passes(conformance::source(|| Generator::new(2, |random, _| random.below(10)).partitions(4)));
    passes(conformance::source(|| Generator::new(3, |_, number| number).count(1).partitions(2)));
}

/// An empty folder.
struct Folder {
    folder: tempfile::TempDir,
    make: fn(FileSink) -> FileSink,
}

impl conformance::Place for Folder {
    type Sink = FileSink;

    fn sink(&self) -> FileSink {
        (self.make)(FileSink::new(self.folder.path().join("out")))
    }

    fn visible(&self) -> Result<Vec<String>, Failure> {
        FileSink::read(&self.folder.path().join("out"))
    }

    fn leftovers(&self) -> Result<Vec<String>, Failure> {
        let entries = fs::read_dir(self.folder.path().join("out")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        Ok(names.filter(|name| !name.starts_with("part-")).collect())
    }
}

#[test]
fn files_are_sinks_that_commit_in_two_phases() {
    let makes: [fn(FileSink) -> FileSink; 3] =
        [|sink| sink, |sink| sink.suffix(".txt"), |sink| sink.suffix("-1").roll_at_bytes(100)];
    for make in makes {
        passes(conformance::two_phase_commit_sink(|| Folder { folder: tempfile::tempdir().unwrap(), make }));
    }
}

/// Whoever was overtaken may still publish what its successor publishes: of both together none is an error, and each file is there once.
#[test]
fn two_processes_publish_the_same_files_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let owner = |epoch| Owner { job: "shop".parse().unwrap(), epoch };
    let sink = || FileSink::new(folder.path()).roll_at_bytes(1);
    let (one, other) = (sink(), sink());
    one.recover(&owner(1), None).unwrap();
    let mut transaction = one.begin(&owner(1)).unwrap();
    for number in 0..500 {
        let value = number.to_string();
        transaction.write(&Outgoing { topic: "out", key: None, value: Some(value.as_bytes()), headers: &[] }).unwrap();
    }
    let staged = transaction.pre_commit().unwrap();
    let start = Barrier::new(2);
    let publish = |sink: &FileSink| {
        start.wait();
        sink.commit(&staged)
    };
    let (first, second) = thread::scope(|scope| {
        let second = scope.spawn(|| publish(&other));
        (publish(&one), second.join().unwrap())
    });
    assert_eq!((first, second), (Ok(()), Ok(())));
    let lines: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(FileSink::read(folder.path()).unwrap(), lines);
}

/// The memory that a sink shares with its clones.
struct Memory(Collected);

impl conformance::Place for Memory {
    type Sink = Collected;

    fn sink(&self) -> Collected {
        self.0.clone()
    }

    fn visible(&self) -> Result<Vec<String>, Failure> {
        Ok(self.0.lines())
    }
}

#[test]
fn memory_is_a_sink_that_commits_in_two_phases() {
    passes(conformance::two_phase_commit_sink(|| Memory(Collected::new())));
}
