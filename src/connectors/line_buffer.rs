//! Bytes as they come, cut into lines.

/// Bytes that were read and not given out as lines yet.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// What lies before was given out.
    used: usize,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl LineBuffer {
    /// The length of the next line with its end, if all of it is there.
    pub(super) fn line(&mut self) -> Option<usize> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        match unsearched.iter().position(|byte| *byte == b'\n') {
            Some(at) => Some(self.searched + at + 1 - self.used),
            None => {
                self.searched = self.bytes.len();
                None
            }
        }
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Where more bytes are put, behind those that wait.
    pub(super) fn more(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.used);
        self.searched -= self.used;
        self.used = 0;
        &mut self.bytes
    }

    /// The next `length` bytes, without the end of the line; they wait no longer.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let line = self.bytes.get(self.used..self.used + length).unwrap_or_default();
        self.used += length;
        self.searched = self.used;
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.used, self.searched) = (0, 0);
    }
}
