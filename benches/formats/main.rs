//! Bytes and nanoseconds for an order event in each format: our decoders and encoders, serde_json, and what a user of Python or Java has, over
//! the same events of the standard load, one after the other in one run. Run alone on the machine:
//!
//! ```text
//! make bench-formats                                  # the table, into docs/formats.md
//! EVENTS=200000 ROUNDS=9 make bench-formats           # of so many events, the median of so many rounds
//! ```
//!
//! Each decodes all events into its own natural values, and encodes these again. Before that, outside of what is timed, it adds up what it has
//! decoded: all sums must be equal, and so must the Avro that they write, byte for byte. Among the tests it runs short, and checks just that.
#![allow(missing_docs)]

mod others;
mod ours;
mod row;
mod table;
mod with_serde;

use row::{Load, Row};
use std::{error::Error, path::Path};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    // Cargo gives its tests the names of those that are wanted, and this is one of that name.
    if !measured {
        let wanted = words.is_empty() || words.iter().any(|word| "formats".contains(word));
        return if wanted && !arguments.iter().any(|argument| argument == "--list") { check() } else { Ok(()) };
    }
    let (events, rounds) = (variable("EVENTS", 100_000)?, variable("ROUNDS", 7)?);
    let place = words.first().map(Path::new);
    if let Some(path) = place {
        table::check(path)?;
    }
    let (rows, absent) = measure(&Load::of(events), rounds)?;
    agree(&rows)?;
    let text = table::of(&rows, &absent, events, rounds);
    println!("{text}");
    place.map_or(Ok(()), |path| table::write(path, &text))
}

fn variable(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name}={text}: allowed are whole numbers from 1").into()),
        },
        _ => Ok(default),
    }
}

/// Everybody over the same events; and who cannot be had, with the reason.
fn measure(load: &Load, rounds: usize) -> Result<(Vec<Row>, Vec<String>)> {
    let mut rows = ours::rows(load, rounds)?;
    rows.extend(with_serde::rows(load, rounds)?);
    let mut absent = Vec::new();
    for found in others::rows(load, rounds)? {
        match found {
            Ok(theirs) => rows.extend(theirs),
            Err(why) => absent.push(why),
        }
    }
    Ok((rows, absent))
}

/// All have decoded the same, and those who write Avro have written the same.
fn agree(rows: &[Row]) -> Result {
    let first = rows.first().ok_or("no row")?;
    for row in rows {
        if row.sums != first.sums {
            return Err(format!("{} decodes {} to {:?}, {} to {:?}", row.who, row.format, row.sums, first.who, first.sums).into());
        }
        let ours = rows.iter().find(|other| other.format == row.format).ok_or("no row of the format")?;
        if row.format != row::JSON && (row.bytes, row.hash) != (ours.bytes, ours.hash) {
            return Err(format!(
                "{} writes other {} than {}: {} and {} bytes",
                row.who, row.format, ours.who, row.bytes, ours.bytes
            )
            .into());
        }
    }
    Ok(())
}

/// Few events, no time: everybody who can be had is there, and all agree.
fn check() -> Result {
    let (rows, absent) = measure(&Load::of(500), 1)?;
    agree(&rows)?;
    let has = |who: &str, format: &str| rows.iter().any(|row| row.who.starts_with(who) && row.format == format);
    for format in [row::JSON, row::AVRO, row::SINGLE_OBJECT] {
        for who in ["sluicegate", "fastavro", "Java Avro"] {
            let left_out = absent.iter().any(|why| why.starts_with(who)) || (format == row::JSON && who != "sluicegate");
            if !left_out && !has(who, format) {
                return Err(format!("there is no row of {who} for {format}").into());
            }
        }
    }
    for who in ["serde_json", "serde_json::Value", "Java Jackson"] {
        if !absent.iter().any(|why| who.starts_with("Java") && why.starts_with("Java")) && !has(who, row::JSON) {
            return Err(format!("there is no row of {who}").into());
        }
    }
    let table = table::of(&rows, &absent, 500, 1);
    if let Some(row) = rows.iter().find(|row| !table.contains(&row.who) || !row.is_measured()) {
        return Err(format!("{row:?} is not in the table:\n{table}").into());
    }
    // A decoder that reads something else is found.
    let mut wrong = rows.clone();
    wrong.last_mut().ok_or("no row")?.sums.cents += 1;
    if agree(&wrong).is_ok() {
        return Err("sums that differ are not noticed".into());
    }
    println!(
        "test formats ... ok ({} rows; left out: {})",
        rows.len(),
        if absent.is_empty() { "none".to_owned() } else { absent.join("; ") }
    );
    Ok(())
}
