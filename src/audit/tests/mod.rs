//! The audit says yes to what is right, and no, with the key, to everything else.

mod mutations;
mod reference;
mod scenarios;

use super::*;
use reference::{Job, Topical};

/// Runs the audit on what a job left behind.
fn report_of(job: &Job) -> Report {
    report_with(job, &Options::default())
}

fn report_with(job: &Job, options: &Options) -> Report {
    let mut topics = Topical(job);
    audit(&mut topics, &job.committed, &job.rules, options, &mut |_| {}).unwrap()
}

fn assert_clean(job: &Job) -> Report {
    let report = report_of(job);
    assert_eq!(report.verdict(), Verdict::Clean, "{}", report.to_table());
    report
}
