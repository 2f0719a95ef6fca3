//! What the audit found, as a value, as JSON, and as a table.

use super::Topic;
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
    /// Order, user and window, product, or position.
    pub key: String,
    /// What had to be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// One output topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputReport {
    /// The topic.
    pub topic: Topic,
    /// Records that have to be there (of `order-batches`: events, in batches or waiting for one).
    pub expected: u64,
    /// Records that are there (of `order-batches`: events).
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

impl OutputReport {
    /// Counts a difference, and keeps it if it is among the first. The closure gives key, expected and found.
    pub(super) fn note(&mut self, kind: DifferenceKind, difference: impl FnOnce() -> (String, String, String)) {
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

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Records of the committed input.
    pub records_in: u64,
    /// Of them, accepted events.
    pub accepted: u64,
    /// Of them, copies of accepted events, which are dropped.
    pub copies: u64,
    /// Of them, bad records.
    pub dead: u64,
    /// Accepted `CREATED` events that came after their window.
    pub late: u64,
    /// Accepted `CREATED` events in windows that are open at the committed watermark.
    pub open: u64,
    /// Batches.
    pub batches: u64,
    /// Accepted events that wait for a batch.
    pub waiting: u64,
    /// Copies that came later than the time to live of de-duplication: whether they are dropped could not be judged; the outputs agree on each,
    /// or there is a difference.
    pub beyond_ttl: u64,
    /// Accepted events that came so long after the others of their order that the job may have forgotten it: whether it had could not be
    /// judged; status and changes of stock agree on each, or there is a difference.
    pub beyond_tracking_ttl: u64,
    /// Orders with events in several partitions: their order of arrival could not be known; some interleaving gives the outputs, or there is
    /// a difference.
    pub orders_in_several_partitions: u64,
    /// Orders with more possible histories than were tried, none of which gives the outputs.
    pub undecided: u64,
    /// The seven outputs.
    pub outputs: [OutputReport; 7],
}

impl Report {
    pub(super) fn new(shown: usize) -> Self {
        let output =
            |topic| OutputReport { topic, expected: 0, found: 0, missing: 0, extra: 0, wrong: 0, differences: Vec::new(), shown };
        Self {
            records_in: 0,
            accepted: 0,
            copies: 0,
            dead: 0,
            late: 0,
            open: 0,
            batches: 0,
            waiting: 0,
            beyond_ttl: 0,
            beyond_tracking_ttl: 0,
            orders_in_several_partitions: 0,
            undecided: 0,
            outputs: Topic::OUTPUTS.map(output),
        }
    }

    pub(super) fn output(&mut self, topic: Topic) -> &mut OutputReport {
        let [status, stats, late, levels, alerts, batches, dead] = &mut self.outputs;
        match topic {
            Topic::OrderStatus => status,
            Topic::PurchaseStats => stats,
            Topic::LateOrders => late,
            Topic::InventoryLevels => levels,
            Topic::LowStockAlerts => alerts,
            Topic::OrderBatches => batches,
            // The input has no row; nothing is ever noted for it.
            Topic::DeadLetters | Topic::Orders => dead,
        }
    }

    /// All differences of all outputs.
    #[must_use]
    pub fn differences(&self) -> u64 {
        self.outputs.iter().map(OutputReport::total).sum()
    }

    /// Clean or not.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.differences(), self.undecided) {
            (0, 0) => Verdict::Clean,
            (0, _) => Verdict::Undecided,
            _ => Verdict::Violated,
        }
    }

    /// The verdict in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { records_in, accepted, .. } = self;
        let [in_text, accepted_text] = [grouped(*records_in), grouped(*accepted)];
        match self.verdict() {
            Verdict::Clean => format!(
                "Exactly once: all seven outputs are what the {in_text} committed input records ({accepted_text} accepted events) give, nothing lost, nothing doubled."
            ),
            Verdict::Undecided => {
                format!("Not decided: {} orders have too many possible histories; no difference elsewhere.", self.undecided)
            }
            Verdict::Violated => {
                let bad: Vec<String> = self
                    .outputs
                    .iter()
                    .filter(|output| output.total() > 0)
                    .map(|output| format!("{} in {}", grouped(output.total()), output.topic.as_str()))
                    .collect();
                format!(
                    "NOT exactly once: the outputs differ from what {in_text} committed input records give: {}.",
                    bad.join(", ")
                )
            }
        }
    }

    /// The report as JSON, with verdict and sentence.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("verdict".into(), serde_json::to_value(self.verdict()).unwrap_or_default());
            fields.insert("sentence".into(), self.sentence().into());
        }
        value
    }

    /// The report for people: counts, a table of the outputs, the first differences, the sentence.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: u64| text.push_str(&format!("{name:<28}{:>14}\n", grouped(value)));
        line("records in", self.records_in);
        line("accepted", self.accepted);
        line("duplicates dropped", self.copies);
        line("dead", self.dead);
        line("late", self.late);
        line("in open windows", self.open);
        line("waiting for a batch", self.waiting);
        for (name, value) in [
            ("copies beyond the ttl", self.beyond_ttl),
            ("events beyond tracking_ttl", self.beyond_tracking_ttl),
            ("orders in >1 partition", self.orders_in_several_partitions),
            ("orders not decided", self.undecided),
        ] {
            if value > 0 {
                line(name, value);
            }
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["output", "expected", "found", "missing", "extra", "wrong"]);
        for output in &self.outputs {
            let name = match output.topic {
                Topic::OrderBatches => format!("order-batches (events of {} batches)", grouped(self.batches)),
                topic => topic.as_str().to_owned(),
            };
            let numbers = [output.expected, output.found, output.missing, output.extra, output.wrong];
            let numbers = numbers.map(|number| Cell::new(grouped(number)).set_alignment(CellAlignment::Right));
            table.add_row([Cell::new(name)].into_iter().chain(numbers));
        }
        text.push_str(&format!("{table}\n"));
        for output in self.outputs.iter().filter(|output| !output.differences.is_empty()) {
            let (shown, total) = (output.differences.len(), grouped(output.total()));
            text.push_str(&format!("\n{}: {total} differences, the first {shown}:\n", output.topic.as_str()));
            for Difference { kind, key, expected, found } in &output.differences {
                text.push_str(&format!("  {kind:<8}{key}\n    expected: {expected}\n    found:    {found}\n"));
            }
        }
        text.push_str(&format!("\n{}\n", self.sentence()));
        text
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
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
