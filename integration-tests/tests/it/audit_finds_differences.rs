//! The audit can say no: what is missing from, added to or changed in an output ends it with 5 and the keys.

use crate::harness::{LIMIT, job, says, within};
use integration_tests::{
    Context, Result, ensure,
    job::{Audit, COMMAND, Job, Load, OUTPUTS},
};

#[test]
fn doubled_untrue_and_missing_records_are_named_and_the_exit_code_is_5() {
    within(LIMIT, || {
        // Given a clean job
        let job = job()?.with_events(Load::of(2_000))?;
        job.catch_up()?;
        job.audit()?;
        // When an output gets a second time what it has already, and another one a record that is not true
        let (status, levels) = (job.output("order-status"), job.output("inventory-levels"));
        let first = job.cluster()?.read(&status)?.into_iter().next().context("no order-status")?;
        let key = String::from_utf8(first.key.context("a record without a key")?)?;
        job.cluster()?.send(&status, [(key.as_str(), first.value.unwrap_or_default().as_slice())])?;
        job.cluster()?.send(&levels, [("P-none", br#"{"product_id":"P-none"}"#.as_slice())])?;
        // Then both are found and named
        ensure!(violations(&job, "extra")? + violations(&job, "wrong")? >= 2, "not both were found");
        let table = job.run(["audit"])?;
        ensure!(table.status.code() == Some(5), "{}:\n{}{}", table.status, table.stdout, table.stderr);
        says(&table.stdout, &[&key, "P-none", "order-status", "inventory-levels"])?;
        // And so is what somebody has taken away (the first record of all is there a second time)
        ensure!(violations(&job, "missing")? == 0, "nothing was missing until now");
        job.cluster()?.delete_records(&status, first.partition, first.offset + 10)?;
        ensure!(violations(&job, "missing")? > 0, "a record that is gone was not missed");
        Ok(())
    });
}

/// Differences of one kind in all outputs; the audit must have ended with 5.
fn violations(job: &Job, kind: &str) -> Result<u64> {
    let (code, audit): (_, Audit) = job.audit_any(COMMAND)?;
    ensure!(code == Some(5), "ended with {code:?} instead of 5");
    (0..OUTPUTS.len()).map(|index| audit.number(&format!("/outputs/{index}/{kind}"))).sum()
}
