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
