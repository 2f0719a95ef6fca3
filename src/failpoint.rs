//! Named points at which a test can kill, delay or fail the process. Without the feature `fault-injection` they are nothing.
//!
//! `SLUICEGATE_FAILPOINTS="after-upload=kill,during-recovery=kill@2,before-prepare=sleep:5s,after-manifest=error"`: at the
//! named point (at its n-th time with `@n`, from 1; only then) the process kills itself with SIGKILL, sleeps, or fails there.

use crate::protocol::Failure;

/// Every point, in the order in which a recovery and then a checkpoint pass them. A test fails if one is never reached.
pub const NAMES: &[&str] = &[
    "during-fencing",
    "during-recovery",
    "during-restore",
    "before-flush",
    "before-prepare",
    "during-upload",
    "after-upload",
    "after-manifest",
    "during-commit",
    "after-commit",
    "before-confirm",
];

/// Those of a job with Kafka and with sinks that are not: between the commit in Kafka and what becomes visible outside of it, and in a
/// recovery before that is made up for.
pub const OF_OTHER_SINKS: &[&str] = &["before-settling", "before-publishing"];

/// The points of `sluicegate dlq replay`, which a job never passes.
pub const OF_REPLAYS: &[&str] = &["before-replay-commit", "after-replay-commit"];

/// Passes the point `name`.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn hit(_name: &'static str) -> Result<(), Failure> {
    Ok(())
}

/// Passes the point `name`, or does what the environment asks for there.
#[cfg(feature = "fault-injection")]
pub fn hit(name: &'static str) -> Result<(), Failure> {
    armed::hit(name)
}

/// Whether the protection `name` is switched off, to prove that its test can fail. Never in a release. Names are those in the
/// calls of this function, and the deliberate bugs of `src/protocol/mutant.rs`; docs/reliability.md says which test needs which.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn switched_off(_name: &str) -> bool {
    false
}

/// Whether `SLUICEGATE_SWITCHED_OFF` names the protection `name`.
#[cfg(feature = "fault-injection")]
pub fn switched_off(name: &str) -> bool {
    static OFF: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let off = OFF.get_or_init(|| {
        let list = std::env::var("SLUICEGATE_SWITCHED_OFF").unwrap_or_default();
        list.split(',').map(|name| name.trim().to_owned()).collect()
    });
    off.iter().any(|other| other == name)
}

#[cfg(feature = "fault-injection")]
mod armed {
    use super::{Failure, NAMES, OF_OTHER_SINKS, OF_REPLAYS};
    use std::{
        sync::OnceLock,
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    enum Action {
        Kill,
        Error,
        Sleep(Duration),
    }

    struct Point {
        name: String,
        action: Action,
        /// Acts at this passing only; at every one if none.
        only: Option<u64>,
        passed: AtomicU64,
    }

    static POINTS: OnceLock<Result<Vec<Point>, String>> = OnceLock::new();

    fn parse(text: &str) -> Result<Vec<Point>, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts
            .map(|part| {
                let (name, rest) = part.split_once('=').ok_or_else(|| format!("{part:?}: wanted name=action"))?;
                if ![NAMES, OF_OTHER_SINKS, OF_REPLAYS].iter().any(|names| names.contains(&name)) {
                    let (sinks, replays, jobs) = (OF_OTHER_SINKS.join(", "), OF_REPLAYS.join(", "), NAMES.join(", "));
                    return Err(format!(
                        "{name:?} is no fail point (of other sinks: {sinks}; of replays: {replays}); there are {jobs}"
                    ));
                }
                let (action, only) = match rest.split_once('@') {
                    Some((action, nth)) => (action, Some(nth.parse().map_err(|_| format!("{nth:?} is not a number"))?)),
                    None => (rest, None),
                };
                let action = match action.split_once(':') {
                    None if action == "kill" => Action::Kill,
                    None if action == "error" => Action::Error,
                    Some(("sleep", time)) => {
                        Action::Sleep(humantime::parse_duration(time).map_err(|error| format!("{time:?}: {error}"))?)
                    }
                    _ => return Err(format!("{action:?}: wanted kill, error or sleep:<time>")),
                };
                Ok(Point { name: name.to_owned(), action, only, passed: AtomicU64::new(0) })
            })
            .collect()
    }

    pub fn hit(name: &'static str) -> Result<(), Failure> {
        let points = POINTS.get_or_init(|| parse(&std::env::var("SLUICEGATE_FAILPOINTS").unwrap_or_default()));
        let points = points.as_ref().map_err(|why| Failure::fatal(format!("SLUICEGATE_FAILPOINTS: {why}")))?;
        for point in points.iter().filter(|point| point.name == name) {
            let passing = point.passed.fetch_add(1, Ordering::SeqCst) + 1;
            if point.only.is_some_and(|only| only != passing) {
                continue;
            }
            tracing::warn!(fail_point = name, passing, "fail point reached");
            match point.action {
                Action::Kill => kill(),
                Action::Error => return Err(Failure::attempt(format!("fail point {name}"))),
                Action::Sleep(time) => std::thread::sleep(time),
            }
        }
        Ok(())
    }

    /// As `kill -9`: no destructor runs, nothing is flushed.
    fn kill() -> ! {
        let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        std::process::abort()
    }
}
