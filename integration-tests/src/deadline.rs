//! Waiting for a condition, never for a time.

use crate::{Result, bail};
use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// How often conditions are looked at: short beside everything that is waited for here.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` until it answers, for `within` at most. The error says `what` was waited for.
pub fn wait_for<T>(what: impl fmt::Display, within: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        if start.elapsed() >= within {
            bail!("{what}: not within {within:?}");
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds, for `within` at most.
pub fn wait_until(what: impl fmt::Display, within: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, within, || Ok(condition()?.then_some(())))
}
