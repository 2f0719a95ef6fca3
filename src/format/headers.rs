//! Headers of the records that carry input bytes unchanged.

/// Headers of `dead-letters`. The record's key and value are those of the bad record, byte for byte, and so are its first headers: those of
/// the bad record. (What would make the letter too large is left out, and a header says so.) Behind them stand these, [`TOPIC`](dead_letter::TOPIC) first; should the bad record have headers of the same names, the
/// last of each name is ours.
pub mod dead_letter {
    /// Topic that the bad record was read from. The first of our headers.
    pub const TOPIC: &str = "error.topic";
    /// Its partition, in decimal digits.
    pub const PARTITION: &str = "error.partition";
    /// Its offset, in decimal digits.
    pub const OFFSET: &str = "error.offset";
    /// [`ErrorClass::as_str`](crate::format::ErrorClass::as_str).
    pub const CLASS: &str = "error.class";
    /// For people: field, value, what is allowed.
    pub const MESSAGE: &str = "error.message";
    /// Kafka's timestamp of the bad record in milliseconds since 1970, in decimal digits; absent if it had none.
    pub const TIMESTAMP: &str = "error.timestamp";
    /// Stage of the job that refused it.
    pub const STAGE: &str = "error.stage";
    /// Name of the job.
    pub const JOB: &str = "error.job";
    /// Number of the checkpoint in whose transaction the dead letter is, in decimal digits.
    pub const CHECKPOINT: &str = "error.checkpoint";

    /// Which parts of the bad record are not in the letter, because it would be too large: any of `key`, `value` and `headers`, with commas.
    /// Absent if the letter is whole. The record itself is where [`TOPIC`], [`PARTITION`] and [`OFFSET`] say, for as long as that topic keeps it.
    pub const OMITTED: &str = "error.omitted";
    /// Beside [`OMITTED`]: how many bytes the key, the value and the headers of the bad record have together, in decimal digits.
    pub const BYTES: &str = "error.bytes";

    /// Bytes for key and headers of a bad record, beside a value of the most that is allowed. The settings leave as much again for ours.
    const ROOM: usize = 8 << 10;
    /// What a header takes beside its name and value, at most: their lengths.
    const HEADER: usize = 16;

    /// Which parts of a bad record its letter keeps.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Kept {
        /// Its key.
        pub key: bool,
        /// Its value.
        pub value: bool,
        /// All of its headers.
        pub headers: bool,
        bytes: usize,
    }

    impl Kept {
        /// Key, value and headers in this order, each if it fits into what those before it leave of `max_record_bytes` (the most bytes of a
        /// value) and 8 KiB. Sizes are in bytes; those of `headers` are each name and value together.
        #[must_use]
        pub fn of(key: usize, value: usize, headers: impl Iterator<Item = usize>, max_record_bytes: usize) -> Self {
            let headers: usize = headers.map(|bytes| bytes + HEADER).sum();
            let mut room = max_record_bytes.saturating_add(ROOM);
            let mut take = |bytes: usize| {
                let fits = bytes <= room;
                room -= if fits { bytes } else { 0 };
                fits
            };
            Self { key: take(key), value: take(value), headers: take(headers), bytes: key + value + headers }
        }

        /// The headers that say what is missing; none if nothing is.
        #[must_use]
        pub fn headers(&self) -> Option<[(&'static str, Vec<u8>); 2]> {
            let parts = [(self.key, "key"), (self.value, "value"), (self.headers, "headers")];
            let omitted: Vec<&str> = parts.iter().filter(|(kept, _)| !kept).map(|(_, name)| *name).collect();
            let bytes = self.bytes.to_string().into_bytes();
            (!omitted.is_empty()).then(|| [(OMITTED, omitted.join(",").into_bytes()), (BYTES, bytes)])
        }
    }

    /// Where a bad record comes from, and why it is bad.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Reason<'a> {
        /// See [`TOPIC`].
        pub topic: &'a str,
        /// See [`PARTITION`].
        pub partition: i32,
        /// See [`OFFSET`].
        pub offset: i64,
        /// See [`CLASS`].
        pub class: &'a str,
        /// See [`MESSAGE`].
        pub message: &'a str,
        /// See [`TIMESTAMP`].
        pub timestamp: Option<i64>,
        /// See [`STAGE`].
        pub stage: &'a str,
        /// See [`JOB`].
        pub job: &'a str,
        /// See [`CHECKPOINT`].
        pub checkpoint: u64,
    }

    /// Our headers of a dead letter, in a fixed order.
    #[must_use]
    pub fn headers(reason: &Reason<'_>) -> Vec<(&'static str, Vec<u8>)> {
        let text = |text: &str| text.as_bytes().to_vec();
        let mut headers = vec![
            (TOPIC, text(reason.topic)),
            (PARTITION, reason.partition.to_string().into_bytes()),
            (OFFSET, reason.offset.to_string().into_bytes()),
            (CLASS, text(reason.class)),
            (MESSAGE, text(reason.message)),
        ];
        headers.extend(reason.timestamp.map(|timestamp| (TIMESTAMP, timestamp.to_string().into_bytes())));
        headers.extend([
            (STAGE, text(reason.stage)),
            (JOB, text(reason.job)),
            (CHECKPOINT, reason.checkpoint.to_string().into_bytes()),
        ]);
        headers
    }
}

/// Headers of `purchase-stats`.
pub mod purchase_stats {
    /// How many categories are not in the record, because all of them would make it too large, in decimal digits. Absent if all are there.
    pub const OMITTED_CATEGORIES: &str = "stats.omitted_categories";
}

/// Headers of records that `sluicegate dlq replay` sends.
pub mod replay {
    /// The dead letter that the record comes from: `<topic of the dead letters>/<partition>/<offset>`. Stands behind the record's own headers;
    /// one that has died and was replayed several times has several, the last one last.
    pub const OF: &str = "replay.of";
}

/// Headers of `late-orders`. The key is the `orderId`; the value is the late event, byte for byte.
pub mod late_order {
    /// Watermark of the window stage when the event came, in milliseconds since the epoch, in decimal digits.
    pub const WATERMARK: &str = "late.watermark";

    /// All headers of an event that came at `watermark`.
    #[must_use]
    pub fn headers(watermark: i64) -> [(&'static str, Vec<u8>); 1] {
        [(WATERMARK, watermark.to_string().into_bytes())]
    }
}

#[cfg(test)]
mod tests {
    use super::dead_letter::Kept;

    fn omitted(key: usize, value: usize, headers: &[usize]) -> Option<String> {
        let kept = Kept::of(key, value, headers.iter().copied(), 1_000);
        kept.headers().map(|[(_, parts), (_, bytes)]| {
            format!("{} of {}", String::from_utf8(parts).unwrap(), String::from_utf8(bytes).unwrap())
        })
    }

    #[test]
    fn a_letter_is_whole_unless_it_would_be_too_large() {
        assert_eq!(omitted(10, 1_000, &[100, 50]), None);
        assert_eq!(omitted(192, 9_000, &[]), None);
        assert_eq!(omitted(193, 9_000, &[]).as_deref(), Some("value of 9193"));
        assert_eq!(omitted(10, 1_000, &[8_167]).as_deref(), Some("headers of 9193"));
        assert_eq!(omitted(10, 10_000_000, &[10]).as_deref(), Some("value of 10000036"));
        assert_eq!(omitted(10_000, 200, &[10]).as_deref(), Some("key of 10226"));
        assert_eq!(omitted(20_000, 20_000, &[20_000]).as_deref(), Some("key,value,headers of 60016"));
        // A million headers without a byte are too many as well
        assert_eq!(omitted(1, 1, &vec![0; 1_000_000]).as_deref(), Some("headers of 16000002"));
    }
}
