//! `sluicegate dlq replay`
//!
//! ```text
//!            take the id: whoever had it is fenced
//!               │   what was replayed until now: all of it, for nobody can add to it
//!               ▼
//! letters ──► a batch, mended ──► transaction: take the id, read what was replayed since
//!                                   ├─ somebody else's ──► fenced: nothing is sent
//!                                   └─ nothing ──► for each: the record to the input, its mark to the marks ──► commit
//! ```
//!
//! Why none is replayed twice, and none is lost. A letter is replayed when its mark is committed, and record and mark are committed by one
//! transaction. A transaction is filled only with letters that have no mark among those that were read behind its taking of the id. From that
//! taking on, nobody else can commit a mark without taking the id in turn, which fences this transaction: so at its commit the marks are
//! those that were read. A kill leaves a transaction that the next taking aborts, record and mark alike; a commit whose answer was lost has
//! its marks or has not, and the next replay reads which.

use super::{
    super::{Code, Given, Stop, screen},
    choice::Choice,
    fixer::{Fixer, Verdict},
    letter::Letter,
    letters::Letters,
    replayed::{Mark, Replayed},
    topic::Which,
};
use crate::{
    config::Settings,
    format,
    kafka::{ExclusiveTransaction, Output, OutputHeader},
    protocol::{Failure, FailureKind},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// A batch is closed at so many bytes of letters: that is what is in memory at a time, twice with the producer's queue.
const BATCH_BYTES: usize = 16 << 20;

/// A transaction of a replay that was killed holds back readers of the input until the broker gives it up after so long, or until the next
/// replay. Filling and committing one takes seconds.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Send dead letters back to the topic that they came from, exactly once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate dlq replay --class inexact_money --since 24h --fix ./round.sh --dry-run")]
pub(super) struct Replay {
    #[command(flatten)]
    choice: Choice,
    /// Says what would be replayed, and sends nothing; a fix script is run
    #[arg(long)]
    dry_run: bool,
    /// A program that mends values: it gets each dead letter as a line of JSON and answers with a line: {"value":"text"},
    /// {"valueBase64":"..."}, or {"value":null} to leave it alone
    #[arg(long, value_name = "SCRIPT")]
    fix: Option<PathBuf>,
    /// Dead letters in one transaction, at most
    #[arg(long, value_name = "N", default_value = "5000")]
    batch: NonZeroUsize,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    pub(super) given: Given,
}

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    dry_run: bool,
    replayed: u64,
    /// Of `replayed`, per class of error.
    classes: BTreeMap<String, u64>,
    transactions: u64,
    /// That were replayed before.
    replayed_before: u64,
    /// That the fix script left alone.
    left_alone: u64,
    /// That have not all of their record, because it was too large.
    incomplete: u64,
}

/// A letter that is to be sent, with the value that it is to have.
struct Chosen {
    letter: Letter,
    value: Option<Vec<u8>>,
}

/// Letters on their way to one transaction.
#[derive(Default)]
struct Batch {
    chosen: Vec<Chosen>,
    bytes: usize,
}

struct Sender<'a> {
    letters: &'a Letters<'a>,
    id: String,
    replayed: Replayed<'a>,
    dry_run: bool,
    tally: Tally,
}

impl Replay {
    pub(super) fn run(&self, letters: &Letters<'_>) -> Result<Code, Stop> {
        let inputs = letters.from.inputs.iter();
        let partitions = inputs.map(|input| letters.cluster.partitions(input).map(|found| (input.as_str(), found)));
        let partitions = partitions.collect::<Result<BTreeMap<_, _>, Failure>>()?;
        let mut fixer = self.fix.as_deref().map(Fixer::start).transpose()?;
        let mut sender = Sender::begin(letters, self.dry_run)?;
        let mut batch = Batch::default();
        let replayed = letters.each(&mut |letter| {
            if !self.choice.takes(&letter) {
                return Ok(());
            }
            if sender.replayed.has(&letter) {
                sender.tally.replayed_before += 1;
                return Ok(());
            }
            if letter.reason.omitted.is_some() {
                sender.tally.incomplete += 1;
                return Ok(());
            }
            let (topic, partition) = (&letter.reason.topic, letter.reason.partition);
            // Letters of other inputs do not come here.
            let known = partitions.get(topic.as_str()).map_or(&[][..], Vec::as_slice);
            if !known.iter().any(|known| known.partition == partition) {
                let (place, count) = (letter.place, known.len());
                return Err(Failure::fatal(format!(
                    "dead letter {place} came from partition {partition} of {topic}, which has {count} partitions now: it was made anew; choose others"
                ))
                .into());
            }
            let value = match fixer.as_mut().map(|fixer| fixer.ask(&letter)).transpose()? {
                None => letter.value.clone(),
                Some(Verdict::Value(value)) => Some(value),
                Some(Verdict::Leave) => {
                    sender.tally.left_alone += 1;
                    return Ok(());
                }
            };
            batch.add(Chosen { letter, value });
            if batch.is_full(self.batch) {
                sender.send(std::mem::take(&mut batch))?;
            }
            Ok(())
        });
        // A program that ends badly may have answered badly: so it ends before the last letters are sent.
        let ended = replayed.and_then(|others| {
            fixer.take().map(Fixer::finish).transpose()?;
            sender.send(batch)?;
            Ok(others)
        });
        match ended {
            Ok(others) => {
                others.tell(letters.topic());
                if self.json {
                    screen::json(&sender.tally)?
                } else {
                    screen::line(&sender.tally.sentence(&letters.from.inputs()))?
                }
                Ok(Code::Done)
            }
            Err(Stop::Failed(failure)) => Err(sender.tally.explain(failure).into()),
            Err(stop) => Err(stop),
        }
    }
}

impl Batch {
    fn add(&mut self, chosen: Chosen) {
        self.bytes += chosen.letter.bytes() + chosen.value.as_ref().map_or(0, Vec::len);
        self.chosen.push(chosen);
    }

    fn is_full(&self, most: NonZeroUsize) -> bool {
        self.chosen.len() >= most.get() || self.bytes >= BATCH_BYTES
    }
}

impl<'a> Sender<'a> {
    /// Takes the id, and reads what was replayed.
    fn begin(letters: &'a Letters<'a>, dry_run: bool) -> Result<Self, Failure> {
        let settings = letters.settings;
        let id = format!("{}-dlq-replay", settings.kafka.group);
        let replayed = if dry_run {
            Replayed::look(letters)?
        } else {
            Replayed::create_topic(letters)?;
            // What another replay has open is aborted, so that the marks have an end.
            drop(take(settings, &id)?);
            Replayed::read(letters)?
        };
        Ok(Self { letters, id, replayed, dry_run, tally: Tally { dry_run, ..Tally::default() } })
    }

    /// Sends one batch in one transaction.
    fn send(&mut self, batch: Batch) -> Result<(), Failure> {
        if batch.chosen.is_empty() {
            return Ok(());
        }
        if !self.dry_run {
            let mut transaction = take(self.letters.settings, &self.id)?;
            let news = self.replayed.go_on()?;
            if news > 0 {
                return Err(Failure::fenced(format!(
                    "another replay of this job has replayed {news} dead letters since this one began; run it again when that one has ended"
                )));
            }
            for chosen in &batch.chosen {
                self.send_one(&mut transaction, chosen)?;
            }
            transaction.commit(self.letters.settings.kafka.connect_timeout.max(TRANSACTION_TIMEOUT))?;
        }
        self.tally.transactions += 1;
        for Chosen { letter, .. } in &batch.chosen {
            self.replayed.add(letter);
            self.tally.replayed += 1;
            *self.tally.classes.entry(letter.reason.class.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// The record, back to where it came from, and its mark.
    fn send_one(&self, transaction: &mut ExclusiveTransaction, chosen: &Chosen) -> Result<(), Failure> {
        let Chosen { letter, value } = chosen;
        let named = |failure: Failure| failure.context(format_args!("dead letter {}", letter.place));
        let record = Output {
            topic: &letter.reason.topic,
            key: letter.key.as_deref(),
            value: value.as_deref(),
            headers: &headers(letter, self.letters.topic()),
            // Not by its key: the producer's partitioner may be another one, and partitions may have been added.
            partition: Some(letter.reason.partition),
            // Now: with the time that it had, retention could take it before it is read.
            timestamp_ms: None,
        };
        transaction.send(&record).map_err(named)?;
        let mark = Mark::of(letter).to_string();
        let reason = &letter.reason;
        let told = serde_json::json!({
            "topic": reason.topic, "partition": reason.partition, "offset": reason.offset, "class": reason.class, "fixed": *value != letter.value,
        })
        .to_string();
        let mark = Output {
            topic: self.replayed.topic(),
            key: Some(mark.as_bytes()),
            value: Some(told.as_bytes()),
            headers: &[],
            partition: None,
            timestamp_ms: None,
        };
        transaction.send(&mark).map_err(named)
    }
}

fn take(settings: &Settings, id: &str) -> Result<ExclusiveTransaction, Failure> {
    let kafka = &settings.kafka;
    let timeout = kafka.transaction_timeout.min(TRANSACTION_TIMEOUT);
    let taken =
        ExclusiveTransaction::take(&kafka.connection, id, timeout, kafka.connect_timeout, &Arc::new(AtomicBool::new(false)));
    taken.map_err(|failure| match failure.kind {
        FailureKind::Fenced => Failure::fenced(format!("another replay of this job has begun: {}", failure.message)),
        _ => failure,
    })
}

/// Those of the bad record, and where the new one comes from.
fn headers(letter: &Letter, dead_letters: &str) -> Vec<OutputHeader> {
    let of = format!("{dead_letters}/{}/{}", letter.place.partition, letter.place.offset);
    letter.headers.iter().cloned().chain([(format::replay::OF.into(), Some(of.into_bytes()))]).collect()
}

impl Tally {
    /// `replayed 12 dead letters to orders in 1 transaction (inexact_money 12); 3 were replayed before, 1 was left alone by the fix script`
    fn sentence(&self, topic: &str) -> String {
        let plural = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let verb = if self.dry_run { "would replay" } else { "replayed" };
        let mut text = format!(
            "{verb} {} to {topic} in {}",
            plural(self.replayed, "dead letter", "dead letters"),
            plural(self.transactions, "transaction", "transactions")
        );
        if !self.classes.is_empty() {
            let classes: Vec<String> = self.classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
            text += &format!(" ({})", classes.join(", "));
        }
        text += &format!("; {} replayed before", plural(self.replayed_before, "was", "were"));
        if self.left_alone > 0 {
            text += &format!(", {} left alone by the fix script", plural(self.left_alone, "was", "were"));
        }
        if self.incomplete > 0 {
            let count = plural(self.incomplete, "has", "have");
            text += &format!(", {count} not all of a record that was too large (error.omitted), and cannot be replayed");
        }
        text
    }

    /// What was replayed before the failure stays so.
    fn explain(&self, failure: Failure) -> Failure {
        if self.dry_run {
            return failure;
        }
        let done = match self.replayed {
            0 => "nothing was recorded as replayed by this command before".to_owned(),
            n => format!("{n} dead letters were replayed before, and are recorded as such"),
        };
        Failure::new(failure.kind, format!("{} ({done}; run it again to go on)", failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};

    #[test]
    fn a_replayed_record_has_its_headers_and_the_letter_that_it_comes_from() {
        let first = ("trace".into(), Some(b"7".to_vec()));
        let of = |place: &str| ("replay.of".into(), Some(place.as_bytes().to_vec()));
        assert_eq!(headers(&letter(), "eu.dead-letters"), [first.clone(), of("eu.dead-letters/1/812")]);
        // one that has died again has both
        let again = Letter { headers: headers(&letter(), "d"), ..letter() };
        assert_eq!(headers(&again, "d"), [first, of("d/1/812"), of("d/1/812")]);
    }

    #[test]
    fn a_batch_is_full_at_its_number_and_at_its_bytes() {
        let most = NonZeroUsize::new(2).unwrap();
        let mut batch = Batch::default();
        batch.add(Chosen { letter: letter(), value: None });
        assert!(!batch.is_full(most));
        batch.add(Chosen { letter: letter(), value: None });
        assert!(batch.is_full(most));
        let mut large = Batch::default();
        large.add(Chosen { letter: letter(), value: Some(vec![0; BATCH_BYTES]) });
        assert!(large.is_full(NonZeroUsize::MAX));
    }

    #[test]
    fn the_sentence_says_what_was_done_and_what_was_not() {
        let tally = Tally {
            replayed: 12,
            classes: [("empty".to_owned(), 2), ("inexact_money".to_owned(), 10)].into(),
            transactions: 1,
            replayed_before: 3,
            left_alone: 1,
            incomplete: 0,
            dry_run: false,
        };
        assert_eq!(
            tally.sentence("orders"),
            "replayed 12 dead letters to orders in 1 transaction (empty 2, inexact_money 10); 3 were replayed before, 1 was left alone by the \
             fix script"
        );
        let incomplete = Tally { incomplete: 2, ..Tally::default() };
        assert!(incomplete.sentence("orders").contains("; 0 were replayed before, 2 have not all of a record"), "{incomplete:?}");
        let nothing = Tally { dry_run: true, ..Tally::default() };
        assert_eq!(nothing.sentence("orders"), "would replay 0 dead letters to orders in 0 transactions; 0 were replayed before");
        let failed = tally.explain(Failure::fenced("another replay"));
        assert_eq!(failed.kind, FailureKind::Fenced);
        assert!(failed.message.contains("12 dead letters were replayed before"), "{failed}");
    }
}
