//! A wrong setting ends the program with 2 before anything is begun, and the message names the setting, its value and what is allowed.

use crate::harness::{END, LIMIT, ends_with, job, says, within};
use integration_tests::{ensure, process};

#[test]
fn a_typo_is_answered_with_the_nearest_name() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("checkpoint.intervall", "1s");
        ends_with(&mut job.start()?, 2, &["checkpoint.intervall", "did you mean checkpoint.interval"])
    });
}

#[test]
fn a_typo_in_the_environment_names_the_variable() {
    within(LIMIT, || {
        let job = job()?;
        let mut service = job.start_with(["run"], &[("SLUICEGATE__CHECKPOINT__INTERVALL", "1s")])?;
        ends_with(&mut service, 2, &["SLUICEGATE__CHECKPOINT__INTERVALL", "did you mean checkpoint.interval"])
    });
}

#[test]
fn all_problems_are_told_at_once() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("checkpoint.interval", "soon").set("state.memory", "lots").set("restart.strategy", "hope");
        ends_with(
            &mut job.start()?,
            2,
            &["checkpoint.interval", "soon", "state.memory", "lots", "restart.strategy", "fixed-delay"],
        )
    });
}

#[test]
fn a_property_that_exactly_once_rests_on_is_refused_with_the_reason() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("kafka.properties.enable.auto.commit", "true");
        ends_with(&mut job.start()?, 2, &["enable.auto.commit", "is set by sluicegate"])
    });
}

#[test]
fn a_file_that_is_not_there_is_named() {
    within(LIMIT, || {
        let mut command = std::process::Command::new(integration_tests::job::program()?);
        let finished = process::run(command.args(["run", "--config", "no/such/file.toml"]), END)?;
        ensure!(finished.status.code() == Some(2), "{finished:?}");
        says(&finished.stderr, &["no/such/file.toml"])
    });
}
