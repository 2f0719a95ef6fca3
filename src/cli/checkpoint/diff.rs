//! `sluicegate checkpoint diff`

use super::{
    super::{Code, Given, Stop, screen},
    open,
};
use crate::{
    checkpoint::{Change, Difference, FileGroup, StateEntry},
    observe::logging,
    protocol::CheckpointId,
};
use indicatif::{HumanBytes, HumanCount};

/// Compare two checkpoints: files, offsets, operators and states.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate checkpoint diff 16 17")]
pub(super) struct Diff {
    /// Number of the one
    #[arg(value_name = "A")]
    from: u64,
    /// Number of the other
    #[arg(value_name = "B")]
    to: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

impl Diff {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let storage = open(&settings)?;
        let read = |number| storage.find(Some(CheckpointId(number)));
        let difference = Difference::between(&read(self.from)?.manifest, &read(self.to)?.manifest);
        if self.json {
            screen::json(&difference)?;
        } else {
            screen::line(&text(&difference))?;
        }
        Ok(Code::Done)
    }
}

fn text(difference: &Difference) -> String {
    let Difference { from, to, .. } = difference;
    let bytes = |bytes: Option<u64>| HumanBytes(bytes.unwrap_or_default()).to_string();
    let mut parts = vec![
        format!(
            "from {from} ({}) to {to} ({})\n{}",
            bytes(difference.total_bytes.from),
            bytes(difference.total_bytes.to),
            settings(difference)
        )
        .trim_end()
        .to_owned(),
    ];
    parts.push(files(difference).to_string());
    parts.push(offsets(difference).to_string());
    parts.push(operators(difference).to_string());
    match states(difference) {
        Some(table) => parts.push(table.to_string()),
        None => parts.push("no state was added, removed or described otherwise".to_owned()),
    }
    parts.join("\n\n")
}

/// What is fixed for a run, where it differs.
fn settings(difference: &Difference) -> String {
    fn line<T: std::fmt::Display + PartialEq>(what: &str, change: &Change<T>) -> String {
        match (&change.from, &change.to) {
            (Some(from), Some(to)) if from != to => format!("{what}: {from}, then {to}\n"),
            _ => String::new(),
        }
    }
    let Difference { parallelism, max_parallelism, graph, .. } = difference;
    [line("tasks per stage", parallelism), line("key groups", max_parallelism), line("graph", graph)].concat()
}

fn files(difference: &Difference) -> comfy_table::Table {
    let mut table = screen::table(&["files", "count", "bytes", "names"]);
    screen::right(&mut table, &[1, 2]);
    let Difference { added, removed, shared, .. } = difference;
    for (what, FileGroup { bytes, files }, named) in
        [("added", added, true), ("removed", removed, true), ("shared", shared, false)]
    {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).filter(|_| named).collect();
        table.add_row([what.to_owned(), files.len().to_string(), HumanCount(*bytes).to_string(), names.join(" ")]);
    }
    table
}

fn offsets(difference: &Difference) -> comfy_table::Table {
    let mut table = screen::table(&["partition", "from", "to", "moved"]);
    screen::right(&mut table, &[1, 2, 3]);
    for offset in &difference.offsets {
        table.add_row([
            format!("{}-{}", offset.topic, offset.partition),
            number(offset.offset.from),
            number(offset.offset.to),
            number(offset.moved),
        ]);
    }
    table
}

fn operators(difference: &Difference) -> comfy_table::Table {
    let mut table = screen::table(&["operator", "", "watermark from", "watermark to", "elements from", "elements to"]);
    screen::right(&mut table, &[4, 5]);
    for operator in &difference.operators {
        let time = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), screen::event_time);
        let count = |count: Option<usize>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        table.add_row([
            operator.name.clone(),
            word(&operator.parallelism).to_owned(),
            time(operator.watermark.from),
            time(operator.watermark.to),
            count(operator.elements.from),
            count(operator.elements.to),
        ]);
    }
    table
}

fn states(difference: &Difference) -> Option<comfy_table::Table> {
    let mut table = screen::table(&["operator", "state", "", "from", "to"]);
    let describe = |entry: &Option<StateEntry>| match entry {
        Some(entry) => serde_json::to_string(entry).unwrap_or_default(),
        None => "-".to_owned(),
    };
    for operator in &difference.operators {
        for state in &operator.states {
            let word = match word(&state.entry) {
                "" => "changed",
                word => word,
            };
            table.add_row([
                operator.name.clone(),
                state.name.clone(),
                word.to_owned(),
                describe(&state.entry.from),
                describe(&state.entry.to),
            ]);
        }
    }
    (!table.is_empty()).then_some(table)
}

fn word<T>(change: &Change<T>) -> &'static str {
    match (&change.from, &change.to) {
        (None, Some(_)) => "added",
        (Some(_), None) => "removed",
        _ => "",
    }
}

fn number(number: Option<i64>) -> String {
    number.map_or_else(
        || "-".to_owned(),
        |number| format!("{}{}", if number < 0 { "-" } else { "" }, HumanCount(number.unsigned_abs())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Manifest, OperatorEntry, Reason};

    #[test]
    fn all_that_changed_is_told_to_people_too() {
        let state =
            |key: &str| serde_json::from_value(serde_json::json!({"name": "order", "kind": "value", "key": key})).unwrap();
        let holding = |number, operator: &str, key| {
            let mut manifest = Manifest::new("orders".parse().unwrap(), CheckpointId(number), None, Reason::Interval);
            manifest.operators.push(OperatorEntry {
                name: operator.into(),
                parallelism: 2,
                watermark: Some(0),
                states: vec![state(key)],
                ..OperatorEntry::default()
            });
            manifest
        };
        let (one, mut other) = (holding(1, "track", "text"), holding(2, "track", "u64"));
        other.parallelism = 4;
        let shown = text(&Difference::between(&one, &other));
        for words in ["from 1", "to 2", "tasks per stage: 1, then 4", "1970-01-01", "changed", "\"u64\""] {
            assert!(shown.contains(words), "{words} is not in {shown}");
        }
        let shown = text(&Difference::between(&one, &holding(2, "follow", "text")));
        for words in ["follow", "added", "removed"] {
            assert!(shown.contains(words), "{words} is not in {shown}");
        }
        assert!(text(&Difference::between(&one, &one)).contains("no state was added"));
        assert_eq!((number(Some(-1_234)), number(None)), ("-1,234".to_owned(), "-".to_owned()));
    }
}
