//! Writing to standard output: results, and nothing else.

use super::Stop;
use std::io::Write;

/// Writes a line, or several.
pub(super) fn line(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Writes a value as indented JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Stop> {
    line(&serde_json::to_string_pretty(value).map_err(|error| crate::protocol::Failure::fatal(error.to_string()))?)
}

/// An empty table with these column names.
pub(super) fn table(columns: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(columns.to_vec());
    table
}

/// Sets columns of numbers to the right.
pub(super) fn right(table: &mut comfy_table::Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

/// Writes many lines; they are there once [`Lines::finish`] was called.
pub(super) struct Lines(std::io::BufWriter<std::io::StdoutLock<'static>>);

impl Lines {
    /// Begins.
    pub(super) fn begin() -> Self {
        Self(std::io::BufWriter::new(std::io::stdout().lock()))
    }

    /// Writes one more line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Stop> {
        Ok(writeln!(self.0, "{text}")?)
    }

    /// Ends.
    pub(super) fn finish(mut self) -> Result<(), Stop> {
        Ok(self.0.flush()?)
    }
}

/// A time to live in ms, for people.
pub(super) fn time_to_live(ms: Option<u64>) -> String {
    // As settings are written: months, which humantime would make of ninety days, have no fixed length.
    const DAY: u64 = 24 * 60 * 60 * 1_000;
    let short = |ms| humantime::format_duration(std::time::Duration::from_millis(ms));
    match ms.map(|ms| (ms / DAY, ms % DAY)) {
        None => "-".to_owned(),
        Some((0, rest)) => short(rest).to_string(),
        Some((days, 0)) => format!("{days}d"),
        Some((days, rest)) => format!("{days}d {}", short(rest)),
    }
}

/// An event time in ms, for people.
pub(super) fn event_time(ms: i64) -> String {
    // Year 10000, where RFC 3339 ends; a drain moves the watermark to the end of time.
    const READABLE: std::ops::Range<i64> = 0..253_402_300_800_000;
    if ms == i64::MAX {
        return "the end of time".to_owned();
    }
    if !READABLE.contains(&ms) {
        return format!("{ms} ms");
    }
    let since = std::time::Duration::from_millis(ms.unsigned_abs());
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

/// A text with control characters shown by their names, so that it stays on its line: `\n`, `\u{1b}`.
pub(super) fn one_line(text: &str) -> String {
    let visible = |c: char| {
        let (shown, named) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
        shown.into_iter().chain(named.into_iter().flatten())
    };
    text.chars().flat_map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::{event_time, one_line, time_to_live};

    #[test]
    fn a_key_stays_on_its_line() {
        assert_eq!(one_line("O-1\n\u{1b}[2J\tü"), "O-1\\n\\u{1b}[2J\\tü");
    }

    #[test]
    fn a_time_to_live_is_shown_as_settings_are_written() {
        const HOUR: u64 = 3_600_000;
        let shown = [None, Some(HOUR), Some(90 * 24 * HOUR), Some(25 * HOUR)].map(time_to_live);
        assert_eq!(shown, ["-", "1h", "90d", "1d 1h"]);
    }

    #[test]
    fn event_times_are_readable_at_both_ends_too() {
        assert_eq!(event_time(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
        assert_eq!(event_time(i64::MAX), "the end of time");
        assert_eq!((event_time(-1), event_time(i64::MAX - 1)), ("-1 ms".to_owned(), format!("{} ms", i64::MAX - 1)));
    }
}
