//! Free TCP ports.

use crate::{Result, bail};
use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{Mutex, PoisonError},
};

/// Below the range that Linux, macOS and Windows give to outgoing connections (32768 and up). A broker's port must stay its own
/// while it is down: in that range a client's next connection could take it, or even connect to itself.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of this machine that nobody listens on, and that this process was not given before.
pub fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let span = u64::from(RANGE.end - RANGE.start);
        let port = RANGE.start + u16::try_from(crate::arbitrary() % span)?;
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", RANGE.start, RANGE.end)
}
