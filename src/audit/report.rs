//! What the audit found, as a value, as JSON, and as a table.

use super::Topic;
use crate::comparison::{self, Verdict, grouped};
use serde::{Deserialize, Serialize};

/// One of the seven outputs.
pub type OutputReport = comparison::OutputReport<Topic>;

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
            outputs: Topic::OUTPUTS.map(|topic| OutputReport::new(topic, shown)),
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
        let input = format!("{} committed input records", grouped(self.records_in));
        match self.verdict() {
            Verdict::Clean => {
                let input = format!("the {input} ({} accepted events)", grouped(self.accepted));
                comparison::exactly_once("all seven outputs are", &input)
            }
            Verdict::Undecided => {
                format!("Not decided: {} orders have too many possible histories; no difference elsewhere.", self.undecided)
            }
            Verdict::Violated => comparison::not_exactly_once(&self.outputs, &input),
        }
    }

    /// The report as JSON, with verdict and sentence.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        comparison::json(self, self.verdict(), self.sentence())
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
        text.push_str(&comparison::table(&self.outputs, |topic| match topic {
            Topic::OrderBatches => format!("order-batches (events of {} batches)", grouped(self.batches)),
            topic => topic.as_str().to_owned(),
        }));
        text.push_str(&format!("\n{}\n", self.sentence()));
        text
    }
}
