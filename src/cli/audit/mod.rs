//! `audit`: the frame of every audit, of the order job (`orders`) and of a user's own (`own`): what it reads, how it shows what was found, and
//! what it ends with.

mod orders;
mod own;

pub use orders::Audit;
pub(super) use own::OwnAudit;

use super::{
    Code, Stop,
    committed::{self, CommittedJob},
    progress, screen,
    topics::{self, Names},
};
use crate::{
    comparison::Verdict,
    config::Settings,
    kafka::{Isolation, Polled, TopicScan},
    protocol::{Failure, FailureKind},
};
use indicatif::ProgressBar;
use std::{collections::BTreeMap, ops::Range, sync::atomic::AtomicBool};

/// Per topic and partition, offsets from the first to the one behind the last.
type Ranges = BTreeMap<String, BTreeMap<i32, Range<i64>>>;

/// How the report is shown.
#[derive(Debug, clap::Args)]
struct Shown {
    /// The whole report as JSON
    #[arg(long)]
    json: bool,
    /// Differences shown for each output; all are counted
    #[arg(long, value_name = "N", default_value_t = 10)]
    differences: usize,
}

impl Shown {
    /// Shows a report, and what the command ends with.
    fn show(
        &self,
        verdict: Verdict,
        json: impl FnOnce() -> serde_json::Value,
        table: impl FnOnce() -> String,
    ) -> Result<Code, Stop> {
        if self.json {
            screen::json(&json())?;
        } else {
            screen::line(table().trim_end())?;
        }
        Ok(match verdict {
            Verdict::Clean => Code::Done,
            Verdict::Violated => Code::Violation,
            Verdict::Undecided => Code::Failed,
        })
    }
}

/// An audit recovers nothing, so what it lacks is a failure and not a refused recovery.
fn not_recovery(failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Refused => Failure::fatal(failure.message),
        _ => failure,
    }
}

/// What the job has committed, and what it has read until then.
fn committed(settings: &Settings, names: &Names) -> Result<(CommittedJob, Ranges), Failure> {
    let Some(job) = committed::read(settings, names).map_err(not_recovery)? else {
        return Err(Failure::fatal(format!(
            "group {} has committed nothing, so there is nothing to audit: check kafka.group and job.name, or run the job first",
            settings.kafka.group
        )));
    };
    let began = job.manifest.began();
    let mut ranges = Ranges::new();
    for (partition, end) in &job.positions {
        let from = began.get(partition).copied().unwrap_or(0).min(*end);
        ranges.entry(partition.topic.to_string()).or_default().insert(partition.partition, from..*end);
    }
    Ok((job, ranges))
}

/// Hands over the records of `topic` that readers of committed records see: those in `ranges`, or all that there are now.
fn scan(
    settings: &Settings,
    topic: &str,
    ranges: Option<&BTreeMap<i32, Range<i64>>>,
    each: &mut dyn FnMut(&Polled<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let kafka = &settings.kafka;
    let scan = match ranges {
        Some(ranges) => TopicScan::of(&kafka.connection, &kafka.group, Isolation::ReadCommitted, topic, ranges)?,
        None => {
            let partitions = topics::connect(settings)?.partitions(topic)?;
            TopicScan::whole(&kafka.connection, &kafka.group, Isolation::ReadCommitted, &partitions)?
        }
    };
    scan.run(&AtomicBool::new(false), each).map(drop)
}

/// One bar for each step, which `S` names.
struct Steps<S>(Option<(S, ProgressBar)>);

impl<S: Copy + PartialEq> Steps<S> {
    fn begin() -> Self {
        Self(None)
    }

    /// So much is done of a step; `doing` says what the step is.
    fn show(&mut self, now: S, done: u64, total: Option<u64>, doing: impl FnOnce() -> String) {
        let fresh = self.0.as_ref().is_none_or(|(step, _)| *step != now);
        if fresh {
            self.finish();
            self.0 = Some((now, progress::bar(total, doing())));
        }
        if let Some((_, bar)) = &self.0 {
            bar.set_position(done);
        }
    }

    fn finish(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
