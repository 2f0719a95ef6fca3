use super::*;
use crate::protocol::FailureKind;
use crate::stream::{Harness, KeyedStream, MAX_WATERMARK, Outputs};

type Run = Harness<String, u64, Outputs<u64>>;

fn second() -> Duration {
    Duration::from_secs(1)
}

fn sums<G: Trigger<u64>>(windows: WindowedStream<String, u64, G>) -> Outputs<u64> {
    Outputs::of(&windows.reduce("sums", |sum, value| *sum += value))
}

/// Registers more than it takes back.
#[derive(Clone)]
struct Forgetful;

impl Trigger<u64> for Forgetful {
    type State = ();
    fn on_element(&self, _: &u64, _: Timestamp, window: Window, (): &mut (), context: &mut TriggerContext) -> TriggerResult {
        context.register_event_time_timer(window.max_timestamp() - 10);
        context.register_processing_time_timer(500);
        TriggerResult::Continue
    }
    fn on_event_time(&self, time: Timestamp, window: Window, (): &mut (), _: &mut TriggerContext) -> TriggerResult {
        // Asked at the end of the window as well, at which it goes.
        if time < window.max_timestamp() { TriggerResult::Fire } else { TriggerResult::Continue }
    }
    fn on_processing_time(&self, _: Timestamp, _: Window, (): &mut (), _: &mut TriggerContext) -> TriggerResult {
        TriggerResult::Fire
    }
}

#[test]
fn a_timer_of_a_session_that_went_up_in_another_one_does_nothing() {
    let mut run: Run =
        Harness::new(|_, input: &KeyedStream<String, u64>| sums(input.window(Session::with_gap(second())).trigger(Forgetful)))
            .unwrap();
    run.record(1_000, "a".into(), 1).unwrap();
    run.record(1_500, "a".into(), 2).unwrap();
    // two timers of the first session are still there, 1989 of event time and 500 of processing time, beside the three of the other one
    assert_eq!(run.state("sums", "timers").unwrap().len(), 5);
    run.processing_time(500).unwrap();
    assert_eq!(run.outputs.take(), [(2_499, 3)], "once, by the session that is there");
    run.watermark(2_100).unwrap();
    assert!(run.outputs.take().is_empty());
    run.watermark(2_489).unwrap();
    assert_eq!(run.outputs.take(), [(2_499, 3)]);
    run.watermark(2_499).unwrap();
    assert!(run.outputs.take().is_empty());
    assert!(run.state("sums", "timers").unwrap().is_empty());
}

#[test]
fn a_window_of_processing_time_that_ended_while_the_job_was_down_fires_when_it_is_up() {
    let graph =
        |_: &crate::stream::App, input: &KeyedStream<String, u64>| sums(input.window(Tumbling::of(second()).processing_time()));
    let folder = tempfile::tempdir().unwrap();
    let mut run: Run = Harness::new(graph).unwrap();
    run.processing_time(10_200).unwrap();
    run.record(5, "a".into(), 1).unwrap();
    run.record(6, "a".into(), 2).unwrap();
    run.watermark(MAX_WATERMARK).unwrap();
    run.snapshot(folder.path()).unwrap();
    assert!(run.outputs.take().is_empty());
    let mut run: Run = Harness::restore(folder.path(), graph).unwrap();
    run.processing_time(60_000).unwrap();
    assert_eq!(run.outputs.take(), [(10_999, 3)]);
}

#[test]
fn windows_that_are_kept_in_another_way_do_not_take_over_each_others_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut run: Run = Harness::new(|_, input: &KeyedStream<String, u64>| sums(input.window(Tumbling::of(second())))).unwrap();
    run.record(5, "a".into(), 1).unwrap();
    run.snapshot(folder.path()).unwrap();
    let with_trigger = |_: &crate::stream::App, input: &KeyedStream<String, u64>| {
        sums(input.window(Tumbling::of(second())).trigger(CountTrigger::of(2)))
    };
    let refused = Harness::restore(folder.path(), with_trigger).err().unwrap();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.contains("sums/windows"), "{refused}");
    let sliding = |_: &crate::stream::App, input: &KeyedStream<String, u64>| {
        sums(input.window(Sliding::of(second(), Duration::from_millis(500))))
    };
    let refused = Harness::restore(folder.path(), sliding).err().unwrap();
    assert_eq!(refused.kind, FailureKind::Refused);
}
