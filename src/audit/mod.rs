//! An independent recomputation of the order job from its input, compared with every output.
//!
//! It shares nothing with the job: not its decoder, not its encoders, not even its types. What it knows, it knows from the documentation of
//! the order job. (Avro is read by the generic reader of apache-avro, which the job does not use.) So a rule that the job forgot, or reads differently, is found.
//!
//! ```text
//!  orders ──► rules ──┐                                   ┌─► per order:   order-status, order-batches, late-orders, which changes of stock
//!  seven outputs ─────┴─► facts, spilled to files ────────┼─► per user:    purchase-stats of every window
//!                         by hash of order, user,         ├─► per product: running stock, low-stock-alerts
//!                         product, input position         └─► per bad record: dead-letters
//! ```
//!
//! Memory is bounded: facts go to temporary files, partitioned by hash, so that all facts of one order (user, product) are in one bucket;
//! one bucket at a time is in memory. See [`Options::bucket_events`].
//!
//! What it cannot know, it derives from what it sees and says so: which interleaving of partitions the job saw is not in any topic. Events
//! that came too late for their window are known by `late-orders` itself; a copy that came later than the time to live of de-duplication
//! may have been accepted again, and the outputs tell ([`Report::beyond_ttl`]); an order of which nothing was heard for the time to live of
//! tracking may have begun anew, which its status tells ([`Report::beyond_tracking_ttl`]); of an order whose events are in several partitions
//! (partitions were added) every interleaving is tried ([`Report::orders_in_several_partitions`]).
//!
//! Start at [`audit`]; the input is [`Topics`] and [`Committed`], the result a [`Report`].

mod avro;
mod bad;
mod batches;
mod facts;
mod formats;
mod input;
mod json;
mod kind;
mod order_case;
mod orders;
mod outputs;
mod products;
mod read;
mod report;
mod rules;
mod spill;
mod users;

pub use crate::comparison::{Difference, DifferenceKind, Verdict};
pub use formats::{Format, Formats, SchemaName, Schemas, WriterSchema};
pub use input::{Alert, Committed, Identity, JobRules, Options, Progress, Record, Step, Topic, Topics};
pub use report::{OutputReport, Report};

use crate::protocol::Failure;
use kind::EventKind;

/// Recomputes the job's outputs from its committed input and compares. `progress` is called now and then, at least once in each step.
///
/// # Errors
///
/// A topic cannot be read, or temporary files cannot be written. Differences are not errors: they are in the report.
pub fn audit(
    topics: &mut dyn Topics,
    committed: &Committed,
    rules: &JobRules,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Failure> {
    let mut report = Report::new(options.shown);
    let mut facts = facts::Facts::new(committed, options)?;
    read::all(topics, committed, rules, &options.formats, &mut facts, &mut report, progress)?;
    judge(facts, committed, rules, &mut report, progress)?;
    Ok(report)
}

fn judge(
    facts: facts::Facts,
    committed: &Committed,
    rules: &JobRules,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Failure> {
    let facts::Facts { orders, mut users, products, bad } = facts;
    let total = orders.buckets() + users.buckets() + products.buckets() + bad.buckets();
    let mut done = 0;
    let mut step = |progress: &mut dyn FnMut(Progress)| {
        progress(Progress { step: Step::Judging, done, total: Some(total) });
        done += 1;
    };
    for bucket in orders.into_buckets()? {
        step(progress);
        orders::judge(bucket, committed, rules, &mut users, report)?;
    }
    for bucket in users.into_buckets()? {
        step(progress);
        users::judge(bucket, committed, rules, report)?;
    }
    for bucket in products.into_buckets()? {
        step(progress);
        products::judge(bucket, rules, report)?;
    }
    for bucket in bad.into_buckets()? {
        step(progress);
        bad::judge(bucket, committed, report)?;
    }
    step(progress);
    Ok(())
}

#[cfg(test)]
mod tests;
