//! kill -9 in the middle of a transaction, and what the next instance finds.

use super::*;
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

const POINTER: &str = "v1:orders:1:0123456789abcdef";
const OF: &str = "SLUICEGATE_TEST_CHILD";

/// Not a test: the process that is killed. Started by the tests below.
#[test]
#[ignore = "the process that other tests kill"]
fn child() {
    let Ok(of) = std::env::var(OF) else { return };
    let mut of = of.split(' ');
    let (Some(group), Some(input), Some(outputs), Some(until)) = (of.next(), of.next(), of.next(), of.next()) else {
        panic!("{OF} is not as wanted");
    };
    let kafka = Kafka::here().unwrap();
    let pool = kafka.pool(group, input, 3);
    let mut open = pool.take(SOON).unwrap().begin().unwrap();
    for number in 0..100u32 {
        open.send(&output(outputs, &number.to_be_bytes(), b"of the killed one")).unwrap();
    }
    let flushed = open.flush(SOON).unwrap();
    if until == "committed" {
        committed(flushed.commit_positions(&at(input, &[(0, 100)]), POINTER));
        println!("\nready");
    } else {
        println!("\nready");
        std::mem::forget(flushed);
    }
    loop {
        std::thread::park();
    }
}

fn kill_when_ready(group: &str, input: &str, outputs: &str, until: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "kafka::tests::kill::child"])
        .env(OF, format!("{group} {input} {outputs} {until}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready, "the process ended before it was ready");
}

#[test]
fn killed_before_the_commit_nothing_of_it_is_seen_and_the_next_one_commits_at_once() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 2, &[]), kafka.name("group"));
    kill_when_ready(&group, &input, &outputs, "flushed");

    let started = Instant::now();
    let pool = kafka.pool(&group, &input, 3);
    let fencing = started.elapsed();
    assert_eq!(kafka.committed(&group, &input), [(0, None)].into());
    committed(flushed(&pool, &outputs, "new").commit_positions(&at(&input, &[(0, 7)]), POINTER));
    let took = started.elapsed();
    println!("over a killed transaction: fencing {fencing:?}, start to first commit {took:?}");
    // Nobody waits until the broker gives up the transaction of the killed one.
    assert!(took < SOON / 2, "{took:?}");
    assert_eq!(kafka.values(&outputs), ["new"]);
}

#[test]
fn killed_after_the_commit_all_of_it_is_seen() {
    let Some(mut kafka) = Kafka::here() else { return };
    let (input, outputs, group) = (kafka.topic("in", 1, &[]), kafka.topic("out", 2, &[]), kafka.name("group"));
    kill_when_ready(&group, &input, &outputs, "committed");
    let pool = kafka.pool(&group, &input, 3);
    assert_eq!(kafka.committed(&group, &input), [(0, Some((100, POINTER.to_owned())))].into());
    assert_eq!(kafka.values(&outputs).len(), 100);
    drop(pool);
}
