//! What sources promise: everything is read, noted, and read again from other places.

use super::promise::{Broken, Promise};
use crate::engine::{
    Timestamp,
    local::LocalSource,
    output::Header,
    source::{Decode, LazyHeaders, RawRecord, SplitReader, Undecodable},
};
use crate::protocol::{Positions, TopicPartition};
use crate::stream::Source;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Records of each partition that are looked at.
const RECORDS: usize = 1_000;
/// Records of a round, at most: as the engine asks, and so few that some are left for the next round.
const MANY: usize = 1_024;
const FEW: usize = 7;
/// Positions of each partition at which is begun again.
const CUTS: usize = 16;
/// How long a round waits for its first record.
const PATIENCE: Duration = Duration::from_millis(5);
/// A barrier would wait for so long: far beyond what anybody wants, so that a busy machine is no fault of the source.
const LONG: Duration = Duration::from_secs(2);
/// Nothing more will come.
const SILENCE: Duration = Duration::from_secs(3);

/// Tries a source that `make` makes again and again: each of them is what a new process would open. The first thousand records of each
/// partition are looked at; they must not change meanwhile. Without a rate limit it takes seconds.
///
/// # Errors
/// The first promise that it does not keep.
///
/// ```
/// use sluicegate::{connectors::{Collection, Generator}, stream::conformance};
///
/// assert_eq!(conformance::source(|| Collection::of(["to", "be", "or"])), Ok(()));
/// assert_eq!(conformance::source(|| Generator::new(7, |random, _| random.below(6)).partitions(3)), Ok(()));
/// ```
pub fn source<S: Source>(make: impl Fn() -> S) -> Result<(), Broken>
where
    S::Out: PartialEq + fmt::Debug,
{
    let seen = positions("conformance", || make().into_parts().0)?;
    let (_, decoder) = make().into_parts();
    for (partition, records) in &seen {
        let mut all = decoder();
        let first: Vec<_> = records.iter().map(|record| record.decode(&mut all)).collect();
        // As after a restart: a new decoder, in the middle. Knowing nothing of what came before, it must come to the same.
        let middle = records.len() / 2;
        let (_, other) = make().into_parts();
        let mut later = other();
        for (record, decoded) in records.iter().zip(&first).skip(middle) {
            let again = record.decode(&mut later);
            if again != *decoded {
                return Err(Broken::new(
                    Promise::DecodingIsRepeatable,
                    format!(
                        "partition {partition}, position {}: {decoded:?}, and {again:?} by a decoder that began later",
                        record.offset
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// As [`source`], without decoding: for what is read in the same way and decoded elsewhere. Gives what it has read of each partition.
pub(crate) fn positions(topic: &str, open: impl Fn() -> Arc<dyn LocalSource>) -> Result<BTreeMap<i32, Vec<Seen>>, Broken> {
    let source = open();
    let partitions = source.partitions().map_err(Broken::failed("partitions"))?;
    let again = open().partitions().map_err(Broken::failed("partitions"))?;
    if partitions.is_empty() || again != partitions {
        let found = format!("one instance has the partitions {partitions:?}, another one {again:?}");
        return Err(Broken::new(Promise::PartitionsAreStable, found));
    }
    let mut bounds = BTreeMap::new();
    for partition in partitions {
        let (first, end) = source.bounds(partition).map_err(Broken::failed("bounds"))?;
        if first > end {
            let found = format!("partition {partition} begins at {first} and ends at {end}");
            return Err(Broken::new(Promise::BoundsAreInOrder, found));
        }
        bounds.insert(partition, (first, end));
    }
    let suite = Suite { topic: topic.into(), bounds, bounded: source.bounded() };
    let firsts: BTreeMap<i32, i64> = suite.bounds.iter().map(|(partition, (first, _))| (*partition, *first)).collect();
    let whole = suite.read(&*open(), &firsts, &[], MANY)?;
    suite.ends_are_reported(&whole)?;
    let same = |again: &Read, promise, how: &str| {
        let mut differences = whole.iter().filter_map(|(partition, read)| {
            let found = again.get(partition)?.difference(&read.records)?;
            Some(Broken::new(promise, format!("partition {partition}, {how}: {found}")))
        });
        differences.next().map_or(Ok(()), Err)
    };
    same(&suite.read(&*open(), &firsts, &[], MANY)?, Promise::ReplayIsEqual, "read again")?;
    same(&suite.read(&*open(), &firsts, &[], FEW)?, Promise::ReplayIsEqual, "read again in small rounds")?;
    for (partition, read) in &whole {
        suite.resumes(&open, *partition, read)?;
    }
    for (partition, first) in &firsts {
        let alone = suite.read(&*open(), &[(*partition, *first)].into(), &[], MANY)?;
        same(&alone, Promise::SplitsRedistribute, "read alone")?;
    }
    let mut firsts = firsts.into_iter();
    let begin: BTreeMap<i32, i64> = firsts.next().into_iter().collect();
    let added: Vec<(i32, i64)> = firsts.collect();
    if !added.is_empty() {
        same(&suite.read(&*open(), &begin, &added, MANY)?, Promise::SplitsRedistribute, "taken on by a reader of another one")?;
    }
    Ok(whole.into_iter().map(|(partition, read)| (partition, read.records)).collect())
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<Timestamp>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

impl Seen {
    fn of(record: &RawRecord<'_>) -> Self {
        Self {
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.all(),
        }
    }

    fn decode<D: Decode>(&self, decoder: &mut D) -> Result<(Timestamp, D::Out), Undecodable> {
        decoder.decode(&RawRecord {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: LazyHeaders::of(&|| self.headers.clone()),
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = String::from_utf8_lossy(self.value.as_deref().unwrap_or_default());
        write!(f, "{value:?} at {}", self.offset)
    }
}

/// What was read of one partition, and where it stands.
#[derive(Debug, Default)]
struct PartitionRead {
    records: Vec<Seen>,
    /// Position of the next record.
    next: i64,
    /// Position behind its last record, as the source has said before.
    end: i64,
    /// Whether the partition has said that it has no more.
    dry: bool,
}

impl PartitionRead {
    fn done(&self) -> bool {
        self.records.len() >= RECORDS || (self.dry && (self.next >= self.end || self.end == i64::MAX))
    }

    /// Where these records are other than those expected.
    fn difference(&self, expected: &[Seen]) -> Option<String> {
        let shown = |seen: Option<&Seen>| seen.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let longest = expected.len().max(self.records.len());
        let at = (0..longest).find(|index| expected.get(*index) != self.records.get(*index))?;
        let (expected, found) = (shown(expected.get(at)), shown(self.records.get(at)));
        Some(format!("record {at} of what is read is {found}, and should be {expected}"))
    }
}

type Read = BTreeMap<i32, PartitionRead>;

struct Suite {
    /// What the source is called.
    topic: Arc<str>,
    /// First position and end of each partition.
    bounds: BTreeMap<i32, (i64, i64)>,
    bounded: bool,
}

impl Suite {
    /// Reads partitions from these positions, in rounds of at most `max`; `added` are taken on after the first round. The first
    /// [`RECORDS`] of each partition are kept.
    fn read(
        &self,
        source: &dyn LocalSource,
        from: &BTreeMap<i32, i64>,
        added: &[(i32, i64)],
        max: usize,
    ) -> Result<Read, Broken> {
        let mut reader = source
            .reader(&self.at(from.iter().map(|(partition, next)| (*partition, *next))))
            .map_err(Broken::failed("reader"))?;
        let begin = |(partition, next): (i32, i64)| {
            let end = self.bounds.get(&partition).map_or(i64::MAX, |(_, end)| *end);
            (partition, PartitionRead { next, end, ..PartitionRead::default() })
        };
        let mut read: Read = from.iter().map(|(partition, next)| begin((*partition, *next))).collect();
        let mut heard = Instant::now();
        let mut to_add = Some(added).filter(|added| !added.is_empty());
        while to_add.is_some() || !read.values().all(PartitionRead::done) {
            let since = Instant::now();
            let given = round(&mut *reader, &mut read, max)?;
            if given > 0 {
                heard = Instant::now();
            } else if since.elapsed() > LONG {
                let found = format!("it was asked to wait for {PATIENCE:?} and waited for {:?}", since.elapsed());
                return Err(Broken::new(Promise::RoundsAreShort, found));
            }
            if let Some(added) = to_add.take() {
                reader.add(&self.at(added.iter().copied())).map_err(Broken::failed("add"))?;
                read.extend(added.iter().copied().map(begin));
            }
            if heard.elapsed() > SILENCE {
                break;
            }
        }
        for partition in read.values_mut() {
            partition.records.truncate(RECORDS);
        }
        Ok(read)
    }

    fn at(&self, positions: impl Iterator<Item = (i32, i64)>) -> Positions {
        positions.map(|(partition, next)| (TopicPartition::new(Arc::clone(&self.topic), partition), next)).collect()
    }

    /// Partitions that were read to their ends say so; those that have not may go on for ever.
    fn ends_are_reported(&self, read: &Read) -> Result<(), Broken> {
        for (partition, read) in read {
            let end = read.end;
            if !read.done() && (self.bounded || end != i64::MAX) {
                let said = if read.dry { format!("that it stands at {}", read.next) } else { "nothing".to_owned() };
                let found = format!(
                    "partition {partition} ends at {end}; after {} records and {SILENCE:?} of silence it has said {said}",
                    read.records.len()
                );
                return Err(Broken::new(Promise::EndIsReported, found));
            }
        }
        Ok(())
    }

    /// Begins again behind some of the records of a partition, and at its end.
    fn resumes(&self, open: &impl Fn() -> Arc<dyn LocalSource>, partition: i32, read: &PartitionRead) -> Result<(), Broken> {
        let count = read.records.len();
        let mut cuts: BTreeSet<usize> = (0..CUTS).map(|cut| cut * count / CUTS).collect();
        cuts.extend(count.checked_sub(1));
        let behind = |index: usize| Some((index + 1, read.records.get(index)?.offset + 1));
        let mut positions: BTreeSet<(usize, i64)> = cuts.into_iter().filter_map(behind).collect();
        // Where a checkpoint finds a partition that has been read to its end.
        positions.extend((count < RECORDS && read.dry).then_some((count, read.next)));
        for (index, position) in positions {
            let again = self.read(&*open(), &[(partition, position)].into(), &[], MANY)?;
            let Some(again) = again.get(&partition) else { continue };
            let expected = read.records.get(index..).unwrap_or_default();
            // Where the source goes on, it was read further than before.
            let found = match again.records.get(..expected.len()) {
                Some(prefix) if count == RECORDS => PartitionRead { records: prefix.to_vec(), ..PartitionRead::default() },
                _ => PartitionRead { records: again.records.clone(), ..PartitionRead::default() },
            };
            if let Some(difference) = found.difference(expected) {
                let found = format!("partition {partition}, from position {position}, behind {index} records: {difference}");
                return Err(Broken::new(Promise::ResumesBehindEachRecord, found));
            }
        }
        Ok(())
    }
}

/// One round; gives the number of its records.
fn round(reader: &mut dyn SplitReader, read: &mut Read, max: usize) -> Result<usize, Broken> {
    let mut given = 0;
    let mut broken = None;
    let round = reader.poll(PATIENCE, max, &mut |record| {
        given += 1;
        let (partition, offset) = (record.partition, record.offset);
        let found = match read.get_mut(&partition) {
            None => Err(Broken::new(
                Promise::OnlyWhatWasAsked,
                format!("a record of partition {partition}, which the reader was not given"),
            )),
            Some(read) if read.records.is_empty() && offset < read.next => Err(Broken::new(
                Promise::OnlyWhatWasAsked,
                format!("partition {partition} was to be read from {} on, and a record at {offset} came", read.next),
            )),
            Some(read) if offset < read.next => Err(Broken::new(
                Promise::PositionsGrow,
                format!("partition {partition}: a record at {offset} came when the next position was {}", read.next),
            )),
            Some(read) => {
                read.records.push(Seen::of(&record));
                (read.next, read.dry) = (offset + 1, false);
                Ok(())
            }
        };
        if broken.is_none() {
            broken = found.err();
        }
    });
    let round = round.map_err(Broken::failed("poll"))?;
    if let Some(broken) = broken {
        return Err(broken);
    }
    if round.records != given || given > max {
        let found = format!("{given} records came where {max} were wanted, and the round says {}", round.records);
        return Err(Broken::new(Promise::RoundsAreCounted, found));
    }
    for (partition, position) in round.dry {
        let Some(read) = read.get_mut(&partition) else { continue };
        // Behind its last record there may be positions without records.
        (read.next, read.dry) = (read.next.max(position), true);
    }
    Ok(given)
}
