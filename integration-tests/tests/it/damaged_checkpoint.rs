//! The checkpoint that Kafka names is not what it was: a flipped bit, a torn file, a missing one. It is found by its hash before anything
//! is done with it, the file is named, and no older checkpoint is ever taken in its place, although three are kept. The same if it is of a
//! newer version, and if a file may not be read: the storage stays as it is, and nothing is given out.
//!
//! Switch: `file-hash` (for the state files). A manifest is compared with the hash that Kafka holds; nothing switches that off.

use crate::harness::{END, LIMIT, Untouched, ends_with, job, says, within};
use integration_tests::{
    Context, Result, anyhow, ensure,
    job::{Job, Load},
    process,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
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
    let whole = fs::read(file)?;
    let mut bytes = whole.clone();
    damage(&mut bytes)?;
    // A new file: tables in the local state may be links to the old one.
    fs::remove_file(file)?;
    if !bytes.is_empty() {
        fs::write(file, bytes)?;
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let before = Untouched::of(job)?;
    ends_with(&mut job.start()?, 4, &[&name])?;
    before.check(job)?;
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
        let before = Untouched::of(&job)?;
        ends_with(&mut job.start()?, 4, &[&format!("checkpoint {checkpoint}"), "manifest"])?;
        before.check(&job)?;
        fs::rename(&beside, &manifest)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

/// A program of a later version has committed, and this one is started after it.
#[test]
fn a_checkpoint_of_a_newer_version_is_refused_with_both_versions() {
    within(LIMIT, || {
        let job = with_checkpoints()?;
        // Given a manifest of a format to come, which is the one that the committed offsets name
        let manifest = job.manifest(job.committed_checkpoint()?);
        let text = fs::read_to_string(&manifest)?;
        let newer = text.replace("\"format\": 1,", "\"format\": 9,");
        ensure!(newer != text, "no format in {}", manifest.display());
        fs::write(&manifest, &newer)?;
        commit_hash(&job, newer.as_bytes())?;
        let before = Untouched::of(&job)?;
        ends_with(&mut job.start()?, 4, &[&manifest.display().to_string(), "format 9", "up to 2", "newer sluicegate"])?;
        before.check(&job)?;
        // And with the old one it goes on
        fs::write(&manifest, &text)?;
        commit_hash(&job, text.as_bytes())?;
        // And a whole storage of a later version is refused as well
        let owner = job.storage().join(job.name()).join("job.json");
        let ours = fs::read_to_string(&owner)?;
        fs::write(&owner, ours.replace("\"format\":1", "\"format\":9").replace("\"format\": 1", "\"format\": 9"))?;
        let before = Untouched::of(&job)?;
        ends_with(&mut job.start()?, 4, &[&owner.display().to_string(), "format 9"])?;
        before.check(&job)?;
        fs::write(&owner, ours)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

/// Commits the offsets that are committed, with the hash of another manifest of the same checkpoint.
fn commit_hash(job: &Job, manifest: &[u8]) -> Result<()> {
    let hash = blake3::hash(manifest).to_hex();
    let hash = hash.get(..16).context("a short hash")?;
    let mut offsets = TopicPartitionList::new();
    for (partition, (offset, metadata)) in job.cluster()?.committed(&job.group(), &job.input())? {
        let (front, _) = metadata.rsplit_once(':').with_context(|| format!("no hash in {metadata:?}"))?;
        offsets.add_partition_offset(&job.input(), partition, Offset::Offset(offset))?;
        let mut elements = offsets.elements();
        let element = elements.iter_mut().find(|element| element.partition() == partition).context("no element")?;
        element.set_metadata(format!("{front}:{hash}"));
    }
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", job.bootstrap()).set("group.id", job.group()).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    Ok(consumer.commit(&offsets, CommitMode::Sync)?)
}

#[test]
fn a_file_that_may_not_be_read_ends_the_start_with_its_path() {
    within(LIMIT, || {
        // Given a table that nobody may read
        let job = with_checkpoints()?;
        let (_, table) = state_files(&job)?.into_iter().find(|(name, _)| name.ends_with(".sst")).context("no table")?;
        let before = Untouched::of(&job)?;
        let mode = fs::metadata(&table)?.permissions();
        fs::set_permissions(&table, fs::Permissions::from_mode(0o000))?;
        // When the job is started by somebody whom that stops
        let mut command = job.command(["run", "--set", "http.listen=off", "--set", "restart.attempts=1"])?;
        if fs::read(&table).is_ok() {
            command = without_override(&command);
        }
        let finished = process::run(&mut command, END)?;
        fs::set_permissions(&table, mode)?;
        // Then it says which file
        ensure!(finished.status.code() == Some(1), "ended with {}:\n{}", finished.status, finished.stderr);
        says(&finished.stderr, &[&table.display().to_string(), "not permitted"])?;
        before.check(&job)?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}

/// The same command by a root that may not pass over permissions (`CAP_DAC_OVERRIDE`).
fn without_override(command: &Command) -> Command {
    let mut without = Command::new("setpriv");
    let dropped = "-dac_override,-dac_read_search";
    without.args(["--bounding-set", dropped, "--inh-caps", dropped, "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => without.env(name, value),
            None => without.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        without.current_dir(folder);
    }
    without
}
