//! Every point at which the program can be told to die: it dies there, dies there again at once, and dies while it recovers from
//! that. The points are those that the program itself names, so that a new one is tested without anybody thinking of it.
//!
//! Switch: `offsets-in-transaction` (the offsets do not travel with the outputs), `NewestManifestRestored`, `MetadataIgnored`.

use crate::harness::{END, LIMIT, crash_points, job, within, works_off_all};
use integration_tests::{Context, ensure, job::Load};

const EVENTS: u64 = 10_000;

#[test]
fn is_reached_and_outlived_once_twice_in_a_row_and_in_recovery() {
    within(LIMIT, || {
        // Given a job with input, while more comes
        let job = job()?.with_events(Load::of(EVENTS))?;
        job.catch_up()?;
        let points = crash_points(&job)?;
        ensure!(points.len() >= 11 && points.iter().any(|point| point == "during-commit"), "{points:?}");
        let mut more = job.start_generating(Load::of(50 * EVENTS).at(500).more())?;
        for point in &points {
            // When it is killed at the point: each kill is seen to come from there by the way the process ends
            let later = if point.starts_with("during-") && point != "during-commit" { "" } else { "@2" };
            for armed in [format!("{point}=kill{later}"), "during-recovery=kill".to_owned(), format!("{point}=kill")] {
                job.start_failing(&armed)?.wait_killed(END).with_context(|| armed.clone())?;
            }
        }
        more.terminate(END)?;
        // Then the next run ends the work, and nothing is lost or doubled
        works_off_all(&job, EVENTS)
    });
}
