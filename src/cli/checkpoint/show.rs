//! `sluicegate checkpoint show`

use super::{
    super::{Code, Given, Stop, chosen, screen},
    open,
};
use crate::{
    checkpoint::{Found, Manifest},
    engine::stored_states,
    observe::logging,
    protocol::{CheckpointId, Failure},
};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// Show what is in a checkpoint: input, watermarks, states and files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate checkpoint show 17 --json")]
pub(super) struct Show {
    /// Its number, as `checkpoint list` shows it
    #[arg(value_name = "ID")]
    checkpoint: Option<u64>,
    /// As JSON, with the whole manifest
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    checkpoint: u64,
    committed: bool,
    hash: String,
    object: &'a str,
    manifest: &'a Manifest,
}

impl Show {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let storage = open(&settings)?;
        let found = storage.find(self.checkpoint.map(CheckpointId))?;
        if self.json {
            screen::json(&Shown {
                checkpoint: found.manifest.checkpoint.0,
                committed: found.committed,
                hash: found.reference.hash.to_string(),
                object: &found.object,
                manifest: &found.manifest,
            })?;
        } else {
            let newest = storage.list_manifests()?.pop();
            screen::line(&text(&found, newest)?)?;
        }
        Ok(Code::Done)
    }
}

fn text(found: &Found, newest: Option<CheckpointId>) -> Result<String, Failure> {
    let manifest = &found.manifest;
    let mut lines = vec![
        format!("checkpoint    {}, {}", manifest.checkpoint, chosen::mark(found)),
        format!("job           {}, consumer group {}", manifest.job, manifest.group),
        format!("taken         {} by sluicegate {}, {}", manifest.created_at, manifest.sluicegate, manifest.reason),
        format!("manifest      {}", found.object),
        format!("hash          {}", found.reference.hash),
    ];
    if let Some(base) = manifest.base {
        lines.push(format!("builds on     {}", base.checkpoint));
    }
    lines.push(format!(
        "state         {} in {} files, {} of it uploaded for this one",
        HumanBytes(manifest.total_bytes),
        manifest.files.len(),
        HumanBytes(manifest.new_bytes)
    ));
    lines.push(format!("tasks         {} per stage; {} key groups", manifest.parallelism, manifest.max_parallelism));
    if let Some(anchor) = &manifest.anchor {
        lines.push(format!("pointer       offset {} of partition {}-{}", manifest.checkpoint, anchor.topic, anchor.partition));
    }
    for (sink, staged) in &manifest.staged {
        lines.push(format!("staged        by sink {sink}: {}", shown(staged)));
    }
    if let Some(newer) = newest.filter(|newest| *newest > manifest.checkpoint) {
        lines.push(format!("newer         {newer} is there; Kafka says which one counts"));
    }
    for table in [input(manifest), operators(manifest)?, files(manifest)] {
        lines.push(String::new());
        lines.push(table.to_string());
    }
    Ok(lines.join("\n"))
}

/// What a sink has staged: all of it, or how much it is.
fn shown(staged: &[String]) -> String {
    match staged {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        many => format!("{} parts, {} the first", many.len(), many.first().map_or("", String::as_str)),
    }
}

fn input(manifest: &Manifest) -> comfy_table::Table {
    let mut table = screen::table(&["partition", "next offset", "began at", "highest event time", ""]);
    screen::right(&mut table, &[1, 2]);
    for input in &manifest.input {
        table.add_row([
            format!("{}-{}", input.topic, input.partition),
            HumanCount(input.offset.unsigned_abs()).to_string(),
            HumanCount(input.began.unsigned_abs()).to_string(),
            input.timestamp_seen.map_or_else(|| "-".to_owned(), screen::event_time),
            match (input.idle, input.only_here) {
                (true, true) => "idle, not of Kafka",
                (true, false) => "idle",
                (false, true) => "not of Kafka",
                (false, false) => "",
            }
            .to_owned(),
        ]);
    }
    table
}

fn operators(manifest: &Manifest) -> Result<comfy_table::Table, Failure> {
    let states = stored_states(manifest)?;
    let mut table = screen::table(&["operator", "tasks", "watermark", "state", "keys", "time to live"]);
    screen::right(&mut table, &[1]);
    for operator in &manifest.operators {
        let watermark = operator.watermark.map_or_else(|| "-".to_owned(), screen::event_time);
        let begin = || vec![operator.name.clone(), operator.parallelism.to_string(), watermark.clone()];
        let waiting = Some(operator.operator_state.len()).filter(|count| *count > 0);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for state in states.iter().filter(|state| state.operator == operator.name) {
            rows.push([begin(), vec![state.name.clone(), state.key.to_string(), screen::time_to_live(state.ttl_ms)]].concat());
        }
        if let Some(count) = waiting {
            rows.push([begin(), vec![format!("{count} elements of its tasks")]].concat());
        }
        if rows.is_empty() {
            rows.push(begin());
        }
        table.add_rows(rows);
    }
    Ok(table)
}

fn files(manifest: &Manifest) -> comfy_table::Table {
    let mut table = screen::table(&["file", "bytes", "uploaded for", "object"]);
    screen::right(&mut table, &[1]);
    for file in &manifest.files {
        let uploaded_for = file.written_by.split('-').next().unwrap_or_default().to_owned();
        table.add_row([file.name.clone(), HumanCount(file.size).to_string(), uploaded_for, file.object_name()]);
    }
    table
}
