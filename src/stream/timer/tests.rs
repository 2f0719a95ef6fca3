use super::*;
use crate::stream::{Emit, Harness, KeyedProcess, KeyedStream, MAX_WATERMARK, Outputs};
use proptest::prelude::*;
use std::path::Path;

/// What the operator under test is told to do.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Register(TimeDomain, Timestamp),
    Delete(TimeDomain, Timestamp),
}

use TimeDomain::{EventTime, ProcessingTime as Processing};

/// Emits every timer that fires. One whose time ends in 7 registers another one, three milliseconds later.
struct Obedient(Timers<String>);

impl Obedient {
    fn act(&self, key: &Key<String>, ask: Ask) -> Result<(), Halt> {
        match ask {
            Ask::Register(EventTime, time) => self.0.register_event_time_timer(key, time),
            Ask::Register(Processing, time) => self.0.register_processing_time_timer(key, time),
            Ask::Delete(EventTime, time) => self.0.delete_event_time_timer(key, time),
            Ask::Delete(Processing, time) => self.0.delete_processing_time_timer(key, time),
        }
    }
}

type Fired = (TimeDomain, Timestamp, String);

impl KeyedProcess<String, Ask> for Obedient {
    type Out = Fired;

    fn process(&mut self, key: &Key<String>, _: Timestamp, ask: Ask, _: &mut Emit<'_, Fired>) -> Result<(), Halt> {
        self.act(key, ask)
    }

    fn on_timer(&mut self, key: &Key<String>, timer: Timer, out: &mut Emit<'_, Fired>) -> Result<(), Halt> {
        if timer.time % 10 == 7 {
            self.act(key, Ask::Register(timer.domain, timer.time + 3))?;
        }
        out.push((timer.domain, timer.time, key.value.clone()))
    }
}

type Run = Harness<String, Ask, Outputs<Fired>>;

fn graph(asks: &KeyedStream<String, Ask>) -> Outputs<Fired> {
    Outputs::of(&asks.process("obedient", |declare| {
        let timers = declare.timers::<String>();
        move |context: &mut OperatorContext<'_, '_>| Ok(Obedient(context.state(&timers)?))
    }))
}

fn start() -> Run {
    Harness::new(|_, asks| graph(asks)).unwrap()
}

fn restore(folder: &Path) -> Run {
    Harness::restore(folder, |_, asks| graph(asks)).unwrap()
}

fn register(run: &mut Run, key: &str, domain: TimeDomain, time: Timestamp) {
    run.record(0, key.to_owned(), Ask::Register(domain, time)).unwrap();
}

fn fired(run: &Run) -> Vec<(Timestamp, String)> {
    run.outputs.take().into_iter().map(|(_, (_, time, key))| (time, key)).collect()
}

fn expected(timers: &[(Timestamp, &str)]) -> Vec<(Timestamp, String)> {
    timers.iter().map(|(time, key)| (*time, (*key).to_owned())).collect()
}

#[test]
fn timers_fire_once_in_the_order_of_time_whatever_their_keys() {
    let mut run = start();
    for (time, key) in [(300, "c"), (100, "a"), (200, "b"), (100, "a"), (250, "a"), (150, "d")] {
        register(&mut run, key, EventTime, time);
    }
    run.record(0, "d".into(), Ask::Delete(EventTime, 150)).unwrap();
    run.record(0, "d".into(), Ask::Delete(EventTime, 9)).unwrap();
    run.watermark(99).unwrap();
    assert!(run.outputs.take().is_empty());
    run.watermark(250).unwrap();
    assert_eq!(fired(&run), expected(&[(100, "a"), (200, "b"), (250, "a")]));
    // behind the watermark: with the next one
    register(&mut run, "e", EventTime, 120);
    assert!(run.outputs.take().is_empty());
    run.watermark(299).unwrap();
    assert_eq!(fired(&run), expected(&[(120, "e")]));
    run.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(fired(&run), expected(&[(300, "c")]));
    assert!(run.state("obedient", "timers").unwrap().is_empty());
}

#[test]
fn a_timer_that_is_registered_while_timers_fire_takes_its_place_among_them() {
    let mut run = start();
    for (time, key) in [(107, "a"), (109, "a"), (111, "a"), (108, "b"), (117, "a")] {
        register(&mut run, key, EventTime, time);
    }
    run.watermark(115).unwrap();
    assert_eq!(fired(&run), expected(&[(107, "a"), (108, "b"), (109, "a"), (110, "a"), (111, "a")]));
    run.watermark(119).unwrap();
    assert_eq!(fired(&run), expected(&[(117, "a")]));
    run.watermark(120).unwrap();
    assert_eq!(fired(&run), expected(&[(120, "a")]));
}

#[test]
fn timers_of_processing_time_fire_by_the_clock_and_what_became_due_meanwhile_fires_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = start();
    for (time, key) in [(5_000, "a"), (6_000, "b"), (9_000, "c")] {
        register(&mut run, key, Processing, time);
    }
    register(&mut run, "e", EventTime, 5_000);
    run.processing_time(5_500).unwrap();
    assert_eq!(run.outputs.take(), [(5_000, (Processing, 5_000, "a".to_owned()))]);
    run.snapshot(folder.path()).unwrap();
    let state = run.state("obedient", "timers").unwrap();
    assert_eq!(state.keys().collect::<Vec<_>>(), [r#"[0,[5000,"e"]]"#, r#"[1,[6000,"b"]]"#, r#"[1,[9000,"c"]]"#]);
    // the end of event time is not the end of the day
    run.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(fired(&run), expected(&[(5_000, "e")]));

    let mut run = restore(folder.path());
    run.processing_time(8_000).unwrap();
    assert_eq!(fired(&run), expected(&[(6_000, "b")]));
    run.processing_time(9_000).unwrap();
    assert_eq!(fired(&run), expected(&[(9_000, "c")]));
}

#[test]
fn timers_for_keys_of_another_type_are_refused_when_the_operator_is_made() {
    let made = Harness::<String, Ask, _>::new(|_, asks| {
        Outputs::of(&asks.process("other", |declare| {
            let (timers, right) = (declare.timers::<u64>(), Declared);
            move |context: &mut OperatorContext<'_, '_>| {
                let _ = context.state(&timers)?;
                Ok(right)
            }
        }))
    });
    assert!(made.err().unwrap().message.contains("operator other declares timers for keys of another type"));
}

#[derive(Clone, Copy)]
struct Declared;

impl KeyedProcess<String, Ask> for Declared {
    type Out = Fired;
    fn process(&mut self, _: &Key<String>, _: Timestamp, _: Ask, _: &mut Emit<'_, Fired>) -> Result<(), Halt> {
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u8, Ask),
    Watermark(Timestamp),
    Clock(Timestamp),
    Many(u8, Timestamp),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let domain = prop_oneof![Just(EventTime), Just(Processing)];
    let ask = (any::<bool>(), domain, 0_i64..400).prop_map(|(register, domain, time)| match register {
        true => Ask::Register(domain, time),
        false => Ask::Delete(domain, time),
    });
    let step = prop_oneof![
        12 => (0_u8..6, ask).prop_map(|(key, ask)| Step::Ask(key, ask)),
        3 => (0_i64..500).prop_map(Step::Watermark),
        3 => (0_i64..500).prop_map(Step::Clock),
        1 => (0_u8..6, 0_i64..200).prop_map(|(key, from)| Step::Many(key, from)),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    // PROPTEST_CASES widens it, TMPDIR on memory makes it quick.
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24), ..ProptestConfig::default() })]
    #[test]
    fn timers_do_what_a_sorted_set_does(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut run = start();
        let mut model: BTreeSet<(TimeDomain, Timestamp, String)> = BTreeSet::new();
        let (mut watermark, mut clock) = (Timestamp::MIN, 0);
        for step in steps {
            let domain = match step {
                Step::Ask(key, ask) => {
                    let key = format!("k{key}");
                    match ask {
                        Ask::Register(domain, time) => _ = model.insert((domain, time, key.clone())),
                        Ask::Delete(domain, time) => _ = model.remove(&(domain, time, key.clone())),
                    }
                    run.record(0, key, ask).unwrap();
                    continue;
                }
                // More than is read ahead.
                Step::Many(key, from) => {
                    let key = format!("k{key}");
                    for time in (from..).take(READ_AHEAD + 20) {
                        model.insert((EventTime, time, key.clone()));
                        run.record(0, key.clone(), Ask::Register(EventTime, time)).unwrap();
                    }
                    continue;
                }
                Step::Restart => {
                    run.snapshot(folder.path()).unwrap();
                    run = restore(folder.path());
                    run.processing_time(clock).unwrap();
                    Processing
                }
                Step::Watermark(time) => {
                    watermark = watermark.max(time);
                    run.watermark(watermark).unwrap();
                    EventTime
                }
                Step::Clock(time) => {
                    clock = clock.max(time);
                    run.processing_time(clock).unwrap();
                    Processing
                }
            };
            let until = if domain == EventTime { watermark } else { clock };
            let mut due = Vec::new();
            while let Some(next) = model.iter().find(|(of, time, _)| *of == domain && *time <= until).cloned() {
                model.remove(&next);
                if next.1 % 10 == 7 {
                    model.insert((domain, next.1 + 3, next.2.clone()));
                }
                due.push(next);
            }
            // Timers of one time come in the order of their key groups, which is nobody's business.
            let mut got: Vec<Fired> = run.outputs.take().into_iter().map(|(_, fired)| fired).collect();
            prop_assert!(got.is_sorted_by_key(|(_, time, _)| *time), "{got:?}");
            got.sort_unstable();
            due.sort_unstable();
            prop_assert_eq!(got, due);
        }
    }
}
