//! Headers of the records that carry input bytes unchanged.

/// Headers of `dead-letters`. The record's key and value are those of the bad record, byte for byte.
pub mod dead_letter {
    use crate::format::DecodeError;

    /// Topic that the bad record was read from.
    pub const TOPIC: &str = "error.topic";
    /// Its partition, in decimal digits.
    pub const PARTITION: &str = "error.partition";
    /// Its offset, in decimal digits.
    pub const OFFSET: &str = "error.offset";
    /// [`ErrorClass::as_str`](crate::format::ErrorClass::as_str).
    pub const CLASS: &str = "error.class";
    /// For people: field, value, what is allowed.
    pub const MESSAGE: &str = "error.message";

    /// All headers of the dead letter of the record at `offset`, in a fixed order.
    #[must_use]
    pub fn headers(topic: &str, partition: i32, offset: i64, error: &DecodeError) -> [(&'static str, Vec<u8>); 5] {
        [
            (TOPIC, topic.as_bytes().to_vec()),
            (PARTITION, partition.to_string().into_bytes()),
            (OFFSET, offset.to_string().into_bytes()),
            (CLASS, error.class.as_str().as_bytes().to_vec()),
            (MESSAGE, error.message.as_bytes().to_vec()),
        ]
    }
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
