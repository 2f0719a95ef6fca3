//! Reading the topic of the dead letters.

use super::{
    super::{Stop, topics},
    letter::{Letter, Place},
    topic::DeadLetters,
};
use crate::{
    config::Settings,
    kafka::{Cluster, Isolation, TopicScan},
    protocol::{Failure, FailureKind, TopicPartition},
};
use std::sync::atomic::AtomicBool;

/// The dead letters of a job.
pub(super) struct Letters<'a> {
    pub(super) settings: &'a Settings,
    pub(super) from: &'a DeadLetters,
    pub(super) cluster: Cluster,
    partitions: Vec<TopicPartition>,
}

/// Records of the topic that are no dead letters of this job.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Dead letters of other jobs, or of another input.
    foreign: u64,
    /// What is no dead letter at all, and the first of them.
    unreadable: u64,
    first: Option<String>,
}

impl<'a> Letters<'a> {
    /// Waits for a broker.
    pub(super) fn open(settings: &'a Settings, from: &'a DeadLetters) -> Result<Self, Failure> {
        let cluster = topics::connect(settings)?;
        let partitions = cluster.partitions(&from.topic)?;
        Ok(Self { settings, from, cluster, partitions })
    }

    /// The name of the topic.
    pub(super) fn topic(&self) -> &'a str {
        &self.from.topic
    }

    /// Hands over every visible dead letter of this job, up to the end at the start: of each partition in the order of offsets.
    pub(super) fn each(&self, each: &mut dyn FnMut(Letter) -> Result<(), Stop>) -> Result<Others, Stop> {
        let kafka = &self.settings.kafka;
        let scan = TopicScan::whole(&kafka.connection, &kafka.group, Isolation::ReadCommitted, &self.partitions)?;
        let (mut others, mut stopped) = (Others::default(), None);
        let scanned = scan.run(&AtomicBool::new(false), &mut |record| {
            match Letter::of(record) {
                Ok(letter) if self.is_ours(&letter) => each(letter).map_err(|stop| {
                    stopped = Some(stop);
                    Failure::attempt("stopped")
                })?,
                Ok(_) => others.foreign += 1,
                Err(why) => {
                    others.unreadable += 1;
                    let place = Place { partition: record.partition, offset: record.offset };
                    others.first.get_or_insert_with(|| format!("{place}: {why}"));
                }
            }
            Ok(())
        });
        match (stopped, scanned) {
            (Some(stop), _) => Err(stop),
            (None, Ok(_)) => Ok(others),
            (None, Err(failure)) => Err(not_recovery(failure).into()),
        }
    }

    /// The dead letter at `place`.
    pub(super) fn at(&self, place: Place) -> Result<Letter, Failure> {
        let topic = self.topic();
        let absent = |why: &str| Failure::fatal(format!("no dead letter at {place} of {topic}: {why}"));
        if !self.partitions.iter().any(|partition| partition.partition == place.partition) {
            return Err(absent(&format!("it has the partitions 0 to {}", self.partitions.len().saturating_sub(1))));
        }
        let kafka = &self.settings.kafka;
        let ranges = [(place.partition, place.offset..place.offset.saturating_add(1))].into();
        let scan =
            TopicScan::of(&kafka.connection, &kafka.group, Isolation::ReadCommitted, topic, &ranges).map_err(not_recovery)?;
        let mut found = None;
        scan.run(&AtomicBool::new(false), &mut |record| {
            found = Some(Letter::of(record));
            Ok(())
        })
        .map_err(not_recovery)?;
        match found {
            Some(letter) => letter.map_err(|why| absent(&format!("{why}; it is some other record"))),
            None => Err(absent("Kafka's own mark, or a record that was taken back, lies there")),
        }
    }

    /// Several jobs may share the topic. Dead letters of before there was a header for the job are judged by their input alone.
    fn is_ours(&self, letter: &Letter) -> bool {
        let job = letter.reason.job.as_deref();
        self.from.inputs.contains(&letter.reason.topic) && job.is_none_or(|job| self.from.jobs.contains(job))
    }
}

impl Others {
    /// Says on standard error what was left out.
    pub(super) fn tell(&self, topic: &str) {
        if self.foreign > 0 {
            eprintln!("sluicegate: left out are {} dead letters of other jobs or inputs in {topic}", self.foreign);
        }
        if let Some(first) = &self.first {
            eprintln!(
                "sluicegate: left out are {} records of {topic} that are no dead letters, the first is {first}",
                self.unreadable
            );
        }
    }
}

/// Nothing is recovered here, so what is not there is a failure and not a refused recovery.
pub(super) fn not_recovery(failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Refused => Failure::fatal(failure.message),
        _ => failure,
    }
}
