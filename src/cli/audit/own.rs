//! `audit` of a program that has a job of its own: the frame around what the job has registered with `App::audit`.

use super::{Shown, Steps, committed, not_recovery, scan};
use crate::{
    cli::{Code, Given, Stop, topics::Names},
    config::Settings,
    engine::{plan::Plan, with_raw},
    observe::logging,
    protocol::Failure,
    stream::{Audit, Committed, Findings, RawRecord},
};
use std::{collections::BTreeMap, ops::Range};

/// Records between two looks at the progress.
const PROGRESS_EVERY: u64 = 10_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate audit --json")]
pub(in crate::cli) struct OwnAudit {
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    given: Given,
}

impl OwnAudit {
    /// Audits the job of the graph `plan`; `audit` is what it has registered.
    pub(in crate::cli) fn run(&self, plan: &Plan, audit: Option<Box<dyn Audit>>) -> Result<Code, Stop> {
        let Some(mut audit) = audit else {
            return Err(Stop::Usage(
                "this job has no audit: register one where its graph is built, with app.audit(|| MyAudit::new()); an audit is a type that \
                 implements sluicegate::stream::Audit, see docs/own-jobs.md"
                    .to_owned(),
            ));
        };
        let Some(names) = Names::of_graph(plan)? else {
            return Err(Stop::Usage("this job reads and writes no Kafka: an audit reads topics".to_owned()));
        };
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let (job, offsets) = committed(&settings, &names)?;
        let known = Committed {
            checkpoint: job.manifest.checkpoint.0,
            watermarks: job.manifest.operators.iter().filter_map(|one| Some((one.name.clone(), one.watermark?))).collect(),
            offsets,
        };
        let mut findings = Findings::showing(&names.outputs, self.shown.differences);
        let mut steps = Steps::begin();
        for (step, input) in names.inputs.iter().enumerate() {
            // A partition that came after the commit has not been read yet.
            let Some(ranges) = known.offsets.get(input) else { continue };
            let total = ranges.values().map(|range| (range.end - range.start).unsigned_abs()).sum();
            let mut reading = Reading { step, topic: input, total: Some(total), done: 0, steps: &mut steps };
            reading.run(&settings, Some(ranges), &mut |record| {
                findings.read_input();
                audit.input(record)
            })?;
        }
        for (step, output) in names.outputs.iter().enumerate() {
            let step = names.inputs.len() + step;
            let mut reading = Reading { step, topic: output, total: None, done: 0, steps: &mut steps };
            reading.run(&settings, None, &mut |record| {
                findings.read_output(output);
                audit.output(record)
            })?;
        }
        steps.finish();
        audit.findings(&known, &mut findings)?;
        findings.check()?;
        self.shown.show(findings.verdict(), || findings.to_json(), || findings.to_table())
    }
}

/// One topic that is read.
struct Reading<'a> {
    step: usize,
    topic: &'a str,
    total: Option<u64>,
    done: u64,
    steps: &'a mut Steps<usize>,
}

impl Reading<'_> {
    fn run(
        &mut self,
        settings: &Settings,
        ranges: Option<&BTreeMap<i32, Range<i64>>>,
        each: &mut dyn FnMut(&RawRecord<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let topic = self.topic;
        let doing = || format!("reading {topic}");
        self.steps.show(self.step, 0, self.total, doing);
        let read = scan(settings, topic, ranges, &mut |record| {
            self.done += 1;
            if self.done.is_multiple_of(PROGRESS_EVERY) {
                self.steps.show(self.step, self.done, self.total, doing);
            }
            with_raw(record, |record| each(&record))
        });
        read.map_err(|failure| not_recovery(failure).context(format!("reading {topic} for the audit")))
    }
}
