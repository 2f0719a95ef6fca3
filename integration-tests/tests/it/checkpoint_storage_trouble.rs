//! A checkpoint storage that cannot be written, is full, or belongs to somebody else: a clear error, and nothing is lost.

use crate::harness::{END, LIMIT, ends_with, job, says, within};
use integration_tests::{Result, ensure, job::Load, leftovers::Leftover, process};
use std::{fs, path::Path, process::Command};

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
        // When the other is started, then it refuses and names both
        ends_with(&mut second.start()?, 4, &[first.name(), second.name(), "belongs to job"])
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
fn a_flipped_bit_in_a_manifest_is_refused_with_the_file() {
    within(LIMIT, || {
        // Given a job with a committed checkpoint
        let job = job()?.with_events(Load::of(1_000))?;
        job.catch_up()?;
        // When one bit of its newest manifest is wrong
        let manifests = job.storage().join(job.name()).join("manifests");
        let newest = fs::read_dir(&manifests)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?.into_iter().max();
        let newest = newest.ok_or_else(|| integration_tests::anyhow!("no manifest in {}", manifests.display()))?;
        let mut bytes = fs::read(&newest)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(&newest, bytes)?;
        // Then no other checkpoint is taken in its place
        let name = newest.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ends_with(&mut job.start()?, 4, &[&name])
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

/// A file system in memory.
struct Tmpfs {
    place: std::path::PathBuf,
    _leftover: Leftover,
}

impl Tmpfs {
    /// None where it is not permitted.
    fn mount(place: &Path, size: &str) -> Result<Option<Self>> {
        let leftover = Leftover::mount(place)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "sluicegate-test"]).arg(place);
        let mounted = process::run(&mut command, END)?.status.success();
        Ok(mounted.then(|| Self { place: place.to_owned(), _leftover: leftover }))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process may still have files open in it. Nothing can be done about an error in a drop.
        let _ = process::run(Command::new("umount").arg("-l").arg(&self.place), END);
    }
}
