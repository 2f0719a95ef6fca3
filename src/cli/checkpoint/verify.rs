//! `sluicegate checkpoint verify`

use super::{
    super::{Code, Given, Stop, chosen, progress, screen},
    open,
};
use crate::{
    checkpoint::{Damage, Found, Problem, Storage},
    config::Settings,
    observe::logging,
    protocol::{Failure, FailureKind},
};
use serde::Serialize;

/// Read every file of a checkpoint and say whether it can be restored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate checkpoint verify --set checkpoint.storage=/mnt/backup/checkpoints")]
pub(super) struct Verify {
    /// Its number, as `checkpoint list` shows it
    #[arg(value_name = "ID")]
    checkpoint: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// None where the manifest itself cannot be read and no number was given.
    checkpoint: Option<u64>,
    committed: bool,
    restorable: bool,
    files: usize,
    bytes: u64,
    damaged: Vec<DamagedFile>,
    /// Why the manifest cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DamagedFile {
    file: String,
    object: String,
    problem: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<Damage> for DamagedFile {
    fn from(damage: Damage) -> Self {
        let (problem, detail) = match damage.problem {
            Problem::Missing => ("missing", None),
            Problem::Damaged(words) => ("damaged", Some(words)),
        };
        Self { file: damage.file.name, object: damage.object, problem, detail }
    }
}

impl Verify {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let storage = open(&settings)?;
        let (found, damaged) = match chosen::with(&storage, self.checkpoint, |found| examine(&storage, &settings, found)) {
            Ok(examined) => examined,
            Err(failure) if self.json && failure.kind == FailureKind::Refused => {
                let error = Some(failure.message);
                let (committed, restorable, files, bytes, damaged) = (false, false, 0, 0, Vec::new());
                screen::json(&Report { checkpoint: self.checkpoint, committed, restorable, files, bytes, damaged, error })?;
                return Ok(Code::Refused);
            }
            Err(failure) => return Err(failure.into()),
        };
        let restorable = damaged.is_empty();
        if self.json {
            screen::json(&Report {
                checkpoint: Some(found.manifest.checkpoint.0),
                committed: found.committed,
                restorable,
                files: found.manifest.files.len(),
                bytes: found.manifest.total_bytes,
                damaged: damaged.into_iter().map(DamagedFile::from).collect(),
                error: None,
            })?;
        } else {
            screen::line(&text(&found, damaged))?;
        }
        Ok(if restorable { Code::Done } else { Code::Refused })
    }
}

fn examine(storage: &Storage, settings: &Settings, found: &Found) -> Result<(Found, Vec<Damage>), Failure> {
    let number = found.manifest.checkpoint;
    let bar = progress::bar(Some(found.manifest.total_bytes), format!("reading checkpoint {number}"));
    let damaged = storage.examine(&found.manifest, settings.checkpoint.timeout, &|done| bar.set_position(done.bytes_done));
    bar.finish_and_clear();
    let damaged = damaged?;
    // A running job deletes manifests before their files: no damage.
    if !damaged.is_empty() && !storage.has_manifest(number)? {
        return Err(Failure::refused(format!("checkpoint {number} was cleared away")));
    }
    Ok((found.clone(), damaged))
}

fn text(found: &Found, damaged: Vec<Damage>) -> String {
    let (number, count) = (found.manifest.checkpoint, found.manifest.files.len());
    if damaged.is_empty() {
        let bytes = indicatif::HumanBytes(found.manifest.total_bytes);
        let mark = chosen::mark(found);
        return format!(
            "checkpoint {number} ({mark}) can be restored: {count} files, {bytes}, each with the size and the hash of the manifest"
        );
    }
    let mut table = screen::table(&["file", "problem", "object"]);
    let broken = damaged.len();
    for damage in damaged.into_iter().map(DamagedFile::from) {
        let detail = damage.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        table.add_row([damage.file, format!("{}{detail}", damage.problem), damage.object]);
    }
    format!("{table}\n\ncheckpoint {number} cannot be restored: {broken} of {count} files are damaged or missing")
}
