//! A job's own audit: its outputs, recomputed from its input by other code than the job's.

use super::app::App;
use crate::comparison::{
    Difference, DifferenceKind, OutputReport, Verdict, exactly_once, grouped, json, lists::lists, not_exactly_once, table,
};
use crate::engine::{Timestamp, source::RawRecord};
use crate::protocol::Failure;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::Range,
    rc::Rc,
};

/// Recomputes what a job has to give out, and compares it with what it has given out. `<program> audit` hands over every record of the input that
/// the job has committed, then every record of its outputs that readers of committed records see, then asks what was found.
///
/// An audit is worth as much as it is independent: it shares neither state nor operators with the job. How much it keeps in memory is its own
/// affair; records come one at a time and are not kept.
///
/// ```
/// use sluicegate::stream::{Audit, Committed, Failure, Findings, LazyHeaders, RawRecord};
/// use std::collections::BTreeMap;
///
/// /// The job gives out, for each number that it reads, the sum of all numbers of its key until then.
/// #[derive(Default)]
/// struct Sums {
///     last: BTreeMap<String, i64>,
///     expected: BTreeMap<String, Vec<i64>>,
///     found: BTreeMap<String, Vec<i64>>,
/// }
///
/// fn read(record: &RawRecord<'_>) -> Result<(String, i64), Failure> {
///     let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
///     let number = text(record.value).parse::<i64>().map_err(|why| Failure::fatal(format!("no number: {why}")))?;
///     Ok((text(record.key), number))
/// }
///
/// impl Audit for Sums {
///     fn input(&mut self, record: &RawRecord<'_>) -> Result<(), Failure> {
///         let (key, number) = read(record)?;
///         let sum = self.last.entry(key.clone()).or_default();
///         *sum += number;
///         self.expected.entry(key).or_default().push(*sum);
///         Ok(())
///     }
///
///     fn output(&mut self, record: &RawRecord<'_>) -> Result<(), Failure> {
///         let (key, sum) = read(record)?;
///         self.found.entry(key).or_default().push(sum);
///         Ok(())
///     }
///
///     fn findings(&mut self, _: &Committed, findings: &mut Findings) -> Result<(), Failure> {
///         findings.compare("sums", &self.expected, &self.found);
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// // `app.audit(Sums::default)` is all that the job's main needs. What it does, step by step:
/// let record = |topic, offset, value| {
///     let (partition, timestamp, key, headers) = (0, None, Some(&b"a"[..]), LazyHeaders::none());
///     RawRecord { topic, partition, offset, timestamp, key, value: Some(value), headers }
/// };
/// let (mut audit, mut findings) = (Sums::default(), Findings::of(["sums"]));
/// audit.input(&record("numbers", 0, b"2"))?;
/// audit.input(&record("numbers", 1, b"3"))?;
/// audit.output(&record("sums", 0, b"2"))?;
/// audit.output(&record("sums", 1, b"5"))?;
/// audit.output(&record("sums", 2, b"5"))?;
/// audit.findings(&Committed::default(), &mut findings)?;
/// let difference = &findings.differences("sums")[0];
/// assert_eq!((difference.key.as_str(), difference.expected.as_str(), difference.found.as_str()), ("a", "no more", "5"));
/// # Ok(())
/// # }
/// ```
pub trait Audit {
    /// A record of an input topic: of each partition in the order of offsets, from where the job has begun up to what it has committed. All
    /// of them come before the first output.
    ///
    /// # Errors
    /// The audit cannot go on. A record that the job could not decode is no reason: it is a dead letter that has to be there.
    fn input(&mut self, record: &RawRecord<'_>) -> Result<(), Failure>;

    /// A visible record of an output topic: of each partition in the order of offsets.
    ///
    /// # Errors
    /// The audit cannot go on. A record that the job should not have written is a finding.
    fn output(&mut self, record: &RawRecord<'_>) -> Result<(), Failure>;

    /// What was found. Asked once, when all is read.
    ///
    /// # Errors
    /// There is no answer.
    fn findings(&mut self, committed: &Committed, findings: &mut Findings) -> Result<(), Failure>;
}

/// What the job's last commit says, beside the records: how far it has come.
/// ```
/// use sluicegate::stream::Committed;
///
/// /// A window of the operator "hours" whose end is not reached has given out nothing yet.
/// fn has_fired(end: i64, committed: &Committed) -> bool {
///     committed.watermark("hours").is_some_and(|watermark| watermark >= end - 1)
/// }
///
/// assert!(!has_fired(3_600_000, &Committed::default()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Number of the checkpoint.
    pub checkpoint: u64,
    /// Per input topic and partition, the offsets from which the job has begun to those that it has committed (the next one to read).
    pub offsets: BTreeMap<String, BTreeMap<i32, Range<i64>>>,
    /// Per operator, its watermark.
    pub watermarks: BTreeMap<String, Timestamp>,
}

impl Committed {
    /// The watermark of an operator at the commit: [`MAX_WATERMARK`](super::MAX_WATERMARK) behind a drain; none before the first one, or
    /// if there is no such operator.
    #[must_use]
    pub fn watermark(&self, operator: &str) -> Option<Timestamp> {
        self.watermarks.get(operator).copied().filter(|watermark| *watermark > super::MIN_WATERMARK)
    }
}

/// What an audit has found, output by output. Whatever is noted of a topic that the job does not write ends the audit with an error.
/// ```
/// use sluicegate::stream::Findings;
///
/// let mut findings = Findings::of(["levels", "alerts"]);
/// findings.expected("levels", 3);
/// findings.missing("levels", "P-7", "a stock of 4");
/// findings.wrong("levels", "P-9", "a stock of 4", "a stock of 5");
/// findings.extra("alerts", "P-1", "an alert at a stock of 12");
/// assert_eq!(findings.total(), 3);
/// assert_eq!(findings.differences("alerts")[0].found, "an alert at a stock of 12");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    records_in: u64,
    outputs: Vec<OutputReport<String>>,
    /// Topics that were named and are not the job's.
    #[serde(skip)]
    unknown: BTreeSet<String>,
}

impl Findings {
    /// Nothing yet about the outputs of these names; the first ten differences of each will be kept.
    pub fn of(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::showing(topics, 10)
    }

    /// The same with another number of differences to keep.
    pub(crate) fn showing(topics: impl IntoIterator<Item = impl Into<String>>, shown: usize) -> Self {
        let outputs = topics.into_iter().map(|topic| OutputReport::new(topic.into(), shown)).collect();
        Self { records_in: 0, outputs, unknown: BTreeSet::new() }
    }

    fn output(&mut self, topic: &str) -> Option<&mut OutputReport<String>> {
        let found = self.outputs.iter_mut().find(|output| output.topic == topic);
        if found.is_none() {
            self.unknown.insert(topic.to_owned());
        }
        found
    }

    fn note(&mut self, topic: &str, kind: DifferenceKind, difference: impl FnOnce() -> (String, String, String)) {
        if let Some(output) = self.output(topic) {
            output.note(kind, difference);
        }
    }

    /// So many more records have to be in `topic`.
    pub fn expected(&mut self, topic: &str, records: u64) {
        if let Some(output) = self.output(topic) {
            output.expected += records;
        }
    }

    /// A record has to be in `topic` and is not. `key` is what a person looks for.
    pub fn missing(&mut self, topic: &str, key: impl Display, expected: impl Display) {
        self.note(topic, DifferenceKind::Missing, || (key.to_string(), expected.to_string(), "nothing".to_owned()));
    }

    /// A record is in `topic` and must not be, or is there twice.
    pub fn extra(&mut self, topic: &str, key: impl Display, found: impl Display) {
        self.note(topic, DifferenceKind::Extra, || (key.to_string(), "no more".to_owned(), found.to_string()));
    }

    /// A record of `topic` has other contents, or stands at another place.
    pub fn wrong(&mut self, topic: &str, key: impl Display, expected: impl Display, found: impl Display) {
        self.note(topic, DifferenceKind::Wrong, || (key.to_string(), expected.to_string(), found.to_string()));
    }

    /// Compares the records of `topic`, key by key, each key's in their order. What is expected is counted, too.
    pub fn compare<K: Ord + Display, V: Ord + Clone + Display>(
        &mut self,
        topic: &str,
        expected: &BTreeMap<K, Vec<V>>,
        found: &BTreeMap<K, Vec<V>>,
    ) {
        self.compare_lists(topic, expected, found, true);
    }

    /// The same where the order of a key's records does not matter: each has to be there as often as it is expected.
    ///
    /// ```
    /// use sluicegate::stream::Findings;
    /// use std::collections::BTreeMap;
    ///
    /// let mut findings = Findings::of(["pairs"]);
    /// findings.compare_unordered("pairs", &BTreeMap::from([("a", vec![1, 2])]), &BTreeMap::from([("a", vec![2, 1])]));
    /// assert_eq!(findings.total(), 0);
    /// findings.compare("pairs", &BTreeMap::from([("a", vec![1, 2])]), &BTreeMap::from([("a", vec![2, 1])]));
    /// assert_eq!(findings.total(), 2);
    /// ```
    pub fn compare_unordered<K: Ord + Display, V: Ord + Clone + Display>(
        &mut self,
        topic: &str,
        expected: &BTreeMap<K, Vec<V>>,
        found: &BTreeMap<K, Vec<V>>,
    ) {
        self.compare_lists(topic, expected, found, false);
    }

    fn compare_lists<K: Ord + Display, V: Ord + Clone + Display>(
        &mut self,
        topic: &str,
        expected: &BTreeMap<K, Vec<V>>,
        found: &BTreeMap<K, Vec<V>>,
        ordered: bool,
    ) {
        let Some(output) = self.output(topic) else { return };
        output.expected += expected.values().map(|records| records.len() as u64).sum::<u64>();
        let keys: BTreeSet<&K> = expected.keys().chain(found.keys()).collect();
        let of = |side: &'_ BTreeMap<K, Vec<V>>, key: &K| side.get(key).cloned().unwrap_or_default();
        for key in keys {
            lists(output, key, &of(expected, key), &of(found, key), ordered);
        }
    }

    /// The first differences of `topic`.
    #[must_use]
    pub fn differences(&self, topic: &str) -> &[Difference] {
        self.outputs.iter().find(|output| output.topic == topic).map_or(&[], |output| &output.differences)
    }

    /// All differences of all outputs; not only the first ones.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.outputs.iter().map(OutputReport::total).sum()
    }

    /// A record of the input was read.
    pub(crate) fn read_input(&mut self) {
        self.records_in += 1;
    }

    /// A record of an output was read.
    pub(crate) fn read_output(&mut self, topic: &str) {
        if let Some(output) = self.output(topic) {
            output.found += 1;
        }
    }

    /// That the audit has spoken of the job's outputs only.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let Some(unknown) = self.unknown.first() else { return Ok(()) };
        let outputs = self.outputs.iter().map(|output| output.topic.as_str()).collect::<Vec<_>>().join(", ");
        Err(Failure::fatal(format!("the audit speaks of topic {unknown:?}, which the job does not write; it writes {outputs}")))
    }

    /// Clean or not.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.total() == 0 { Verdict::Clean } else { Verdict::Violated }
    }

    /// Outputs that hold records, and of which the audit has neither expected any nor found anything wrong.
    fn passed_over(&self) -> Vec<&str> {
        let passed_over = self.outputs.iter().filter(|output| output.found > 0 && output.expected == 0 && output.total() == 0);
        passed_over.map(|output| output.topic.as_str()).collect()
    }

    /// The verdict in one sentence, and what was not judged in another.
    pub(crate) fn sentence(&self) -> String {
        let input = format!("{} committed input records", grouped(self.records_in));
        let passed_over = self.passed_over();
        let mut sentence = match (self.verdict(), self.outputs.len() - passed_over.len()) {
            (Verdict::Clean, 1) => exactly_once("the output is", &format!("the {input}")),
            (Verdict::Clean, judged) => exactly_once(&format!("all {judged} outputs are"), &format!("the {input}")),
            _ => not_exactly_once(&self.outputs, &input),
        };
        if !passed_over.is_empty() {
            sentence += &format!(" Not judged by this audit: {}.", passed_over.join(", "));
        }
        sentence
    }

    /// The report as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json(self, self.verdict(), self.sentence())
    }

    /// The report for people.
    pub(crate) fn to_table(&self) -> String {
        format!("records in {:>31}\n{}\n{}\n", grouped(self.records_in), table(&self.outputs, String::clone), self.sentence())
    }
}

/// Makes the audit of a job.
pub(super) type MakeAudit = Rc<dyn Fn() -> Box<dyn Audit>>;

impl App {
    /// Gives the program that [`App::main`] makes its own audit: `<program> audit` recomputes the outputs from what the job has committed of its
    /// input, and ends with exit code 5 if they are not what they have to be.
    ///
    /// ```no_run
    /// use sluicegate::stream::{App, Audit, Committed, Failure, Findings, RawRecord, Timestamp, Undecodable};
    ///
    /// /// Every record is copied.
    /// #[derive(Default)]
    /// struct Count(u64, u64);
    ///
    /// impl Audit for Count {
    ///     fn input(&mut self, _: &RawRecord<'_>) -> Result<(), Failure> {
    ///         self.0 += 1;
    ///         Ok(())
    ///     }
    ///     fn output(&mut self, _: &RawRecord<'_>) -> Result<(), Failure> {
    ///         self.1 += 1;
    ///         Ok(())
    ///     }
    ///     fn findings(&mut self, _: &Committed, findings: &mut Findings) -> Result<(), Failure> {
    ///         findings.expected("copies", self.0);
    ///         (self.1..self.0).for_each(|number| findings.missing("copies", format!("copy {number}"), "a record"));
    ///         (self.0..self.1).for_each(|number| findings.extra("copies", format!("copy {number}"), "a record"));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn value(record: &RawRecord<'_>) -> Result<(Timestamp, Vec<u8>), Undecodable> {
    ///     Ok((record.timestamp.unwrap_or(0), record.value.unwrap_or_default().to_vec()))
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     App::main("copy", |app| {
    ///         let (texts, _) = app.source("texts", "texts", || value);
    ///         texts.sink("copies", |text, record| record.value().extend_from_slice(text));
    ///         app.audit(Count::default);
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn audit<A: Audit + 'static>(&self, make: impl Fn() -> A + 'static) {
        if self.set_audit(Rc::new(move || Box::new(make()))) {
            self.wrong("the job has two audits: app.audit is called once".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists_of(records: &[(&'static str, &[i64])]) -> BTreeMap<&'static str, Vec<i64>> {
        records.iter().map(|(key, records)| (*key, records.to_vec())).collect()
    }

    #[test]
    fn what_is_right_is_one_sentence_and_what_is_not_is_named_with_its_key() {
        let read = |findings: &mut Findings, records: usize| (0..records).for_each(|_| findings.read_output("sums"));
        let mut findings = Findings::of(["sums"]);
        (0..1_234).for_each(|_| findings.read_input());
        read(&mut findings, 3);
        findings.compare("sums", &lists_of(&[("a", &[1, 3]), ("b", &[7])]), &lists_of(&[("a", &[1, 3]), ("b", &[7])]));
        assert_eq!(findings.verdict(), Verdict::Clean);
        assert_eq!(
            findings.sentence(),
            "Exactly once: the output is what the 1,234 committed input records give, nothing lost, nothing doubled."
        );
        let mut findings = Findings::showing(["sums", "alerts"], 2);
        read(&mut findings, 4);
        findings.compare("sums", &lists_of(&[("a", &[1, 3]), ("b", &[7])]), &lists_of(&[("a", &[1, 4]), ("c", &[8, 9])]));
        assert_eq!((findings.verdict(), findings.total()), (Verdict::Violated, 4));
        let json = findings.to_json();
        let counts = ["expected", "found", "missing", "extra", "wrong"].map(|field| json["outputs"][0][field].as_u64().unwrap());
        assert_eq!(counts, [3, 4, 1, 2, 1]);
        assert_eq!(json["outputs"][0]["differences"].as_array().unwrap().len(), 2);
        let table = findings.to_table();
        assert!(table.contains("sums: 4 differences, the first 2:\n  wrong   a\n    expected: 3\n    found:    4\n"), "{table}");
        assert!(table.contains("NOT exactly once") && table.contains("4 in sums."), "{table}");
    }

    #[test]
    fn an_output_that_the_audit_says_nothing_of_is_not_called_right() {
        let mut findings = Findings::of(["sums", "alerts", "late"]);
        findings.read_output("alerts");
        findings.read_output("sums");
        findings.expected("sums", 1);
        let sentence = findings.sentence();
        assert!(sentence.contains("all 2 outputs are") && sentence.ends_with("Not judged by this audit: alerts."), "{sentence}");
    }

    #[test]
    fn a_topic_that_the_job_does_not_write_is_an_error_and_so_is_a_second_audit() {
        let mut findings = Findings::of(["sums"]);
        findings.expected("sum", 1);
        let why = findings.check().unwrap_err();
        assert!(why.message.contains("\"sum\"") && why.message.ends_with("it writes sums"), "{why}");

        struct Nothing;
        impl Audit for Nothing {
            fn input(&mut self, _: &RawRecord<'_>) -> Result<(), Failure> {
                Ok(())
            }
            fn output(&mut self, _: &RawRecord<'_>) -> Result<(), Failure> {
                Ok(())
            }
            fn findings(&mut self, _: &Committed, _: &mut Findings) -> Result<(), Failure> {
                Ok(())
            }
        }
        let app = App::new();
        app.audit(|| Nothing);
        assert!(app.registered_audit().is_some());
        app.audit(|| Nothing);
        assert!(app.into_plan().unwrap_err().message.contains("two audits"));
    }
}
