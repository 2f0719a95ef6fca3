//! `state.backend = "memory"`: all state is in memory while the job runs. A job that is killed goes on from its
//! checkpoint, with either backend, because both write the same files.

use crate::harness::{END, LIMIT, job, within};
use integration_tests::job::Load;

const EVENTS: u64 = 10_000;

/// Memory, memory, RocksDB, memory, RocksDB: each but the first finds what the one before has left when it was killed.
#[test]
fn a_killed_job_goes_on_with_the_same_backend_and_with_the_other_one() {
    within(LIMIT, || {
        let mut job = job()?;
        job.set("state.backend", "memory");
        let mut job = job.with_events(Load::of(EVENTS))?;
        job.start_failing("after-commit=kill@3")?.wait_killed(END)?;
        let mut load = Load::of(EVENTS);
        for (backend, crash) in
            [("memory", "during-commit=kill@2"), ("rocksdb", "after-upload=kill@2"), ("memory", "after-manifest=kill@2")]
        {
            job.set("state.backend", backend);
            // More than one checkpoint's worth of input, so that there is something to be killed in the middle of.
            load = load.more();
            job.generate(load)?;
            job.start_failing(crash)?.wait_killed(END)?;
        }
        job.set("state.backend", "rocksdb");
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, 4 * EVENTS);
        Ok(())
    });
}
