//! Every kind of window with every kind of trigger, against a model that goes through all records again and again.

use super::*;
use crate::engine::MAX_WATERMARK;
use crate::stream::{App, Harness, KeyedStream, Outputs};
use proptest::prelude::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Size and distance.
    Sliding(i64, i64),
    Session(i64),
    Global,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fires {
    ByDefault,
    /// The default, and the operator for any trigger.
    AtTheEnd,
    Count(u64),
    CountAndPurge(u64),
    Continuously(i64),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Kind,
    fires: Fires,
    by_the_clock: bool,
    lateness: i64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Record(u8, Timestamp, u64),
    Watermark(Timestamp),
    Clock(Timestamp),
    Restart,
}

/// Key, start and end of the window, and its records.
type Emitted = (String, Timestamp, Timestamp, Vec<u64>);

#[derive(Clone)]
struct Sum;

impl Aggregate<String, u64> for Sum {
    type Accumulator = u64;
    type Out = u64;
    fn create(&self) -> u64 {
        0
    }
    fn add(&self, sum: &mut u64, value: &u64) {
        *sum += value;
    }
    fn merge(&self, into: &mut u64, from: u64) {
        *into += from;
    }
    fn result(&self, _: &String, _: Window, sum: &u64) -> u64 {
        *sum
    }
}

struct Seen {
    whole: Outputs<Emitted>,
    added: Outputs<Emitted>,
    reduced: Outputs<Emitted>,
    late: Outputs<Late<u64>>,
}

fn seen<G: Trigger<u64>>(app: &App, make: impl Fn() -> WindowedStream<String, u64, G>) -> Seen {
    let late = app.side_output();
    let result = |key: &String, window: Window, values: Vec<u64>| (key.clone(), window.start, window.end, values);
    let whole = make().side_output_late(&late);
    let whole = whole.process("whole", move |key, context, values, out| out.push(result(key, context.window, values.to_vec())));
    let added =
        make().aggregate_then("added", Sum, move |key, context, sum, out| out.push(result(key, context.window, vec![sum])));
    let reduced = make().reduce_then(
        "reduced",
        |sum, value| *sum += value,
        move |key, context, sum, out| out.push(result(key, context.window, vec![sum])),
    );
    Seen {
        late: Outputs::of(&late.stream(&whole)),
        whole: Outputs::of(&whole),
        added: Outputs::of(&added),
        reduced: Outputs::of(&reduced),
    }
}

fn graph(case: Case, app: &App, input: &KeyedStream<String, u64>) -> Seen {
    let ms = |time: i64| MS(time.unsigned_abs());
    let make = || {
        let windows: Windows = match (case.kind, case.by_the_clock) {
            (Kind::Sliding(size, slide), false) if size == slide => Tumbling::of(ms(size)).into(),
            (Kind::Sliding(size, slide), true) if size == slide => Tumbling::of(ms(size)).processing_time().into(),
            (Kind::Sliding(size, slide), false) => Sliding::of(ms(size), ms(slide)).into(),
            (Kind::Sliding(size, slide), true) => Sliding::of(ms(size), ms(slide)).processing_time().into(),
            (Kind::Session(gap), false) => Session::with_gap(ms(gap)).into(),
            (Kind::Session(gap), true) => Session::with_gap(ms(gap)).processing_time().into(),
            (Kind::Global, _) => Global.into(),
        };
        input.window(windows).allowed_lateness(ms(case.lateness))
    };
    match case.fires {
        Fires::ByDefault => seen(app, make),
        Fires::AtTheEnd if case.by_the_clock => seen(app, || make().trigger(ProcessingTimeTrigger)),
        Fires::AtTheEnd => seen(app, || make().trigger(EventTimeTrigger)),
        Fires::Count(count) => seen(app, || make().trigger(CountTrigger::of(count))),
        Fires::CountAndPurge(count) => seen(app, || make().trigger(PurgingTrigger::of(CountTrigger::of(count)))),
        Fires::Continuously(interval) => seen(app, || make().trigger(ContinuousEventTimeTrigger::of(ms(interval)))),
    }
}

#[derive(Debug, Clone, Copy)]
struct Item {
    time: Timestamp,
    value: u64,
    counted: bool,
    purged: bool,
}

#[derive(Debug, Clone)]
struct Open {
    key: String,
    start: Timestamp,
    end: Timestamp,
    items: Vec<Item>,
    next: Option<Timestamp>,
}

/// What should come out.
#[derive(Debug)]
struct Model {
    case: Case,
    open: Vec<Open>,
    watermark: Timestamp,
    clock: Timestamp,
    results: Vec<Emitted>,
    late: Vec<u64>,
}

impl Model {
    fn fire(results: &mut Vec<Emitted>, open: &Open) {
        let values: Vec<u64> = open.items.iter().filter(|item| !item.purged).map(|item| item.value).collect();
        if !values.is_empty() {
            results.push((open.key.clone(), open.start, open.end, values));
        }
    }

    fn is_gone(&self, end: Timestamp) -> bool {
        self.case.kind != Kind::Global && !self.case.by_the_clock && end - 1 + self.case.lateness <= self.watermark
    }

    fn record(&mut self, key: String, event_time: Timestamp, value: u64) {
        let time = if self.case.by_the_clock { self.clock } else { event_time };
        let item = Item { time, value, counted: false, purged: false };
        let mut taken_by: Vec<(Timestamp, Timestamp)> = Vec::new();
        let mut belongs = false;
        match self.case.kind {
            Kind::Global => {
                belongs = true;
                taken_by.push((Timestamp::MIN, Timestamp::MAX));
            }
            Kind::Sliding(size, slide) => {
                for start in time - size + 1..=time {
                    if start % slide == 0 {
                        belongs = true;
                        if !self.is_gone(start + size) {
                            taken_by.push((start, start + size));
                        }
                    }
                }
            }
            Kind::Session(gap) => {
                belongs = true;
                // All records of the key anew: those that are not further apart than the gap are one session.
                let mut of_key: Vec<Item> = vec![item];
                let (own, others): (Vec<Open>, Vec<Open>) = self.open.drain(..).partition(|open| open.key == key);
                of_key.extend(own.iter().flat_map(|open| open.items.clone()));
                of_key.sort_by_key(|item| item.time);
                let mut sessions: Vec<Vec<Item>> = Vec::new();
                for item in of_key {
                    match sessions.last_mut() {
                        Some(session) if session.last().unwrap().time + gap >= item.time => session.push(item),
                        _ => sessions.push(vec![item]),
                    }
                }
                self.open = others;
                for items in sessions {
                    let (start, end) = (items[0].time, items.last().unwrap().time + gap);
                    let is_new = (start..end).contains(&time);
                    if is_new && self.is_gone(end) {
                        continue;
                    }
                    if is_new {
                        taken_by.push((start, end));
                    }
                    self.open.push(Open { key: key.clone(), start, end, items, next: None });
                }
            }
        }
        if taken_by.is_empty() && belongs {
            self.late.push(value);
        }
        for (start, end) in taken_by {
            let known = self.open.iter().position(|open| open.key == key && open.start == start && open.end == end);
            let place = known.unwrap_or_else(|| {
                self.open.push(Open { key: key.clone(), start, end, items: Vec::new(), next: None });
                self.open.len() - 1
            });
            let open = &mut self.open[place];
            if !matches!(self.case.kind, Kind::Session(_)) {
                open.items.push(item);
            }
            let over = self.case.kind != Kind::Global && end - 1 <= self.watermark;
            match self.case.fires {
                Fires::ByDefault | Fires::AtTheEnd => {
                    if over && !self.case.by_the_clock {
                        Self::fire(&mut self.results, open);
                    }
                }
                Fires::Count(count) | Fires::CountAndPurge(count) => {
                    if open.items.iter().filter(|item| !item.counted).count() as u64 >= count {
                        Self::fire(&mut self.results, open);
                        let purges = matches!(self.case.fires, Fires::CountAndPurge(_));
                        open.items.iter_mut().for_each(|item| (item.counted, item.purged) = (true, purges));
                    }
                }
                Fires::Continuously(_) if over => Self::fire(&mut self.results, open),
                Fires::Continuously(interval) => {
                    let next = (time.div_euclid(interval) + 1) * interval;
                    open.next.get_or_insert(next.min(end - 1));
                }
            }
        }
    }

    fn watermark(&mut self, watermark: Timestamp) {
        let before = self.watermark;
        self.watermark = watermark;
        if self.case.by_the_clock || self.case.kind == Kind::Global {
            return;
        }
        for open in &mut self.open {
            let over = before < open.end - 1 && open.end - 1 <= watermark;
            match self.case.fires {
                Fires::Count(_) | Fires::CountAndPurge(_) => {}
                Fires::Continuously(interval) => {
                    while let Some(next) = open.next.filter(|next| *next <= watermark && *next < open.end - 1) {
                        Self::fire(&mut self.results, open);
                        open.next = Some((next + interval).min(open.end - 1));
                    }
                    if over {
                        Self::fire(&mut self.results, open);
                    }
                }
                Fires::ByDefault | Fires::AtTheEnd if over => Self::fire(&mut self.results, open),
                Fires::ByDefault | Fires::AtTheEnd => {}
            }
        }
        let gone: Vec<bool> = self.open.iter().map(|open| self.is_gone(open.end)).collect();
        let mut gone = gone.into_iter();
        self.open.retain(|_| !gone.next().unwrap());
    }

    fn clock(&mut self, clock: Timestamp) {
        self.clock = clock;
        if !self.case.by_the_clock {
            return;
        }
        let (over, open): (Vec<Open>, Vec<Open>) = self.open.drain(..).partition(|open| open.end - 1 <= clock);
        self.open = open;
        if matches!(self.case.fires, Fires::ByDefault | Fires::AtTheEnd) {
            over.iter().for_each(|open| Self::fire(&mut self.results, open));
        }
    }
}

/// What came out is what should have, whatever the order of keys and, in sessions that became one, of records.
fn compare(seen: &Seen, model: &mut Model) -> Result<(), TestCaseError> {
    let mut expected = std::mem::take(&mut model.results);
    expected.iter_mut().for_each(|(_, _, _, values)| values.sort_unstable());
    expected.sort();
    let sums = expected.iter().map(|(key, start, end, values)| (key.clone(), *start, *end, vec![values.iter().sum()]));
    let mut sums: Vec<Emitted> = sums.collect();
    sums.sort();
    let taken = |outputs: &Outputs<Emitted>| {
        let mut results: Vec<Emitted> = Vec::new();
        for (at, mut result) in outputs.take() {
            assert!(model.case.kind == Kind::Global || at == result.2 - 1, "{result:?} at {at}");
            result.3.sort_unstable();
            results.push(result);
        }
        results.sort();
        results
    };
    prop_assert_eq!(taken(&seen.whole), expected, "whole windows");
    prop_assert_eq!(taken(&seen.added), sums.clone(), "aggregates");
    prop_assert_eq!(taken(&seen.reduced), sums, "reduced");
    let late: Vec<u64> = seen.late.take().into_iter().map(|(_, late)| late.value).collect();
    prop_assert_eq!(late, std::mem::take(&mut model.late), "late");
    Ok(())
}

fn cases() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        3 => (1_i64..40).prop_map(|size| Kind::Sliding(size, size)),
        3 => (1_i64..40, 1_i64..40).prop_map(|(size, slide)| Kind::Sliding(size, slide)),
        4 => (1_i64..30).prop_map(Kind::Session),
        1 => Just(Kind::Global),
    ];
    let fires = prop_oneof![
        3 => Just(Fires::ByDefault),
        2 => Just(Fires::AtTheEnd),
        2 => (1_u64..4).prop_map(Fires::Count),
        2 => (1_u64..4).prop_map(Fires::CountAndPurge),
        1 => (1_i64..15).prop_map(Fires::Continuously),
    ];
    (kind, fires, any::<bool>(), prop_oneof![Just(0_i64), 0_i64..40]).prop_map(|(kind, fires, by_the_clock, lateness)| {
        // The model knows no continuous trigger of sessions or of processing time; a global window has no end to fire at.
        let continuous = matches!(fires, Fires::Continuously(_));
        let fires = match kind {
            Kind::Sliding(..) => fires,
            _ if continuous => Fires::CountAndPurge(2),
            Kind::Global if fires == Fires::AtTheEnd => Fires::ByDefault,
            _ => fires,
        };
        let by_the_clock = by_the_clock && !continuous && kind != Kind::Global;
        Case { kind, fires, by_the_clock, lateness }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Event time goes on while steps are made, with records before and behind it.
    let step = prop_oneof![
        14 => (0_u8..3, -30_i64..30, 1_u64..100).prop_map(|(key, apart, value)| Step::Record(key, apart, value)),
        3 => (-25_i64..10).prop_map(Step::Watermark),
        2 => (0_i64..10).prop_map(Step::Clock),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..70).prop_map(|steps| {
        let (mut now, mut watermark, mut clock) = (100, Timestamp::MIN, 0);
        let moved = steps.into_iter().map(|step| {
            now += 3;
            match step {
                Step::Record(key, apart, value) => Step::Record(key, now + apart, value),
                Step::Watermark(apart) => {
                    watermark = watermark.max(now + apart);
                    Step::Watermark(watermark)
                }
                Step::Clock(on) => {
                    clock += on;
                    Step::Clock(clock)
                }
                Step::Restart => Step::Restart,
            }
        });
        moved.collect()
    })
}

proptest! {
    // PROPTEST_CASES widens it, TMPDIR on memory makes it quick.
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48), ..ProptestConfig::default() })]
    #[test]
    fn windows_give_out_what_their_records_say(case in cases(), steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Harness::new(|app, input| graph(case, app, input)).unwrap();
        let mut model = Model { case, open: Vec::new(), watermark: -1_000, clock: 0, results: Vec::new(), late: Vec::new() };
        for step in steps {
            match step {
                Step::Record(key, time, value) => {
                    let key = format!("k{key}");
                    run.record(time, key.clone(), value).unwrap();
                    model.record(key, time, value);
                }
                Step::Watermark(time) => {
                    run.watermark(time).unwrap();
                    model.watermark(time);
                }
                Step::Clock(time) => {
                    run.processing_time(time).unwrap();
                    model.clock(time);
                }
                Step::Restart => {
                    run.snapshot(folder.path()).unwrap();
                    run = Harness::restore(folder.path(), |app, input| graph(case, app, input)).unwrap();
                    run.processing_time(model.clock).unwrap();
                    model.clock(model.clock);
                }
            }
            compare(&run.outputs, &mut model)?;
        }
        // nothing is left of windows that are gone
        if case.kind != Kind::Global {
            run.watermark(MAX_WATERMARK).unwrap();
            run.processing_time(1_000_000).unwrap();
            let state = match (case.fires, case.by_the_clock, case.kind) {
                (Fires::ByDefault, false, Kind::Sliding(..)) => "windows",
                (_, _, Kind::Session(_)) => "sessions",
                _ => "panes",
            };
            prop_assert!(run.state("whole", state).unwrap().is_empty());
            if state != "windows" {
                prop_assert!(run.state("whole", "timers").unwrap().is_empty());
            }
        }
    }
}
