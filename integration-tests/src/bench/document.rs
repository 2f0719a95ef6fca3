//! The table, and its place in a document.

use super::{Figures, Recovery};
use crate::{Context, Result};
use std::{fs, path::Path, time::Duration};

/// Two lines of a document, between which a table stands.
#[derive(Debug, Clone, Copy)]
pub struct Markers {
    begin: &'static str,
    end: &'static str,
}

/// Where `make bench` writes.
pub const ORDER_JOB: Markers =
    Markers { begin: "<!-- measured: begin (make bench writes between these lines) -->", end: "<!-- measured: end -->" };
/// Where `make bench-peers` writes.
pub const PEERS: Markers =
    Markers { begin: "<!-- peers: begin (make bench-peers writes between these lines) -->", end: "<!-- peers: end -->" };
/// Where `make bench-state` writes.
pub const LARGE_STATE: Markers = Markers {
    begin: "<!-- large state: begin (make bench-state writes between these lines) -->",
    end: "<!-- large state: end -->",
};

/// Where `make bench-days` writes.
pub const EVENT_DAYS: Markers =
    Markers { begin: "<!-- event-days: begin (make bench-days writes between these lines) -->", end: "<!-- event-days: end -->" };

/// All figures, in Markdown.
#[must_use]
pub fn table(machine: &str, events: u64, runs: usize, columns: &[(String, Figures)], recovery: &Recovery) -> String {
    let mut text = format!(
        "Machine: {machine}. Load: {events} events of the standard load in 4 partitions, sent before; the median of {runs} runs.\n\n"
    );
    let row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        let cells: Vec<_> = columns.iter().map(|(_, figures)| cell(figures)).collect();
        format!("| {name} | {} |\n", cells.join(" | "))
    };
    let heads: Vec<_> = columns.iter().map(|(head, _)| head.as_str()).collect();
    text += &format!("| | {} |\n| --- |{}\n", heads.join(" | "), " ---: |".repeat(columns.len()));
    text += &row("the reference work, on one core at that time", &|f| milliseconds(f.reference.as_secs_f64()));
    text += &row("events per second, first commit to all committed", &|f| thousands(f.events_per_second));
    text += &row("CPU-seconds per million events, process", &|f| format!("{:.2}", f.process_cpu));
    text += &row("CPU-seconds per million events, broker", &|f| {
        f.broker_cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"))
    });
    text += &row("peak memory of the process", &|f| mebibytes(f.peak_memory as f64));
    text += &row("process start to first commit", &|f| milliseconds(f.start.as_secs_f64()));
    text += &row("checkpoints", &|f| format!("{:.0}", f.checkpoints));
    text += &row("checkpoint, trigger to commit: mean / longest", &|f| {
        format!("{} / {}", milliseconds(f.checkpoint_mean), milliseconds(f.checkpoint_worst))
    });
    text += &row("state at the end / largest upload of one checkpoint", &|f| {
        format!("{} / {}", mebibytes(f.checkpoint_size), mebibytes(f.checkpoint_new))
    });
    let at_most = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), milliseconds);
    text += &row("barrier stall of an operator's task, at most: p99 / longest", &|f| {
        format!("{} / {}", at_most(f.stall_p99), at_most(f.stall_longest))
    });
    text += &row("the sink's wait for acknowledgements at a barrier, at most: longest", &|f| at_most(f.flush_longest));
    let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), |time| milliseconds(time.as_secs_f64()));
    text += &format!(
        "\n`kill -9` to the next visible output, 5,000 events/s live, interval 1 s, {} kills: median {}, worst {}.\n",
        recovery.kills(),
        time(recovery.median()),
        time(recovery.worst())
    );
    text
}

impl Markers {
    /// That `path` has them: better known before the measuring than after it.
    pub fn check(self, path: &Path) -> Result<()> {
        self.split(path).map(drop)
    }

    /// Puts `table` between them in `path`.
    pub fn write(self, path: &Path, table: &str) -> Result<()> {
        let (before, after) = self.split(path)?;
        let Self { begin, end } = self;
        fs::write(path, format!("{before}{begin}\n{table}{end}{after}")).with_context(|| path.display().to_string())
    }

    fn split(self, path: &Path) -> Result<(String, String)> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let missing = || format!("{} lacks a line {} and after it a line {}", path.display(), self.begin, self.end);
        let (before, rest) = text.split_once(self.begin).with_context(missing)?;
        let (_, after) = rest.split_once(self.end).with_context(missing)?;
        Ok((before.to_owned(), after.to_owned()))
    }
}

/// Three figures are what the noise leaves.
pub(super) fn thousands(number: f64) -> String {
    let magnitude = 10_f64.powi((number.abs().max(1.0).log10().floor() as i32 - 2).max(0));
    let digits = format!("{:.0}", (number / magnitude).round() * magnitude);
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(super) fn milliseconds(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1000.0)
}

pub(super) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_three_figures_and_grouped() {
        assert_eq!(thousands(268_431.0), "268,000");
        assert_eq!(thousands(1_234_567.0), "1,230,000");
        assert_eq!(thousands(42.4), "42");
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.md");
        let text = |order_job: &str, large_state: &str| {
            let part = |Markers { begin, end }, table: &str| format!("{begin}\n{table}{end}\n");
            format!("before\n{}between\n{}after\n", part(ORDER_JOB, order_job), part(LARGE_STATE, large_state))
        };
        fs::write(&path, text("old\n", "")).unwrap();
        ORDER_JOB.write(&path, "new\n").unwrap();
        LARGE_STATE.write(&path, "large\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text("new\n", "large\n"));
        fs::write(&path, "no markers").unwrap();
        assert!(ORDER_JOB.check(&path).unwrap_err().to_string().contains("performance.md"));
    }
}
