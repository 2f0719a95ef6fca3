//! The event time before which expired entries may be removed physically.

use super::value::split_header;
use rocksdb::{Options, compaction_filter::Decision};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

/// A watermark of the stream, in ms of event time, shared with RocksDB's compactions.
///
/// An entry is expired *logically* once the watermark has reached its time of writing + time to live; the operator decides that
/// when it reads. Removing it *physically* must not change any answer, not even after a replay. A snapshot N may hold files that
/// were compacted at any horizon set before N was linked, and a replay from N starts at the watermark of barrier N. So the
/// horizon is only ever set to the watermark of a barrier whose checkpoint is not linked yet, or of an older one: then what was
/// removed is expired for every replay from N or later. Never set it to the live watermark.
#[derive(Debug, Clone)]
pub struct Horizon(Arc<AtomicI64>);

impl Default for Horizon {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl Horizon {
    /// Raises the horizon to the watermark (ms) that barrier N carried; call it before N is linked. Never lowers it.
    pub fn raise(&self, watermark_ms: i64) {
        self.0.fetch_max(watermark_ms, Relaxed);
    }

    /// The horizon, ms; `i64::MIN` at first.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Lets compactions with these options remove entries whose time to live has ended.
    pub(super) fn install(&self, options: &mut Options, ttl_ms: u64) {
        let horizon = self.clone();
        let ttl_ms = i64::try_from(ttl_ms).unwrap_or(i64::MAX);
        options.set_compaction_filter("event-time-to-live", move |_level, _key: &[u8], value: &[u8]| {
            // What cannot be read is kept: whoever reads it says so.
            match split_header(value) {
                Ok((Some(written_at), _)) if expired(written_at, ttl_ms, horizon.get()) => Decision::Remove,
                _ => Decision::Keep,
            }
        });
    }
}

/// Whether an entry written at `written_at` has expired at `watermark`; all in ms of event time.
#[must_use]
pub fn expired(written_at: i64, ttl_ms: i64, watermark: i64) -> bool {
    written_at.saturating_add(ttl_ms) <= watermark
}
