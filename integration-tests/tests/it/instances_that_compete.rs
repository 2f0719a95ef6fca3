//! More than one instance of a job, under something that starts what has ended: there is always one that works, and each that takes
//! over gets on with the work. They never keep each other from it.
//!
//! Switch: `owner-id`.

use crate::harness::{END, LIMIT, ends_with, job, second, third, within};
use integration_tests::{Result, deadline::wait_for, ensure, job::Load, service::Service};

const EVENTS: u64 = 10_000;

/// Of two instances one ends with 3; gives the other one.
fn the_one_that_stays(first: Service, second: Service) -> Result<Service> {
    let mut both = [first, second];
    let loser = wait_for("the end of one of the two", END, || {
        for (index, service) in both.iter_mut().enumerate() {
            if service.try_exit()?.is_some() {
                return Ok(Some(index));
            }
        }
        Ok(None)
    })?;
    let [first, second] = both;
    let (mut loser, winner) = if loser == 0 { (first, second) } else { (second, first) };
    ends_with(&mut loser, 3, &["another instance"])?;
    Ok(winner)
}

#[test]
fn of_two_that_are_started_at_once_one_works_and_the_other_ends_with_3() {
    within(LIMIT, || {
        // Given a job with input and a generous restart strategy, when two instances are started at once
        let mut job = job()?;
        job.set("restart.attempts", 1000);
        let job = job.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(EVENTS).at(1_500).more())?;
        let (first, second) = (job.start()?, second(&job)?);
        // Then one of them ends
        let mut winner = the_one_that_stays(first, second)?;
        // And the other works, without ever having to start again
        winner.wait_ready()?;
        winner.wait_checkpoints(5)?;
        load.wait(END)?;
        let exit = winner.finish()?;
        ensure!(exit.code() == Some(0), "{}", winner.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

/// As under a supervisor that does not look at exit codes, on two machines.
#[test]
fn when_each_end_is_answered_with_a_new_start_every_owner_commits() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(EVENTS).at(1_000).more())?;
        let mut owner = job.start()?;
        owner.wait_ready()?;
        owner.wait_checkpoints(1)?;
        for round in 0..6 {
            let before = job.committed_checkpoint()?;
            let younger: Service = if round % 2 == 0 { second(&job)? } else { third(&job)? };
            // The younger one, unless the older one's attempt failed at that moment and its next one came last.
            owner = the_one_that_stays(owner, younger)?;
            owner.wait_ready()?;
            owner.wait_checkpoints(1)?;
            let after = job.committed_checkpoint()?;
            ensure!(after > before, "round {round}: checkpoint {after} after {before}");
        }
        load.wait(END)?;
        let exit = owner.finish()?;
        ensure!(exit.code() == Some(0), "{}", owner.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}
