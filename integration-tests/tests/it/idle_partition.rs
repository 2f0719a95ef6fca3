//! A partition with nothing to read: its offset is committed with every checkpoint all the same (else it would expire, and name an older
//! checkpoint than the others), and it does not hold back event time for ever.
//!
//! Switch: `IdlePartitionsNotCommitted`.

use crate::harness::{END, LIMIT, job, within};
use integration_tests::{Result, deadline::wait_until, ensure, job::Job};

/// A good order at so many minutes of event time.
fn order(number: u32, minutes: u64) -> String {
    let timestamp = 1_767_225_600_000 + minutes * 60_000;
    format!(
        "{{\"orderId\":\"O-{number:09}\",\"userId\":\"U-1\",\"eventType\":\"CREATED\",\"amount\":2.50,\"itemCount\":1,\"category\":\"books\",\
         \"items\":[{{\"productId\":\"P-1\",\"productName\":\"p\",\"quantity\":1,\"price\":2.50}}],\"timestamp\":{timestamp}}}"
    )
}

/// All into partition 0.
fn send(job: &Job, numbers: std::ops::Range<u32>) -> Result<()> {
    let orders: Vec<_> = numbers.map(|number| (format!("O-{number:09}"), order(number, u64::from(number)))).collect();
    job.cluster()?.send_to(&job.input(), 0, orders.iter().map(|(key, order)| (key.as_str(), order.as_bytes())))
}

#[test]
fn every_commit_names_all_partitions_and_windows_fire() {
    within(LIMIT, || {
        // Given a job of which only partition 0 of four gets records, orders of three hours
        let mut job = job()?;
        job.set("source.idle_timeout", "1s");
        job.create_topics()?;
        send(&job, 0..90)?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        send(&job, 90..180)?;
        // When windows have fired
        let cluster = job.cluster()?;
        wait_until("two windows have fired", END, || {
            ensure!(service.try_exit()?.is_none(), "{}", service.last_lines(40));
            Ok(cluster.read(&job.output("purchase-stats"))?.len() == 2)
        })?;
        service.wait_checkpoints(1)?;
        // Then all partitions name the same checkpoint, the idle ones too
        let committed = cluster.committed(&job.group(), &job.input())?;
        assert_eq!(committed.len(), 4, "{committed:?}");
        job.committed_checkpoint()?;
        assert_eq!(committed.values().map(|(offset, _)| *offset).collect::<Vec<_>>(), [180, 0, 0, 0]);
        // And a kill changes nothing of that
        service.kill()?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 180);
        Ok(())
    });
}
