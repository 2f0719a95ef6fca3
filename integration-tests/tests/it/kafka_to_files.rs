//! A topic of Kafka into files: they get their names after the commit of Kafka, by whoever is there to do it, and each payment is in one
//! line. `examples/kafka_to_files.rs`.

use crate::{
    harness::{END, LIMIT, ends_with, says, within},
    own_program::Own,
    payments::{self, each_once, in_files, names, nothing_staged},
};
use integration_tests::{Result, deadline::wait_until, ensure};
use std::{fs, path::PathBuf, thread, time::Duration};

const PAYMENTS: u64 = 3_000;

/// The program, with topics.
fn own() -> Result<Own> {
    let own = Own::new("kafka_to_files", "PAYMENTS_PREFIX")?;
    says(&own.succeed(&["topics", "create", "--partitions", "4"])?, &[&topic(&own), "created, 4"])?;
    Ok(own)
}

fn topic(own: &Own) -> String {
    format!("{}.payments", own.job.name())
}

fn totals(own: &Own) -> PathBuf {
    own.job.folder().join("totals")
}

/// Sends the next payments, of which there were `sent`.
fn send(own: &Own, sent: &mut u64, more: u64) -> Result<()> {
    payments::send(&own.job.cluster()?, &topic(own), *sent..*sent + more)?;
    *sent += more;
    Ok(())
}

#[test]
fn each_payment_is_in_one_line_though_it_is_killed_at_each_step() {
    within(LIMIT, || {
        let own = own()?;
        let mut sent = 0;
        send(&own, &mut sent, PAYMENTS)?;
        // When it dies at each step of a checkpoint and of a recovery, while more comes
        for point in [
            "before-flush=kill@2",
            "after-upload=kill@2",
            "after-manifest=kill@2",
            "during-commit=kill@2",
            "before-publishing=kill",
            "before-settling=kill",
            "after-commit=kill@2",
            "before-confirm=kill@2",
            "before-publishing=kill",
            "during-recovery=kill",
            "before-settling=kill",
        ] {
            own.killed_at(point)?;
            send(&own, &mut sent, PAYMENTS / 10)?;
        }
        let mut service = own.start(&["run", "--set", "job.parallelism=3"], &[])?;
        service.wait_ready()?;
        send(&own, &mut sent, PAYMENTS)?;
        service.wait_checkpoints(1)?;
        thread::sleep(Duration::from_millis(137));
        service.kill()?;
        // Then it goes on, and nothing is lost, doubled or left over
        own.catch_up(&[])?;
        each_once(&in_files(&totals(&own))?, sent)?;
        nothing_staged(&totals(&own))
    });
}

#[test]
fn what_kafka_has_committed_is_published_by_the_next_start_before_it_does_anything_else() {
    within(LIMIT, || {
        // Given a process that dies between the commit and the renaming
        let own = own()?;
        let mut sent = 0;
        send(&own, &mut sent, PAYMENTS)?;
        own.killed_at("before-publishing=kill")?;
        let staged = names(&totals(&own))?;
        ensure!(in_files(&totals(&own))?.is_empty() && staged.iter().any(|name| name.starts_with('.')), "{staged:?}");
        let committed: i64 =
            own.job.cluster()?.committed(&own.job.group(), &topic(&own))?.values().map(|(offset, _)| offset).sum();
        ensure!(committed > 0, "nothing was committed");
        // When the next one gets no further than its recovery
        own.killed_at("before-flush=kill")?;
        // Then just what was committed is visible
        assert_eq!(in_files(&totals(&own))?.len() as i64, committed);
        own.catch_up(&[])?;
        each_once(&in_files(&totals(&own))?, sent)
    });
}

/// An instance that is paused in its recovery takes what it finds staged for left over. Its successor has staged and committed meanwhile.
#[test]
fn one_that_was_paused_in_its_recovery_does_not_take_away_what_its_successor_has_staged() {
    within(LIMIT, || {
        let own = own()?;
        let mut sent = 0;
        send(&own, &mut sent, PAYMENTS)?;
        own.killed_at("after-commit=kill@2")?;
        // Given one that is paused where it is about to clear away, and a successor that dies with a commit that is not published
        let mut paused = own.start(&["run"], &[("SLUICEGATE_FAILPOINTS", "before-settling=sleep:3s")])?;
        paused.wait_at_point()?;
        paused.pause()?;
        send(&own, &mut sent, PAYMENTS)?;
        let elsewhere = format!("state.dir={}", own.job.folder().join("elsewhere").display());
        let mut successor = own.start(&["run", "--set", &elsewhere], &[("SLUICEGATE_FAILPOINTS", "before-publishing=kill")])?;
        successor.wait_killed(END)?;
        let staged = || -> Result<usize> { Ok(names(&totals(&own))?.iter().filter(|name| name.starts_with('.')).count()) };
        ensure!(staged()? > 0, "nothing is staged");
        // When the first one goes on
        paused.resume()?;
        ends_with(&mut paused, 3, &["another instance"])?;
        // Then what is committed is there for the next one
        ensure!(staged()? > 0, "it has cleared away what is not its own");
        own.catch_up(&[])?;
        each_once(&in_files(&totals(&own))?, sent)?;
        nothing_staged(&totals(&own))
    });
}

#[test]
fn a_second_instance_takes_over_and_the_first_one_ends_with_3() {
    within(LIMIT, || {
        let own = own()?;
        let mut sent = 0;
        send(&own, &mut sent, PAYMENTS)?;
        let mut older = own.start(&["run"], &[])?;
        older.wait_ready()?;
        older.wait_checkpoints(2)?;
        let elsewhere = format!("state.dir={}", own.job.folder().join("elsewhere").display());
        let mut younger = own.start(&["run", "--set", &elsewhere], &[])?;
        send(&own, &mut sent, PAYMENTS)?;
        ends_with(&mut older, 3, &["another instance"])?;
        younger.wait_ready()?;
        wait_until("all payments in files", END, || Ok(in_files(&totals(&own))?.len() as u64 >= sent))?;
        assert_eq!(younger.finish()?.code(), Some(0));
        each_once(&in_files(&totals(&own))?, sent)
    });
}

#[test]
fn refusals_name_the_group_and_what_the_files_say() {
    within(LIMIT, || {
        // Given a job that has written files
        let mut own = own()?;
        let mut sent = 0;
        send(&own, &mut sent, PAYMENTS)?;
        own.catch_up(&[])?;
        let before = names(&totals(&own))?;
        // When its checkpoints are elsewhere, it says what the group names
        let storage = own.job.storage();
        own.job.set("checkpoint.storage", own.job.folder().join("other").display());
        ends_with(&mut own.start(&["run"], &[])?, 4, &[&own.job.group(), "checkpoint.storage"])?;
        // When the offsets are gone as well, the files say that something was there
        own.job.cluster()?.delete_group(&own.job.group())?;
        ends_with(&mut own.start(&["run"], &[])?, 4, &["holds output of job", "never committed"])?;
        // When only the offsets are gone
        own.job.set("checkpoint.storage", storage.display());
        ends_with(&mut own.start(&["run"], &[])?, 4, &[&own.job.group(), "no committed offsets", "--restore"])?;
        // Then nothing has changed
        assert_eq!(names(&totals(&own))?, before);
        // And a bad record is beside, in files of its own
        own.job.cluster()?.send(&topic(&own), [("x", &b"no payment"[..])])?;
        let newest = fs::read_dir(storage.join(own.job.name()).join("committed"))?.count();
        ensure!(newest > 0, "no checkpoint is marked");
        let listed: serde_json::Value = serde_json::from_str(&own.succeed(&["checkpoint", "list", "--json"])?)?;
        let last = listed.to_string();
        let marked = fs::read_dir(storage.join(own.job.name()).join("committed"))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
            .max()
            .unwrap_or_default();
        ensure!(last.contains(&marked.to_string()), "checkpoint {marked} is not in {last}");
        own.catch_up(&["--restore", &marked.to_string()])?;
        each_once(&in_files(&totals(&own))?, sent)?;
        let refused = own.job.folder().join("refused");
        let parts: Vec<String> = names(&refused)?.into_iter().filter(|name| name.starts_with("part-")).collect();
        let [part] = parts.as_slice() else { integration_tests::bail!("{parts:?}") };
        says(&fs::read_to_string(refused.join(part))?, &["expected"])
    });
}
