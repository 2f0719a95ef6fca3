//! How often each advertisement is clicked when it is shown: reducing state.
//!
//! What was counted of an advertisement so far and each new event are brought into one value. The job fails in between; the counts are
//! those of a plain recount. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example ad_clicks

use serde::{Deserialize, Serialize};
use sluicegate::{
    connectors::{Collected, Generator, Random},
    stream::{
        App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, ReducingState, RestartStrategy, StateValue,
        Timestamp,
    },
};
use std::{path::Path, time::Duration};

const SEED: u64 = 11;
const EVENTS: u64 = 1_000;
const ADS: u64 = 5;

#[derive(Clone)]
struct Event {
    ad: u64,
    clicked: bool,
}

/// An advertisement was shown; every fourth time or so somebody has clicked.
fn event(random: &mut Random, _: u64) -> Event {
    Event { ad: random.below(ADS), clicked: random.below(4) == 0 }
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Counts {
    shown: u64,
    clicked: u64,
}

impl StateValue for Counts {}

struct ClickRates(ReducingState<u64, Counts>);

impl KeyedProcess<u64, Event> for ClickRates {
    type Out = String;

    fn process(&mut self, ad: &Key<u64>, _: Timestamp, event: Event, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        self.0.add(ad, Counts { shown: 1, clicked: u64::from(event.clicked) })?;
        let Counts { shown, clicked } = self.0.get(ad)?.unwrap_or_default();
        out.push(format!("ad {}: {clicked} of {shown} clicked, {} %", ad.value, clicked * 100 / shown.max(1)))
    }
}

/// Runs the job in `folder`, and returns the click rate after each event.
fn run(folder: &Path) -> Result<Vec<String>, Failure> {
    let (app, output) = (App::new(), Collected::new());
    app.read("events", Generator::new(SEED, event).count(EVENTS).rate(5_000.0))
        .fail_once_at("rate", 500)
        .key_by(|event| event.ad)
        .process("rate", |declare| {
            let counts = declare.reducing::<u64, Counts>("counts", |counts, more| {
                counts.shown += more.shown;
                counts.clicked += more.clicked;
            });
            move |context: &mut OperatorContext<'_, '_>| Ok(ClickRates(context.state(&counts)?))
        })
        .write_lines("rates", output.clone());
    Execution::new("ad-clicks", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) })
        .run(app)?;
    Ok(output.lines())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let lines = run(folder.path()).map_err(|failure| failure.message)?;
    for ad in 0..ADS {
        let last = lines.iter().rev().find(|line| line.starts_with(&format!("ad {ad}:")));
        println!("{}", last.map_or("never shown", |line| line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn click_rates_are_those_of_a_plain_recount() {
        let folder = tempfile::tempdir().unwrap();
        let mut counts = [(0, 0); ADS as usize];
        let expected: Vec<String> = (0..EVENTS)
            .map(|number| {
                let Event { ad, clicked } = event(&mut Random::new(SEED, number), number);
                let (shown, clicks) = &mut counts[ad as usize];
                *shown += 1;
                *clicks += u64::from(clicked);
                format!("ad {ad}: {clicks} of {shown} clicked, {} %", *clicks * 100 / *shown)
            })
            .collect();
        assert!(counts.iter().all(|(shown, clicks)| clicks * 2 < *shown && *clicks > 0), "{counts:?}");
        assert_eq!(run(folder.path()).unwrap(), expected);
    }
}
