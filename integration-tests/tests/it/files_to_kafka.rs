//! A file into a topic of Kafka: which checkpoint counts is committed with the records, as the offset of a partition of the topic.
//! `examples/files_to_kafka.rs`.

use crate::{
    harness::{END, LIMIT, ends_with, says, within},
    own_program::Own,
    payments::{append, each_once, in_topic},
};
use integration_tests::{Context, Result, ensure, process};
use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

const PAYMENTS: u64 = 3_000;

fn own() -> Result<Own> {
    let own = Own::new("files_to_kafka", "PAYMENTS_PREFIX")?;
    says(&own.succeed(&["topics", "create", "--partitions", "4"])?, &[&topic(&own), "created, 4"])?;
    Ok(own)
}

fn topic(own: &Own) -> String {
    format!("{}.totals", own.job.name())
}

fn file(own: &Own) -> PathBuf {
    own.job.folder().join("payments.jsonl")
}

fn grow(own: &Own, length: &mut u64, more: u64) -> Result<()> {
    append(&file(own), *length..*length + more)?;
    *length += more;
    Ok(())
}

fn check(own: &Own, length: u64) -> Result<()> {
    each_once(&in_topic(&own.job.cluster()?, &topic(own))?, length)
}

/// What is committed for the anchor: its offset, and the checkpoint that the metadata names.
fn anchor(own: &Own) -> Result<(i64, String)> {
    let committed = own.job.cluster()?.committed(&own.job.group(), &topic(own))?;
    ensure!(committed.keys().eq([&0]), "committed is {committed:?}");
    committed.get(&0).cloned().context("nothing is committed")
}

#[test]
fn each_payment_is_in_one_record_though_it_is_killed_at_each_step() {
    within(LIMIT, || {
        let own = own()?;
        let mut length = 0;
        grow(&own, &mut length, PAYMENTS)?;
        for point in [
            "after-manifest=kill",
            "during-commit=kill",
            "before-flush=kill@2",
            "after-upload=kill@2",
            "after-manifest=kill@2",
            "during-commit=kill@2",
            "after-commit=kill@2",
            "during-recovery=kill",
            "before-confirm=kill@2",
            "during-fencing=kill",
        ] {
            own.killed_at(point)?;
            grow(&own, &mut length, PAYMENTS / 10)?;
        }
        let mut service = own.start(&["run", "--set", "job.parallelism=3"], &[])?;
        service.wait_ready()?;
        grow(&own, &mut length, PAYMENTS)?;
        service.wait_checkpoints(1)?;
        thread::sleep(Duration::from_millis(137));
        service.kill()?;
        own.catch_up(&[])?;
        check(&own, length)?;
        // The offset is the number of the checkpoint, and grows though nothing is read: it does not expire while the job runs
        let (offset, metadata) = anchor(&own)?;
        says(&metadata, &[&format!("v1:{}:{offset}:", own.job.name())])?;
        let mut service = own.start(&["run"], &[])?;
        service.wait_ready()?;
        service.wait_checkpoints(3)?;
        ensure!(anchor(&own)?.0 >= offset + 3, "{} after {offset}", anchor(&own)?.0);
        assert_eq!(service.finish()?.code(), Some(0));
        check(&own, length)
    });
}

#[test]
fn a_second_instance_takes_over_and_the_first_one_ends_with_3() {
    within(LIMIT, || {
        let own = own()?;
        let mut length = 0;
        grow(&own, &mut length, PAYMENTS)?;
        let mut older = own.start(&["run"], &[])?;
        older.wait_ready()?;
        older.wait_checkpoints(2)?;
        older.pause()?;
        let elsewhere = format!("state.dir={}", own.job.folder().join("elsewhere").display());
        let mut younger = own.start(&["run", "--set", &elsewhere], &[])?;
        younger.wait_ready()?;
        grow(&own, &mut length, PAYMENTS)?;
        younger.wait_checkpoints(2)?;
        older.resume()?;
        ends_with(&mut older, 3, &["another instance"])?;
        assert_eq!(younger.finish()?.code(), Some(0));
        own.catch_up(&[])?;
        check(&own, length)
    });
}

#[test]
fn what_somebody_has_changed_is_refused_with_the_facts() {
    within(LIMIT, || {
        // Given a job that has committed
        let own = own()?;
        let mut length = 0;
        grow(&own, &mut length, PAYMENTS)?;
        own.catch_up(&[])?;
        let (offset, _) = anchor(&own)?;
        // When the file is shorter than what was read of it, the file is what is named
        let whole = fs::read(file(&own))?;
        fs::write(file(&own), whole.get(..whole.len() / 2).unwrap_or_default())?;
        ends_with(&mut own.start(&["run"], &[])?, 4, &["payments-0", "changed or cut off"])?;
        fs::write(file(&own), &whole)?;
        // When the group is deleted, the group is
        own.job.cluster()?.delete_group(&own.job.group())?;
        let words = [&*own.job.group(), "no committed offsets", &format!("--restore {offset}")];
        ends_with(&mut own.start(&["run"], &[])?, 4, &words)?;
        // Then nothing was given out, and it goes on once a person has decided
        grow(&own, &mut length, PAYMENTS)?;
        own.catch_up(&["--restore", &offset.to_string()])?;
        check(&own, length)
    });
}

#[test]
fn its_command_line_knows_where_it_stands() {
    within(LIMIT, || {
        let own = own()?;
        let mut length = 0;
        grow(&own, &mut length, PAYMENTS)?;
        let valid = own.succeed(&["validate"])?;
        says(&valid, &["kafka.bootstrap_servers", "all 1 are there", "other sources and sinks", "payments.jsonl"])?;
        ensure!(!valid.contains("FAILED"), "{valid}");
        let mut graph = Command::new(&own.program);
        let graph = process::output(graph.arg("graph").env("PAYMENTS_PREFIX", format!("{}.", own.job.name())), END)?;
        says(&graph, &["payments", &topic(&own)])?;
        // It is stopped with a savepoint, and begun from it with another parallelism
        let mut service = own.start(&["run"], &[])?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        let listen = format!("http.listen={}", service.address());
        let stopped: serde_json::Value =
            serde_json::from_str(&own.succeed(&["stop", "--savepoint", "--drain", "--json", "--set", &listen])?)?;
        assert_eq!(service.wait(END)?.code(), Some(0));
        let id = stopped.get("id").and_then(serde_json::Value::as_str).context("no id")?.to_owned();
        grow(&own, &mut length, PAYMENTS)?;
        own.catch_up(&["--from", &id, "--set", "job.parallelism=3"])?;
        check(&own, length)?;
        // From an older one only with a word; then what came after it comes again
        let older = own.run(&["run", "--until-caught-up", "--from", &id, "--set", "http.listen=off"])?;
        assert_eq!(older.status.code(), Some(0), "a start that is repeated goes on: {}", older.stderr);
        let created: serde_json::Value = serde_json::from_str(&own.succeed(&["savepoint", "create", "--json"])?)?;
        let created = created.get("id").and_then(serde_json::Value::as_str).context("no id")?.to_owned();
        grow(&own, &mut length, PAYMENTS)?;
        own.catch_up(&[])?;
        let refused = own.run(&["run", "--from", &created, "--set", "http.listen=off"])?;
        assert_eq!(refused.status.code(), Some(4), "{}", refused.stderr);
        says(&format!("{}{}", refused.stdout, refused.stderr), &["--rewind", "payments-0"])?;
        // What it keeps can be looked at, and the manifest says where the pointer is
        says(&own.succeed(&["checkpoint", "list"])?, &["committed"])?;
        says(&own.succeed(&["checkpoint", "show"])?, &["payments", &topic(&own)])?;
        says(&own.succeed(&["state", "get", "--operator", "totals", "--state", "result", "--key", "account-3"])?, &["amount"])?;
        own.catch_up(&[])?;
        check(&own, length)
    });
}
