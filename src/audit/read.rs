//! Reads all topics once and turns their records into facts.

use super::batches::Sizes;
use super::facts::{Arrival, BadFact, Digest, Facts, OrderFact, Place, ProductFact, UserFact, put_user};
use super::kind::EventKind;
use super::report::Report;
use super::{Committed, Format, Formats, JobRules, Progress, Record, Step, Topic, Topics, avro, outputs, rules};
use crate::comparison::DifferenceKind;
use crate::protocol::Failure;
use compact_str::CompactString;
use std::collections::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// Records between two calls of the progress.
const PROGRESS_EVERY: u64 = 10_000;

pub(super) fn all(
    topics: &mut dyn Topics,
    committed: &Committed,
    rules: &JobRules,
    formats: &Formats,
    facts: &mut Facts,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Failure> {
    let avro = avro::Reader::new(formats);
    let (latest, batches, sizes, scratch) = (HashMap::new(), HashSet::new(), Sizes::default(), Vec::new());
    let mut reader = Reader { committed, rules, formats, avro, facts, report, latest, batches, sizes, scratch };
    let input: u64 = committed.input.values().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum();
    for topic in [Topic::Orders].into_iter().chain(Topic::OUTPUTS) {
        let (ranges, total) = if topic == Topic::Orders { (Some(&committed.input), Some(input)) } else { (None, None) };
        let mut done = 0;
        progress(Progress { step: Step::Reading(topic), done, total });
        topics
            .scan(topic, ranges, &mut |record| {
                done += 1;
                if done % PROGRESS_EVERY == 0 {
                    progress(Progress { step: Step::Reading(topic), done, total });
                }
                reader.record(topic, record)
            })
            .map_err(|failure| failure.context(format!("reading {} for the audit", topic.as_str())))?;
    }
    for (index, event) in committed.waiting.iter().enumerate() {
        reader.sizes.begins(event.len());
        reader.batched(None, event, &format!("waiting event {index}"))?;
    }
    reader.short_batches();
    Ok(())
}

struct Reader<'a> {
    committed: &'a Committed,
    rules: &'a JobRules,
    formats: &'a Formats,
    avro: avro::Reader<'a>,
    facts: &'a mut Facts,
    report: &'a mut Report,
    /// Latest event time of each input partition.
    latest: HashMap<i32, i64>,
    /// Hashes of the batch ids: one in a hundred events, 8 bytes each.
    batches: HashSet<u64>,
    /// Of batches with fewer events than they should have, and of the events that may have had no room in them.
    sizes: Sizes,
    /// For what is hashed as one.
    scratch: Vec<u8>,
}

impl Reader<'_> {
    fn record(&mut self, topic: Topic, record: &Record<'_>) -> Result<(), Failure> {
        let place = Place { partition: record.partition, offset: record.offset };
        let value = record.value.unwrap_or_default();
        if topic == Topic::Orders {
            return self.order(place, record);
        }
        if topic != Topic::OrderBatches {
            self.report.output(topic).found += 1;
        }
        let format = self.formats.of(topic);
        // Late orders are compared as they are; what is in them is read there.
        let transcode = !matches!(topic, Topic::LateOrders | Topic::DeadLetters) && format != Format::Json;
        let json = if transcode { self.avro.output(format, value)? } else { Ok(String::new()) };
        let value = match &json {
            Ok(json) if transcode => json.as_bytes(),
            Ok(_) => value,
            Err(why) => {
                self.wrong(topic, place, why, value);
                return Ok(());
            }
        };
        let read = match topic {
            Topic::Orders => Ok(()),
            Topic::OrderStatus => self.status(place, record.key, value)?,
            Topic::PurchaseStats => self.stats(place, record, value)?,
            Topic::LateOrders => self.late(place, record)?,
            Topic::InventoryLevels => self.level(place, record.key, value)?,
            Topic::LowStockAlerts => self.alert(place, record.key, value)?,
            Topic::OrderBatches => self.batch(place, value)?,
            Topic::DeadLetters => self.letter(place, record)?,
        };
        if let Err(why) = read {
            self.wrong(topic, place, &why, value);
        }
        Ok(())
    }

    fn wrong(&mut self, topic: Topic, place: Place, why: &str, value: &[u8]) {
        let text: String = String::from_utf8_lossy(value).chars().take(120).collect();
        let difference =
            || (format!("{} {place}", topic.as_str()), "a record as documented".to_owned(), format!("{why}: {text}"));
        self.report.output(topic).note(DifferenceKind::Wrong, difference);
    }

    /// A wrong key is told, and the record counts all the same.
    fn check_key(&mut self, topic: Topic, place: Place, key: Option<&[u8]>, wanted: &str) {
        if key != Some(wanted.as_bytes()) {
            let found = key.map_or("no key".to_owned(), |key| format!("key {}", String::from_utf8_lossy(key)));
            let difference = || (format!("{} {place}", topic.as_str()), format!("key {wanted}"), found);
            self.report.output(topic).note(DifferenceKind::Wrong, difference);
        }
    }

    fn order(&mut self, place: Place, record: &Record<'_>) -> Result<(), Failure> {
        let inside = self.committed.input.get(&place.partition).is_some_and(|range| range.contains(&place.offset));
        if !inside {
            return Ok(());
        }
        self.report.records_in += 1;
        let value = record.value.unwrap_or_default();
        let format = self.formats.of(Topic::Orders);
        let (judged, json) = match format {
            Format::Json => (rules::judge(record.value, self.rules), None),
            _ if value.is_empty() || value.len() > self.rules.max_record_bytes => (rules::judge(record.value, self.rules), None),
            _ => match self.avro.order(format, value)? {
                Ok(json) => {
                    let judged = rules::judge_text(&json, self.rules);
                    let fits = json.len() <= self.rules.max_record_bytes;
                    (if fits { judged } else { judged.and(Err("too_large")) }, Some(json))
                }
                Err(class) => (Err(class), None),
            },
        };
        match judged {
            Err(class) => {
                self.report.dead += 1;
                let (left, omitted) = left_of(record, self.rules.max_record_bytes);
                let whole = self.whole(left.headers, left.timestamp, omitted.as_deref(), &left);
                self.facts.bad(place, BadFact::Bad(class.into(), whole))
            }
            Ok(event) => {
                let latest = self.latest.entry(place.partition).or_insert(event.time);
                *latest = event.time.max(*latest);
                let order = event.order.clone();
                let json = match &json {
                    Some(json) => Digest::of(json.as_bytes()),
                    None if self.formats.batches_are_verbatim() => Digest::of(value.trim_ascii()),
                    None => canonical(value),
                };
                let bytes = match self.formats.late_orders_are_verbatim() {
                    true => Digest::of(value),
                    false if format == Format::Json => canonical(value),
                    false => json,
                };
                let arrival = Arrival { place, event, bytes, json, latest: *latest };
                self.facts.order(&order, OrderFact::Event(arrival))
            }
        }
    }

    fn status(&mut self, place: Place, key: Option<&[u8]>, value: &[u8]) -> Result<Result<(), String>, Failure> {
        let (order, status) = match outputs::status(value) {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        self.check_key(Topic::OrderStatus, place, key, &order);
        self.facts.order(&order, OrderFact::Status(place, status)).map(Ok)
    }

    fn stats(&mut self, place: Place, record: &Record<'_>, value: &[u8]) -> Result<Result<(), String>, Failure> {
        let omitted = header(record.headers, "stats.omitted_categories");
        let (user, stats) = match outputs::stats(value, omitted) {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        self.check_key(Topic::PurchaseStats, place, record.key, &user);
        put_user(&mut self.facts.users, &user, UserFact::Stats(place, stats)).map(Ok)
    }

    fn late(&mut self, place: Place, record: &Record<'_>) -> Result<Result<(), String>, Failure> {
        let value = record.value.unwrap_or_default();
        let format = self.formats.of(Topic::LateOrders);
        let json = match format {
            Format::Json => None,
            _ => match self.avro.order(format, value)? {
                Ok(json) => Some(json),
                Err(class) => return Ok(Err(format!("it is {class}"))),
            },
        };
        let text = json.as_ref().map_or(value, |json| json.as_bytes());
        let order = match outputs::identity(text) {
            Ok((order, _)) => order,
            Err(why) => return Ok(Err(why)),
        };
        let bytes = match self.formats.late_orders_are_verbatim() {
            true => Digest::of(value),
            false => canonical(text),
        };
        let Some(watermark) = header(record.headers, "late.watermark").and_then(|text| text.parse::<i64>().ok()) else {
            return Ok(Err("no header late.watermark with a whole number".to_owned()));
        };
        self.check_key(Topic::LateOrders, place, record.key, &order);
        self.facts.order(&order, OrderFact::Late(place, bytes, watermark)).map(Ok)
    }

    fn level(&mut self, place: Place, key: Option<&[u8]>, value: &[u8]) -> Result<Result<(), String>, Failure> {
        let level = match outputs::level(value) {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        let product = level.change.product.clone();
        self.check_key(Topic::InventoryLevels, place, key, &product);
        let (change, stock, time) = (level.change.change, level.stock, level.change.time);
        let fact = ProductFact::Level { place, order: level.order.clone(), change, stock, time };
        self.facts.product(&product, fact)?;
        self.facts.order(&level.order, OrderFact::Level(place, level.change)).map(Ok)
    }

    fn alert(&mut self, place: Place, key: Option<&[u8]>, value: &[u8]) -> Result<Result<(), String>, Failure> {
        let alert = match outputs::alert(value) {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        self.check_key(Topic::LowStockAlerts, place, key, &alert.product);
        let fact = ProductFact::Alert { place, stock: alert.stock, threshold: alert.threshold, time: alert.time };
        self.facts.product(&alert.product, fact).map(Ok)
    }

    fn batch(&mut self, place: Place, value: &[u8]) -> Result<Result<(), String>, Failure> {
        let batch = match outputs::batch(value) {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        self.report.batches += 1;
        let events = batch.orders.len() as u64;
        let id = batch.id.clone();
        let mut note = |expected: String, found: String| {
            let difference = || (format!("batch {id} at {place}"), expected, found);
            self.report.output(Topic::OrderBatches).note(DifferenceKind::Wrong, difference);
        };
        if u64::try_from(batch.size) != Ok(events) {
            note(format!("size {events}, the number of its orders"), format!("size {}", batch.size));
        }
        let fewer = 0 < events && events < self.rules.batch_size;
        if fewer && !self.committed.drained {
            // What the next one may have had is known when all are read.
            self.sizes.short(self.rules.max_record_bytes.saturating_sub(value.len()));
        } else if !fewer && events != self.rules.batch_size {
            note(format!("{} events", self.rules.batch_size), format!("{events} events"));
        }
        let bytes = batch.orders.iter().map(|event| event.len() + 1).sum::<usize>();
        if self.formats.of(Topic::OrderBatches) == Format::Json && events > 1 && bytes > self.rules.max_record_bytes + 1 {
            note(format!("at most {} bytes of events", self.rules.max_record_bytes), format!("{bytes} bytes"));
        }
        // With the white space that may have been around it.
        let slack = value.len().saturating_sub(bytes);
        self.sizes.begins(batch.orders.first().map_or(0, |event| event.len() + slack));
        if !self.batches.insert(xxh3_64(batch.id.as_bytes())) {
            note("a batch id that was not used before".to_owned(), "the id of an earlier batch".to_owned());
        }
        for (index, event) in batch.orders.iter().enumerate() {
            self.batched(Some(place), event.as_bytes(), &format!("event {index} of batch {} at {place}", batch.id))?;
        }
        Ok(Ok(()))
    }

    /// A batch may have fewer events than it should have where the next one had no room in it: so many batches, so many events that are large
    /// enough and begin another batch, or wait.
    fn short_batches(&mut self) {
        if let Some((short, need, large)) = self.sizes.unexplained() {
            let expected =
                format!("{} events, or another event of more than {need} bytes that had no room in it", self.rules.batch_size);
            let found = format!("{short} such batches, and {large} such events");
            let difference = || ("batches with fewer events".to_owned(), expected, found);
            self.report.output(Topic::OrderBatches).note(DifferenceKind::Wrong, difference);
        }
    }

    /// An event in a batch, or waiting for one.
    fn batched(&mut self, batch: Option<Place>, event: &[u8], name: &str) -> Result<(), Failure> {
        self.report.output(Topic::OrderBatches).found += 1;
        if batch.is_none() {
            self.report.waiting += 1;
        }
        let read = outputs::identity(event).and_then(|(order, kind)| Ok((order, event_kind(&kind)?)));
        let digest = if self.formats.batches_are_verbatim() { Digest::of(event.trim_ascii()) } else { canonical(event) };
        match read {
            Ok((order, kind)) => self.facts.order(&order, OrderFact::Batched(batch, kind, digest)),
            Err(why) => {
                let difference = || (name.to_owned(), "an accepted event".to_owned(), why);
                self.report.output(Topic::OrderBatches).note(DifferenceKind::Wrong, difference);
                Ok(())
            }
        }
    }

    fn letter(&mut self, place: Place, record: &Record<'_>) -> Result<Result<(), String>, Failure> {
        // The headers of the bad record come first; ours begin with the last one that is named like our first.
        let Some(begin) = record.headers.iter().rposition(|header| header.0 == "error.topic") else {
            return Ok(Err("no header error.topic".to_owned()));
        };
        let (theirs, ours) = record.headers.split_at(begin);
        let text = |name: &str| header(ours, name);
        let number = |name: &str| text(name).and_then(|text| text.parse::<i64>().ok());
        let topic = text("error.topic");
        if topic != Some(self.committed.input_topic.as_str()) {
            return Ok(Err(format!("header error.topic is {topic:?}, not {:?}", self.committed.input_topic)));
        }
        let partition = number("error.partition").and_then(|partition| i32::try_from(partition).ok());
        let (Some(partition), Some(offset)) = (partition, number("error.offset")) else {
            return Ok(Err("no headers error.partition and error.offset with whole numbers".to_owned()));
        };
        let Some(class) = text("error.class") else { return Ok(Err("no header error.class".to_owned())) };
        for name in ["error.message", "error.stage", "error.job"] {
            if text(name).is_none_or(str::is_empty) {
                return Ok(Err(format!("no header {name} with a text")));
            }
        }
        if number("error.checkpoint").is_none_or(|checkpoint| checkpoint < 0) {
            return Ok(Err("no header error.checkpoint with a whole number".to_owned()));
        }
        let timestamp = number("error.timestamp");
        if timestamp.is_none() && ours.iter().any(|header| header.0 == "error.timestamp") {
            return Ok(Err("a header error.timestamp that is no whole number".to_owned()));
        }
        let omitted = text("error.omitted");
        let fact = BadFact::Letter(place, class.into(), self.whole(theirs, timestamp, omitted, record));
        self.facts.bad(Place { partition, offset }, fact).map(Ok)
    }

    /// Hash of all that a dead letter keeps of its record, and of what it says to have left out: key, value, headers and timestamp. What may
    /// be absent is told from what is empty, but for the values of headers.
    fn whole(&mut self, headers: &[(&str, &[u8])], timestamp: Option<i64>, omitted: Option<&str>, record: &Record<'_>) -> Digest {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let mut part = |part: Option<&[u8]>| {
            bytes.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.unwrap_or_default());
        };
        part(record.key);
        part(record.value);
        part(timestamp.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        part(omitted.map(str::as_bytes));
        for (name, value) in headers {
            part(Some(name.as_bytes()));
            part(Some(value));
        }
        let digest = Digest::of(&bytes);
        self.scratch = bytes;
        digest
    }
}

/// Hash of a JSON event by what it says, not by how it is written.
fn canonical(event: &[u8]) -> Digest {
    Digest::of(avro::canonical(event).as_deref().map_or(event, str::as_bytes))
}

/// What a dead letter has of a bad record, and the names of the parts that it leaves out. It has room for a value of the most that is
/// allowed and 8 KiB: the key is put into it, then the value, then the headers (16 bytes and its own for each), each if there is room.
fn left_of<'a>(record: &Record<'a>, max_record_bytes: usize) -> (Record<'a>, Option<String>) {
    let mut left = *record;
    let mut omitted = Vec::new();
    let mut room = max_record_bytes as u64 + 8192;
    let length = |bytes: Option<&[u8]>| bytes.unwrap_or_default().len() as u64;
    let headers = record.headers.iter().map(|(name, value)| 16 + name.len() as u64 + length(Some(value))).sum();
    for (name, size) in [("key", length(record.key)), ("value", length(record.value)), ("headers", headers)] {
        match room.checked_sub(size) {
            Some(rest) => room = rest,
            None => omitted.push(name),
        }
    }
    for name in &omitted {
        match *name {
            "key" => left.key = None,
            "value" => left.value = None,
            _ => left.headers = &[],
        }
    }
    (left, (!omitted.is_empty()).then(|| omitted.join(",")))
}

/// The text of the header of that name; none if there is none, several, or no text.
fn header<'a>(headers: &[(&str, &'a [u8])], name: &str) -> Option<&'a str> {
    let mut named = headers.iter().filter(|header| header.0 == name);
    let value = named.next()?.1;
    if named.next().is_some() { None } else { std::str::from_utf8(value).ok() }
}

fn event_kind(name: &CompactString) -> Result<EventKind, String> {
    let all = [EventKind::Created, EventKind::PaymentCompleted, EventKind::Shipped, EventKind::Delivered, EventKind::Cancelled];
    all.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| format!("eventType {name} does not exist"))
}
