//! The table, and its place in a document.

use crate::{Result, row::Row};
use std::{fs, path::Path};

const BEGIN: &str = "<!-- speeds: begin (make bench-formats writes between these lines) -->";
const END: &str = "<!-- speeds: end -->";

/// All rows, in Markdown.
pub fn of(rows: &[Row], absent: &[String], events: usize, rounds: usize) -> String {
    let mut text = format!(
        "Machine: {}. {events} events of the standard load, one core at a time, the median of {rounds} rounds; all decoders agreed on what is in \
         them, and all Avro was the same byte for byte.\n\n",
        machine()
    );
    text += "| format | decoder and encoder | bytes per event | ns per event, decode | ns per event, encode |\n| --- | --- | ---: | ---: | ---: |\n";
    for row in rows {
        let Row { format, who, decode, encode, bytes, .. } = row;
        text += &format!("| `{format}` | {who} | {bytes:.0} | {} | {} |\n", grouped(*decode), grouped(*encode));
    }
    if !absent.is_empty() {
        text += &format!("\nLeft out: {}.\n", absent.join("; "));
    }
    text
}

/// Whole, with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let said = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = said.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!("{cores} cores ({})", model.map_or("unknown", |(_, name)| name.trim()))
}

/// That `path` has a place for it: better known before the measuring than after it.
pub fn check(path: &Path) -> Result {
    split(path).map(drop)
}

/// Puts `table` into its place in `path`.
pub fn write(path: &Path, table: &str) -> Result {
    let (before, after) = split(path)?;
    Ok(fs::write(path, format!("{before}{BEGIN}\n{table}{END}{after}"))?)
}

fn split(path: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let split = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let missing = || format!("{} lacks a line {BEGIN} and after it a line {END}", path.display());
    split.map(|(before, after)| (before.to_owned(), after.to_owned())).ok_or_else(|| missing().into())
}
