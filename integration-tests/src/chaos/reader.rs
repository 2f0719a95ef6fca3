//! The reader of a campaign, in a process of its own: librdkafka 2.12 crashes now and then when a broker without a leader comes back (its
//! issue 5280), and that must not end the campaign. A reader that died is replaced by one that goes on where it was.

use crate::{
    Context, Result, anyhow,
    topics::{Cluster, Position, Record},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// A reader that dies more often than this has another reason.
const LIVES: usize = 30;
/// Lines that wait for the checker.
const AHEAD: usize = 10_000;
/// The reader says that it lives, and learns whether anybody listens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Reads all that is and becomes visible in some topics.
pub(super) struct Reader {
    program: PathBuf,
    bootstrap: String,
    next: BTreeMap<Position, i64>,
    child: Child,
    lines: Receiver<String>,
    /// How often a reader died.
    pub(super) died: usize,
}

impl Reader {
    /// Starts `program --read`, which runs [`read`], over all partitions of `topics`.
    pub(super) fn start(program: &Path, bootstrap: &str, topics: &[String]) -> Result<Self> {
        let cluster = Cluster::at(bootstrap)?;
        let mut next = BTreeMap::new();
        for topic in topics {
            next.extend((0..cluster.partitions(topic)?).map(|partition| ((topic.clone(), partition), 0)));
        }
        let (child, lines) = spawn(program, bootstrap, &next)?;
        Ok(Self { program: program.to_owned(), bootstrap: bootstrap.to_owned(), next, child, lines, died: 0 })
    }

    /// The next visible record, or none within `within`.
    pub(super) fn next(&mut self, within: Duration) -> Result<Option<Record>> {
        let until = Instant::now() + within;
        loop {
            // A heartbeat is no record: it must not make the wait longer.
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.is_empty() => {}
                Ok(line) => {
                    let record = parse(&line).with_context(|| format!("a reader wrote {line:?}"))?;
                    self.next.insert((record.topic.clone(), record.partition), record.offset + 1);
                    return Ok(Some(record));
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    self.died += 1;
                    if self.died > LIVES {
                        return Err(anyhow!("the reader has died {} times, now with {status}", self.died));
                    }
                    eprintln!("the reader has died with {status}; another one goes on");
                    (self.child, self.lines) = spawn(&self.program, &self.bootstrap, &self.next)?;
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have died by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, bootstrap: &str, next: &BTreeMap<Position, i64>) -> Result<(Child, Receiver<String>)> {
    let mut command = Command::new(program);
    command.args(["--read", bootstrap]);
    command.args(next.iter().map(|((topic, partition), offset)| format!("{topic}:{partition}:{offset}")));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| program.display().to_string())?;
    let output = child.stdout.take().context("a reader without output")?;
    let (sender, lines) = sync_channel(AHEAD);
    thread::Builder::new().name("reader".into()).spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        // The last line of one that died may be cut off; its record is read again.
        while output.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            line.pop();
            if sender.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    })?;
    Ok((child, lines))
}

/// What the process does: writes each record of `from` (`topic:partition:offset`) on a line, until nobody listens.
pub fn read(bootstrap: &str, from: &[String]) -> Result<()> {
    let mut positions = BTreeMap::new();
    for text in from {
        let parsed = || {
            let (rest, offset) = text.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            Some(((topic.to_owned(), partition.parse().ok()?), offset.parse().ok()?))
        };
        let (position, offset) = parsed().with_context(|| format!("{text:?} is not topic:partition:offset"))?;
        positions.insert(position, offset);
    }
    let tail = Cluster::at(bootstrap)?.follow(&positions)?;
    let mut output = std::io::stdout().lock();
    loop {
        match tail.next(HEARTBEAT)? {
            Some(Record { topic, partition, offset, value, .. }) => {
                write!(output, "{topic}\t{partition}\t{offset}\t")?;
                output.write_all(value.as_deref().unwrap_or_default())?;
                writeln!(output, "\t")?;
            }
            None => writeln!(output)?,
        }
    }
}

/// The tab at the end shows that the line is whole.
fn parse(line: &str) -> Result<Record> {
    let mut parts = line.splitn(4, '\t');
    let mut part = || parts.next().context("a part is missing");
    let (topic, partition, offset) = (part()?.to_owned(), part()?.parse()?, part()?.parse()?);
    let value = part()?.strip_suffix('\t').context("it is cut off")?.as_bytes().to_vec();
    Ok(Record { topic, partition, offset, timestamp: None, key: None, value: Some(value), headers: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_record_and_half_a_line_is_none() {
        let record = parse("t.order-status\t3\t17\t{\"orderId\":\"O\"}\t").unwrap();
        assert_eq!((record.topic.as_str(), record.partition, record.offset), ("t.order-status", 3, 17));
        assert_eq!(record.value.as_deref(), Some(&b"{\"orderId\":\"O\"}"[..]));
        assert!(parse("t.order-status\t3\t17\t{\"order").is_err());
        assert!(parse("t.order-status\t3").is_err());
    }
}
