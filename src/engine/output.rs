//! Output on its way to the sink: encoded records in one buffer per batch.

use super::{
    chain::{Collector, Downstream},
    halt::Halt,
    message::{Barrier, Mark, Message, Timestamp},
    port::{Port, Waiting},
    snapshot::OperatorSnapshots,
};
use crossbeam_channel::Sender;
use std::{borrow::Cow, cell::RefCell, ops::Range, rc::Rc, time::Duration};

/// Bytes gathered before a batch is sent within a round.
const BATCH_BYTES: usize = 64 * 1024;

/// Index of an output topic in the plan.
pub type TopicIndex = u16;

/// Name and value of a header; no value is not the same as an empty one.
pub type Header = (Cow<'static, str>, Option<Vec<u8>>);

/// Headers of a record; most have none, so that they cost one word.
type Headers = Option<Box<Vec<Header>>>;

/// Where one record lies in its batch's buffer.
#[derive(Debug, Clone)]
pub struct OutputRecord {
    /// Which topic.
    pub topic: TopicIndex,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Headers,
}

/// Encoded records for any number of topics, in order.
#[derive(Debug, Default)]
pub struct OutputBatch {
    bytes: Vec<u8>,
    /// The records, in order.
    pub records: Vec<OutputRecord>,
}

impl OutputBatch {
    /// The key of `record`, if it has one.
    pub fn key(&self, record: &OutputRecord) -> Option<&[u8]> {
        record.key.as_ref().map(|range| self.slice(range))
    }

    /// The value of `record`; none in a tombstone.
    pub fn value(&self, record: &OutputRecord) -> Option<&[u8]> {
        record.value.as_ref().map(|range| self.slice(range))
    }

    /// The headers of `record`.
    pub fn headers<'a>(&self, record: &'a OutputRecord) -> &'a [Header] {
        record.headers.as_deref().map_or(&[], Vec::as_slice)
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.bytes.get(range.start as usize..range.end as usize).unwrap_or(&[])
    }
}

/// What an encoder writes one record into: first the key, then the value, then headers.
pub struct RecordWriter<'a> {
    bytes: &'a mut Vec<u8>,
    headers: Headers,
    key_end: Option<usize>,
    tombstone: bool,
}

impl RecordWriter<'_> {
    /// Sets the record's key. To be called once, before the value is written; a record without it has a null key.
    pub fn key(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.key_end = Some(self.bytes.len());
    }

    /// The record has no value: a tombstone.
    pub fn null_value(&mut self) {
        self.tombstone = true;
    }

    /// The buffer to append the record's value to. What stands in it already belongs to other records.
    pub fn value(&mut self) -> &mut Vec<u8> {
        self.bytes
    }

    /// Adds a header.
    pub fn header(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        self.headers.get_or_insert_default().push((name.into(), Some(value.into())));
    }

    /// Adds a header as a record had it, which may be without a value.
    pub fn header_as_it_was(&mut self, header: Header) {
        self.headers.get_or_insert_default().push(header);
    }
}

/// The one way from a task to the sink task; all outputs of the task share it, so that their order is kept.
pub struct OutputPort {
    sender: Sender<Message<OutputBatch>>,
    batch: OutputBatch,
    waiting: Waiting,
}

impl OutputPort {
    /// Sends to the sink task.
    pub fn new(sender: Sender<Message<OutputBatch>>, waiting: Waiting) -> Self {
        Self { sender, batch: OutputBatch::default(), waiting }
    }

    fn write(&mut self, topic: TopicIndex, encode: impl FnOnce(&mut RecordWriter<'_>)) -> Result<(), Halt> {
        let start = self.batch.bytes.len();
        let mut writer = RecordWriter { bytes: &mut self.batch.bytes, headers: None, key_end: None, tombstone: false };
        encode(&mut writer);
        let RecordWriter { headers, key_end, tombstone, .. } = writer;
        let end = self.batch.bytes.len();
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let key = key_end.map(|key_end| narrow(start)..narrow(key_end));
        let value = (!tombstone).then(|| narrow(key_end.unwrap_or(start))..narrow(end));
        self.batch.records.push(OutputRecord { topic, key, value, headers });
        if self.batch.bytes.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn send(&mut self, message: Message<OutputBatch>) -> Result<(), Halt> {
        self.waiting.send(&self.sender, message)
    }
}

impl Port for OutputPort {
    fn flush(&mut self) -> Result<(), Halt> {
        if self.batch.records.is_empty() {
            return Ok(());
        }
        let fresh = OutputBatch {
            bytes: Vec::with_capacity(self.batch.bytes.len().min(2 * BATCH_BYTES)),
            records: Vec::with_capacity(self.batch.records.len()),
        };
        let batch = std::mem::replace(&mut self.batch, fresh);
        self.send(Message::Batch(batch))
    }
    fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
        // Event time ends here: the sink has no use for it.
        let _ = mark;
        Ok(())
    }
    fn barrier(&mut self, barrier: Barrier) -> Result<(), Halt> {
        self.flush()?;
        self.send(Message::Barrier(barrier))
    }
    fn end(&mut self) -> Result<(), Halt> {
        self.flush()?;
        self.send(Message::End)
    }
    fn take_blocked(&mut self) -> Duration {
        self.waiting.take_blocked()
    }
}

/// Encodes a stream's records for one topic.
pub struct Encoder<E> {
    port: Rc<RefCell<OutputPort>>,
    topic: TopicIndex,
    encode: E,
}

impl<E> Encoder<E> {
    /// A collector in front of `port`.
    pub fn new(port: Rc<RefCell<OutputPort>>, topic: TopicIndex, encode: E) -> Self {
        Self { port, topic, encode }
    }
}

impl<E> Downstream for Encoder<E> {
    fn mark(&mut self, _: Mark) -> Result<(), Halt> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), Halt> {
        Ok(())
    }
    fn snapshot(&mut self, _: &mut OperatorSnapshots) -> Result<(), Halt> {
        Ok(())
    }
}

impl<T, E: Fn(&T, &mut RecordWriter<'_>)> Collector<T> for Encoder<E> {
    fn collect(&mut self, _: Timestamp, value: T) -> Result<(), Halt> {
        self.port.borrow_mut().write(self.topic, |writer| (self.encode)(&value, writer))
    }
}
