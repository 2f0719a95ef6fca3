//! Values as written, and what they can be read as.

use std::{collections::BTreeMap, fmt, time::Duration};
use toml::de::DeValue;

/// A value as written. Environment and command line only write [`Value::Text`] and, in braces, [`Value::Table`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Bool(bool),
    Table(BTreeMap<String, Value>),
    /// Nothing that any key takes (array, float); as text for the message.
    Other(String),
}

impl Value {
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or_else(|_| Self::Other(digits.as_str().to_owned()), Self::Integer),
            DeValue::Float(digits) => Self::Other(digits.as_str().to_owned()),
            DeValue::Boolean(value) => Self::Bool(*value),
            DeValue::Datetime(time) => Self::Text(time.to_string()),
            DeValue::Array(_) => Self::Other("a list".to_owned()),
            DeValue::Table(table) => {
                Self::Table(table.iter().map(|(k, v)| (k.get_ref().clone().into_owned(), Self::from_toml(v.get_ref()))).collect())
            }
        }
    }

    /// What the environment or the command line gives: text, or a table if it is one in TOML's braces.
    pub(super) fn from_plain(text: &str) -> Self {
        if text.trim_start().starts_with('{')
            && let Ok(value) = DeValue::parse(text.trim())
        {
            return Self::from_toml(value.get_ref());
        }
        Self::Text(text.to_owned())
    }

    /// The value on one line, if it is not a table or a list.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Integer(n) => Some(n.to_string()),
            Self::Bool(b) => Some(b.to_string()),
            Self::Table(_) | Self::Other(_) => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(n) => n.fmt(f),
            Self::Bool(b) => b.fmt(f),
            Self::Other(text) => f.write_str(text),
            Self::Table(table) => {
                f.write_str("{")?;
                for (i, (key, value)) in table.iter().enumerate() {
                    write!(f, "{}{key} = {value}", if i > 0 { ", " } else { " " })?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// Units of time, the largest first.
const TIME: [(&str, u64); 6] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Units of size, the largest first.
const SIZE: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

pub(super) const DURATION_FORM: &str = "a duration like \"500ms\", \"1s\", \"5min\", \"1h\" or \"1d\"";
pub(super) const SIZE_FORM: &str = "a size like \"64KiB\", \"128MiB\" or \"2GiB\"";

/// A number and its unit. No unit is right only for 0, which is the same in all.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    if unit.is_empty() && number == 0 {
        return Some(0);
    }
    units.iter().find(|(name, _)| *name == unit).and_then(|(_, factor)| number.checked_mul(*factor))
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    with_unit(text, &TIME).map(Duration::from_millis)
}

pub(super) fn size(text: &str) -> Option<u64> {
    with_unit(text, &SIZE)
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    if amount == 0 {
        return zero.to_owned();
    }
    units
        .iter()
        .find(|(_, factor)| amount.is_multiple_of(*factor))
        .map_or_else(|| amount.to_string(), |(unit, factor)| format!("{}{unit}", amount / factor))
}

/// A duration in the form that settings are written in, in whole milliseconds: `1s`, `1500ms`, `5min`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIME, "0s")
}

/// A size in bytes in the form that settings are written in: `128MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE, "0B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_back_as_shown() {
        for text in ["500ms", "1s", "90s", "5min", "1h", "1d", "1500ms", "0s"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["1B", "64KiB", "128MiB", "2GiB", "0B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        assert_eq!(duration("5m"), duration("5 min"));
        assert_eq!(duration(" 1 s "), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_number_without_unit_or_with_a_strange_one_is_refused() {
        for text in ["", "5", "s", "1.5s", "-1s", "1 week", "1M", "99999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["", "128", "128MB", "MiB", "-1MiB", "99999999999999999TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
