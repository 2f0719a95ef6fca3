//! Watches stock prices, and says when one moves by more than a threshold from one quote to the next: value state.
//!
//! The last price of each stock is a value of state. The job fails in between; the alerts are those of a plain recomputation. Nothing but a
//! temporary folder is needed:
//!
//!     cargo run --release --example stock_price

use sluicegate::{
    connectors::{Collected, Generator, Random},
    stream::{App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, RestartStrategy, Timestamp, ValueState},
};
use std::{path::Path, time::Duration};

const SEED: u64 = 3;
const QUOTES: u64 = 1_000;
const STOCKS: [&str; 3] = ["ALFA", "BETA", "GAMA"];
/// Percent from one quote to the next.
const THRESHOLD: i64 = 5;

#[derive(Clone)]
struct Quote {
    stock: String,
    cents: i64,
}

/// About 100.00, in most cases within 2 percent of it.
fn quote(random: &mut Random, _: u64) -> Quote {
    let stock = random.choose(&STOCKS).map_or_else(String::new, |stock| (*stock).to_owned());
    let range = if random.below(20) == 0 { 1_500 } else { 200 };
    Quote { stock, cents: 10_000 - range + random.below(2 * range as u64) as i64 }
}

/// What is to be said about a quote.
fn alert(stock: &str, before: i64, cents: i64) -> Option<String> {
    let moved = (cents - before) * 100;
    (moved.abs() > THRESHOLD * before).then(|| format!("{stock} from {before} to {cents} cents"))
}

struct Watch(ValueState<String, i64>);

impl KeyedProcess<String, Quote> for Watch {
    type Out = String;

    fn process(&mut self, stock: &Key<String>, _: Timestamp, quote: Quote, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        let before = self.0.get(stock)?;
        self.0.put(stock, quote.cents)?;
        match before.and_then(|before| alert(&stock.value, before, quote.cents)) {
            Some(alert) => out.push(alert),
            None => Ok(()),
        }
    }
}

/// Runs the job in `folder`, and returns its alerts.
fn run(folder: &Path) -> Result<Vec<String>, Failure> {
    let (app, output) = (App::new(), Collected::new());
    app.read("quotes", Generator::new(SEED, quote).count(QUOTES).rate(5_000.0))
        .fail_once_at("watch", 700)
        .key_by(|quote| quote.stock.clone())
        .process("watch", |declare| {
            let price = declare.value::<String, i64>("price");
            move |context: &mut OperatorContext<'_, '_>| Ok(Watch(context.state(&price)?))
        })
        .write_lines("alerts", output.clone());
    Execution::new("stock-price", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) })
        .run(app)?;
    Ok(output.lines())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let alerts = run(folder.path()).map_err(|failure| failure.message)?;
    println!("{QUOTES} quotes, {} of them more than {THRESHOLD} % away from the one before:", alerts.len());
    alerts.iter().for_each(|alert| println!("{alert}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn alerts_are_those_of_a_plain_recomputation() {
        let folder = tempfile::tempdir().unwrap();
        let mut prices: BTreeMap<String, i64> = BTreeMap::new();
        let mut expected = Vec::new();
        for number in 0..QUOTES {
            let Quote { stock, cents } = quote(&mut Random::new(SEED, number), number);
            if let Some(before) = prices.insert(stock.clone(), cents)
                && (cents - before).abs() as f64 / before as f64 > 0.05
            {
                expected.push(format!("{stock} from {before} to {cents} cents"));
            }
        }
        assert!((10..500).contains(&expected.len()), "{}", expected.len());
        assert_eq!(run(folder.path()).unwrap(), expected);
    }
}
