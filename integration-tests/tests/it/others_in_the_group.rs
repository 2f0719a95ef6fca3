//! Somebody else uses the job's consumer group. The group protects nothing here (the job assigns its partitions itself), so neither
//! does it disturb; but offsets that somebody else has committed are never taken for the job's own.

use crate::harness::{END, LIMIT, ends_with, job, within};
use integration_tests::{Result, deadline::wait_until, ensure, job::Job, job::Load};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::time::Duration;

const EVENTS: u64 = 10_000;

fn consumer(job: &Job) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", job.bootstrap()).set("group.id", job.group());
    Ok(config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest").create()?)
}

#[test]
fn a_member_that_only_reads_does_not_disturb() {
    within(LIMIT, || {
        // Given a consumer that has joined the job's group and holds all partitions
        let job = job()?.with_events(Load::of(EVENTS))?;
        let member = consumer(&job)?;
        member.subscribe(&[&job.input()])?;
        wait_until("the member has its partitions", END, || {
            let _ = member.poll(Duration::from_millis(50));
            Ok(member.assignment()?.count() == 4)
        })?;
        // When the job runs beside it
        let mut service = job.start()?;
        wait_until("the job has committed all", END, || {
            let _ = member.poll(Duration::from_millis(50));
            ensure!(service.try_exit()?.is_none(), "{}", service.last_lines(40));
            Ok(job.committed()? == i64::try_from(EVENTS)?)
        })?;
        // Then that is right, and stays so over a kill
        service.kill()?;
        job.generate(Load::of(EVENTS).more())?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 2 * EVENTS);
        Ok(())
    });
}

#[test]
fn offsets_that_it_has_committed_are_refused_with_partition_and_group() {
    within(LIMIT, || {
        // Given a job with a checkpoint, when another consumer commits an offset for its group
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&job.input(), 1, Offset::Offset(17))?;
        consumer(&job)?.commit(&offsets, CommitMode::Sync)?;
        // Then it is not guessed which is meant
        ends_with(&mut job.start()?, 4, &[&job.group(), &format!("{}-1", job.input()), "17"])
    });
}
