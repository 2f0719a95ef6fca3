//! From a checkpoint in the storage to state that can be asked.

use super::super::{Given, Stop, checkpoint, chosen, progress};
use crate::{
    checkpoint::{Found, Manifest, Storage},
    config::Settings,
    engine::stored_states,
    observe::logging,
    protocol::{Failure, JobName},
    state::{Entry, KeyGroups, StateDescriptor, Stored, Workspace, inspect},
};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Which checkpoint, and where there is room for its files.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// Number of the checkpoint; without it, the newest that is marked as committed, or where none is marked, the newest
    #[arg(long, value_name = "N")]
    at: Option<u64>,
    /// For the files while they are looked into; without it, state.dir. On the file system of the storage, tables are linked, else copied
    #[arg(long, value_name = "FOLDER")]
    temp_dir: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// What the manifest of a checkpoint says of its state.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) found: Found,
    pub(super) states: Vec<StateDescriptor>,
}

/// An entry, as `--json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    pub(super) key: Value,
    pub(super) key_group: u16,
    pub(super) value: Value,
    /// Event time in ms from which the time to live counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written_at: Option<i64>,
    /// Event time in ms at which it ends; it is forgotten once the operator's watermark is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
}

impl Where {
    /// Reads the manifest and asks `check` what is wanted of it; only then fetches the files, every one verified by its hash, and opens
    /// them.
    pub(super) fn look<T>(&self, check: impl Fn(&Described) -> Result<T, Failure>) -> Result<(Described, T, Stored), Stop> {
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let storage = checkpoint::open(&settings)?;
        Ok(chosen::with(&storage, self.at, |found| {
            let described = Described { found: found.clone(), states: stored_states(&found.manifest)? };
            let wanted = check(&described)?;
            let stored = self.fetch(&settings, &storage, &found.manifest)?;
            Ok((described, wanted, stored))
        })?)
    }

    fn fetch(&self, settings: &Settings, storage: &Storage, manifest: &Manifest) -> Result<Stored, Failure> {
        let groups = u16::try_from(manifest.max_parallelism).ok().and_then(|groups| KeyGroups::new(groups).ok());
        let groups = groups.ok_or_else(|| {
            let (number, groups) = (manifest.checkpoint, manifest.max_parallelism);
            Failure::refused(format!("checkpoint {number} has {groups} key groups: there can be 1 to {}", KeyGroups::LIMIT))
        })?;
        let workspace = self.workspace(&settings.state.dir, &settings.job.name)?;
        if !manifest.files.is_empty() {
            let bar = progress::bar(Some(manifest.total_bytes), format!("reading checkpoint {}", manifest.checkpoint));
            let restored = storage.restore(manifest, &workspace.db_dir(), settings.checkpoint.timeout, &|done| {
                bar.set_position(done.bytes_done);
            });
            bar.finish_and_clear();
            restored?;
        }
        Stored::open(workspace, groups).map_err(|failure| failure.context(format_args!("checkpoint {}", manifest.checkpoint)))
    }

    /// A folder of its own beside those of the job's attempts: it goes when the command ends, and when a kill leaves it behind, at
    /// the next start of the job or of such a command.
    fn workspace(&self, state_dir: &Path, job: &JobName) -> Result<Workspace, Failure> {
        match &self.temp_dir {
            Some(folder) => {
                Workspace::create(folder, job).map_err(|failure| failure.context("--temp-dir, used in the place of state.dir"))
            }
            None => Workspace::create(state_dir, job)
                .map_err(|failure| Failure::new(failure.kind, format!("{failure}; --temp-dir names another folder"))),
        }
    }
}

impl Described {
    /// The state that the command line names.
    pub(super) fn state(&self, operator: &str, name: &str) -> Result<&StateDescriptor, Failure> {
        let of_operator: Vec<&StateDescriptor> = self.states.iter().filter(|state| state.operator == operator).collect();
        if let Some(state) = of_operator.iter().find(|state| state.name == name) {
            return Ok(state);
        }
        let manifest = &self.found.manifest;
        let number = manifest.checkpoint;
        if !of_operator.is_empty() {
            let there = of_operator.iter().map(|state| state.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Failure::fatal(format!(
                "checkpoint {number}: operator {operator} has no state {name:?}: it has {there}"
            )));
        }
        let there = match self.states.iter().map(StateDescriptor::column_family).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "there is none in this checkpoint".to_owned(),
            there => format!("there are {there}"),
        };
        let elements = manifest.operators.iter().find(|entry| entry.name == operator).map(|entry| entry.operator_state.len());
        let has = match elements {
            None => format!("there is no operator {operator:?}"),
            Some(0) => format!("operator {operator} has no state"),
            Some(elements) => format!(
                "operator {operator} has no keyed state, only {elements} elements of its tasks, which `checkpoint show --json` shows"
            ),
        };
        Err(Failure::fatal(format!("checkpoint {number}: {has}; of keyed states (operator/state) {there}")))
    }
}

impl Shown {
    /// Decodes an entry of `state`.
    pub(super) fn of(state: &StateDescriptor, entry: Entry<'_>) -> Result<Self, Failure> {
        let key =
            state.key.to_json(entry.key).map_err(|failure| failure.context(format_args!("state {}", state.column_family())))?;
        let about =
            |failure: Failure| failure.context(format_args!("state {}, key {}", state.column_family(), state.key.show(&key)));
        let value = inspect::value_to_json(entry.value).map_err(about)?;
        let written_at = inspect::written_at(entry.value).map_err(about)?;
        let ttl = state.ttl_ms.map(|ttl| i64::try_from(ttl).unwrap_or(i64::MAX));
        let expires_at = written_at.zip(ttl).map(|(at, ttl)| at.saturating_add(ttl));
        Ok(Self { key, key_group: entry.group, value, written_at, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{OperatorEntry, Reason},
        protocol::{CheckpointId, ManifestHash, ManifestRef},
        state::{StateValue, Timed, encode_value},
    };

    fn described() -> Described {
        let mut manifest = Manifest::new("orders".parse().unwrap(), CheckpointId(17), None, Reason::Interval);
        let operator = |name: &str, elements: usize| OperatorEntry {
            name: name.into(),
            parallelism: 1,
            operator_state: vec![Value::Null; elements],
            ..OperatorEntry::default()
        };
        manifest.operators = vec![operator("track", 0), operator("batches", 89), operator("decode", 0)];
        let reference = ManifestRef { checkpoint: CheckpointId(17), hash: ManifestHash([0; 32]) };
        let found = Found { manifest, reference, committed: true, object: "17.json".into() };
        let states = vec![
            StateDescriptor::value::<String>("track", "order"),
            StateDescriptor::value::<String>("track", "open"),
            StateDescriptor::value::<String>("dedup", "seen").ttl_ms(1_000),
        ];
        Described { found, states }
    }

    #[test]
    fn an_unknown_operator_or_state_lists_those_that_there_are() {
        let described = described();
        assert_eq!(described.state("track", "open").unwrap().column_family(), "track/open");
        for (operator, state, words) in [
            ("track", "ordr", "no state \"ordr\": it has order, open"),
            (
                "trak",
                "order",
                "no operator \"trak\"; of keyed states (operator/state) there are track/order, track/open, dedup/seen",
            ),
            ("batches", "x", "89 elements of its tasks"),
            ("decode", "x", "operator decode has no state"),
        ] {
            let error = described.state(operator, state).unwrap_err().message;
            assert!(error.contains(words) && error.contains("checkpoint 17"), "{error}");
        }
    }

    #[test]
    fn an_entry_is_shown_with_the_times_of_its_time_to_live() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Seen {
            created: i64,
        }
        impl StateValue for Seen {}
        let described = described();
        let state = described.state("dedup", "seen").unwrap();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        state.key.encode_json(&"O-1".into(), &mut key).unwrap();
        encode_value(&Timed { written_at: 5, value: Seen { created: 5 } }, &mut value).unwrap();
        let shown = Shown::of(state, Entry { group: 9, key: &key, value: &value }).unwrap();
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            serde_json::json!({"key": "O-1", "keyGroup": 9, "value": {"created": 5}, "writtenAt": 5, "expiresAt": 1_005})
        );
        // a value of a later format is named with its key
        let error = Shown::of(state, Entry { group: 9, key: &key, value: b"\x02" }).unwrap_err().message;
        assert!(error.contains("dedup/seen, key O-1") && error.contains("version 2"), "{error}");
    }
}
