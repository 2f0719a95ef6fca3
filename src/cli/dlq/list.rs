//! `sluicegate dlq list`

use super::{
    super::{Code, Given, Stop, screen},
    choice::Choice,
    letter::Letter,
    letters::Letters,
    replayed::Replayed,
    topic::Which,
};
use std::collections::BTreeMap;

/// List the dead letters of the job.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate dlq list --class malformed_json --since 24h --limit 20")]
pub(super) struct List {
    #[command(flatten)]
    choice: Choice,
    /// Dead letters shown at most; 0 means all. All are counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Each line as a JSON object; the counts go to standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    pub(super) given: Given,
}

/// How many dead letters there are of each class, and how many of these were replayed.
#[derive(Debug, Default)]
struct Counts(BTreeMap<String, (u64, u64)>);

impl List {
    pub(super) fn run(&self, letters: &Letters<'_>) -> Result<Code, Stop> {
        let replayed = Replayed::look(letters)?;
        let mut lines = screen::Lines::begin();
        if !self.json {
            lines.line(&HEADINGS.iter().map(|(name, width)| format!("{name:<width$}")).collect::<Vec<_>>().join(" "))?;
        }
        let (mut counts, mut shown) = (Counts::default(), 0);
        let others = letters.each(&mut |letter| {
            if !self.choice.takes(&letter) {
                return Ok(());
            }
            let was = replayed.has(&letter);
            counts.add(&letter.reason.class, was);
            if self.limit > 0 && shown == self.limit {
                return Ok(());
            }
            shown += 1;
            lines.line(&if self.json { letter.shown(Some(was), false).line()? } else { row(&letter, was) })
        })?;
        if !self.json {
            lines.line("")?;
            lines.line(&counts.table().to_string())?;
        }
        lines.finish()?;
        if self.json {
            eprintln!("{}", counts.table());
        }
        let all = counts.total();
        if shown < all {
            eprintln!("sluicegate: shown are the first {shown} of {all}; --limit 0 shows all");
        }
        others.tell(letters.topic());
        Ok(Code::Done)
    }
}

/// Columns of the list with their widths. Lines are written as they come, so no column can wait for its widest entry.
const HEADINGS: [(&str, usize); 6] =
    [("letter", 10), ("written", 24), ("class", 22), ("came from", 22), ("replayed", 8), ("message", 0)];

fn row(letter: &Letter, replayed: bool) -> String {
    let reason = &letter.reason;
    let written = letter.timestamp.map_or_else(|| "-".to_owned(), screen::event_time);
    let from = format!("{}-{} {}", reason.topic, reason.partition, reason.offset);
    let replayed = if replayed { "yes" } else { "no" };
    let cells = [letter.place.to_string(), written, screen::one_line(&reason.class), from, replayed.to_owned()];
    let cells = cells.iter().zip(HEADINGS).map(|(cell, (_, width))| format!("{cell:<width$}"));
    format!("{} {}", cells.collect::<Vec<_>>().join(" "), screen::one_line(&reason.message))
}

impl Counts {
    fn add(&mut self, class: &str, replayed: bool) {
        let (letters, of_these) = self.0.entry(class.to_owned()).or_default();
        *letters += 1;
        *of_these += u64::from(replayed);
    }

    fn total(&self) -> u64 {
        self.0.values().map(|(letters, _)| letters).sum()
    }

    fn table(&self) -> comfy_table::Table {
        let mut table = screen::table(&["class", "dead letters", "replayed"]);
        screen::right(&mut table, &[1, 2]);
        let sum = self.0.values().fold((0, 0), |sum, (letters, replayed)| (sum.0 + letters, sum.1 + replayed));
        for (class, (letters, replayed)) in self.0.iter().chain([(&"all".to_owned(), &sum)]) {
            table.add_row([class.clone(), letters.to_string(), replayed.to_string()]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};

    #[test]
    fn a_dead_letter_is_one_line_under_its_headings() {
        let mut letter = letter();
        letter.reason.message = "amount is\n\u{1b}[2J4.999".into();
        let line = row(&letter, true);
        assert_eq!(
            line,
            "1:812      2026-01-01T00:00:00.500Z inexact_money          orders-3 81723         yes      amount is\\n\\u{1b}[2J4.999"
        );
    }

    #[test]
    fn counts_are_by_class_with_a_sum() {
        let mut counts = Counts::default();
        for (class, replayed) in [("empty", false), ("wrong_type", true), ("empty", true)] {
            counts.add(class, replayed);
        }
        let table = counts.table().to_string();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(rows.contains(&vec!["empty", "2", "1"]) && rows.contains(&vec!["wrong_type", "1", "1"]), "{table}");
        assert_eq!((rows.last(), counts.total()), (Some(&vec!["all", "3", "2"]), 3), "{table}");
    }
}
