//! Settings as written: a file, the environment and the command line, each value with the place that it came from.

use super::{KEYS, Problems, value::Value};
use crate::kafka;
use std::{collections::BTreeMap, ffi::OsString, fmt, ops::Range, path::PathBuf};
use toml::de::{DeTable, DeValue};

/// Environment variables that begin with this are settings: `SLUICEGATE__CHECKPOINT__INTERVAL`.
const PREFIX: &str = "SLUICEGATE__";
/// Keys below this are names of librdkafka properties.
pub(super) const PROPERTIES: &str = "kafka.properties";

/// Where settings are read from; the later wins: file, environment, command line.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file; without one the defaults stand.
    pub file: Option<PathBuf>,
    /// The environment variables, all of them; those of other programs are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// `section.key=value`, one for each `--set`.
    pub set: Vec<String>,
    /// The job of a program of one's own: its name, unless another one is written. What only the order job has is no setting of it.
    pub own_job: Option<String>,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line, from 1; none if the whole file is meant.
        line: Option<usize>,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// On the command line with `--set`.
    Set,
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => path.display().fmt(f),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Set => f.write_str("--set"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Known keys with their values as written. What is not in here was not written anywhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Raw {
    pub(super) entries: BTreeMap<String, Entry>,
    /// librdkafka properties by their own names.
    pub(super) properties: BTreeMap<String, Entry>,
}

impl Raw {
    /// Reads all sources. Unknown keys, unreadable files and the like are problems; the rest is kept all the same, so that
    /// later checks can report theirs in the same run.
    pub(super) fn read(sources: &Sources) -> (Self, Problems) {
        let mut reading = Reading { own: sources.own_job.is_some(), ..Reading::default() };
        reading.file(sources);
        reading.environment(sources);
        reading.command_line(sources);
        if let Some(name) = &sources.own_job {
            let name = Entry { value: Value::Text(name.clone()), origin: Origin::Default };
            reading.raw.entries.entry("job.name".to_owned()).or_insert(name);
        }
        (reading.raw, reading.problems)
    }
}

#[derive(Default)]
struct Reading {
    raw: Raw,
    problems: Problems,
    /// The job is not the order job.
    own: bool,
}

impl Reading {
    fn file(&mut self, sources: &Sources) {
        let Some(path) = &sources.file else { return };
        let whole = Origin::File { path: path.clone(), line: None };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problems.add(whole, "", format!("cannot be read: {error}")),
        };
        let at = |span: Range<usize>| Origin::File { path: path.clone(), line: Some(line_of(&text, span.start)) };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            self.problems.add(error.span().map_or_else(|| whole.clone(), &at), "", format!("not TOML: {}", error.message()));
        }
        for (section, content) in table.get_ref() {
            let name = section.get_ref();
            let DeValue::Table(keys) = content.get_ref() else {
                let message = format!("a key outside of a section; {}", sections());
                self.problems.add(at(section.span()), name.as_ref(), message);
                continue;
            };
            if !is_section(name) {
                self.problems.add(at(section.span()), format!("[{name}]"), unknown_section(name));
                continue;
            }
            for (key, value) in keys {
                let full = format!("{name}.{}", key.get_ref());
                match value.get_ref() {
                    DeValue::Table(properties) if full == PROPERTIES => {
                        for (property, value) in properties {
                            let full = format!("{PROPERTIES}.{}", property.get_ref());
                            self.insert(&full, Value::from_toml(value.get_ref()), at(property.span()));
                        }
                    }
                    value => self.insert(&full, Value::from_toml(value), at(key.span())),
                }
            }
        }
    }

    fn environment(&mut self, sources: &Sources) {
        for (name, value) in &sources.environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let origin = Origin::Environment(name.to_owned());
            let Some(value) = value.to_str() else {
                self.problems.add(origin, "", "is not UTF-8");
                continue;
            };
            self.insert(&key_of_variable(name), Value::from_plain(value), origin);
        }
    }

    fn command_line(&mut self, sources: &Sources) {
        for assignment in &sources.set {
            match assignment.split_once('=') {
                // As a file would have it: kafka.properties."linger.ms".
                Some((key, value)) => self.insert(&key.trim().replace('"', ""), Value::from_plain(value.trim()), Origin::Set),
                None => self.problems.add(Origin::Set, "", format!("{assignment:?} is not of the form section.key=value")),
            }
        }
    }

    fn insert(&mut self, key: &str, value: Value, origin: Origin) {
        if let Some(property) = key.strip_prefix(PROPERTIES).and_then(|rest| rest.strip_prefix('.')) {
            match kafka::owned_property(property) {
                Some(reason) => self.problems.add(origin, key, format!("is set by sluicegate: {reason}")),
                None => _ = self.raw.properties.insert(property.to_owned(), Entry { value, origin }),
            }
        } else if self.own && is_of_order_job(key) {
            self.problems.add(origin, key, "is a setting of the order job; what this job reads and writes stands in its code");
        } else if KEYS.iter().any(|known| known.name == key) {
            self.raw.entries.insert(key.to_owned(), Entry { value, origin });
        } else {
            self.problems.add(origin, key, unknown_key(key));
        }
    }
}

fn is_of_order_job(key: &str) -> bool {
    ["job.kind", "source.topic"].contains(&key)
        || ["orders.", "topics.", "format.", "registry."].iter().any(|section| key.starts_with(section))
}

/// `SLUICEGATE__CHECKPOINT__MIN_PAUSE` is `checkpoint.min_pause`. Shells allow no dots in names, so below `kafka.properties` an
/// underscore stands for a dot (no librdkafka property has an underscore): `SLUICEGATE__KAFKA__PROPERTIES__SECURITY_PROTOCOL`.
fn key_of_variable(name: &str) -> String {
    let key = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase().replace("__", ".");
    match key.strip_prefix(PROPERTIES) {
        Some(property) => format!("{PROPERTIES}{}", property.replace('_', ".")),
        None => key,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

fn section_names() -> Vec<&'static str> {
    let mut names: Vec<_> = KEYS.iter().filter_map(|key| key.name.split('.').next()).collect();
    names.dedup();
    names
}

fn is_section(name: &str) -> bool {
    section_names().contains(&name)
}

fn sections() -> String {
    let names: Vec<_> = section_names().iter().map(|name| format!("[{name}]")).collect();
    format!("sections are {}", names.join(", "))
}

fn unknown_section(name: &str) -> String {
    match nearest(name, section_names().into_iter()) {
        Some(near) => format!("unknown section; did you mean [{near}]?"),
        None => format!("unknown section; {}", sections()),
    }
}

fn unknown_key(key: &str) -> String {
    let Some((section, name)) = key.split_once('.') else {
        return format!("unknown setting; a key is section.name; {}", sections());
    };
    if !is_section(section) {
        if let Some(near) = nearest(section, section_names().into_iter()) {
            return format!("unknown setting; did you mean {near}.{name}?");
        }
        return format!("unknown setting; {}", sections());
    }
    let in_section = || KEYS.iter().filter_map(|known| known.name.strip_prefix(section)?.strip_prefix('.'));
    if let Some(near) = nearest(name, in_section()) {
        return format!("unknown setting; did you mean {section}.{near}?");
    }
    if let Some(moved) = KEYS.iter().find(|known| known.name.split_once('.').is_some_and(|(_, n)| n == name)) {
        return format!("unknown setting; did you mean {}?", moved.name);
    }
    format!("unknown setting; [{section}] has {}", in_section().collect::<Vec<_>>().join(", "))
}

/// The name that was probably meant: few edits away, measured by its length.
fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.map(|name| (strsim::damerau_levenshtein(wrong, name), name)).min()?;
    (distance <= 1 + wrong.chars().count() / 4).then_some(name)
}
