//! The checkpoint that Kafka names is not what it was: a flipped bit, a torn file, a missing one. It is found by its hash before anything
//! is done with it, the file is named, and no older checkpoint is ever taken in its place, although three are kept.
//!
//! Switch: `file-hash` (for the state files). A manifest is compared with the hash that Kafka holds; nothing switches that off.

use crate::harness::{LIMIT, ends_with, job, within};
use integration_tests::{Context, Result, anyhow, ensure, job::Job, job::Load};
use std::{
    fs,
    path::{Path, PathBuf},
};

const EVENTS: u64 = 3_000;

/// A job with several kept checkpoints that ends with a committed one.
fn with_checkpoints() -> Result<Job> {
    let mut job = job()?;
    job.set("checkpoint.retained", 3);
    let job = job.with_events(Load::of(EVENTS))?;
    for _ in 0..3 {
        job.catch_up()?;
    }
    let kept = fs::read_dir(job.storage().join(job.name()).join("manifests"))?.count();
    ensure!(kept >= 3, "only {kept} checkpoints are kept");
    Ok(job)
}

/// The files of the committed checkpoint, as they lie in the storage, by RocksDB's name.
fn state_files(job: &Job) -> Result<Vec<(String, PathBuf)>> {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(job.manifest(job.committed_checkpoint()?))?)?;
    let files = manifest["files"].as_array().context("no files in the manifest")?;
    let text = |file: &serde_json::Value, field: &str| file[field].as_str().map(str::to_owned).context("a field is missing");
    let folder = job.storage().join(job.name()).join("files");
    let place = |file| Ok((text(file, "name")?, folder.join(format!("{}-{}", text(file, "hash")?, text(file, "written_by")?))));
    files.iter().map(place).collect()
}

/// Does something to `file`, sees the start refused with its name, and puts the file back: then all is well again.
fn found(job: &Job, file: &Path, damage: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let before = job.committed_checkpoint()?;
    let whole = fs::read(file)?;
    let mut bytes = whole.clone();
    damage(&mut bytes)?;
    // A new file: tables in the local state may be links to the old one.
    fs::remove_file(file)?;
    if !bytes.is_empty() {
        fs::write(file, bytes)?;
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ends_with(&mut job.start()?, 4, &[&name])?;
    assert_eq!(job.committed_checkpoint()?, before, "something was committed");
    fs::write(file, whole)?;
    job.catch_up()
}

fn flip(bytes: &mut [u8]) -> Result<()> {
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).ok_or_else(|| anyhow!("an empty file"))? ^= 1;
    Ok(())
}

fn tear(bytes: &mut Vec<u8>) -> Result<()> {
    ensure!(bytes.len() > 1, "too short to be torn");
    bytes.truncate(bytes.len() / 2);
    Ok(())
}

#[test]
fn a_flipped_bit_in_a_table_is_refused_with_the_file() {
    within(LIMIT, || {
        let job = with_checkpoints()?;
        let files = state_files(&job)?;
        let table = files
            .into_iter()
            .filter(|(name, _)| name.ends_with(".sst"))
            .max_by_key(|(_, path)| fs::metadata(path).map(|m| m.len()).ok());
        let (_, table) = table.context("no table in the checkpoint")?;
        found(&job, &table, |bytes| flip(bytes))?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn any_torn_file_of_the_state_is_refused_with_its_name() {
    within(LIMIT, || {
        let job = with_checkpoints()?;
        for kind in [".sst", "MANIFEST-", "CURRENT"] {
            let files = state_files(&job)?;
            let (_, path) = files.into_iter().find(|(name, _)| name.contains(kind)).with_context(|| format!("no {kind}"))?;
            found(&job, &path, tear).context(kind)?;
        }
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn a_missing_file_of_the_state_is_refused_with_its_name() {
    within(LIMIT, || {
        let job = with_checkpoints()?;
        let (_, path) = state_files(&job)?.into_iter().find(|(name, _)| name.ends_with(".sst")).context("no table")?;
        found(&job, &path, |bytes| {
            bytes.clear();
            Ok(())
        })?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn a_flipped_bit_in_a_manifest_is_refused_with_the_file() {
    within(LIMIT, || {
        let job = with_checkpoints()?;
        let manifest = job.manifest(job.committed_checkpoint()?);
        found(&job, &manifest, |bytes| flip(bytes))?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

#[test]
fn a_missing_manifest_is_refused_although_older_ones_are_there() {
    within(LIMIT, || {
        let job = with_checkpoints()?;
        let checkpoint = job.committed_checkpoint()?;
        let manifest = job.manifest(checkpoint);
        let beside = job.folder().join("aside.json");
        fs::rename(&manifest, &beside)?;
        ends_with(&mut job.start()?, 4, &[&format!("checkpoint {checkpoint}"), "manifest"])?;
        fs::rename(&beside, &manifest)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
