//! Savepoints: made while the job runs or when it stops, and what a start from one may do.

use crate::harness::{END, LIMIT, ends_with, job, says, within};
use integration_tests::{
    Context, Result, ensure,
    job::{Job, Load},
};
use std::fs;

const EVENTS: u64 = 10_000;

/// `savepoint create`, and its name.
fn create(job: &Job) -> Result<String> {
    id(&job.succeed(["savepoint", "create", "--json"], END)?)
}

fn id(json: &str) -> Result<String> {
    let made: serde_json::Value = serde_json::from_str(json)?;
    made["id"].as_str().map(str::to_owned).with_context(|| format!("no id in {json}"))
}

/// Starts from a savepoint and works off what is there; the job must end with 0.
fn catch_up_from(job: &Job, arguments: &[&str]) -> Result<()> {
    let all = ["run", "--until-caught-up"].iter().chain(arguments);
    let mut service = job.start_with(all, &[])?;
    let exit = service.wait(END)?;
    ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(60));
    Ok(())
}

fn outputs(job: &Job) -> Result<usize> {
    Ok(job.cluster()?.read(&job.output("order-status"))?.len())
}

#[test]
fn a_job_that_is_stopped_with_a_savepoint_goes_on_from_it() {
    within(LIMIT, || {
        // Given a job under load that is stopped by command
        let mut job = job()?.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(EVENTS).at(4_000).more())?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(3)?;
        let listen = format!("http.listen={}", service.address());
        let stopped = job.succeed(["stop", "--savepoint", "--json", "--set", &listen], END)?;
        let exit = service.wait(END)?;
        ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(40));
        let id = id(&stopped)?;
        load.wait(END)?;
        // When it begins from the savepoint, another parallelism and all: nothing would be given out again, so no word is needed
        job.set("job.parallelism", 3);
        catch_up_from(&job, &["--from", &id])?;
        // Then nothing is lost or doubled; and the same start again goes on
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        job.generate(Load::of(EVENTS).more().more())?;
        catch_up_from(&job, &["--from", &id])?;
        assert_eq!(job.audit()?.number("/records_in")?, 3 * EVENTS);
        // And the savepoint is needed no more
        says(&job.succeed(["savepoint", "list"], END)?, &[&id])?;
        job.succeed(["savepoint", "delete", &id], END)?;
        ensure!(!job.succeed(["savepoint", "list"], END)?.contains(&id), "it is there still");
        job.catch_up()
    });
}

#[test]
fn an_older_savepoint_needs_rewind_which_gives_out_exactly_what_came_after_it() {
    within(LIMIT, || {
        // Given a savepoint of a running job, which has committed more since, and died
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let (before, id) = (outputs(&job)?, create(&job)?);
        job.generate(Load::of(EVENTS).more())?;
        job.catch_up()?;
        let after = outputs(&job)?;
        job.start_failing("after-commit=kill@2")?.wait_killed(END)?;
        // When it is to begin from the savepoint, it says what that would mean, and changes nothing
        ends_with(&mut job.start_with(["run", "--from", &id], &[])?, 4, &[&id, &format!("{EVENTS} records"), "--rewind"])?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        // When it is told to rewind, what came after the savepoint comes again: all of it, once
        let rewind = ["--from", &id, "--rewind"];
        catch_up_from(&job, &rewind)?;
        assert_eq!(outputs(&job)?, after + (after - before));
        // And the same start again, as a container's restart would make it, repeats nothing
        catch_up_from(&job, &rewind)?;
        assert_eq!(outputs(&job)?, after + (after - before));
        let (code, _) = job.audit_any(END)?;
        assert_eq!(code, Some(5), "the audit does not see that outputs came twice");
        Ok(())
    });
}

#[test]
fn a_savepoint_carries_a_job_to_another_storage_and_name() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let before = outputs(&job)?;
        let backup = job.folder().join("backup").display().to_string();
        let made = job.succeed(["savepoint", "create", "--json", "--to", &backup], END)?;
        let place = format!("{backup}/{}", id(&made)?);
        job.generate(Load::of(EVENTS).more())?;
        job.catch_up()?;
        // A second job, with topics, offsets and checkpoints of its own, begins where the first one was, on the same input
        let mut other = Job::for_test(job.bootstrap())?;
        other.set("source.topic", job.input());
        other.create_topics()?;
        let moved = other.folder().join("moved");
        fs::rename(&place, &moved)?;
        catch_up_from(&other, &["--from", &moved.display().to_string()])?;
        // It has the state of the first one: so it gives out what that one did after the savepoint
        assert_eq!(outputs(&other)?, outputs(&job)? - before);
        assert_eq!(other.committed()?, 2 * i64::try_from(EVENTS)?);
        Ok(())
    });
}

#[test]
fn a_savepoint_that_is_damaged_absent_or_none_is_refused_with_its_place() {
    within(LIMIT, || {
        let job = job()?.with_events(Load::of(1_000))?;
        job.catch_up()?;
        let id = create(&job)?;
        let place = job.storage().join(job.name()).join("savepoints").join(&id);
        // Given a wrong byte in its largest file
        let files = fs::read_dir(place.join(job.name()).join("files"))?.collect::<std::io::Result<Vec<_>>>()?;
        let largest =
            files.iter().max_by_key(|file| file.metadata().map(|meta| meta.len()).unwrap_or(0)).context("no files")?.path();
        let mut bytes = fs::read(&largest)?;
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle).context("an empty file")? ^= 1;
        fs::write(&largest, bytes)?;
        let named = largest.display().to_string();
        let shown = job.run(["savepoint", "show", &id])?;
        assert_eq!(shown.status.code(), Some(4), "{}", shown.stderr);
        says(&shown.stderr, &[&named, "damaged"])?;
        ends_with(&mut job.start_with(["run", "--from", &id], &[])?, 4, &[&named, "damaged"])?;
        // And places that hold none
        ends_with(&mut job.start_with(["run", "--from", "7-0badcafe"], &[])?, 4, &["7-0badcafe", "no savepoint"])?;
        let own = job.storage().display().to_string();
        ends_with(&mut job.start_with(["run", "--from", &own], &[])?, 4, &[&own])?;
        let deleted = job.run(["savepoint", "delete", &own])?;
        assert_eq!(deleted.status.code(), Some(4), "{}", deleted.stdout);
        // Nothing was changed by all that
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 1_000);
        Ok(())
    });
}

#[test]
fn stop_says_when_there_is_nothing_to_stop() {
    within(LIMIT, || {
        let job = job()?;
        let stopped = job.run(["stop", "--set", "http.listen=127.0.0.1:1"])?;
        assert_eq!(stopped.status.code(), Some(1), "{}", stopped.stdout);
        says(&stopped.stderr, &["127.0.0.1:1", "is it running"])
    });
}
