//! The suite runs on brokers in containers, too: here two cases of it (the job dies; the broker does), wherever a Docker daemon answers
//! or can be started. `BROKER=testcontainers make test` runs all.

use crate::harness::{again, within};
use integration_tests::{
    broker::{VERSION, testcontainers::prepare},
    daemon::Daemon,
    ensure,
};
use std::time::Duration;

const CASES: [&str; 2] = [
    "kill_at_crash_points::after_the_manifest_and_before_the_commit",
    "broker_faults::data_and_port_outlive_kill_stop_and_pause",
];

#[test]
fn two_cases_hold_on_brokers_in_containers() {
    within(Duration::from_secs(1200), || {
        let daemon = match Daemon::with_image(&format!("apache/kafka:{VERSION}"))? {
            Ok(daemon) => daemon,
            Err(why) => {
                eprintln!("skipped: {why}");
                return Ok(());
            }
        };
        // The first time this compiles for minutes, which is no time of a case.
        prepare()?;
        for case in CASES {
            let mut environment = vec![("BROKER", "testcontainers"), ("KAFKA", "")];
            environment.extend(daemon.variable());
            let finished = again(case, &environment)?;
            ensure!(finished.status.success(), "{case}: {}\n{}{}", finished.status, finished.stdout, finished.stderr);
        }
        Ok(())
    });
}
