//! Lines of files; the position is the byte, so that reading goes on exactly behind what is committed.

use super::{
    line_buffer::LineBuffer,
    line_decoder::LineDecoder,
    splits::{Split, Splits, checked_rate},
};
use crate::stream::{Failure, LocalSource, Positions, Source, SplitReader, Timestamp, Undecodable};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Reads files line by line; each file is a partition, and what was read of it must not be changed afterwards. The end of a line is not
/// part of the record; an empty line is an empty record. A last line without an end is a record where the file is complete; in one that
/// is followed it is waited for.
///
/// ```
/// use sluicegate::connectors::FileSource;
///
/// let numbers = FileSource::parse("numbers.txt", |line| line.trim().parse::<u32>().map_err(|why| why.to_string()));
/// let words = FileSource::lines("a.txt").and("b.txt").follow();
/// ```
pub struct FileSource<T> {
    files: Files,
    decoder: LineDecoder<T>,
}

impl FileSource<String> {
    /// The lines of a file of UTF-8 text.
    pub fn lines(path: impl Into<PathBuf>) -> Self {
        Self::parse(path, |line| Ok(line.to_owned()))
    }
}

impl<T: Clone + Send + 'static> FileSource<T> {
    /// What `parse` makes of each line of a file of UTF-8 text. An error says what is wrong with the line.
    pub fn parse(path: impl Into<PathBuf>, parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static) -> Self {
        Self { files: Files::new(path.into()), decoder: LineDecoder::of_text(parse) }
    }

    /// JSON, one record in each line.
    pub fn json(path: impl Into<PathBuf>) -> Self
    where
        T: DeserializeOwned,
    {
        let parse = |line: &[u8]| -> Result<T, Undecodable> {
            let about =
                |why: serde_json::Error| Undecodable { class: "not_json", message: format!("no JSON of this type: {why}") };
            serde_json::from_slice(line).map_err(about)
        };
        Self { files: Files::new(path.into()), decoder: LineDecoder::of(parse) }
    }

    /// One more file. Files are told apart by their order: add new ones behind those that were read before.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.paths.push(path.into());
        self
    }

    /// Waits for what others append: the job has no end.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.files.follow = true;
        self
    }

    /// The event time of each record, in ms. Without it all are at 0.
    #[must_use]
    pub fn timestamps(mut self, time: impl Fn(&T) -> Timestamp + Send + Sync + 'static) -> Self {
        self.decoder.timestamps(time);
        self
    }

    /// At most so many records per second of each file.
    #[must_use]
    pub fn rate(mut self, per_second: f64) -> Self {
        self.files.rate = Some(per_second);
        self
    }

    /// A longer line ends the job; 1 MiB unless told otherwise.
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.files.max_line_bytes = bytes;
        self
    }
}

impl<T: Clone + Send + 'static> Source for FileSource<T> {
    type Out = T;
    type Decoder = LineDecoder<T>;

    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static) {
        let Self { files, decoder } = self;
        (Arc::new(files), move || decoder.clone())
    }
}

/// The files themselves.
#[derive(Clone)]
struct Files {
    paths: Vec<PathBuf>,
    follow: bool,
    rate: Option<f64>,
    max_line_bytes: usize,
}

impl Files {
    fn new(path: PathBuf) -> Self {
        Self { paths: vec![path], follow: false, rate: None, max_line_bytes: 1 << 20 }
    }

    fn path(&self, partition: i32) -> Result<&Path, Failure> {
        let path = usize::try_from(partition).ok().and_then(|index| self.paths.get(index));
        path.map(PathBuf::as_path).ok_or_else(|| Failure::fatal(format!("there is no file {partition}")))
    }

    fn open(&self, partition: i32, position: i64) -> Result<Lines, Failure> {
        let path = self.path(partition)?.to_owned();
        let mut file = File::open(&path).map_err(|why| Failure::fatal(format!("{}: cannot be read: {why}", path.display())))?;
        file.seek(SeekFrom::Start(position.unsigned_abs())).map_err(|why| failed(&path, &why))?;
        let (whole, max_line_bytes) = (!self.follow, self.max_line_bytes);
        Ok(Lines { path, file, position, buffer: LineBuffer::default(), whole, max_line_bytes })
    }
}

impl LocalSource for Files {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        checked_rate(self.rate, "a file")?;
        self.paths.iter().enumerate().map(|(index, _)| Ok(i32::try_from(index).unwrap_or(i32::MAX))).collect()
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), Failure> {
        let path = self.path(partition)?;
        let absent = |why: io::Error| Failure::fatal(format!("{}: cannot be read: {why}", path.display()));
        let file = File::open(path).map_err(absent)?;
        let length = file.metadata().map_err(absent)?.len();
        let end = if self.follow { after_last_line(file, length).map_err(|why| failed(path, &why))? } else { length };
        Ok((0, i64::try_from(end).unwrap_or(i64::MAX)))
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let files = self.clone();
        let open = move |partition, position| files.open(partition, position).map(|lines| Box::new(lines) as Box<dyn Split>);
        Ok(Box::new(Splits::new(positions, self.rate, open)?))
    }

    fn bounded(&self) -> bool {
        !self.follow
    }

    fn describe(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        format!("file {}", paths.join(", "))
    }
}

fn failed(path: &Path, why: &io::Error) -> Failure {
    Failure::transient(format!("{}: cannot be read: {why}", path.display()))
}

/// Where the last line that has an end ends.
fn after_last_line(mut file: File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut chunk = vec![0; CHUNK];
    while end > 0 {
        let begin = end.saturating_sub(CHUNK as u64);
        let part = chunk.get_mut(..usize::try_from(end - begin).unwrap_or(CHUNK)).unwrap_or_default();
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// The lines of one file, from a position on.
struct Lines {
    path: PathBuf,
    file: File,
    /// Of the first byte of the next line.
    position: i64,
    buffer: LineBuffer,
    /// Whether the file is complete, so that its last line needs no end.
    whole: bool,
    max_line_bytes: usize,
}

impl Lines {
    /// The length of the next line with its end, if all of it is there.
    fn line(&mut self) -> Result<Option<usize>, Failure> {
        loop {
            if let Some(length) = self.buffer.line() {
                return Ok(Some(length));
            }
            let waiting = self.buffer.waiting();
            if waiting > self.max_line_bytes {
                return Err(Failure::fatal(format!(
                    "{}: the line at byte {} has more than {} bytes; allow more with FileSource::max_line_bytes",
                    self.path.display(),
                    self.position,
                    self.max_line_bytes
                )));
            }
            let read = io::Read::by_ref(&mut self.file).take(CHUNK as u64).read_to_end(self.buffer.more());
            if read.map_err(|why| failed(&self.path, &why))? == 0 {
                return Ok(Some(waiting).filter(|length| self.whole && *length > 0));
            }
        }
    }
}

impl Split for Lines {
    fn read(&mut self, max: usize, each: &mut dyn FnMut(i64, &[u8])) -> Result<usize, Failure> {
        let mut read = 0;
        while read < max {
            let Some(length) = self.line()? else { break };
            // The record's position is that of its last byte: the next one begins behind it.
            let next = self.position + length as i64;
            each(next - 1, self.buffer.take(length));
            self.position = next;
            read += 1;
        }
        Ok(read)
    }

    fn position(&self) -> i64 {
        self.position
    }

    fn lag(&self) -> Option<i64> {
        let length = self.file.metadata().ok()?.len();
        Some(i64::try_from(length).ok()?.saturating_sub(self.position))
    }
}
