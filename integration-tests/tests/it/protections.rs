//! A test that has never failed has shown nothing. Each of these runs a test of this suite with one protection of the program switched
//! off, and expects it to fail. Those that take long are left out of an ordinary run:
//! `cargo test --release --package integration-tests --test it protections -- --ignored` (with the program built with the feature
//! `fault-injection`).
//!
//! docs/reliability.md has the same table for people.

use crate::harness::{LIMIT, again, broker, within};
use integration_tests::{ensure, job::SWITCHED_OFF};

/// Test and switch. This one fails in seconds, by the audit.
const QUICK: (&str, &str) = ("kill_at_crash_points::after_the_manifest_and_before_the_commit", "NewestManifestRestored");

/// Most of these fail by a deadline.
const SLOW: [(&str, &str); 10] = [
    ("damaged_checkpoint::a_flipped_bit_in_a_table_is_refused_with_the_file", "file-hash"),
    ("kill_at_crash_points::between_sending_the_offsets_and_the_commit", "DeleteBeforeConfirm"),
    ("kill_at_crash_points::between_sending_the_offsets_and_the_commit", "MetadataIgnored"),
    ("kill_at_crash_points::after_the_commit_and_before_anybody_knows", "offsets-in-transaction"),
    ("kill_at_crash_points::after_the_manifest_and_before_the_commit", "NumberUsedTwice"),
    ("frozen_past_the_transaction_timeout::it_goes_on_in_the_same_process_if_nobody_took_over", "offsets-in-transaction"),
    ("instances_that_compete::when_each_end_is_answered_with_a_new_start_every_owner_commits", "owner-id"),
    ("second_instance::one_that_was_replaced_while_it_waited_for_its_restart_does_not_take_the_job_back", "last-ownership"),
    ("restart_with_other_settings::the_pool_may_get_smaller_while_old_transactions_hang", "OldIdsNotFenced"),
    ("idle_partition::every_commit_names_all_partitions_and_windows_fire", "IdlePartitionsNotCommitted"),
];

fn fails_without(test: &str, protection: &str) {
    within(3 * LIMIT, || {
        let kafka = broker()?;
        // One that fails with the protection as well says nothing about it.
        let with = again(test, &[("KAFKA", &kafka)])?;
        ensure!(with.stdout.contains("running 1 test"), "{test} is no test: {}", with.stdout);
        ensure!(with.status.success(), "{test} ended with {} with all protections: {}", with.status, with.stdout);
        let without = again(test, &[(SWITCHED_OFF, protection), ("KAFKA", &kafka)])?;
        ensure!(without.status.code() == Some(101), "{test} ended with {} although {protection} was off", without.status);
        Ok(())
    });
}

#[test]
fn without_kafkas_word_an_uncommitted_checkpoint_is_restored() {
    let (test, switch) = QUICK;
    fails_without(test, switch);
}

#[test]
#[ignore = "takes minutes"]
fn each_test_of_the_table_fails_without_its_protection() {
    let mut unharmed = Vec::new();
    for (test, switch) in SLOW {
        let result = std::panic::catch_unwind(|| fails_without(test, switch));
        eprintln!("{} without {switch}: {test}", if result.is_ok() { "fails" } else { "DOES NOT FAIL" });
        unharmed.extend(result.err().map(|_| (test, switch)));
    }
    assert!(unharmed.is_empty(), "these do not fail without their protection: {unharmed:?}");
}

#[test]
fn the_document_has_the_same_table() {
    let document = include_str!("../../../docs/reliability.md");
    for (test, switch) in SLOW.iter().chain([&QUICK]) {
        let (file, _) = test.split_once("::").unwrap_or((test, ""));
        let found = document.lines().any(|line| line.contains(&format!("`{file}`")) && line.contains(&format!("`{switch}`")));
        assert!(found, "docs/reliability.md does not say that `{file}` fails without `{switch}`");
    }
}
