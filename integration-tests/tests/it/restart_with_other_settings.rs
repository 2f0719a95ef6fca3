//! A job that is started again with other settings than those of its checkpoint: what may change does, with a right result; what may
//! not is refused. A renamed operator cannot be had by a setting; `src/state` and `src/engine/recovery.rs` test that it is refused.
//!
//! Switch: `OldIdsNotFenced` (for the smaller pool).

use crate::harness::{END, LIMIT, ends_with, job, within, works_off_all};
use integration_tests::{ensure, job::Load};

const EVENTS: u64 = 10_000;

/// 1, 4, 2, 3, 1: each start finds a checkpoint of another parallelism, most of them after a kill.
#[test]
fn parallelism_may_change_at_any_start_with_kills_between() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("job.parallelism", 1);
        let mut job = job.with_events(Load::of(EVENTS))?;
        job.start_failing("after-manifest=kill@3")?.wait_killed(END)?;
        let mut load = Load::of(EVENTS);
        for (parallelism, crash) in [(4, "during-commit=kill@2"), (2, "after-upload=kill@2"), (3, "after-commit=kill@2")] {
            job.set("job.parallelism", parallelism);
            // More than one checkpoint's worth of input, so that there is something to be killed in the middle of.
            load = load.more();
            job.generate(load)?;
            job.start_failing(crash)?.wait_killed(END)?;
        }
        job.set("job.parallelism", 1);
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 4 * EVENTS);
        Ok(())
    });
}

/// Transactions hang on ids that the smaller pool does not have: unless they are fenced all the same, they hide all output that comes
/// after them from `read_committed` readers, here for a quarter of an hour.
#[test]
fn the_pool_may_get_smaller_while_old_transactions_hang() {
    within(LIMIT, || {
        // Given a job with many producers, killed with an open transaction on each of two of them, neither among the first two
        let mut job = job()?;
        job.set("kafka.producers", 8).set("kafka.transaction_timeout", "15min");
        let mut job = job.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(50 * EVENTS).at(3_000).more())?;
        job.start_failing("during-commit=kill@5")?.wait_killed(END)?;
        load.terminate(END)?;
        let cluster = job.cluster()?;
        ensure!(cluster.has_open_transaction(&job.output("order-status"))?, "no transaction hangs: nothing is tested");
        // When it is started with two
        job.set("kafka.producers", 2);
        works_off_all(&job, EVENTS)?;
        // Then none of them is open any more, and all output is there
        ensure!(!cluster.has_open_transaction(&job.output("order-status"))?, "a transaction hangs still");
        Ok(())
    });
}

#[test]
fn the_number_of_key_groups_is_fixed() {
    within(LIMIT, || {
        let mut job = job()?.with_events(Load::of(1_000))?;
        job.catch_up()?;
        job.set("job.max_parallelism", 64);
        ends_with(&mut job.start()?, 4, &["job.max_parallelism", "128", "64"])
    });
}

#[test]
fn another_input_topic_is_refused_with_both_names() {
    within(LIMIT, || {
        let mut job = job()?.with_events(Load::of(1_000))?;
        job.catch_up()?;
        let (old, new) = (job.input(), format!("{}.others", job.name()));
        job.set("source.topic", &new);
        job.create_topics()?;
        ends_with(&mut job.start()?, 4, &[job.name(), "checkpoint"])?;
        // And with the old name it goes on
        job.set("source.topic", &old);
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 1_000);
        Ok(())
    });
}

#[test]
fn another_group_is_refused() {
    within(LIMIT, || {
        let mut job = job()?.with_events(Load::of(1_000))?;
        job.catch_up()?;
        let other = format!("{}-other", job.group());
        job.set("kafka.group", &other);
        ends_with(&mut job.start()?, 4, &[&other, "checkpoint"])
    });
}
