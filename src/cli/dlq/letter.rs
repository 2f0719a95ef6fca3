//! A dead letter, apart into what its record was and why it was refused.

use super::super::screen;
use crate::{
    format::dead_letter,
    kafka::{OutputHeader, Polled},
    protocol::Failure,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use std::{fmt, str::FromStr};

/// Where a dead letter lies: partition and offset in the topic of the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) place: Place,
    /// When it was written, in milliseconds since 1970, if Kafka says so.
    pub(super) timestamp: Option<i64>,
    /// Key of the bad record.
    pub(super) key: Option<Vec<u8>>,
    /// Its value; none in a tombstone.
    pub(super) value: Option<Vec<u8>>,
    /// Its headers.
    pub(super) headers: Vec<OutputHeader>,
    pub(super) reason: Reason,
}

/// Where the bad record came from, and why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) class: String,
    pub(super) message: String,
    pub(super) timestamp: Option<i64>,
    /// These three are missing in dead letters that were written before there were such headers.
    pub(super) stage: Option<String>,
    pub(super) job: Option<String>,
    pub(super) checkpoint: Option<u64>,
    /// What the letter does not have of its record, which was too large.
    pub(super) omitted: Option<String>,
}

/// A dead letter as `--json` shows it and as a fix script gets it. Bytes that are no UTF-8 stand in a field of their own, as base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    partition: i32,
    offset: i64,
    written_at: Option<String>,
    class: &'a str,
    message: &'a str,
    source: Source<'a>,
    stage: Option<&'a str>,
    job: Option<&'a str>,
    checkpoint: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(flatten)]
    content: Option<Content<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    headers: Vec<ShownHeader<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownHeader<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl Letter {
    /// Reads a record of the topic of the dead letters.
    ///
    /// # Errors
    ///
    /// Why it is no dead letter.
    pub(super) fn of(record: &Polled<'_>) -> Result<Self, String> {
        let headers = record.headers().into_iter();
        let headers = headers.map(|(name, value)| (name.into_owned().into(), value.map(<[u8]>::to_vec))).collect();
        let (headers, reason) = split(headers)?;
        Ok(Self {
            place: Place { partition: record.partition, offset: record.offset },
            timestamp: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
            reason,
        })
    }

    /// Bytes that it takes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + size(value) + 64).sum();
        size(&self.key) + size(&self.value) + headers + self.reason.message.len() + 256
    }

    /// For a line of JSON: with key, but without headers and value unless it is to be `whole`.
    pub(super) fn shown(&self, replayed: Option<bool>, whole: bool) -> Shown<'_> {
        let (key, key_base64) = text_or_base64(self.key.as_deref());
        let content = whole.then(|| {
            let (value, value_base64) = text_or_base64(self.value.as_deref());
            let headers = self.headers.iter().map(|(name, value)| {
                let (value, value_base64) = text_or_base64(value.as_deref());
                ShownHeader { name, value, value_base64 }
            });
            Content { headers: headers.collect(), value, value_base64 }
        });
        let Reason { topic, partition, offset, class, message, timestamp, stage, job, checkpoint, omitted } = &self.reason;
        Shown {
            partition: self.place.partition,
            offset: self.place.offset,
            written_at: self.timestamp.map(screen::event_time),
            class,
            message,
            source: Source { topic, partition: *partition, offset: *offset, timestamp: *timestamp },
            stage: stage.as_deref(),
            job: job.as_deref(),
            checkpoint: *checkpoint,
            omitted: omitted.as_deref(),
            replayed,
            key,
            key_base64,
            content,
        }
    }
}

impl Shown<'_> {
    /// One line.
    pub(super) fn line(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::fatal(format!("a dead letter as JSON: {error}")))
    }
}

/// Text as such, anything else as base64. The outer none of the first means that there is no text.
fn text_or_base64(bytes: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match bytes.map(std::str::from_utf8) {
        None => (Some(None), None),
        Some(Ok(text)) => (Some(Some(text)), None),
        Some(Err(_)) => (None, bytes.map(|bytes| BASE64_STANDARD.encode(bytes))),
    }
}

/// The headers of the bad record, and what ours say. Ours stand behind, from the last one on that is named like our first: a bad record may
/// have been a dead letter of another job.
fn split(mut headers: Vec<OutputHeader>) -> Result<(Vec<OutputHeader>, Reason), String> {
    use dead_letter::{CHECKPOINT, CLASS, JOB, MESSAGE, OFFSET, OMITTED, PARTITION, STAGE, TIMESTAMP, TOPIC};
    let begin = headers.iter().rposition(|(name, _)| name == TOPIC).ok_or_else(|| format!("it has no header {TOPIC}"))?;
    let ours = headers.split_off(begin);
    let text = |wanted: &str| {
        let value = ours.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.as_deref())?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let required = |name: &str| text(name).ok_or_else(|| format!("it has no header {name}"));
    let reason = Reason {
        topic: required(TOPIC)?,
        partition: number(PARTITION, &required(PARTITION)?)?,
        offset: number(OFFSET, &required(OFFSET)?)?,
        class: required(CLASS)?,
        message: text(MESSAGE).unwrap_or_default(),
        timestamp: text(TIMESTAMP).map(|text| number(TIMESTAMP, &text)).transpose()?,
        stage: text(STAGE),
        job: text(JOB),
        checkpoint: text(CHECKPOINT).map(|text| number(CHECKPOINT, &text)).transpose()?,
        omitted: text(OMITTED),
    };
    Ok((headers, reason))
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("its header {name} is {text:?}, which is no whole number"))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.partition, self.offset))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(partition, offset)| {
            let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
            (partition >= 0 && offset >= 0).then_some(Self { partition, offset })
        });
        parsed.ok_or_else(|| "wanted are partition and offset as `dlq list` shows them: 3:812".to_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of a record of orders-3 at 81723, with one header of its own.
    pub(in crate::cli::dlq) fn letter() -> Letter {
        Letter {
            place: Place { partition: 1, offset: 812 },
            timestamp: Some(1_767_225_600_500),
            key: Some(b"O-1".to_vec()),
            value: Some(b"{\"amount\":4.999}".to_vec()),
            headers: vec![("trace".into(), Some(b"7".to_vec()))],
            reason: Reason {
                topic: "orders".into(),
                partition: 3,
                offset: 81_723,
                class: "inexact_money".into(),
                message: "amount is 4.999".into(),
                timestamp: Some(1_767_225_600_123),
                stage: Some("orders".into()),
                job: Some("orders".into()),
                checkpoint: Some(42),
                omitted: None,
            },
        }
    }

    fn written(letter: &Letter) -> Vec<OutputHeader> {
        let reason = &letter.reason;
        let ours = dead_letter::headers(&dead_letter::Reason {
            topic: &reason.topic,
            partition: reason.partition,
            offset: reason.offset,
            class: &reason.class,
            message: &reason.message,
            timestamp: reason.timestamp,
            stage: reason.stage.as_deref().unwrap(),
            job: reason.job.as_deref().unwrap(),
            checkpoint: reason.checkpoint.unwrap(),
        });
        letter.headers.iter().cloned().chain(ours.into_iter().map(|(name, value)| (name.into(), Some(value)))).collect()
    }

    #[test]
    fn what_the_job_writes_is_read_back() {
        let letter = letter();
        assert_eq!(split(written(&letter)), Ok((letter.headers, letter.reason)));
    }

    #[test]
    fn headers_of_the_record_that_are_named_like_ours_stay_with_the_record() {
        // given a record that was a dead letter before, of a job of the same kind
        let once = letter();
        let reason = Reason { class: "empty".into(), offset: 5, timestamp: None, ..letter().reason };
        let twice = Letter { headers: written(&once), reason, ..letter() };
        // when it has died again, then both layers are told apart
        let (headers, reason) = split(written(&twice)).unwrap();
        assert_eq!((&headers, &reason), (&twice.headers, &twice.reason));
        assert_eq!(split(headers), Ok((once.headers, once.reason)));
    }

    #[test]
    fn a_letter_of_an_older_version_lacks_only_what_that_did_not_write() {
        let newer = ["error.timestamp", "error.stage", "error.job", "error.checkpoint"];
        let headers = written(&letter()).into_iter().filter(|(name, _)| !newer.contains(&name.as_ref())).collect();
        let (_, reason) = split(headers).unwrap();
        assert_eq!(reason, Reason { timestamp: None, stage: None, job: None, checkpoint: None, ..letter().reason });
    }

    #[test]
    fn what_is_no_dead_letter_is_told_by_what_it_lacks() {
        let without = |wanted: &str| split(written(&letter()).into_iter().filter(|(name, _)| name != wanted).collect());
        for name in ["error.topic", "error.partition", "error.offset", "error.class"] {
            assert_eq!(without(name), Err(format!("it has no header {name}")));
        }
        let mut wrong = written(&letter());
        wrong[2].1 = Some(b"one".to_vec());
        assert!(split(wrong).unwrap_err().contains("error.partition is \"one\""));
    }

    #[test]
    fn json_has_text_as_text_and_other_bytes_as_base64() {
        let json = |letter: &Letter| serde_json::to_value(letter.shown(Some(false), true)).unwrap();
        let text = json(&letter());
        assert_eq!((&text["key"], &text["value"]), (&"O-1".into(), &"{\"amount\":4.999}".into()));
        assert_eq!(text["headers"], serde_json::json!([{ "name": "trace", "value": "7" }]));
        assert_eq!((&text["source"]["offset"], &text["writtenAt"]), (&81_723.into(), &"2026-01-01T00:00:00.500Z".into()));
        let bytes = json(&Letter { key: None, value: Some(vec![0xff, 0, 1]), headers: vec![("h".into(), None)], ..letter() });
        assert!(bytes["key"].is_null() && bytes.get("value").is_none(), "{bytes}");
        assert_eq!(bytes["valueBase64"], "/wAB");
        assert_eq!(bytes["headers"], serde_json::json!([{ "name": "h", "value": null }]));
        let tombstone = json(&Letter { value: None, ..letter() });
        assert!(tombstone.as_object().unwrap().contains_key("value") && tombstone["value"].is_null(), "{tombstone}");
        // a listed one has neither headers nor value
        let listed = serde_json::to_value(letter().shown(None, false)).unwrap();
        assert!(["headers", "value", "replayed"].iter().all(|name| listed.get(name).is_none()), "{listed}");
    }

    #[test]
    fn places_are_partition_and_offset() {
        let place = Place { partition: 3, offset: 812 };
        assert_eq!(("3:812".parse(), place.to_string()), (Ok(place), "3:812".to_owned()));
        for wrong in ["3", "3:", ":1", "a:b", "-1:2", "1:-2", "1:2:3"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
