//! What stands in front of the Avro of a record: which schema it was written with.

use super::schemas::SINGLE_OBJECT;
use crate::format::{DecodeError, ErrorClass};
use std::fmt;

/// The schema that a record names in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriterSchema {
    /// Its number in the registry.
    Id(u32),
    /// Its fingerprint ([`fingerprint`](super::fingerprint)).
    Fingerprint([u8; 8]),
}

impl fmt::Display for WriterSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "schema id {id}"),
            Self::Fingerprint(bytes) => write!(f, "schema fingerprint {:016x}", u64::from_le_bytes(*bytes)),
        }
    }
}

impl WriterSchema {
    /// Splits a record in Confluent framing.
    ///
    /// # Errors
    ///
    /// `malformed_avro` if it has no such header.
    #[inline]
    pub fn of_framed(record: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        match record.split_first_chunk::<5>() {
            Some(([0, id @ ..], avro)) => Ok((Self::Id(u32::from_be_bytes(*id)), avro)),
            _ => Err(no_header(record, "00 and a schema id of 4 bytes")),
        }
    }

    /// Splits a record in single-object encoding.
    ///
    /// # Errors
    ///
    /// `malformed_avro` if it has no such header.
    #[inline]
    pub fn of_single_object(record: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        match record.split_first_chunk::<10>() {
            Some(([first, second, fingerprint @ ..], avro)) if [*first, *second] == SINGLE_OBJECT => {
                Ok((Self::Fingerprint(*fingerprint), avro))
            }
            _ => Err(no_header(record, "c3 01 and a schema fingerprint of 8 bytes")),
        }
    }
}

#[cold]
fn no_header(record: &[u8], wanted: &str) -> DecodeError {
    let begin: String = record.iter().take(10).map(|byte| format!("{byte:02x} ")).collect();
    let message = format!("the record begins with {}; wanted is {wanted}", begin.trim_end());
    DecodeError { class: ErrorClass::MalformedAvro, message }
}

/// The header of the records of one topic, always the same: 5 or 10 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 10],
    length: usize,
}

impl Header {
    /// The header that names `schema`.
    #[must_use]
    pub fn of(schema: WriterSchema) -> Self {
        let mut header = Self { bytes: [0; 10], length: 0 };
        match schema {
            WriterSchema::Id(id) => {
                header.put(&[0]);
                header.put(&id.to_be_bytes());
            }
            WriterSchema::Fingerprint(fingerprint) => {
                header.put(&SINGLE_OBJECT);
                header.put(&fingerprint);
            }
        }
        header
    }

    fn put(&mut self, part: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(part) {
            *place = *byte;
        }
        self.length += part.len();
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
