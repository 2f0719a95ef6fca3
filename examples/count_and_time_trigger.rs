//! Batches of five records, or of what came within ten seconds, whichever is first: an own trigger.
//!
//! A window without an end collects the records of each sensor. The trigger fires with the fifth one, and ten seconds (of the clock) after the
//! first one of a batch; what has fired is forgotten. The clock is set by hand, so that the run takes no time, and the program is
//! interrupted in the middle of a batch: a count and a timer are state as any other. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example count_and_time_trigger

use serde::{Deserialize, Serialize};
use sluicegate::stream::{
    App, Failure, Global, Harness, KeyedStream, Outputs, StateValue, Timestamp, Trigger, TriggerContext, TriggerResult, Window,
};
use std::path::Path;

const COUNT: u64 = 5;
/// In ms.
const TIME: Timestamp = 10_000;

/// Fires with every `count` records, and `time` after the first one that has not been given out.
#[derive(Clone)]
struct CountAndTime {
    count: u64,
    time: Timestamp,
}

/// What is collected of a batch.
#[derive(Default, Serialize, Deserialize)]
struct Batch {
    records: u64,
    /// When it is given out at the latest.
    due: Timestamp,
}

impl StateValue for Batch {}

impl<T> Trigger<T> for CountAndTime {
    type State = Batch;

    fn on_element(&self, _: &T, _: Timestamp, _: Window, batch: &mut Batch, context: &mut TriggerContext) -> TriggerResult {
        batch.records += 1;
        if batch.records == 1 {
            batch.due = context.current_processing_time() + self.time;
            context.register_processing_time_timer(batch.due);
        }
        if batch.records < self.count {
            return TriggerResult::Continue;
        }
        context.delete_processing_time_timer(batch.due);
        *batch = Batch::default();
        TriggerResult::FireAndPurge
    }

    fn on_processing_time(&self, time: Timestamp, _: Window, batch: &mut Batch, _: &mut TriggerContext) -> TriggerResult {
        if batch.records == 0 || time != batch.due {
            return TriggerResult::Continue;
        }
        *batch = Batch::default();
        TriggerResult::FireAndPurge
    }

    fn clear(&self, _: Window, batch: &Batch, context: &mut TriggerContext) {
        context.delete_processing_time_timer(batch.due);
    }
}

type Batches = Harness<String, u64, Outputs<String>>;

fn batches(from: Option<&Path>) -> Result<Batches, Failure> {
    let graph = |_: &App, values: &KeyedStream<String, u64>| {
        let windows = values.window(Global).trigger(CountAndTime { count: COUNT, time: TIME });
        Outputs::of(&windows.process("batches", |sensor, _, values, out| out.push(format!("{sensor}: {values:?}"))))
    };
    match from {
        Some(folder) => Harness::restore(folder, graph),
        None => Harness::new(graph),
    }
}

/// What is given out, with the second of the clock.
fn run(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    let mut tell = |second: Timestamp, batches: &Batches| {
        said.extend(batches.outputs.take().into_iter().map(|(_, batch)| format!("after {second} s, {batch}")));
    };
    let mut running = batches(None)?;
    // Seven readings at once: five go, two wait.
    for value in 1..=7 {
        running.record(0, "hall".into(), value)?;
    }
    tell(0, &running);
    running.processing_time(4_000)?;
    running.record(4_000, "roof".into(), 100)?;
    // The program ends here, and another one goes on from its checkpoint.
    running.snapshot(folder)?;
    let mut running = batches(Some(folder))?;
    for second in 5..=20 {
        running.processing_time(second * 1_000)?;
        tell(second, &running);
        if second == 12 {
            for value in 101..=105 {
                running.record(12_000, "roof".into(), value)?;
            }
            tell(second, &running);
        }
    }
    Ok(said)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for line in run(folder.path()).map_err(|failure| failure.message)? {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_with_its_fifth_record_or_ten_seconds_after_its_first_whichever_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let expected = [
            "after 0 s, hall: [1, 2, 3, 4, 5]",
            "after 10 s, hall: [6, 7]",
            // Its fifth record came before its time, and the sixth one of the sensor waits for its own.
            "after 12 s, roof: [100, 101, 102, 103, 104]",
        ];
        assert_eq!(run(folder.path()).unwrap(), expected);
    }
}
