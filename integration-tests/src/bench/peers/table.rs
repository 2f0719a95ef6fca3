//! All turns, in Markdown.

use super::Turn;
use crate::bench::{
    Recovery,
    document::{mebibytes, milliseconds, thousands},
};
use std::time::Duration;

/// The turns of one system with one interval, in the order in which they were taken.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name of the system.
    pub name: String,
    /// Its turns.
    pub turns: Vec<Turn>,
}

impl Column {
    fn mean(&self, of: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.turns.iter().map(of).collect();
        values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// What is compared: a name, a figure of a turn, how it is written, and whether more is better.
struct Row {
    name: &'static str,
    of: fn(&Turn) -> Option<f64>,
    show: fn(f64) -> String,
    more_is_better: bool,
}

const ROWS: [Row; 6] = [
    Row {
        name: "events per second, first commit to all committed",
        of: |turn| turn.events_per_second,
        show: thousands,
        more_is_better: true,
    },
    Row {
        name: "process start to all committed",
        of: |turn| Some(turn.whole.as_secs_f64()),
        show: seconds,
        more_is_better: false,
    },
    Row {
        name: "process start to the first visible output",
        of: |turn| Some(turn.first_output.as_secs_f64()),
        show: milliseconds,
        more_is_better: false,
    },
    Row {
        name: "CPU-seconds per million events, process",
        of: |turn| Some(turn.process_cpu),
        show: |number| format!("{number:.2}"),
        more_is_better: false,
    },
    Row {
        name: "CPU-seconds per million events, broker",
        of: |turn| turn.broker_cpu,
        show: |number| format!("{number:.2}"),
        more_is_better: false,
    },
    Row { name: "peak memory of the process", of: |turn| Some(turn.peak_memory as f64), show: mebibytes, more_is_better: false },
];

fn seconds(number: f64) -> String {
    format!("{number:.1} s")
}

/// One table for an interval. The first column is ours, and the others are compared with it; `recoveries` are in the order of the columns.
#[must_use]
pub fn table(interval: Duration, columns: &[Column], recoveries: &[Recovery]) -> String {
    let Some((ours, theirs)) = columns.split_first() else { return String::new() };
    let mut text = format!("| interval {} s | {}", interval.as_secs_f64(), ours.name);
    for column in theirs {
        text += &format!(" | {} | sluicegate is better by", column.name);
    }
    text += &format!(" |\n| --- | ---:{} |\n", " | ---: | ---:".repeat(theirs.len()));
    let mut row = |name: &str, cell: &dyn Fn(usize, &Column) -> String, ratio: &dyn Fn(usize, &Column) -> String| {
        text += &format!("| {name} | {}", cell(0, ours));
        for (index, column) in theirs.iter().enumerate() {
            text += &format!(" | {} | {}", cell(index + 1, column), ratio(index + 1, column));
        }
        text += " |\n";
    };
    let none = |_: usize, _: &Column| String::new();
    row(
        "the reference work, on one core at that time",
        &|_, column| each(column, |turn| Some(turn.reference.as_secs_f64()), milliseconds),
        &none,
    );
    for Row { name, of, show, more_is_better } in &ROWS {
        let ratio = |_: usize, column: &Column| {
            let (ours, theirs) = (ours.mean(of), column.mean(of));
            times(if *more_is_better { ours.zip(theirs) } else { theirs.zip(ours) })
        };
        row(name, &|_, column| each(column, of, *show), &ratio);
    }
    if !recoveries.is_empty() {
        let median = |index: usize| recoveries.get(index).and_then(|recovery| recovery.median()).map(|time| time.as_secs_f64());
        let kills = recoveries.iter().map(Recovery::kills).max().unwrap_or(0);
        let name = format!("`kill -9` to the next visible output, 5,000 events/s live, {kills} kills: median / worst");
        let cell = |index: usize, _: &Column| {
            let worst = recoveries.get(index).and_then(|recovery| recovery.worst()).map(|time| time.as_secs_f64());
            let shown = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), milliseconds);
            format!("{} / {}", shown(median(index)), shown(worst))
        };
        row(&name, &cell, &|index, _| times(median(index).zip(median(0))));
    }
    row("outputs, by the audit", &|_, column| verdict(column), &none);
    text
}

/// The figure of every turn.
fn each(column: &Column, of: impl Fn(&Turn) -> Option<f64>, show: fn(f64) -> String) -> String {
    let shown: Vec<_> = column.turns.iter().map(|turn| of(turn).map_or_else(|| "-".to_owned(), show)).collect();
    shown.join(", ")
}

/// How many times as much the first is.
fn times(of: Option<(f64, f64)>) -> String {
    match of {
        Some((more, less)) if less > 0.0 => format!("{:.1} x", more / less),
        _ => "-".to_owned(),
    }
}

fn verdict(column: &Column) -> String {
    let different = column.turns.iter().find_map(|turn| turn.verdict.difference.as_deref());
    // A cell ends at a bar.
    let right = different.map_or_else(|| "right".to_owned(), |first| format!("**differ**: {}", first.replace('|', "\\|")));
    let late = column.turns.iter().map(|turn| turn.verdict.late.to_string()).collect::<Vec<_>>();
    format!("{right}; late events: {}", late.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn column(name: &str, rates: &[f64], difference: Option<&str>) -> Column {
        let turn = |rate: &f64| Turn {
            reference: Duration::from_millis(700),
            events_per_second: Some(*rate),
            whole: Duration::from_secs_f64(1e6 / rate),
            first_output: Duration::from_millis(500),
            process_cpu: 5.0,
            broker_cpu: None,
            peak_memory: 100 << 20,
            verdict: Verdict { late: 3, difference: difference.map(str::to_owned) },
        };
        Column { name: name.to_owned(), turns: rates.iter().map(turn).collect() }
    }

    #[test]
    fn ratios_are_of_the_means_and_say_what_is_better() {
        let columns = [column("ours", &[90_000.0, 110_000.0], None), column("theirs", &[50_000.0, 50_000.0], None)];
        let table = table(Duration::from_secs(1), &columns, &[]);
        for line in [
            "| interval 1 s | ours | theirs | sluicegate is better by |",
            "| events per second, first commit to all committed | 90,000, 110,000 | 50,000, 50,000 | 2.0 x |",
            "| process start to all committed | 11.1 s, 9.1 s | 20.0 s, 20.0 s | 2.0 x |",
            "| CPU-seconds per million events, broker | -, - | -, - | - |",
            "| outputs, by the audit | right; late events: 3, 3 | right; late events: 3, 3 |  |",
        ] {
            assert!(table.contains(line), "{line} is not in\n{table}");
        }
    }

    #[test]
    fn wrong_outputs_are_told() {
        let columns = [column("ours", &[1.0], None), column("theirs", &[1.0], Some("order-status, O-1: a|b"))];
        assert!(table(Duration::from_secs(5), &columns, &[]).contains("**differ**: order-status, O-1: a\\|b; late events: 3"));
    }
}
