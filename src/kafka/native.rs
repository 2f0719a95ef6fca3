//! The only unsafe code of this crate: what librdkafka offers and rdkafka does not hand on.
//!
//! Each function takes references to rdkafka's safe types, so the native objects behind them live for the whole call; every
//! pointer that librdkafka returns is read before the call ends and is either copied or bound to the argument's lifetime.
//! librdkafka's client calls used here are thread safe ("The library is completely thread safe", rdkafka.h).
#![allow(unsafe_code)]

use rdkafka::{
    TopicPartitionList,
    bindings::{self, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR},
    client::{Client, ClientContext},
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use std::{
    borrow::Cow,
    ffi::{CStr, CString, c_char},
    ptr, slice,
    time::Duration,
};

/// Waits until the producer has no record outstanding, for `patience` at most; true if there is none.
///
/// rdkafka's own `flush` sleeps in slices of 100 ms (a transaction of one record takes 101 ms instead of 2 ms); this one waits
/// on librdkafka's condition variable. Records that failed stay outstanding until `poll` has delivered their reports: so call
/// this in slices, with `poll` between them. Needs `delivery.report.only.error=true`, else every record needs that.
pub(super) fn flush<C: ClientContext>(producer: &Client<C>, patience: Duration) -> bool {
    let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives for the call; the function takes no other pointer. On anything but a producer it returns an error.
    let result = unsafe { bindings::rd_kafka_flush(producer.native_ptr(), milliseconds) };
    result == NO_ERROR
}

/// Next offset behind what the application was given, control records included; none before the first record or for a
/// partition that the consumer does not know. No request is sent.
pub(super) fn position<C: ClientContext>(consumer: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    // SAFETY: client and list live for the call; librdkafka writes offset and err into the list's one element.
    let result = unsafe { bindings::rd_kafka_position(consumer.native_ptr(), list.ptr()) };
    if result != NO_ERROR {
        return None;
    }
    elements(&list).into_iter().next().map(|element| element.offset).filter(|offset| *offset >= 0)
}

/// First offset of the log and the one behind its last record, as the consumer's last fetch saw them; none before the first
/// fetch. No request is sent.
pub(super) fn known_bounds<C: ClientContext>(consumer: &Client<C>, topic: &str, partition: i32) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and name live for the call; low and high are valid for writes.
    let result = unsafe {
        bindings::rd_kafka_get_watermark_offsets(consumer.native_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (result == NO_ERROR && high >= 0).then_some((low, high))
}

/// One element of a list, with its metadata as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset, negative if there is none.
    pub offset: i64,
    /// Metadata as it is: rdkafka's own accessor panics if it is not UTF-8, and anybody may have committed it.
    pub metadata: Vec<u8>,
    /// The error of this element alone.
    pub error: Option<RDKafkaErrorCode>,
}

/// The elements of `list`.
pub(super) fn elements(list: &TopicPartitionList) -> Vec<Element> {
    let count = list.count();
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: `ptr` is the live native list that `list` owns, and `elems` points to `cnt` initialised elements (rdkafka.h). Nobody
    // changes them while `list` is borrowed here, and the slice ends with this function.
    let elements = unsafe { slice::from_raw_parts((*list.ptr()).elems, count) };
    elements
        .iter()
        .map(|element| Element {
            // SAFETY: the list owns the name.
            topic: unsafe { text(element.topic) }.into_owned(),
            partition: element.partition,
            offset: element.offset,
            metadata: if element.metadata.is_null() {
                Vec::new()
            } else {
                // SAFETY: not null, hence `metadata_size` bytes that the list owns (rdkafka.h).
                unsafe { slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) }.to_vec()
            },
            error: (element.err != NO_ERROR).then(|| element.err.into()),
        })
        .collect()
}

/// The headers of `message`, in order. rdkafka's own accessor panics on names that are not UTF-8; here they are shown with
/// replacement characters.
pub(super) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(Cow<'a, str>, Option<&'a [u8]>)> {
    let mut found = Vec::new();
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives for 'a; librdkafka parses its headers once and keeps them with the message, `headers` is valid for
    // the write.
    let result = unsafe { bindings::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    if result != NO_ERROR || headers.is_null() {
        return found;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null(), 0);
        // SAFETY: `headers` belongs to the message, which lives for 'a; the three places are valid for writes.
        let result = unsafe { bindings::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
        if result != NO_ERROR {
            break;
        }
        // SAFETY: a value that is not null has `size` bytes, which the message's headers own, unchanged for 'a.
        let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) });
        // SAFETY: the message's headers own the name, unchanged for 'a.
        found.push((unsafe { text(name) }, value));
    }
    found
}

/// Names of all properties that librdkafka knows, global and per topic, other names of the same included.
pub(super) fn property_names() -> Vec<String> {
    let (mut buffer, mut size) = (ptr::null_mut::<c_char>(), 0);
    // SAFETY: buffer and size are valid for writes until the stream is closed. After that, `buffer` is null or has `size` bytes that
    // `free` takes back; they are copied before.
    let table = unsafe {
        let stream = libc::open_memstream(&raw mut buffer, &raw mut size);
        if stream.is_null() {
            return Vec::new();
        }
        bindings::rd_kafka_conf_properties_show(stream);
        libc::fclose(stream);
        let table = if buffer.is_null() { Vec::new() } else { slice::from_raw_parts(buffer.cast::<u8>(), size).to_vec() };
        libc::free(buffer.cast());
        table
    };
    // "linger.ms                | P   | 0 .. 900000     | ..."
    let table = String::from_utf8_lossy(&table);
    let names = table.lines().filter_map(|line| Some(line.split_once(" | ")?.0.trim()));
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

/// Text of a C string, with replacement characters for what is not UTF-8; empty for null.
///
/// # Safety
///
/// `pointer` is null, or a string with a zero byte at its end that lives and stays unchanged for 'a.
unsafe fn text<'a>(pointer: *const c_char) -> Cow<'a, str> {
    if pointer.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy()
}

/// Metadata that is not text, as any client may commit it.
#[cfg(test)]
pub(super) fn set_metadata_bytes(list: &mut TopicPartitionList, metadata: &[u8]) {
    for index in 0..list.count() {
        // SAFETY: as in `elements`, and `list` is borrowed for writing. librdkafka frees the metadata with `free`, so it comes from
        // `malloc`; there is none yet.
        unsafe {
            let element = (*list.ptr()).elems.add(index);
            assert!((*element).metadata.is_null());
            (*element).metadata = libc::malloc(metadata.len());
            (*element).metadata.cast::<u8>().copy_from_nonoverlapping(metadata.as_ptr(), metadata.len());
            (*element).metadata_size = metadata.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Offset;

    #[test]
    fn metadata_that_is_not_text_comes_back_as_bytes() {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition("orders", 3);
        element.set_offset(Offset::Offset(7)).unwrap();
        // rdkafka takes text only, so the bytes are made of a valid string here; the broker tests commit real garbage.
        element.set_metadata("v1:orders:4:00");
        let wanted =
            Element { topic: "orders".into(), partition: 3, offset: 7, metadata: b"v1:orders:4:00".to_vec(), error: None };
        assert_eq!(elements(&list), [wanted]);
        assert_eq!(elements(&TopicPartitionList::new()), []);
    }

    #[test]
    fn the_names_of_properties_are_those_of_both_levels() {
        let names = property_names();
        for name in
            ["bootstrap.servers", "linger.ms", "compression.type", "message.timeout.ms", "partitioner", "transactional.id"]
        {
            assert!(names.iter().any(|known| known == name), "{name} is not among {} names", names.len());
        }
    }
}
