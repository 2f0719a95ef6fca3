//! Headers of the records that carry input bytes unchanged.

/// Headers of `dead-letters`. The record's key and value are those of the bad record, byte for byte, and so are its first headers: those of
/// the bad record. Behind them stand these, [`TOPIC`](dead_letter::TOPIC) first; should the bad record have headers of the same names, the
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
