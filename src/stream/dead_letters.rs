//! Records that could not be decoded, as `sluicegate dlq` and the audit read them.

use super::app::Stream;
use crate::engine::{output::RecordWriter, source::DeadRecord};
use crate::format::dead_letter;
use std::sync::Arc;

impl Stream<DeadRecord> {
    /// Writes each record to the topic of Kafka as it was (key, value, headers), and behind its headers where it came from and why it was
    /// refused: the names are those of [`dead_letter`]. `job` is told in them. Of a record with a value of more than `max_record_bytes`, or
    /// with a key or headers that do not fit beside it, the rest is written, and what is missing told in headers.
    ///
    /// A program that [`App::main`](super::App::main) makes has the commands `dlq list`, `dlq show` and `dlq replay` for them.
    ///
    /// ```
    /// use sluicegate::stream::{App, Decode, RawRecord, Timestamp, Undecodable};
    ///
    /// struct Numbers;
    ///
    /// impl Decode for Numbers {
    ///     type Out = i64;
    ///     fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, i64), Undecodable> {
    ///         let text = String::from_utf8_lossy(record.value.unwrap_or_default());
    ///         let number = text.parse().map_err(|why| Undecodable { class: "no_number", message: format!("{text:?}: {why}") })?;
    ///         Ok((record.timestamp.unwrap_or(0), number))
    ///     }
    /// }
    ///
    /// // The value x, read at offset 7 of partition 0, becomes a dead letter with the value x and the headers error.topic=numbers,
    /// // error.partition=0, error.offset=7, error.class=no_number, error.message="x": invalid digit found in string, ...
    /// let app = App::new();
    /// let (numbers, dead) = app.source("numbers", "numbers", || Numbers);
    /// dead.sink_dead_letters("dead-letters", "sums", 100_000);
    /// assert!(app.into_plan().unwrap().dead_letters["dead-letters"].contains("sums"));
    /// ```
    pub fn sink_dead_letters(&self, topic: &str, job: &str, max_record_bytes: usize) {
        self.app.change(|plan| plan.dead_letters.entry(topic.to_owned()).or_default().insert(job.to_owned()));
        let job: Arc<str> = job.into();
        self.sink(topic, move |dead, record| encode(&job, max_record_bytes, dead, record));
    }
}

fn encode(job: &str, max_record_bytes: usize, dead: &DeadRecord, record: &mut RecordWriter<'_>) {
    let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = dead.headers.iter().map(|(name, value)| name.len() + size(value));
    let kept = dead_letter::Kept::of(size(&dead.key), size(&dead.value), headers, max_record_bytes);
    if let Some(key) = dead.key.as_ref().filter(|_| kept.key) {
        record.key(key);
    }
    match dead.value.as_ref().filter(|_| kept.value) {
        Some(value) => record.value().extend_from_slice(value),
        None => record.null_value(),
    }
    for header in dead.headers.iter().filter(|_| kept.headers) {
        record.header_as_it_was(header.clone());
    }
    let reason = dead_letter::Reason {
        topic: &dead.topic,
        partition: dead.partition,
        offset: dead.offset,
        class: dead.error.class,
        message: &dead.error.message,
        timestamp: dead.timestamp,
        stage: &dead.stage,
        job,
        checkpoint: dead.checkpoint.0,
    };
    for (name, value) in dead_letter::headers(&reason).into_iter().chain(kept.headers().into_iter().flatten()) {
        record.header(name, value);
    }
}
