//! Checkpoints on a server of buckets (`checkpoint.storage = s3://...`): a kill of the program or of the server in the middle of an upload, a
//! server that hangs, a machine that has nothing but the bucket, and each way to set it wrong. The audit is clean after each.
//!
//! `src/checkpoint/conformance.rs` and `src/checkpoint/bucket_tests.rs` have the storage itself on the same server, with uploads in parts.

use crate::harness::{END, LIMIT, ends_with, job, says, within, works_off_all};
use integration_tests::{Result, ensure, job::Job, job::Load, ports, process::Process, s3::BucketServer, service::Service};
use std::fs;

const EVENTS: u64 = 10_000;

/// A server, or a word on why there is none.
fn server() -> Result<Option<BucketServer>> {
    skipping(BucketServer::start()?)
}

fn skipping(server: Result<BucketServer, String>) -> Result<Option<BucketServer>> {
    match server {
        Ok(server) => Ok(Some(server)),
        Err(why) => {
            eprintln!("skipped: no server of buckets: {why}");
            Ok(None)
        }
    }
}

/// A job with topics that keeps its checkpoints on `server`.
fn job_on(server: &BucketServer) -> Result<Job> {
    let mut job = job()?;
    // A request takes milliseconds where a file takes microseconds: the same number of checkpoints would leave no time for the job.
    job.keep_in(server).set("checkpoint.interval", "500ms");
    Ok(job)
}

/// As on another machine: nothing is left of the job here.
fn forget(job: &Job) -> Result<()> {
    fs::remove_dir_all(job.state())?;
    ensure!(!job.folder().join("checkpoints").exists(), "checkpoints were kept in a folder");
    Ok(())
}

/// The job under load ends in order, and goes on elsewhere: nothing is lost.
fn ends_well(job: &Job, service: &mut Service, load: &mut Process) -> Result<()> {
    let exit = service.finish()?;
    ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
    load.terminate(END)?;
    forget(job)?;
    works_off_all(job, EVENTS)
}

#[test]
fn a_job_goes_on_with_nothing_but_the_bucket() {
    within(LIMIT, || {
        let Some(server) = server()? else { return Ok(()) };
        // Given a bucket that nobody has used: it is all right to begin with
        let job = job_on(&server)?;
        job.create_topics()?;
        let valid = job.succeed(["validate"], END)?;
        says(&valid, &["s3://sluicegate-test/checkpoints; no checkpoint of job"])?;
        let job = job.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        // When the job is started where none of its state is
        forget(&job)?;
        job.generate(Load::of(EVENTS).more())?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        job.catch_up()?;
        // Then nothing is lost, and the commands find its checkpoints
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        let newest = job.committed_checkpoint()?;
        let listed = job.succeed(["checkpoint", "list"], END)?;
        says(&listed, &[&newest.to_string()])?;
        says(&job.succeed(["validate"], END)?, &[&format!("newest checkpoint of job {} is {newest}", job.name())])
    });
}

#[test]
fn a_kill_in_the_middle_of_an_upload_loses_nothing() {
    within(LIMIT, || {
        let Some(server) = server()? else { return Ok(()) };
        let job = job_on(&server)?.with_events(Load::of(EVENTS))?;
        // Input comes as long as the kills: nothing is uploaded of a state that does not change
        let mut load = job.start_generating(Load::of(60 * EVENTS).at(1_000).more())?;
        // Before the first upload has ended, in the middle of one that builds on another, and after the manifest of one
        for point in ["during-upload=kill@2", "during-upload=kill@15", "after-manifest=kill@3"] {
            job.start_failing(point)?.wait_killed(END)?;
            forget(&job)?;
        }
        load.terminate(END)?;
        works_off_all(&job, EVENTS)
    });
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_an_upload_and_comes_back_loses_nothing() {
    within(LIMIT, || {
        let Some(mut server) = server()? else { return Ok(()) };
        if !server.is_durable() {
            eprintln!("skipped: {} forgets everything when it is killed; S3=minio has one that does not", server.describe());
            return Ok(());
        }
        let mut job = job_on(&server)?;
        job.set("restart.attempts", 20).set("log.level", "info,sluicegate::checkpoint=debug");
        let job = job.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(60 * EVENTS).at(1_000).more())?;
        // Given an upload that has begun, some files of it put and others not
        let mut service = job.start_failing("during-upload=sleep:2s@15")?;
        service.wait_at_point()?;
        // When the server is killed, and comes back after the first request to it has failed
        server.kill()?;
        service.wait_says("checkpoint storage: trying again", END)?;
        server.restart()?;
        // Then the job goes on in the same process
        service.wait_checkpoints(3)?;
        ends_well(&job, &mut service, &mut load)
    });
}

#[test]
fn a_server_that_hangs_holds_no_checkpoint_beyond_its_time_and_the_job_goes_on_when_it_answers() {
    within(LIMIT, || {
        let Some(mut server) = server()? else { return Ok(()) };
        let mut job = job_on(&server)?;
        job.set("checkpoint.timeout", "8s").set("restart.attempts", 20);
        let job = job.with_events(Load::of(EVENTS))?;
        let mut load = job.start_generating(Load::of(60 * EVENTS).at(1_000).more())?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        let before = service.metrics()?.sum("sluicegate_restarts_total", &[]);
        // When it stops to answer, with connections open
        server.pause()?;
        // Then the checkpoint under way fails at its time, not when a request does
        service.wait_metric("sluicegate_restarts_total", before + 1.0, END)?;
        says(&service.log()?, &["(checkpoint.timeout)"])?;
        // And all is well when it answers again
        server.resume()?;
        service.wait_checkpoints(2)?;
        ends_well(&job, &mut service, &mut load)
    });
}

#[test]
fn a_bucket_that_is_gone_under_a_job_ends_it_and_is_not_taken_for_an_empty_one() {
    within(LIMIT, || {
        let Some(mut server) = server()? else { return Ok(()) };
        let job = job_on(&server)?.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(1)?;
        let mut load = job.start_generating(Load::of(EVENTS).at(1_000).more())?;
        server.lose_everything()?;
        ends_with(&mut service, 1, &["s3://sluicegate-test/checkpoints", "no such bucket", "AWS_ENDPOINT_URL"])?;
        load.wait(END)?;
        // The same at a start
        ends_with(&mut job.start()?, 1, &["s3://sluicegate-test/checkpoints", "no such bucket"])
    });
}

#[test]
fn wrong_credentials_end_it_with_the_names_of_the_variables() {
    within(LIMIT, || {
        let Some(server) = skipping(BucketServer::start_strict()?)? else { return Ok(()) };
        let mut job = job_on(&server)?;
        job.set_variable("AWS_ACCESS_KEY_ID", "somebody-else");
        job.create_topics()?;
        let words = ["s3://sluicegate-test/checkpoints", "job.json", "403", "InvalidAccessKeyId", "AWS_SECRET_ACCESS_KEY"];
        ends_with(&mut job.start()?, 1, &words)?;
        let finished = job.run(["validate"])?;
        ensure!(finished.status.code() == Some(1), "{finished:?}");
        says(&finished.stdout, &words)
    });
}

#[test]
fn a_missing_bucket_ends_it_with_its_name() {
    within(LIMIT, || {
        let Some(server) = server()? else { return Ok(()) };
        let mut job = job_on(&server)?;
        job.set("checkpoint.storage", "s3://sluicegate-elsewhere/checkpoints");
        job.create_topics()?;
        ends_with(&mut job.start()?, 1, &["s3://sluicegate-elsewhere/checkpoints", "no such bucket", "checkpoint.storage"])
    });
}

#[test]
fn an_endpoint_that_nobody_listens_on_is_tried_for_a_while_and_then_named() {
    within(LIMIT, || {
        let mut job = job()?;
        let address = format!("http://127.0.0.1:{}", ports::free()?);
        job.set("checkpoint.storage", "s3://sluicegate-test/checkpoints").set("restart.strategy", "none");
        job.set_variable("AWS_ENDPOINT_URL", &address).set_variable("AWS_ALLOW_HTTP", "true");
        job.set_variable("AWS_ACCESS_KEY_ID", "a").set_variable("AWS_SECRET_ACCESS_KEY", "b");
        job.create_topics()?;
        let words = ["s3://sluicegate-test/checkpoints", &address, "refused", "given up after", "AWS_ENDPOINT_URL"];
        ends_with(&mut job.start()?, 1, &words)
    });
}

#[test]
fn what_is_wrong_with_the_settings_alone_is_told_at_once() {
    within(LIMIT, || {
        // The form of the location is a setting
        let mut job = job()?;
        job.set("checkpoint.storage", "s3://localhost:9000/checkpoints");
        let finished = job.run(["validate", "--offline"])?;
        ensure!(finished.status.code() == Some(2), "{finished:?}");
        says(&finished.stderr, &["checkpoint.storage", "s3://localhost:9000/checkpoints", "AWS_ENDPOINT_URL"])?;
        // A connection without TLS is asked for
        job.set("checkpoint.storage", "s3://sluicegate-test/checkpoints");
        job.set_variable("AWS_ENDPOINT_URL", "http://127.0.0.1:9000");
        job.create_topics()?;
        ends_with(&mut job.start()?, 1, &["AWS_ENDPOINT_URL=http://127.0.0.1:9000", "AWS_ALLOW_HTTP=true"])
    });
}
