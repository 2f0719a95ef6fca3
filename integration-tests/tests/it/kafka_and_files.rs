//! Kafka and a file into Kafka and files: what of all four belongs to a checkpoint is committed in one step. `examples/kafka_and_files.rs`.

use crate::{
    harness::{END, LIMIT, ends_with, says, within},
    own_program::Own,
    payments::{self, Total, append, each_once_of_both, in_files, in_topic, nothing_staged},
};
use integration_tests::{Result, deadline::wait_until, ensure};
use std::{fs, path::PathBuf, thread, time::Duration};

const PAYMENTS: u64 = 3_000;

/// The program, with topics, and what it has been given so far.
struct Both {
    own: Own,
    payments: u64,
    refunds: u64,
}

impl Both {
    fn new() -> Result<Self> {
        let own = Own::new("kafka_and_files", "PAYMENTS_PREFIX")?;
        own.succeed(&["topics", "create", "--partitions", "4"])?;
        fs::write(own.job.folder().join("refunds.jsonl"), "")?;
        Ok(Self { own, payments: 0, refunds: 0 })
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.own.job.name())
    }

    fn overdrawn(&self) -> PathBuf {
        self.own.job.folder().join("overdrawn")
    }

    /// More payments, and twice as many refunds.
    fn more(&mut self, payments: u64) -> Result<()> {
        payments::send(&self.own.job.cluster()?, &self.topic("payments"), self.payments..self.payments + payments)?;
        append(&self.own.job.folder().join("refunds.jsonl"), self.refunds..self.refunds + 2 * payments)?;
        self.payments += payments;
        self.refunds += 2 * payments;
        Ok(())
    }

    /// Nothing is lost or doubled; what is in the files is what of the topic belongs there.
    fn check(&self) -> Result<()> {
        let totals = in_topic(&self.own.job.cluster()?, &self.topic("totals"))?;
        each_once_of_both(&totals, self.payments, self.refunds)?;
        let mut right: Vec<Total> = totals.into_iter().filter(|total| total.amount < 0).collect();
        let mut found = in_files(&self.overdrawn())?;
        ensure!(!found.is_empty(), "no account was overdrawn: the files were not looked at");
        right.sort();
        found.sort();
        ensure!(found == right, "{} totals in files, {} below zero in the topic, or other ones", found.len(), right.len());
        nothing_staged(&self.overdrawn())
    }
}

#[test]
fn nothing_is_lost_or_doubled_in_either_though_it_is_killed_at_each_step() {
    within(LIMIT, || {
        let mut both = Both::new()?;
        both.more(PAYMENTS)?;
        for point in [
            "after-manifest=kill",
            "before-flush=kill@2",
            "after-manifest=kill@2",
            "during-commit=kill@2",
            "before-publishing=kill",
            "before-settling=kill",
            "after-commit=kill@2",
            "before-publishing=kill",
            "during-restore=kill",
        ] {
            both.own.killed_at(point)?;
            both.more(PAYMENTS / 10)?;
        }
        let mut service = both.own.start(&["run", "--set", "job.parallelism=3"], &[])?;
        service.wait_ready()?;
        both.more(PAYMENTS)?;
        service.wait_checkpoints(1)?;
        thread::sleep(Duration::from_millis(137));
        service.kill()?;
        both.own.catch_up(&[])?;
        both.check()?;
        // And when event time is moved to the end
        both.more(PAYMENTS)?;
        both.own.catch_up(&["--drain"])?;
        both.check()
    });
}

/// Renaming fails after the commit: the attempt ends, and the next one makes up for it.
#[test]
fn a_publication_that_fails_is_made_up_for_without_the_program_ending() {
    within(LIMIT, || {
        let mut both = Both::new()?;
        both.more(PAYMENTS)?;
        let mut service =
            both.own.start(&["run"], &[("SLUICEGATE_FAILPOINTS", "before-publishing=error@1,before-settling=error@2")])?;
        service.wait_ready()?;
        service.wait_says("fail point before-publishing", END)?;
        service.wait_says("fail point before-settling", END)?;
        both.more(PAYMENTS)?;
        let wanted = both.payments + both.refunds;
        let topic = both.topic("totals");
        wait_until("all totals", END, || Ok(in_topic(&both.own.job.cluster()?, &topic)?.len() as u64 >= wanted))?;
        assert_eq!(service.finish()?.code(), Some(0));
        both.check()
    });
}

#[test]
fn a_sink_that_is_renamed_with_something_to_publish_and_a_file_that_is_cut_are_refused() {
    within(LIMIT, || {
        // Given a commit whose files have no names yet
        let mut both = Both::new()?;
        both.more(PAYMENTS)?;
        both.own.killed_at("before-publishing=kill")?;
        // When the file that was read is another one
        let file = both.own.job.folder().join("refunds.jsonl");
        let whole = fs::read(&file)?;
        fs::write(&file, "")?;
        ends_with(&mut both.own.start(&["run"], &[])?, 4, &["refunds-0", "changed or cut off"])?;
        fs::write(&file, &whole)?;
        // When a program without the sink goes on with the checkpoints: the job of another example, with the same name
        let other = Own { program: integration_tests::job::example("kafka_to_files")?, ..both.own };
        ends_with(&mut other.start(&["run"], &[])?, 4, &["refunds"])?;
        both.own = Own { program: integration_tests::job::example("kafka_and_files")?, ..other };
        // Then the right one finds all as it was
        says(&both.own.succeed(&["checkpoint", "list"])?, &["committed"])?;
        both.own.catch_up(&[])?;
        both.check()
    });
}
