//! `sluicegate state list`

use super::{
    super::{Code, Stop, chosen, screen},
    looking::{Described, Where},
};
use crate::{
    checkpoint::OperatorEntry,
    engine::snapshot::{ElementKind, ElementsShape, NamedElement},
    protocol::Failure,
    state::{Entry, KeyShape, StateDescriptor, StateKind, Stored, ValueShape, inspect},
};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// List the states of a checkpoint: operators, kinds, keys, values, entries and sizes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate state list --at 17")]
pub(super) struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    checkpoint: u64,
    committed: bool,
    states: Vec<ListedState>,
    operator_state: Vec<ListedElements>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedState {
    operator: String,
    state: String,
    /// None, as for key: it is in the files, but the manifest does not describe it.
    kind: Option<StateKind>,
    key: Option<KeyShape>,
    value: String,
    ttl_ms: Option<u64>,
    entries: u64,
    /// Keys and values, not compressed.
    bytes: u64,
    /// Tables: compressed, and with what was overwritten and not merged yet.
    file_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedElements {
    operator: String,
    /// None for elements without a name.
    state: Option<String>,
    kind: Option<ElementKind>,
    /// What the elements look like.
    value: String,
    elements: usize,
    /// As JSON.
    bytes: usize,
}

impl List {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (described, (), stored) = self.place.look(|_| Ok(()))?;
        let listed = listed(&described, &stored)?;
        if self.json {
            screen::json(&listed)?;
        } else {
            screen::line(&text(&described, &listed))?;
        }
        Ok(Code::Done)
    }
}

fn listed(described: &Described, stored: &Stored) -> Result<Listed, Failure> {
    let manifest = &described.found.manifest;
    let states = described.states.iter().map(|state| count(stored, &state.column_family(), Some(state)));
    let known = |name: &String| described.states.iter().any(|state| state.column_family() == *name);
    let others = stored.names().iter().filter(|name| !known(name)).map(|name| count(stored, name, None));
    Ok(Listed {
        checkpoint: manifest.checkpoint.0,
        committed: described.found.committed,
        states: states.chain(others).collect::<Result<_, _>>()?,
        operator_state: manifest.operators.iter().flat_map(elements).collect(),
    })
}

/// What lies in the manifest, by the names of states. Event time is no state.
fn elements(operator: &OperatorEntry) -> Vec<ListedElements> {
    let mut listed: Vec<(ListedElements, ElementsShape)> = Vec::new();
    for stored in &operator.operator_state {
        let (state, kind, element) = match NamedElement::read(stored) {
            Some(NamedElement { kind: ElementKind::EventTime, .. }) => continue,
            Some(named) => (Some(named.state), Some(named.kind), named.element),
            None => (None, None, stored.clone()),
        };
        let place = listed.iter().position(|(other, _)| other.state == state && other.kind == kind).unwrap_or_else(|| {
            let (operator, value) = (operator.name.clone(), String::new());
            listed.push((ListedElements { operator, state, kind, value, elements: 0, bytes: 0 }, ElementsShape::default()));
            listed.len() - 1
        });
        if let Some((found, shape)) = listed.get_mut(place) {
            found.elements += 1;
            found.bytes += element.to_string().len();
            shape.learn(kind.unwrap_or(ElementKind::List), &element);
        }
    }
    listed.into_iter().map(|(found, shape)| ListedElements { value: shape.to_string(), ..found }).collect()
}

fn count(stored: &Stored, name: &str, state: Option<&StateDescriptor>) -> Result<ListedState, Failure> {
    let (mut entries, mut bytes, mut last_group) = (0, 0, None);
    let mut shape = ValueShape::default();
    stored.scan(name, &[], |Entry { group, key, value }| {
        entries += 1;
        bytes += (key.len() + value.len()) as u64;
        if last_group.replace(group) != Some(group) {
            let about = |failure: Failure| failure.context(format_args!("state {name}"));
            shape.learn(&inspect::value_to_json(value).map_err(about)?);
        }
        Ok::<bool, Failure>(true)
    })?;
    let (operator, short) = name.split_once('/').unwrap_or((name, ""));
    Ok(ListedState {
        operator: operator.to_owned(),
        state: short.to_owned(),
        kind: state.map(|state| state.kind),
        key: state.map(|state| state.key.clone()),
        value: shape.to_string(),
        ttl_ms: state.and_then(|state| state.ttl_ms),
        entries,
        bytes,
        file_bytes: stored.file_bytes(name)?,
    })
}

fn text(described: &Described, listed: &Listed) -> String {
    let mut table =
        screen::table(&["operator", "state", "kind", "keys", "values", "time to live", "entries", "bytes", "in files"]);
    screen::right(&mut table, &[6, 7, 8]);
    for state in &listed.states {
        let kind = match state.kind {
            Some(StateKind::Value) => "value",
            Some(StateKind::Map) => "map",
            Some(StateKind::List) => "list",
            Some(StateKind::Reducing) => "reducing",
            Some(StateKind::Aggregating) => "aggregating",
            Some(StateKind::Timer) => "timer",
            Some(StateKind::Operator) => "operator",
            Some(StateKind::Broadcast) => "broadcast",
            None => "not in the manifest",
        };
        table.add_row([
            state.operator.clone(),
            state.state.clone(),
            kind.to_owned(),
            state.key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            state.value.clone(),
            screen::time_to_live(state.ttl_ms),
            HumanCount(state.entries).to_string(),
            HumanBytes(state.bytes).to_string(),
            HumanBytes(state.file_bytes).to_string(),
        ]);
    }
    for ListedElements { operator, state, kind, value, elements, bytes } in &listed.operator_state {
        let kind = match kind {
            Some(ElementKind::Broadcast) => "broadcast",
            Some(ElementKind::List) => "list of tasks",
            Some(ElementKind::EventTime) | None => "elements of tasks",
        };
        let state = state.clone().unwrap_or_else(|| "-".to_owned());
        let (entries, bytes) = (HumanCount(*elements as u64).to_string(), HumanBytes(*bytes as u64).to_string());
        let [none, kind, in_manifest] = ["-", kind, "in the manifest"].map(str::to_owned);
        table.add_row([operator.clone(), state, kind, none.clone(), value.clone(), none, entries, bytes, in_manifest]);
    }
    format!("checkpoint {}, {}\n\n{table}", listed.checkpoint, chosen::mark(&described.found))
}
