//! Settings: files, environment and command line as written, then settings as meant, checked once.
//!
//! ```text
//! config/orders.toml ─┐
//! SLUICEGATE__…       ├─► Raw: key -> value and where it came from ─► Settings: durations, sizes, kinds, all checked
//! --set key=value ────┘   (the later of the three wins)              (nothing behind it checks again)
//! ```
//!
//! Every key, with its default, is one line of [`KEYS`]; `docs/configuration.md` and `config/orders.toml` are tested against it.
//! All that is wrong is reported at once, each [`Problem`] with its place, its value and what is allowed.

mod check;
mod check_format;
mod keys;
mod problem;
mod raw;
mod settings;
mod value;

pub use keys::{KEYS, Key};
pub use problem::{Problem, Problems};
pub use raw::{Origin, Sources};
pub use settings::{
    Alert, Checkpoint, Formats, Http, Identity, Job, JobKind, Kafka, Log, LogFormat, Orders, Restart, Settings, Source, State,
    Topics,
};
pub use value::{show_duration, show_size};

/// Reads and checks the settings.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Settings, Problems> {
    let (raw, problems) = raw::Raw::read(sources);
    check::settings(&raw, problems)
}

#[cfg(test)]
mod tests;
