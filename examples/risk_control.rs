//! Says when a user makes too many large transactions in a span of time: list state.
//!
//! The times of a user's large transactions are a list of state, from which those that are too long ago are taken out. The job fails in
//! between; the alerts are those of a plain recomputation. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example risk_control

use sluicegate::{
    connectors::{Collected, Generator, Random},
    stream::{App, Emit, Execution, Failure, Halt, Key, KeyedProcess, ListState, OperatorContext, RestartStrategy, Timestamp},
};
use std::{path::Path, time::Duration};

const SEED: u64 = 9;
const TRANSACTIONS: u64 = 2_000;
const USERS: u64 = 20;
/// A transaction of so much is large.
const LARGE: u64 = 900;
/// So many of them within the span are too many.
const TOO_MANY: usize = 3;
/// The span in ms of event time.
const SPAN: Timestamp = 60_000;

#[derive(Clone)]
struct Transaction {
    user: u64,
    amount: u64,
    at: Timestamp,
}

/// One each second.
fn transaction(random: &mut Random, number: u64) -> Transaction {
    Transaction { user: random.below(USERS), amount: random.below(1_000), at: number as Timestamp * 1_000 }
}

fn alert(user: u64, transactions: usize, at: Timestamp) -> String {
    format!("user {user}: {transactions} large transactions within {} s, the last at {} s", SPAN / 1_000, at / 1_000)
}

struct RiskControl(ListState<u64, Timestamp>);

impl KeyedProcess<u64, Transaction> for RiskControl {
    type Out = String;

    fn process(
        &mut self,
        user: &Key<u64>,
        at: Timestamp,
        transaction: Transaction,
        out: &mut Emit<'_, String>,
    ) -> Result<(), Halt> {
        if transaction.amount < LARGE {
            return Ok(());
        }
        let mut recent = self.0.get(user)?;
        recent.retain(|time| *time > at - SPAN);
        recent.push(at);
        let count = recent.len();
        self.0.update(user, recent)?;
        if count < TOO_MANY { Ok(()) } else { out.push(alert(user.value, count, at)) }
    }
}

/// Runs the job in `folder`, and returns its alerts.
fn run(folder: &Path) -> Result<Vec<String>, Failure> {
    let (app, output) = (App::new(), Collected::new());
    let source = Generator::new(SEED, transaction).count(TRANSACTIONS).rate(10_000.0).timestamps(|transaction| transaction.at);
    app.read("transactions", source)
        .fail_once_at("risk", 1_200)
        .key_by(|transaction| transaction.user)
        .process("risk", |declare| {
            let recent = declare.list::<u64, Timestamp>("large-transactions");
            move |context: &mut OperatorContext<'_, '_>| Ok(RiskControl(context.state(&recent)?))
        })
        .write_lines("alerts", output.clone());
    Execution::new("risk-control", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) })
        .run(app)?;
    Ok(output.lines())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let alerts = run(folder.path()).map_err(|failure| failure.message)?;
    println!("{TRANSACTIONS} transactions, {} alerts:", alerts.len());
    alerts.iter().for_each(|alert| println!("{alert}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_those_of_a_plain_recomputation() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<Transaction> = (0..TRANSACTIONS).map(|number| transaction(&mut Random::new(SEED, number), number)).collect();
        let mut expected = Vec::new();
        for (index, last) in all.iter().enumerate().filter(|(_, last)| last.amount >= LARGE) {
            let within = |other: &&Transaction| other.user == last.user && other.amount >= LARGE && last.at - other.at < SPAN;
            let count = all[..=index].iter().filter(within).count();
            if count >= TOO_MANY {
                expected.push(alert(last.user, count, last.at));
            }
        }
        assert!(!expected.is_empty() && expected.len() < 200, "{}", expected.len());
        assert_eq!(run(folder.path()).unwrap(), expected);
    }
}
