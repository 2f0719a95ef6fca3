//! Keys of state: a typed value, its hash, and its bytes.
//!
//! In RocksDB a key is `key group (u16, big endian) · encoded key`. The encoding keeps the order of the values and every part
//! delimits itself, so that all keys that begin with a part lie together and can be scanned:
//!
//! | type | bytes |
//! | --- | --- |
//! | `u8`, `u64` | big endian |
//! | `i64` | big endian, sign bit flipped |
//! | text | UTF-8 with `00` written as `00 FF`, ended by `00 01` |
//! | `()` | none |
//! | `(A, B)` | A, then B |

use super::{KeyShape, hash_key};
use crate::protocol::Failure;
use compact_str::CompactString;
use std::cell::RefCell;

/// What can be the key of a state. The encoding is part of the state's format: an implementation never changes it.
pub trait StateKey: Clone + Eq + Send + 'static {
    /// What the bytes mean, for the manifest and for looking into a checkpoint without the job's types.
    fn shape() -> KeyShape;

    /// Appends the bytes of this key.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one key from the front of `bytes`; gives it and the rest.
    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure>;

    /// Bytes on the heap, beyond `size_of::<Self>()`.
    fn heap_bytes(&self) -> usize {
        0
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hash of a key's bytes.
fn hash_of<K: StateKey>(value: &K) -> u64 {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        value.encode(scratch);
        hash_key(scratch)
    })
}

/// A key with its hashes, computed once per record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<K> {
    /// Hash of the key by which the stream is partitioned: decides the key group.
    pub hash: u64,
    /// The key itself. To change it, make another `Key`.
    pub value: K,
    /// Hash of this key, for the table's index.
    slot: u64,
}

impl<K: StateKey> Key<K> {
    /// A key by which the stream itself is partitioned.
    pub fn new(value: K) -> Self {
        let hash = hash_of(&value);
        Self { hash, value, slot: hash }
    }

    /// A key that lives in the key group of another one, by which the stream is partitioned (`hash` is that one's): a window
    /// of a user, an event type of an order.
    pub fn under(hash: u64, value: K) -> Self {
        let slot = hash_of(&value);
        Self { hash, value, slot }
    }

    /// Hash of this key alone, for the table's index.
    pub(super) fn slot(&self) -> u64 {
        self.slot
    }
}

/// The index hash of a key that was read from the store.
pub(super) fn slot_of<K: StateKey>(value: &K) -> u64 {
    hash_of(value)
}

#[cold]
fn broken(what: &str, bytes: &[u8]) -> Failure {
    Failure::refused(format!("state key is not {what}: {}", hex(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    let mut text: String = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 64 {
        text.push('…');
    }
    text
}

/// Bytes that end a text.
pub(super) const TEXT_END: usize = 2;

pub(super) fn encode_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if bytes.contains(&0) {
        for &byte in bytes {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
    } else {
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&[0, 1]);
}

pub(super) fn decode_text(bytes: &[u8]) -> Result<(CompactString, &[u8]), Failure> {
    let refuse = || broken("text ended by 00 01", bytes);
    let mut raw = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|&byte| byte == 0).ok_or_else(refuse)?;
        let (part, tail) = rest.split_at(end);
        match tail {
            [0, 1, after @ ..] if raw.is_empty() => {
                let text = std::str::from_utf8(part).map_err(|_| refuse())?;
                return Ok((CompactString::new(text), after));
            }
            [0, 1, after @ ..] => {
                raw.extend_from_slice(part);
                return Ok((CompactString::from_utf8(&raw).map_err(|_| refuse())?, after));
            }
            [0, 0xff, after @ ..] => {
                raw.extend_from_slice(part);
                raw.push(0);
                rest = after;
            }
            _ => return Err(refuse()),
        }
    }
}

pub(super) fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Failure> {
    match bytes.split_first_chunk::<N>() {
        Some((head, rest)) => Ok((*head, rest)),
        None => Err(broken(&format!("an integer of {N} bytes"), bytes)),
    }
}

impl StateKey for CompactString {
    fn shape() -> KeyShape {
        KeyShape::Text
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        decode_text(bytes)
    }

    fn heap_bytes(&self) -> usize {
        if self.is_heap_allocated() { self.capacity() } else { 0 }
    }
}

impl StateKey for String {
    fn shape() -> KeyShape {
        KeyShape::Text
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        decode_text(bytes).map(|(text, rest)| (text.into(), rest))
    }

    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl StateKey for u8 {
    fn shape() -> KeyShape {
        KeyShape::U8
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        take(bytes).map(|([byte], rest)| (byte, rest))
    }
}

impl StateKey for u64 {
    fn shape() -> KeyShape {
        KeyShape::U64
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        take(bytes).map(|(raw, rest)| (u64::from_be_bytes(raw), rest))
    }
}

const SIGN: u64 = 1 << 63;

impl StateKey for i64 {
    fn shape() -> KeyShape {
        KeyShape::I64
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.cast_unsigned() ^ SIGN).to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        take(bytes).map(|(raw, rest)| ((u64::from_be_bytes(raw) ^ SIGN).cast_signed(), rest))
    }
}

impl StateKey for () {
    fn shape() -> KeyShape {
        KeyShape::Unit
    }

    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        Ok(((), bytes))
    }
}

impl<A: StateKey, B: StateKey> StateKey for (A, B) {
    fn shape() -> KeyShape {
        KeyShape::Pair(Box::new(A::shape()), Box::new(B::shape()))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        let (first, rest) = A::decode(bytes)?;
        let (second, rest) = B::decode(rest)?;
        Ok(((first, second), rest))
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded<K: StateKey>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    fn round_trip<K: StateKey + std::fmt::Debug>(key: &K) {
        let mut bytes = encoded(key);
        bytes.extend_from_slice(b"rest");
        let (back, rest) = K::decode(&bytes).unwrap();
        assert_eq!((&back, rest), (key, &b"rest"[..]));
    }

    #[test]
    fn the_bytes_of_keys_never_change() {
        assert_eq!(hex(&encoded(&CompactString::new("O-42"))), "4f2d34320001");
        assert_eq!(hex(&encoded(&String::from("a\0b"))), "6100ff620001");
        assert_eq!(hex(&encoded(&7_u8)), "07");
        assert_eq!(hex(&encoded(&258_u64)), "0000000000000102");
        assert_eq!(hex(&encoded(&-1_i64)), "7fffffffffffffff");
        assert_eq!(hex(&encoded(&1_i64)), "8000000000000001");
        assert_eq!(hex(&encoded(&(1_i64, CompactString::new("U")))), "8000000000000001550001");
        assert_eq!(hex(&encoded(&())), "");
    }

    #[test]
    fn bytes_that_are_no_key_are_refused_with_what_was_wanted() {
        for (bytes, wanted) in [(&b"abc"[..], "text"), (b"a\0\x02", "text"), (b"\xff\0\x01", "text"), (b"", "text")] {
            assert!(CompactString::decode(bytes).unwrap_err().message.contains(wanted), "{bytes:?}");
        }
        assert!(u64::decode(b"1234567").unwrap_err().message.contains("integer of 8 bytes"));
    }

    #[test]
    fn a_key_under_another_shares_its_group_and_has_its_own_index_hash() {
        let user = Key::new(CompactString::new("U-1"));
        let window = Key::under(user.hash, (0_i64, user.value.clone()));
        assert_eq!(window.hash, user.hash);
        assert_eq!(window.slot(), slot_of(&window.value));
        assert_ne!(window.slot(), user.slot());
    }

    proptest! {
        #[test]
        fn keys_read_back_as_written(text in "[\\x00-\\x02a\u{ff}-\u{101}]{0,6}", a in any::<i64>(), b in any::<u64>(), c in any::<u8>()) {
            round_trip(&text);
            round_trip(&CompactString::new(&text));
            round_trip(&a);
            round_trip(&(text.clone(), (a, (b, c))));
        }

        #[test]
        fn bytes_keep_the_order_of_keys(a in ("[\\x00-\\x02a]{0,4}", any::<i64>()), b in ("[\\x00-\\x02a]{0,4}", any::<i64>())) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        }
    }
}
