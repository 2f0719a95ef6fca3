//! A place in the bytes of one record. Nothing is believed: lengths are compared with what is left, and what takes no bytes is counted.

/// Bytes that are not what their schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// Not text where text has to be; at this byte.
    Text(usize),
    /// Anything else: at this byte, and what was found there.
    At(usize, String),
}

/// How deep values may lie in each other. Only what is skipped can be deep at all: an order is three levels.
const DEPTH: usize = 64;
/// Values without a byte (nulls, empty records) that a record may have beyond its length: an array of 2^60 nulls takes ten bytes.
const EMPTY_VALUES: usize = 65_536;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Length of the header in front, so that positions are those in the record.
    offset: usize,
    at: usize,
    /// Values that may still come.
    values: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`, in front of which the record has `offset` others.
    pub(super) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset, at: 0, values: bytes.len() + EMPTY_VALUES, depth: 0 }
    }

    pub(super) fn broken<T>(&self, what: impl Into<String>) -> Result<T, Broken> {
        Err(Broken::At(self.offset + self.at, what.into()))
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The end, or an error.
    pub(super) fn end(&self) -> Result<(), Broken> {
        match self.left() {
            0 => Ok(()),
            left => self.broken(format!("{left} bytes are left behind the record")),
        }
    }

    /// Counts one value more.
    #[inline]
    pub(super) fn value(&mut self) -> Result<(), Broken> {
        match self.values.checked_sub(1) {
            Some(values) => {
                self.values = values;
                Ok(())
            }
            None => self.broken("more values than its bytes can hold"),
        }
    }

    /// Reads something that lies one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Broken>) -> Result<T, Broken> {
        if self.depth == DEPTH {
            return self.broken(format!("values nested deeper than {DEPTH} levels"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// A zig-zag variable-length number.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut value = 0_u64;
        for (index, byte) in rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left.
            if index == 9 && bits > 1 {
                return self.broken("a number of more than 64 bits");
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(((value >> 1) as i64) ^ -((value & 1) as i64));
            }
        }
        if rest.len() < 10 { self.broken("it ends within a number") } else { self.broken("a number of more than 64 bits") }
    }

    /// A number of the type int.
    pub(super) fn int(&mut self) -> Result<i32, Broken> {
        let number = self.long()?;
        i32::try_from(number).or_else(|_| self.broken(format!("an int of {number}")))
    }

    /// `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => self.broken(format!("{count} bytes are announced, but {} are left", self.left())),
        }
    }

    /// Bytes with their length in front.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => self.broken(format!("a length of {length}")),
        }
    }

    /// Text with its length in front.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Broken> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| Broken::Text(self.offset + self.at - bytes.len() + error.valid_up_to()))
    }

    /// Index of a branch or symbol, of `count`.
    #[inline]
    pub(super) fn index(&mut self, count: usize, of: &str) -> Result<usize, Broken> {
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(place) if place < count => Ok(place),
            _ => self.broken(format!("{of} number {index}, of {count}")),
        }
    }

    /// Number of the values in the next block of an array or map; 0 behind the last.
    pub(super) fn block(&mut self) -> Result<u64, Broken> {
        let count = self.long()?;
        if count < 0 {
            // Their bytes, for readers that jump over blocks. We look at every value, and so has every other reader that reads them.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    /// Calls `each` for every value of an array or map.
    pub(super) fn blocks(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Broken>) -> Result<(), Broken> {
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                self.value()?;
                each(self)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_64_bits() {
        let long = |bytes: &[u8]| Cursor::new(bytes, 0).long();
        assert_eq!(long(&[0x01]), Ok(-1));
        assert_eq!(long(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(i64::MAX));
        assert_eq!(long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(i64::MIN));
        assert!(long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(long(&[0xff; 11]).is_err());
        assert!(long(&[0x80]).is_err());
        assert!(long(&[]).is_err());
    }

    #[test]
    fn a_length_is_believed_only_as_far_as_bytes_are_left() {
        let mut cursor = Cursor::new(&[0x08, b'a', b'b'], 5);
        assert_eq!(cursor.bytes(), Err(Broken::At(6, "4 bytes are announced, but 2 are left".into())));
        assert!(Cursor::new(&[0x01], 0).bytes().is_err());
        let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(Cursor::new(&most, 0).bytes().is_err());
    }

    #[test]
    fn values_without_bytes_are_counted() {
        // 2^60 of them in one block
        let mut bytes = vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        bytes.push(0);
        let mut seen = 0;
        let read = Cursor::new(&bytes, 0).blocks(|_| {
            seen += 1;
            Ok(())
        });
        assert_eq!(read, Err(Broken::At(9, "more values than its bytes can hold".into())));
        assert_eq!(seen, EMPTY_VALUES + bytes.len());
    }

    #[test]
    fn a_block_may_say_how_long_it_is() {
        let bytes = [0x03, 4, 7, 8, 0];
        let mut read = Vec::new();
        let mut cursor = Cursor::new(&bytes, 0);
        cursor.blocks(|cursor| cursor.take(1).map(|byte| read.extend_from_slice(byte))).unwrap();
        assert_eq!((read.as_slice(), cursor.end()), ([7, 8].as_slice(), Ok(())));
    }
}
