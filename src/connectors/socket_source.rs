//! Lines of a TCP socket. They come once: what was not in a checkpoint when the job failed is gone.

use super::{
    line_buffer::LineBuffer,
    line_decoder::LineDecoder,
    splits::{Split, Splits},
};
use crate::stream::{Failure, LocalSource, Positions, RawRecord, Round, Source, SplitReader, Timestamp};
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read},
    net::{TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// How long one try to connect may take. A barrier waits meanwhile.
const CONNECT: Duration = Duration::from_millis(500);

/// Connects to an address and reads lines of UTF-8 text, as Flink's `socketTextStream`: for trying things out. A socket **cannot be read
/// again**: when the job fails, or is killed, whatever came after the last checkpoint is lost, which the job says when it starts; what a
/// checkpoint holds is not lost, and its effect is there once. The position is the number of the line, over all connections.
///
/// Nothing is gathered: as long as the job takes no lines, the sender's connection is full, and it waits. When the other end closes the
/// connection, the input has ended, and the job ends with a last checkpoint; with [`SocketSource::reconnect`] it connects again.
///
/// ```
/// use sluicegate::{connectors::{Collected, SocketSource}, stream::{App, Execution}};
/// use std::{io::Write, net::TcpListener, thread};
///
/// # fn main() -> Result<(), sluicegate::stream::Failure> {
/// # let folder = tempfile::tempdir().unwrap();
/// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
/// let address = listener.local_addr().unwrap();
/// thread::spawn(move || listener.accept().unwrap().0.write_all(b"to\nbe\n").unwrap());
///
/// let (app, output) = (App::new(), Collected::new());
/// app.read("words", SocketSource::lines(address.to_string())).map(|word| word.to_uppercase()).write_lines("out", output.clone());
/// Execution::new("shout", folder.path()).run(app)?;
/// assert_eq!(output.lines(), ["TO", "BE"]);
/// # Ok(())
/// # }
/// ```
pub struct SocketSource<T> {
    socket: Socket,
    decoder: LineDecoder<T>,
}

impl SocketSource<String> {
    /// The lines that come from `address`: `host:port`.
    pub fn lines(address: impl Into<String>) -> Self {
        Self::parse(address, |line| Ok(line.to_owned()))
    }
}

impl<T: Clone + Send + 'static> SocketSource<T> {
    /// What `parse` makes of each line that comes from `address` (`host:port`). An error says what is wrong with the line.
    pub fn parse(address: impl Into<String>, parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static) -> Self {
        let socket = Socket { address: address.into(), reconnect: None, max_line_bytes: 1 << 20 };
        Self { socket, decoder: LineDecoder::of_text(parse) }
    }

    /// The event time of each record, in ms. Without it all are at 0.
    #[must_use]
    pub fn timestamps(mut self, time: impl Fn(&T) -> Timestamp + Send + Sync + 'static) -> Self {
        self.decoder.timestamps(time);
        self
    }

    /// The input has no end: when the other end closes the connection, or it breaks, the source connects again, and tries again after
    /// `pause` for as long as nobody answers. Half a line that had come is dropped, which is told.
    #[must_use]
    pub fn reconnect(mut self, pause: Duration) -> Self {
        self.socket.reconnect = Some(pause);
        self
    }

    /// A longer line ends the job; 1 MiB unless told otherwise.
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.socket.max_line_bytes = bytes;
        self
    }
}

impl<T: Clone + Send + 'static> Source for SocketSource<T> {
    type Out = T;
    type Decoder = LineDecoder<T>;

    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Self::Decoder + Send + Sync + 'static) {
        let Self { socket, decoder } = self;
        (Arc::new(socket), move || decoder.clone())
    }
}

/// Where lines come from.
#[derive(Debug, Clone)]
struct Socket {
    address: String,
    /// The pause between two tries; none: the end of the connection is the end of the input.
    reconnect: Option<Duration>,
    max_line_bytes: usize,
}

impl Socket {
    /// One try.
    fn connect(&self) -> Result<TcpStream, Failure> {
        let address = &self.address;
        let found = address.to_socket_addrs().map_err(|why| {
            Failure::transient(format!("socket {address:?}: no such address: {why}; allowed is host:port, like localhost:9999"))
        })?;
        let mut last = None;
        for found in found {
            let connected = TcpStream::connect_timeout(&found, CONNECT).and_then(|stream| {
                stream.set_nonblocking(true)?;
                Ok(stream)
            });
            match connected {
                Ok(stream) => {
                    tracing::info!(%address, "connected; what comes after a checkpoint is lost if the job fails before the next");
                    return Ok(stream);
                }
                Err(why) => last = Some(why),
            }
        }
        let why = last.map_or_else(|| "the name has no address".to_owned(), |why| why.to_string());
        Err(Failure::transient(format!("socket {address}: cannot connect: {why}; is there somebody who listens?")))
    }

    fn open(&self, position: i64, ended: Arc<AtomicBool>) -> Result<Lines, Failure> {
        let stream = Some(self.connect()?);
        Ok(Lines { socket: self.clone(), stream, again: Instant::now(), position, buffer: LineBuffer::default(), ended })
    }
}

impl LocalSource for Socket {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        Ok(BTreeSet::from([0]))
    }

    fn bounds(&self, _: i32) -> Result<(i64, i64), Failure> {
        Ok((0, i64::MAX))
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        let (socket, ended) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let of_lines = Arc::clone(&ended);
        let open = move |_, position| Ok(Box::new(socket.open(position, Arc::clone(&of_lines))?) as Box<dyn Split>);
        Ok(Box::new(Connected { splits: Splits::new(positions, None, open)?, ended }))
    }

    fn bounded(&self) -> bool {
        self.reconnect.is_none()
    }

    fn describe(&self) -> String {
        format!("socket {}", self.address)
    }

    fn warning(&self) -> Option<String> {
        Some(format!(
            "socket {} cannot be read again: after a failure, lines that came since the last checkpoint are lost",
            self.address
        ))
    }
}

/// Reads one connection after the other, and knows whether that was the last.
struct Connected {
    splits: Splits,
    ended: Arc<AtomicBool>,
}

impl SplitReader for Connected {
    fn poll(&mut self, patience: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure> {
        self.splits.poll(patience, max, each)
    }

    fn add(&mut self, positions: &Positions) -> Result<(), Failure> {
        self.splits.add(positions)
    }

    fn lag(&self, positions: &Positions) -> Vec<(i32, i64)> {
        self.splits.lag(positions)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// The lines of a socket.
struct Lines {
    socket: Socket,
    /// None while nobody answers, and after the end.
    stream: Option<TcpStream>,
    /// When the next try to connect is due.
    again: Instant,
    /// Number of the next line, from 0.
    position: i64,
    buffer: LineBuffer,
    ended: Arc<AtomicBool>,
}

impl Lines {
    /// The length of the next line with its end, if all of it is there.
    fn line(&mut self) -> Result<Option<usize>, Failure> {
        loop {
            if let Some(length) = self.buffer.line() {
                return self.not_too_long(length - 1).map(|()| Some(length));
            }
            self.not_too_long(self.buffer.waiting())?;
            if !self.receive() {
                // The last line needs no end, if all of the connection has come.
                return Ok(Some(self.buffer.waiting()).filter(|length| *length > 0 && self.has_ended()));
            }
        }
    }

    fn not_too_long(&self, bytes: usize) -> Result<(), Failure> {
        let Socket { address, max_line_bytes, .. } = &self.socket;
        if bytes <= *max_line_bytes {
            return Ok(());
        }
        Err(Failure::fatal(format!(
            "socket {address}: line {} has more than {max_line_bytes} bytes; allow more with SocketSource::max_line_bytes",
            self.position + 1
        )))
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Reads what is there, without waiting; whether anything was.
    fn receive(&mut self) -> bool {
        if self.stream.is_none() && !self.connected_again() {
            return false;
        }
        let Some(stream) = &mut self.stream else { return false };
        let buffer = self.buffer.more();
        let before = buffer.len();
        buffer.resize(before + CHUNK, 0);
        let read = loop {
            match stream.read(buffer.get_mut(before..).unwrap_or_default()) {
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => self.closed("the other end closed the connection"),
            Ok(_) => return true,
            Err(why) if why.kind() == ErrorKind::WouldBlock => {}
            Err(why) => self.closed(&format!("the connection broke: {why}")),
        }
        false
    }

    fn closed(&mut self, why: &str) {
        let Socket { address, reconnect, .. } = &self.socket;
        self.stream = None;
        let lines = self.position;
        let Some(pause) = reconnect else {
            tracing::info!(%address, lines, "{why}: the input has ended");
            self.ended.store(true, Ordering::Release);
            return;
        };
        let dropped = self.buffer.waiting();
        tracing::warn!(%address, lines, dropped_bytes = dropped, "{why}; connecting again");
        self.buffer.clear();
        self.again = Instant::now() + *pause;
    }

    fn connected_again(&mut self) -> bool {
        let Some(pause) = self.socket.reconnect.filter(|_| Instant::now() >= self.again) else { return false };
        match self.socket.connect() {
            Ok(stream) => self.stream = Some(stream),
            Err(failure) => {
                tracing::debug!(%failure, "trying again");
                self.again = Instant::now() + pause;
            }
        }
        self.stream.is_some()
    }
}

impl Split for Lines {
    fn read(&mut self, max: usize, each: &mut dyn FnMut(i64, &[u8])) -> Result<usize, Failure> {
        let mut read = 0;
        while read < max {
            let Some(length) = self.line()? else { break };
            each(self.position, self.buffer.take(length));
            self.position += 1;
            read += 1;
        }
        Ok(read)
    }

    fn position(&self) -> i64 {
        self.position
    }

    fn lag(&self) -> Option<i64> {
        None
    }
}

#[cfg(test)]
#[path = "socket_source_tests.rs"]
mod tests;
