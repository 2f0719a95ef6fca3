//! `sluicegate savepoint`

use super::{Code, Given, Stop, checkpoint, progress, screen};
use crate::{
    checkpoint::{Executor, FoundSavepoint, Location, RestoreProgress, Savepoint},
    config::Settings,
    protocol::{CheckpointId, Failure},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Make, list, show and delete savepoints: copies of committed checkpoints that stay until somebody deletes them.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct SavepointCommand {
    #[command(subcommand)]
    command: Command,
}

// What --help says stands here: at a command's own type, what the settings say that are flattened into it would go over it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Copy the last committed checkpoint, of a running job or of one that is stopped.
    ///
    /// The copy is whole and belongs to itself: every file is verified on the way, nothing in it is shared with the job's checkpoints, and it
    /// can be copied elsewhere with any tool. It is as old as the last commit: at most checkpoint.interval, if the job runs.
    Create(Create),
    /// List the savepoints of the job, the oldest checkpoint first.
    List(List),
    /// Show what a savepoint holds, and verify every file of it.
    Show(Show),
    /// Delete a savepoint. No job needs one after its first commit.
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate savepoint create --config config/orders.toml")]
struct Create {
    /// Copy this committed checkpoint instead of the last one
    #[arg(long, value_name = "CHECKPOINT")]
    checkpoint: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

/// Where new savepoints go.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Place {
    /// Folder or URL below which it is made, instead of checkpoint.storage/<job>/savepoints
    #[arg(long, value_name = "LOCATION")]
    to: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate savepoint list --json")]
struct List {
    /// Look here instead of checkpoint.storage/<job>/savepoints
    #[arg(long, value_name = "LOCATION")]
    at: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate savepoint show 42-0badcafe")]
struct Show {
    /// Its name, or where it lies
    savepoint: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate savepoint delete 42-0badcafe")]
struct Delete {
    /// Its name, or where it lies
    savepoint: String,
    #[command(flatten)]
    given: Given,
}

/// A savepoint as `--json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    location: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Content {
    #[serde(rename_all = "camelCase")]
    Whole {
        job: String,
        checkpoint: u64,
        hash: String,
        created_at: String,
        total_bytes: u64,
        files: usize,
        max_parallelism: u32,
        offsets: BTreeMap<String, i64>,
        states: Vec<String>,
    },
    Damaged {
        error: String,
    },
}

impl SavepointCommand {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        match &self.command {
            Command::Create(create) => create.run(),
            Command::List(list) => list.run(),
            Command::Show(show) => show.run(),
            Command::Delete(delete) => delete.run(),
        }
    }
}

impl Create {
    fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        let made = create(&settings, self.checkpoint.map(CheckpointId), &self.place)?;
        tell(&made, self.json)?;
        Ok(Code::Done)
    }
}

impl List {
    fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        let parent = match &self.at {
            Some(at) => at.parse()?,
            None => usual_place(&settings),
        };
        let listed: Vec<Listed> =
            Savepoint::list(&parent, &checkpoint::executor()?)?.into_iter().map(|found| listed(&parent, found)).collect();
        if self.json {
            screen::json(&listed)?;
        } else {
            screen::line(&table(&listed).to_string())?;
        }
        let whole = listed.iter().all(|one| matches!(one.content, Content::Whole { .. }));
        Ok(if whole { Code::Done } else { Code::Failed })
    }
}

impl Show {
    fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        let savepoint = named(&self.savepoint, &settings, &checkpoint::executor()?)?;
        let bar = progress::bar(Some(savepoint.manifest.total_bytes), "verifying");
        let on = |progress: RestoreProgress| bar.set_position(progress.bytes_done);
        savepoint.storage.verify(&savepoint.manifest, settings.checkpoint.timeout, &on)?;
        bar.finish_and_clear();
        let listed = Listed { id: savepoint.id(), location: savepoint.location.to_string(), content: content(&savepoint) };
        if self.json {
            screen::json(&listed)?;
        } else {
            screen::line(&table(std::slice::from_ref(&listed)).to_string())?;
            if let Content::Whole { offsets, states, .. } = &listed.content {
                screen::line(&format!("\nlies in     {}", listed.location))?;
                for (partition, offset) in offsets {
                    screen::line(&format!("goes on at  {partition}: {offset}"))?;
                }
                for state in states {
                    screen::line(&format!("state       {state}"))?;
                }
            }
        }
        Ok(Code::Done)
    }
}

impl Delete {
    fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        let location = location_of(&self.savepoint, &settings)?;
        let objects = Savepoint::delete(&location, &checkpoint::executor()?)?;
        screen::line(&format!("{location}: deleted, {objects} objects"))?;
        Ok(Code::Done)
    }
}

/// Copies a committed checkpoint of the job: the last one, unless another is wanted.
pub(super) fn create(settings: &Settings, wanted: Option<CheckpointId>, place: &Place) -> Result<Savepoint, Stop> {
    let parent = match &place.to {
        Some(to) => to.parse()?,
        None => usual_place(settings),
    };
    let storage = checkpoint::open(settings)?;
    // Where the state lies anyway: there is room for it, and tables can be linked if the checkpoints are on the same disk.
    let failed = |error: std::io::Error| Failure::fatal(format!("state.dir {}: {error}", settings.state.dir.display()));
    std::fs::create_dir_all(&settings.state.dir).map_err(failed)?;
    let staging = tempfile::Builder::new().prefix(".savepoint-").tempdir_in(&settings.state.dir).map_err(failed)?;
    let bar = progress::bar(Some(0), "copying");
    let on = |progress: RestoreProgress| {
        bar.set_length(progress.bytes);
        bar.set_position(progress.bytes_done);
    };
    let within = settings.checkpoint.timeout;
    let made = Savepoint::create(&storage, wanted, &parent, staging.path(), within, &checkpoint::executor()?, &on)?;
    bar.finish_and_clear();
    Ok(made)
}

/// Says where a new savepoint is.
pub(super) fn tell(made: &Savepoint, json: bool) -> Result<(), Stop> {
    let listed = Listed { id: made.id(), location: made.location.to_string(), content: content(made) };
    if json {
        return screen::json(&listed);
    }
    let (checkpoint, bytes) = (made.manifest.checkpoint, indicatif::HumanBytes(made.manifest.total_bytes));
    screen::line(&format!("savepoint {} of checkpoint {checkpoint}, {bytes}, in {}", listed.id, listed.location))
}

/// Opens the savepoint that a person names, by its name or its place.
pub(super) fn named(text: &str, settings: &Settings, executor: &Executor) -> Result<Savepoint, Failure> {
    Savepoint::open(&location_of(text, settings)?, executor)
}

fn location_of(text: &str, settings: &Settings) -> Result<Location, Failure> {
    if Savepoint::is_id(text) {
        return Ok(usual_place(settings).below(text));
    }
    text.parse()
}

fn usual_place(settings: &Settings) -> Location {
    Savepoint::folder(&settings.checkpoint.storage, &settings.job.name)
}

fn listed(parent: &Location, FoundSavepoint { id, savepoint }: FoundSavepoint) -> Listed {
    let location = parent.below(&id).to_string();
    let content = match savepoint {
        Ok(savepoint) => content(&savepoint),
        Err(failure) => Content::Damaged { error: failure.message },
    };
    Listed { id, location, content }
}

fn content(savepoint: &Savepoint) -> Content {
    let manifest = &savepoint.manifest;
    Content::Whole {
        job: manifest.job.to_string(),
        checkpoint: manifest.checkpoint.0,
        hash: savepoint.reference.hash.to_string(),
        created_at: manifest.created_at.clone(),
        total_bytes: manifest.total_bytes,
        files: manifest.files.len(),
        max_parallelism: manifest.max_parallelism,
        offsets: manifest.positions().iter().map(|(partition, offset)| (partition.to_string(), *offset)).collect(),
        states: manifest.state_names().collect(),
    }
}

fn table(listed: &[Listed]) -> comfy_table::Table {
    let mut table = screen::table(&["savepoint", "job", "checkpoint", "created", "state", "files", "read"]);
    screen::right(&mut table, &[2, 4, 5, 6]);
    for Listed { id, content, .. } in listed {
        let mut row = vec![id.clone()];
        match content {
            Content::Damaged { error } => row.push(error.clone()),
            Content::Whole { job, checkpoint, created_at, total_bytes, files, offsets, .. } => row.extend([
                job.clone(),
                checkpoint.to_string(),
                created_at.clone(),
                indicatif::HumanBytes(*total_bytes).to_string(),
                files.to_string(),
                indicatif::HumanCount(offsets.values().map(|offset| offset.unsigned_abs()).sum()).to_string(),
            ]),
        }
        table.add_row(row);
    }
    table
}
