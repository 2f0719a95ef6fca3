//! `sluicegate checkpoint list`

use super::{
    super::{Code, Given, Stop, screen},
    open,
};
use crate::{
    checkpoint::{Holdings, Manifest, Storage},
    protocol::{Failure, FailureKind, ManifestRef},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// List the checkpoints in the storage, the newest last.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate checkpoint list --set checkpoint.storage=/var/lib/sluicegate/checkpoints")]
pub(super) struct List {
    /// As JSON, with offsets, files and hashes
    #[arg(long)]
    json: bool,
    /// With --json: an object of the checkpoints and of what the files of all of them take, instead of an array of the checkpoints
    #[arg(long, requires = "json")]
    total: bool,
    #[command(flatten)]
    given: Given,
}

/// What `--json --total` shows. Without `--total` it is the array alone, as it was before there was a total: programs read that.
#[derive(Debug, Serialize)]
struct WithTotal<'l> {
    checkpoints: &'l [Listed],
    total: Holdings,
}

/// A checkpoint in the storage, as `--json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    checkpoint: u64,
    committed: bool,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Content {
    #[serde(rename_all = "camelCase")]
    Whole {
        hash: String,
        created_at: String,
        reason: String,
        parallelism: u32,
        total_bytes: u64,
        new_bytes: u64,
        files: usize,
        offsets: BTreeMap<String, i64>,
        watermarks: BTreeMap<String, Option<i64>>,
    },
    Damaged {
        error: String,
    },
}

impl List {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        // Nothing is recovered here, so nothing can refuse to be.
        let failed = |failure: Failure| match failure.kind {
            FailureKind::Refused => Failure::fatal(failure.message),
            _ => failure,
        };
        let storage = open(&settings).map_err(failed)?;
        let (listed, manifests) = listed(&storage).map_err(failed)?;
        match (self.json, self.total) {
            (true, false) => screen::json(&listed)?,
            (true, true) => {
                let total = storage.holdings(&manifests).map_err(failed)?;
                screen::json(&WithTotal { checkpoints: &listed, total })?;
            }
            (false, _) => {
                screen::line(&table(&listed).to_string())?;
                screen::line(&total(listed.len(), &storage.holdings(&manifests).map_err(failed)?))?;
            }
        }
        let whole = listed.iter().all(|one| matches!(one.content, Content::Whole { .. }));
        Ok(if whole { Code::Done } else { Code::Failed })
    }
}

/// What is shown of each checkpoint, and the manifests that could be read.
fn listed(storage: &Storage) -> Result<(Vec<Listed>, Vec<Manifest>), Failure> {
    let marked = storage.marks()?;
    let (mut listed, mut manifests) = (Vec::new(), Vec::new());
    for checkpoint in storage.list_manifests()? {
        let (committed, content) = match storage.read_manifest(checkpoint) {
            Ok((manifest, found)) => {
                let content = content(&manifest, found);
                manifests.push(manifest);
                (marked.get(&checkpoint) == Some(&found.hash), content)
            }
            // A running job deletes what it no longer needs: gone since it was listed is no error.
            Err(_) if !storage.list_manifests()?.contains(&checkpoint) => continue,
            Err(failure) => (marked.contains_key(&checkpoint), Content::Damaged { error: failure.message }),
        };
        listed.push(Listed { checkpoint: checkpoint.0, committed, content });
    }
    Ok((listed, manifests))
}

/// `2 checkpoints name 31 files, 340.21 MiB in all; 4 files, 12.80 MiB, are named by none`
fn total(checkpoints: usize, holdings: &Holdings) -> String {
    let (named, others) = (holdings.referenced, holdings.unreferenced);
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let mut text = format!(
        "{checkpoints} checkpoint{} name{} {} file{}, {} in all",
        plural(checkpoints as u64),
        if checkpoints == 1 { "s" } else { "" },
        named.files,
        plural(named.files),
        indicatif::HumanBytes(named.bytes)
    );
    if others.files > 0 {
        text += &format!(
            "; {} file{}, {}, {} named by none: on the way, or cleared away after a later commit",
            others.files,
            plural(others.files),
            indicatif::HumanBytes(others.bytes),
            if others.files == 1 { "is" } else { "are" }
        );
    }
    text
}

fn content(manifest: &Manifest, found: ManifestRef) -> Content {
    Content::Whole {
        hash: found.hash.to_string(),
        created_at: manifest.created_at.clone(),
        reason: manifest.reason.to_string(),
        parallelism: manifest.parallelism,
        total_bytes: manifest.total_bytes,
        new_bytes: manifest.new_bytes,
        files: manifest.files.len(),
        offsets: manifest.positions().iter().map(|(partition, offset)| (partition.to_string(), *offset)).collect(),
        watermarks: manifest.operators.iter().map(|operator| (operator.name.clone(), operator.watermark)).collect(),
    }
}

fn table(listed: &[Listed]) -> comfy_table::Table {
    let mut table =
        screen::table(&["checkpoint", "committed", "created", "reason", "state", "uploaded", "files", "read", "hash"]);
    screen::right(&mut table, &[0, 4, 5, 6, 7]);
    for Listed { checkpoint, committed, content } in listed {
        let committed = if *committed { "yes" } else { "no" };
        let mut row = vec![checkpoint.to_string(), committed.to_owned()];
        match content {
            Content::Damaged { error } => row.push(error.clone()),
            Content::Whole { hash, created_at, reason, total_bytes, new_bytes, files, offsets, .. } => row.extend([
                created_at.clone(),
                reason.clone(),
                indicatif::HumanBytes(*total_bytes).to_string(),
                indicatif::HumanBytes(*new_bytes).to_string(),
                files.to_string(),
                indicatif::HumanCount(offsets.values().map(|offset| offset.unsigned_abs()).sum()).to_string(),
                hash.chars().take(16).collect(),
            ]),
        }
        table.add_row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{Amount, Executor, InputPosition, Location, Reason},
        protocol::{CheckpointId, JobName},
    };
    use std::sync::Arc;

    #[test]
    fn committed_uncommitted_and_damaged_checkpoints_are_told_apart() {
        // given a marked checkpoint, a newer one that is not, and one whose manifest has a wrong byte
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::config::load(&crate::config::Sources {
            set: vec![format!("checkpoint.storage={}", folder.path().display()), "job.name=shop".into()],
            ..Default::default()
        })
        .unwrap();
        let job: JobName = "shop".parse().unwrap();
        let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let storage = Storage::open(&Location::folder(folder.path()).unwrap(), &job, Executor::Own(runtime)).unwrap();
        for number in 4..7 {
            let mut manifest = Manifest::new(job.clone(), CheckpointId(number), None, Reason::Interval);
            let position = InputPosition {
                topic: "orders".into(),
                partition: 0,
                offset: 10 * number as i64,
                began: 0,
                timestamp_seen: None,
                idle: false,
                only_here: false,
            };
            manifest.group = "sluicegate-shop".into();
            manifest.parallelism = 2;
            manifest.max_parallelism = 128;
            manifest.input.push(position);
            let reference = storage.put_manifest(&manifest).unwrap();
            if number == 4 {
                storage.put_marker(reference).unwrap();
            }
        }
        let damaged = folder.path().join("shop/manifests/00000000000000000006.json");
        std::fs::write(&damaged, "{").unwrap();
        // when they are listed
        let (listed, manifests) = listed(&open(&settings).unwrap()).unwrap();
        // then each is what it is
        let json = serde_json::to_value(&listed).unwrap();
        assert_eq!((&json[0]["checkpoint"], &json[0]["committed"]), (&4.into(), &true.into()), "{json}");
        assert_eq!((&json[1]["checkpoint"], &json[1]["committed"]), (&5.into(), &false.into()), "{json}");
        assert_eq!(json[1]["offsets"]["orders-0"], 50, "{json}");
        let error = json[2]["error"].as_str().unwrap();
        assert!(error.contains(damaged.to_str().unwrap()), "{error}");
        let table = table(&listed).to_string();
        assert!(table.contains("committed") && table.lines().count() >= 4, "{table}");
        assert_eq!(manifests.len(), 2);
    }

    #[test]
    fn the_total_is_beside_the_checkpoints_and_not_among_them() {
        let listed = [Listed { checkpoint: 7, committed: true, content: Content::Damaged { error: "torn".into() } }];
        let amount = |files, bytes| Amount { files, bytes };
        let total = Holdings { referenced: amount(3, 40), unreferenced: amount(1, 2) };
        let json = serde_json::to_value(WithTotal { checkpoints: &listed, total }).unwrap();
        assert_eq!(json["checkpoints"], serde_json::to_value(&listed).unwrap());
        let total = serde_json::json!({"referenced": {"files": 3, "bytes": 40}, "unreferenced": {"files": 1, "bytes": 2}});
        assert_eq!(json["total"], total);
    }

    #[test]
    fn the_last_line_says_what_the_files_take_and_what_of_it_nobody_names() {
        let amount = |files, bytes| Amount { files, bytes };
        let one = Holdings { referenced: amount(31, 340 << 20), unreferenced: Amount::default() };
        assert_eq!(total(1, &one), "1 checkpoint names 31 files, 340.00 MiB in all");
        let more = Holdings { referenced: amount(1, 2048), unreferenced: amount(4, 1 << 20) };
        assert_eq!(
            total(2, &more),
            "2 checkpoints name 1 file, 2.00 KiB in all; 4 files, 1.00 MiB, are named by none: on the way, or cleared away after a later commit"
        );
    }
}
