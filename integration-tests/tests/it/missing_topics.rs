//! Topics are never made up: a typo in a name would otherwise be a new, empty topic.

use crate::harness::{LIMIT, ends_with, job, within};
use integration_tests::{ensure, job::OUTPUTS};

#[test]
fn absent_topics_are_named_with_the_command_that_creates_them() {
    within(LIMIT, || {
        let job = job()?;
        ends_with(&mut job.start()?, 1, &[&job.input(), "sluicegate topics create"])?;
        ensure!(!job.cluster()?.names()?.contains(&job.input()), "the input topic was made up");
        Ok(())
    });
}

#[test]
fn an_absent_output_is_named() {
    within(LIMIT, || {
        let job = job()?;
        job.create_topics()?;
        job.cluster()?.delete(&job.output("late-orders"))?;
        ends_with(&mut job.start()?, 1, &[&job.output("late-orders"), "sluicegate topics create"])
    });
}

#[test]
fn the_command_creates_the_input_and_the_seven_outputs_and_leaves_what_is_there() {
    within(LIMIT, || {
        let job = job()?;
        job.create_topics()?;
        job.create_topics()?;
        let names = job.cluster()?.names()?;
        for name in OUTPUTS.iter().map(|name| job.output(name)).chain([job.input()]) {
            ensure!(names.contains(&name), "{name} is not in {names:?}");
        }
        Ok(())
    });
}
