//! What had to be in an output and what is there: counts, the first differences, and how an audit shows them.
//!
//! Whoever audits brings the two sides, and what makes a record one of them: [`crate::audit`] for the order job, and the audit that a job of a
//! user's own registers ([`crate::stream::App::audit`]).

pub(crate) mod lists;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Clean or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every output is what the committed input gives, each record once.
    Clean,
    /// Something is missing, too many or wrong.
    Violated,
    /// Nothing was found that is certainly wrong, but some orders could not be decided.
    Undecided,
}

/// How a record differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It has to be there and is not.
    Missing,
    /// It is there and must not be, or is there twice.
    Extra,
    /// It is there with other contents, or out of order.
    Wrong,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Wrong => "wrong",
        })
    }
}

/// One difference, with what a person needs to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// How it differs.
    pub kind: DifferenceKind,
    /// What it is about: a key, a key and a window, a position.
    pub key: String,
    /// What had to be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// One output topic, which `T` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputReport<T> {
    /// The topic.
    pub topic: T,
    /// Records that have to be there (or what else the audit counts: of `order-batches`, events in batches or waiting for one).
    pub expected: u64,
    /// Records that are there (or what else the audit counts).
    pub found: u64,
    /// Number of differences of this kind.
    pub missing: u64,
    /// Number of differences of this kind.
    pub extra: u64,
    /// Number of differences of this kind.
    pub wrong: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    #[serde(skip)]
    shown: usize,
}

impl<T> OutputReport<T> {
    /// Nothing yet; it will keep the first `shown` differences.
    pub(crate) fn new(topic: T, shown: usize) -> Self {
        Self { topic, expected: 0, found: 0, missing: 0, extra: 0, wrong: 0, differences: Vec::new(), shown }
    }

    /// Counts a difference, and keeps it if it is among the first. The closure gives key, expected and found.
    pub(crate) fn note(&mut self, kind: DifferenceKind, difference: impl FnOnce() -> (String, String, String)) {
        match kind {
            DifferenceKind::Missing => self.missing += 1,
            DifferenceKind::Extra => self.extra += 1,
            DifferenceKind::Wrong => self.wrong += 1,
        }
        if self.differences.len() < self.shown {
            let (key, expected, found) = difference();
            self.differences.push(Difference { kind, key, expected, found });
        }
    }

    /// All differences.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.missing + self.extra + self.wrong
    }
}

/// The counts as a table, and below it the first differences; `name` is what stands in the table for an output, beside what it is called.
pub(crate) fn table<T: fmt::Display>(outputs: &[OutputReport<T>], name: impl Fn(&T) -> String) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["output", "expected", "found", "missing", "extra", "wrong"]);
    for output in outputs {
        let numbers = [output.expected, output.found, output.missing, output.extra, output.wrong];
        let numbers = numbers.map(|number| Cell::new(grouped(number)).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(name(&output.topic))].into_iter().chain(numbers));
    }
    let mut text = format!("{table}\n");
    for output in outputs.iter().filter(|output| !output.differences.is_empty()) {
        let (shown, total) = (output.differences.len(), grouped(output.total()));
        text.push_str(&format!("\n{}: {total} differences, the first {shown}:\n", output.topic));
        for Difference { kind, key, expected, found } in &output.differences {
            text.push_str(&format!("  {kind:<8}{key}\n    expected: {expected}\n    found:    {found}\n"));
        }
    }
    text
}

/// That all is well: `outputs` (all seven outputs) `are` what `input` (the 7 committed input records) gives.
pub(crate) fn exactly_once(outputs: &str, input: &str) -> String {
    format!("Exactly once: {outputs} what {input} give, nothing lost, nothing doubled.")
}

/// That all is not well, and where.
pub(crate) fn not_exactly_once<T: fmt::Display>(outputs: &[OutputReport<T>], input: &str) -> String {
    let bad = outputs.iter().filter(|output| output.total() > 0);
    let bad: Vec<String> = bad.map(|output| format!("{} in {}", grouped(output.total()), output.topic)).collect();
    format!("NOT exactly once: the outputs differ from what {input} give: {}.", bad.join(", "))
}

/// `report` as JSON, with verdict and sentence.
pub(crate) fn json(report: &impl Serialize, verdict: Verdict, sentence: String) -> serde_json::Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("verdict".into(), serde_json::to_value(verdict).unwrap_or_default());
        fields.insert("sentence".into(), sentence.into());
    }
    value
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
