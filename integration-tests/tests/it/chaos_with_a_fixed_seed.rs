//! Random faults under live load, with a reader that checks everything as it becomes visible, and the audit at the end: every kind of
//! fault once, in an order that the seed decides. `make chaos` runs longer ones with any seed.

use crate::harness::within;
use integration_tests::{
    chaos::{Campaign, Kind, Plan},
    ensure,
};
use std::time::Duration;

#[test]
fn ninety_seconds_of_faults_lose_nothing_and_double_nothing() {
    within(Duration::from_secs(1200), || {
        let plan = Plan {
            lasts: Duration::from_secs(90),
            faults: 8,
            seed: 20_261_121,
            rate: 1_500,
            dirty: 5,
            kinds: Kind::list("all")?,
            interval: "500ms".to_owned(),
            reader: env!("CARGO_BIN_EXE_chaos").into(),
        };
        let report = Campaign::run(&plan, |line| eprintln!("{line}"))?;
        eprintln!("{report}");
        ensure!(report.is_clean(), "{report}");
        ensure!(report.recoveries.len() >= 8, "only {} kinds of faults came", report.recoveries.len());
        Ok(())
    });
}
