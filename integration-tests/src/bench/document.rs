//! The table, and its place in a document.

use super::{Figures, Recovery};
use crate::{Context, Result};
use std::{fs, path::Path, time::Duration};

const BEGIN: &str = "<!-- measured: begin (make bench writes between these lines) -->";
const END: &str = "<!-- measured: end -->";

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

/// That `path` has the markers: better known before the measuring than after it.
pub fn check(path: &Path) -> Result<()> {
    split(path).map(drop)
}

/// Puts `table` between the markers of `path`.
pub fn write(path: &Path, table: &str) -> Result<()> {
    let (before, after) = split(path)?;
    fs::write(path, format!("{before}{BEGIN}\n{table}{END}{after}")).with_context(|| path.display().to_string())
}

fn split(path: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let missing = || format!("{} lacks a line {BEGIN} and after it a line {END}", path.display());
    let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok((before.to_owned(), after.to_owned()))
}

fn thousands(number: f64) -> String {
    // Three figures are what the noise leaves.
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

fn milliseconds(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1000.0)
}

fn mebibytes(bytes: f64) -> String {
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
        fs::write(&path, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        write(&path, "new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        fs::write(&path, "no markers").unwrap();
        assert!(check(&path).unwrap_err().to_string().contains("performance.md"));
    }
}
