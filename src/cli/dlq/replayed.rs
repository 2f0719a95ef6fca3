//! Which dead letters were replayed: a compacted topic beside that of the dead letters, with one record for each.
//!
//! The record is written in the transaction that sends the letter back, so either both are there or none is. Its key is the letter:
//! `<partition>/<offset>/<when it was written>`. The time is in it because a topic that was deleted and made again counts its offsets from 0.
//!
//! Only replays write to the topic, each with the same transactional id. So behind an [`ExclusiveTransaction`] nothing is open in it, and what a
//! reader of committed records finds is all there is (`docs/decisions/0031-replayed-dead-letters-have-a-topic.md`).
//!
//! [`ExclusiveTransaction`]: crate::kafka::ExclusiveTransaction

use super::{
    letter::Letter,
    letters::{Letters, not_recovery},
};
use crate::{
    kafka::{Isolation, TopicScan, TopicSpec},
    protocol::{Failure, TopicPartition},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    str::FromStr,
    sync::atomic::AtomicBool,
};

/// What a dead letter is known by: partition, offset, and when it was written (-1 if Kafka does not say).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    partition: i32,
    offset: i64,
    written: i64,
}

/// The dead letters that were replayed, as far as they were read. About 40 bytes of memory for each.
pub(super) struct Replayed<'a> {
    letters: &'a Letters<'a>,
    topic: String,
    partitions: Vec<TopicPartition>,
    marks: HashSet<Mark>,
    /// Per partition, the offset up to which they are known.
    read: BTreeMap<i32, i64>,
}

impl<'a> Replayed<'a> {
    /// The name of the topic.
    fn topic_of(letters: &Letters<'_>) -> String {
        format!("{}-replayed", letters.topic())
    }

    /// Makes the topic if it is not there.
    pub(super) fn create_topic(letters: &Letters<'_>) -> Result<(), Failure> {
        let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
        let spec = TopicSpec { name: Self::topic_of(letters), partitions: 1, replication: None, configs };
        letters.cluster.create_topics(&[spec]).map(drop)
    }

    /// What is known to be replayed now; nothing if there is no topic yet. What a replay has open does not hold it up.
    pub(super) fn look(letters: &'a Letters<'a>) -> Result<Self, Failure> {
        let mut replayed = Self::nothing(letters)?;
        if !replayed.partitions.is_empty() {
            let kafka = &letters.settings.kafka;
            replayed.take_in(&TopicScan::whole(
                &kafka.connection,
                &kafka.group,
                Isolation::ReadCommitted,
                &replayed.partitions,
            )?)?;
        }
        Ok(replayed)
    }

    /// All that was replayed until now, and surely all.
    ///
    /// # Errors
    ///
    /// Transient if a transaction is open in the topic.
    pub(super) fn read(letters: &'a Letters<'a>) -> Result<Self, Failure> {
        let mut replayed = Self::nothing(letters)?;
        replayed.go_on()?;
        Ok(replayed)
    }

    fn nothing(letters: &'a Letters<'a>) -> Result<Self, Failure> {
        let (topic, cluster) = (Self::topic_of(letters), &letters.cluster);
        let there = cluster.missing(std::slice::from_ref(&topic))?.is_empty();
        let partitions = if there { cluster.partitions(&topic)? } else { Vec::new() };
        Ok(Self { letters, topic, partitions, marks: HashSet::new(), read: BTreeMap::new() })
    }

    /// Reads all that was added since; says how much of it was not known.
    ///
    /// # Errors
    ///
    /// Transient if a transaction is open in the topic.
    pub(super) fn go_on(&mut self) -> Result<usize, Failure> {
        if self.partitions.is_empty() {
            return Ok(0);
        }
        let kafka = &self.letters.settings.kafka;
        let scan = TopicScan::complete(&kafka.connection, &kafka.group, &self.partitions)?.starting_at(&self.read);
        self.take_in(&scan)
    }

    fn take_in(&mut self, scan: &TopicScan) -> Result<usize, Failure> {
        let mut news = 0;
        scan.run(&AtomicBool::new(false), &mut |record| {
            let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
            let mark = key.and_then(|key| key.parse::<Mark>().ok()).ok_or_else(|| {
                Failure::fatal(format!(
                    "partition {} offset {} of topic {}: the key {key:?} is that of no dead letter; only `sluicegate dlq replay` may write there",
                    record.partition, record.offset, self.topic
                ))
            })?;
            // A null value is the end of a mark: by hand, to have a letter replayed once more.
            let new = if record.value.is_some() { self.marks.insert(mark) } else { self.marks.remove(&mark) };
            news += usize::from(new);
            Ok(())
        })
        .map_err(not_recovery)?;
        self.read = scan.ranges().iter().map(|(number, range)| (*number, range.end)).collect();
        Ok(news)
    }

    /// Whether `letter` was replayed.
    pub(super) fn has(&self, letter: &Letter) -> bool {
        self.marks.contains(&Mark::of(letter))
    }

    /// `letter` was replayed by us.
    pub(super) fn add(&mut self, letter: &Letter) {
        self.marks.insert(Mark::of(letter));
    }

    /// The name of the topic.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }
}

impl Mark {
    pub(super) fn of(letter: &Letter) -> Self {
        let place = letter.place;
        Self { partition: place.partition, offset: place.offset, written: letter.timestamp.unwrap_or(-1) }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.partition, self.offset, self.written)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(());
        let (partition, offset, written) = (next()?, next()?, next()?);
        let (Ok(partition), Ok(offset), Ok(written), None) = (partition.parse(), offset.parse(), written.parse(), parts.next())
        else {
            return Err(());
        };
        Ok(Self { partition, offset, written })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};

    #[test]
    fn a_mark_is_what_its_key_says() {
        let mark = Mark::of(&letter());
        assert_eq!((mark.to_string().as_str(), mark.to_string().parse()), ("1/812/1767225600500", Ok(mark)));
        let timeless = Mark::of(&Letter { timestamp: None, ..letter() });
        assert_eq!((timeless.to_string().as_str(), timeless.to_string().parse()), ("1/812/-1", Ok(timeless)));
        for wrong in ["", "1", "1/2", "1/2/3/4", "a/2/3", "1/2/"] {
            assert_eq!(wrong.parse::<Mark>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn another_letter_at_the_same_offset_of_a_topic_that_was_made_anew_has_another_mark() {
        let later = Letter { timestamp: Some(1_767_225_600_501), ..letter() };
        assert_ne!(Mark::of(&letter()), Mark::of(&later));
    }
}
