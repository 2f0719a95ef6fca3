//! A checkpoint storage that cannot be written, is full, slow, or belongs to somebody else: a clear error, and nothing is lost.

use crate::harness::{END, LIMIT, Tmpfs, Untouched, contents, ends_with, job, says, within, works_off_all};
use integration_tests::{Context, Result, deadline::wait_until, ensure, job::Load, process};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

const EVENTS: u64 = 20_000;

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    within(LIMIT, || {
        // Given a file where a folder should be: that stops root as well
        let mut job = job()?;
        let file = job.folder().join("file");
        fs::write(&file, "")?;
        let storage = file.join("checkpoints");
        job.set("checkpoint.storage", storage.display());
        job.create_topics()?;
        ends_with(&mut job.start()?, 1, &[&file.display().to_string()])
    });
}

#[test]
fn a_folder_that_is_gone_under_a_job_with_offsets_is_refused() {
    within(LIMIT, || {
        let mut job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let elsewhere = job.folder().join("elsewhere");
        job.set("checkpoint.storage", elsewhere.display());
        ends_with(&mut job.start()?, 4, &["elsewhere", "checkpoint"])
    });
}

#[test]
fn a_folder_of_another_job_is_refused_with_both_names() {
    within(LIMIT, || {
        // Given the storage of one job, copied to where another job keeps its own
        let first = job()?.with_events(Load::of(1_000))?;
        first.catch_up()?;
        let second = job()?;
        second.create_topics()?;
        copy(&first.storage().join(first.name()), &second.storage().join(second.name()))?;
        let before = contents(&second.storage())?;
        // When the other is started, then it refuses and names both, and changes nothing
        ends_with(&mut second.start()?, 4, &[first.name(), second.name(), "belongs to job"])?;
        ensure!(contents(&second.storage())? == before, "the storage has changed");
        ensure!(second.cluster()?.read(&second.output("order-status"))?.is_empty(), "something was given out");
        Ok(())
    });
}

#[test]
fn a_full_disk_ends_the_job_with_the_facts_and_space_lets_it_go_on() {
    within(LIMIT, || {
        // Given a storage of 256 KB, which the first checkpoints fit into
        let mut job = job()?;
        let place = job.folder().join("small");
        fs::create_dir_all(&place)?;
        let Some(_mounted) = Tmpfs::mount(&place, "256k")? else {
            eprintln!("skipped: mounting a small file system needs root");
            return Ok(());
        };
        job.set("checkpoint.storage", place.join("checkpoints").display()).set("restart.attempts", 2);
        let job = job.with_events(Load::of(EVENTS))?;
        // When it runs full
        let mut service = job.start()?;
        let exit = service.wait(END)?;
        // Then the job ends and says why
        ensure!(exit.code() == Some(1), "ended with {}:\n{}", exit.status, service.log()?);
        says(&service.log()?, &["No space left", &place.display().to_string()])?;
        // And with space it goes on, with nothing lost
        process::output(Command::new("mount").args(["-o", "remount,size=256m"]).arg(&place), END)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn no_room_for_the_state_at_a_restore_ends_the_job_and_changes_nothing() {
    within(LIMIT, || {
        // Given a checkpoint, and a state folder of 64 KB on another file system, so that its files must be copied
        let mut job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let place = job.folder().join("small");
        fs::create_dir_all(&place)?;
        let Some(_mounted) = Tmpfs::mount(&place, "64k")? else {
            eprintln!("skipped: mounting a small file system needs root");
            return Ok(());
        };
        job.set("state.dir", place.join("state").display());
        let before = Untouched::of(&job)?;
        // When it is started there, then it ends, says where there is no room, and has changed nothing
        ends_with(&mut job.start()?, 1, &["No space left", &place.display().to_string()])?;
        before.check(&job)?;
        // And with space it goes on
        process::output(Command::new("mount").args(["-o", "remount,size=256m"]).arg(&place), END)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn a_storage_that_becomes_read_only_ends_the_job_with_the_path_and_goes_on_when_it_is_writable() {
    within(LIMIT, || {
        // Given a job at work on a file system of its own
        let mut job = job()?;
        let place = job.folder().join("small");
        fs::create_dir_all(&place)?;
        let Some(_mounted) = Tmpfs::mount(&place, "256m")? else {
            eprintln!("skipped: mounting a small file system needs root");
            return Ok(());
        };
        job.set("checkpoint.storage", place.join("checkpoints").display());
        let job = job.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        // When that becomes read-only, as after an error of the disk; by hand that is refused while a file is being written
        let mut read_only = Command::new("mount");
        read_only.args(["-o", "remount,ro"]).arg(&place);
        wait_until("the storage is read-only", END, || Ok(process::run(&mut read_only, END)?.status.success()))?;
        ends_with(&mut service, 1, &["not permitted", &place.display().to_string()])?;
        // Then nothing is lost
        process::output(Command::new("mount").args(["-o", "remount,rw"]).arg(&place), END)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

/// As an error of the disk or of the network to the storage would.
#[test]
fn an_error_in_any_step_of_a_checkpoint_is_outlived_in_the_same_process() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("restart.attempts", 10);
        let job = job.with_events(Load::of(EVENTS))?;
        let points = ["before-prepare=error@3", "during-upload=error@40", "after-upload=error@6", "before-confirm=error@8"];
        // While records come: nothing is uploaded of a state that does not change.
        let mut load = job.start_generating(Load::of(10 * EVENTS).at(1_000).more())?;
        let mut service = job.start_failing(&points.join(","))?;
        service.wait_ready()?;
        for (count, point) in points.iter().enumerate() {
            service.wait_metric("sluicegate_restarts_total", count as f64 + 1.0, END).with_context(|| point.to_string())?;
        }
        service.wait_checkpoints(2)?;
        load.terminate(END)?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        works_off_all(&job, EVENTS)
    });
}

#[test]
fn one_that_is_slow_by_half_a_minute_delays_a_checkpoint_and_nothing_else() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("checkpoint.timeout", "2min");
        let job = job.with_events(Load::of(EVENTS))?;
        let mut service = job.start_failing("before-prepare=sleep:30s@3")?;
        service.wait_ready()?;
        service.wait_at_point()?;
        // While it waits, the job reads on
        let before = service.checkpoints()?;
        job.generate(Load::of(EVENTS).more())?;
        service.wait_metric("sluicegate_records_in_total", 2.0 * EVENTS as f64, END)?;
        assert_eq!(service.checkpoints()?, before, "the checkpoint was complete before all was read");
        service.wait_checkpoints(2)?;
        assert_eq!(service.metrics()?.sum("sluicegate_restarts_total", &[]), 0.0);
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

#[test]
fn one_that_is_slower_than_a_checkpoint_may_be_lets_that_fail_and_the_next_succeed() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("checkpoint.timeout", "5s");
        let mut job = job.with_events(Load::of(EVENTS))?;
        let mut service = job.start_failing("before-prepare=sleep:12s@3")?;
        service.wait_ready()?;
        service.wait_metric("sluicegate_restarts_total", 1.0, END)?;
        service.wait_checkpoints(2)?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        job.be_patient().catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

/// The file system's own way to write a file whole is another name and a rename.
#[test]
fn what_a_torn_upload_has_left_behind_is_cleared_away() {
    within(LIMIT, || {
        // Given a job that was killed in the middle of an upload, and a file that a power cut has left half written
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.start_failing("during-upload=kill@6")?.wait_killed(END)?;
        let files = job.storage().join(job.name()).join("files");
        let torn = files.join("5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c-9-0badcafe#1");
        fs::write(&torn, "half of it")?;
        // Three days ago: what is young is kept for a while, so that people can look.
        let then = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
        for file in fs::read_dir(&files)? {
            fs::File::options().write(true).open(file?.path())?.set_modified(then)?;
        }
        // When the next start has committed
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(3)?;
        // Then nothing is left but what the committed checkpoint names
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(job.manifest(job.committed_checkpoint()?))?)?;
        let named = manifest["files"].as_array().map_or(0, Vec::len);
        let there = fs::read_dir(&files)?.collect::<std::io::Result<Vec<_>>>()?;
        ensure!(there.len() == named, "{named} files are named, {there:?} are there");
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
