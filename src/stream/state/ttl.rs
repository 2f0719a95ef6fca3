//! How long the entries of a state live.

use crate::engine::Timestamp;
use crate::state::expired;
use std::time::Duration;

/// Entries looked at per access, as with Flink's incremental clean-up.
const LOOKS: usize = 5;

/// The time to live of a state, in event time: of each entry of a map, of each element of a list, of the value of a key.
///
/// The age of an entry counts from the event time of the record that it was written for (from the watermark, if that is later or there
/// is no record), and it has expired when the watermark has reached that time + the time to live. So a replay, which has the same
/// records, comes to the same answers. When a drain ends event time, nothing expires by that.
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, OperatorContext, Outputs, Timestamp, Ttl, ValueState};
/// use std::time::Duration;
///
/// // Passes on the first record of a key, and the next one after an hour without any.
/// struct First {
///     seen: ValueState<String, bool>,
/// }
///
/// impl KeyedProcess<String, String> for First {
///     type Out = String;
///     fn process(&mut self, key: &Key<String>, _: Timestamp, value: String, out: &mut Emit<'_, String>) -> Result<(), Halt> {
///         if self.seen.read(key, |seen| seen.is_none())? {
///             self.seen.put(key, true)?;
///             out.push(value)?;
///         }
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// const MINUTE: i64 = 60_000;
/// let mut first = Harness::<String, String, _>::new(|_, visits| {
///     Outputs::of(&visits.process("first", |declare| {
///         let hour = Ttl::of(Duration::from_secs(3600)).update_on_read_and_write();
///         let seen = declare.with_ttl(hour).value::<String, bool>("seen");
///         move |context: &mut OperatorContext<'_, '_>| Ok(First { seen: context.state(&seen)? })
///     }))
/// })?;
/// for (minute, page) in [(0, "home"), (50, "news"), (100, "help"), (170, "home")] {
///     first.watermark(minute * MINUTE)?;
///     first.record(minute * MINUTE, "ann".into(), page.into())?;
/// }
/// assert_eq!(first.outputs.take(), [(0, "home".into()), (170 * MINUTE, "home".into())]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    millis: i64,
    reads_update: bool,
    returns_expired: bool,
    looks: usize,
}

impl Ttl {
    /// Entries live for `time` (at least a millisecond), counted from when they were made or written; what has expired is never
    /// returned; of the entries in memory five per access are looked at and removed when they have expired.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
        Self { millis, reads_update: false, returns_expired: false, looks: LOOKS }
    }

    /// The time counts from when an entry was made or written. This is the default.
    #[must_use]
    pub fn update_on_create_and_write(self) -> Self {
        Self { reads_update: false, ..self }
    }

    /// Reading an entry lets its time begin again. An entry that is read in every checkpoint is written in every checkpoint.
    #[must_use]
    pub fn update_on_read_and_write(self) -> Self {
        Self { reads_update: true, ..self }
    }

    /// What has expired is never returned, whether it is still there or not. This is the default.
    #[must_use]
    pub fn never_return_expired(self) -> Self {
        Self { returns_expired: false, ..self }
    }

    /// What has expired is returned as long as nobody has removed it; reading it removes it. When that happens is not a part of the
    /// state: a replay may find an entry gone that was still there before. For operators that take either answer.
    #[must_use]
    pub fn return_expired_if_not_cleaned_up(self) -> Self {
        Self { returns_expired: true, ..self }
    }

    /// Each access looks at this many entries in memory, in turn, and removes those that have expired; 0 = none. Whatever this is, RocksDB
    /// leaves out expired entries when it merges files.
    #[must_use]
    pub fn clean_up_incrementally(self, entries_per_access: usize) -> Self {
        Self { looks: entries_per_access, ..self }
    }

    pub(super) fn millis(&self) -> i64 {
        self.millis
    }

    pub(super) fn reads_update(&self) -> bool {
        self.reads_update
    }

    pub(super) fn returns_expired(&self) -> bool {
        self.returns_expired
    }

    pub(super) fn looks(&self) -> usize {
        self.looks
    }

    pub(super) fn is_over(&self, written_at: Timestamp, watermark: Timestamp) -> bool {
        expired(written_at, self.millis, watermark)
    }

    /// As descriptors have it.
    pub(in crate::stream) fn descriptor_millis(&self) -> u64 {
        self.millis.unsigned_abs()
    }
}
