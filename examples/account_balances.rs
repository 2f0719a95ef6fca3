//! Balances of accounts: a job on Kafka with an audit of its own, and with its dead letters on the command line.
//!
//! Each payment `{"account":"A-7","cents":-250}` of the topic `payments` gives the account's new balance to `balances`; what is no payment goes to
//! `payments-dead`. The audit adds the payments up once more, with none of the job's code. The variable BALANCES_PREFIX puts something before
//! the names of the topics. With a Kafka on localhost:9092:
//!
//!     alias balances='cargo run --release --example account_balances --'
//!     balances topics create
//!     echo '{"account":"A-7","cents":1000}' | kcat -b localhost:9092 -P -t payments      # or any other producer
//!     balances run --until-caught-up
//!     balances audit          # exit code 5 if a balance is missing, doubled or wrong
//!     balances dlq list

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluicegate::stream::{App, Audit, Committed, Failure, Findings, RawRecord, StateValue, Timestamp, Undecodable};
use std::{collections::BTreeMap, env, process::ExitCode};

const JOB: &str = "account-balances";
/// Largest payment whose bytes go to the dead letters.
const MAX_BYTES: usize = 100_000;

/// The name of a topic.
fn topic(name: &str) -> String {
    format!("{}{name}", env::var("BALANCES_PREFIX").unwrap_or_default())
}

#[derive(Deserialize)]
struct Payment {
    account: String,
    cents: i64,
}

/// What an account holds after so many payments.
#[derive(Clone, Serialize, Deserialize)]
struct Balance {
    account: String,
    payments: u64,
    cents: i64,
}
impl StateValue for Balance {}

fn decode(record: &RawRecord<'_>) -> Result<(Timestamp, Balance), Undecodable> {
    let refused = |class, message: String| Undecodable { class, message };
    let payment = serde_json::from_slice(record.value.unwrap_or_default());
    let Payment { account, cents } = payment.map_err(|why| refused("no_payment", why.to_string()))?;
    if account.is_empty() {
        return Err(refused("no_account", "account is empty".to_owned()));
    }
    Ok((record.timestamp.unwrap_or(0), Balance { account, payments: 1, cents }))
}

fn build(app: &App) -> Result<(), Failure> {
    let (payments, dead) = app.source("payments", &topic("payments"), || decode);
    dead.sink_dead_letters(&topic("payments-dead"), JOB, MAX_BYTES);
    let balances = payments.key_by(|payment| payment.account.clone()).reduce("balances", |balance, payment| {
        balance.payments += payment.payments;
        balance.cents += payment.cents;
    });
    balances.values().sink_json(&topic("balances"), |balance| balance.account.as_bytes());
    app.audit(Ledger::default);
    Ok(())
}

/// What the payments come to, and what the job has made of them. It keeps a line for each balance: a ledger that is too long for the memory
/// would keep sums and counts instead.
#[derive(Default)]
struct Ledger {
    accounts: BTreeMap<String, (u64, i64)>,
    /// The balances of each account, in their order.
    expected: BTreeMap<String, Vec<String>>,
    found: BTreeMap<String, Vec<String>>,
    /// Offsets of the payments that are none, by partition.
    bad: BTreeMap<String, Vec<i64>>,
    dead: BTreeMap<String, Vec<i64>>,
}

fn json(record: &RawRecord<'_>) -> Option<Value> {
    serde_json::from_slice(record.value?).ok()
}

fn line(payments: u64, cents: i64) -> String {
    format!("{cents} cents after {payments} payments")
}

impl Audit for Ledger {
    fn input(&mut self, record: &RawRecord<'_>) -> Result<(), Failure> {
        let payment = json(record).unwrap_or_default();
        match (payment["account"].as_str().filter(|account| !account.is_empty()), payment["cents"].as_i64()) {
            (Some(account), Some(cents)) => {
                let (payments, balance) = self.accounts.entry(account.to_owned()).or_default();
                *payments += 1;
                *balance += cents;
                self.expected.entry(account.to_owned()).or_default().push(line(*payments, *balance));
            }
            _ => self.bad.entry(format!("partition {}", record.partition)).or_default().push(record.offset),
        }
        Ok(())
    }

    fn output(&mut self, record: &RawRecord<'_>) -> Result<(), Failure> {
        if record.topic == topic("payments-dead") {
            let headers = record.headers.all();
            let number = |wanted: &str| {
                let value = headers.iter().rfind(|(name, _)| **name == *wanted)?.1.as_ref()?;
                String::from_utf8_lossy(value).parse().ok()
            };
            let place = (number("error.partition").unwrap_or(-1), number("error.offset").unwrap_or(-1));
            self.dead.entry(format!("partition {}", place.0)).or_default().push(place.1);
            return Ok(());
        }
        let balance = json(record).unwrap_or_default();
        let (payments, cents) = (balance["payments"].as_u64(), balance["cents"].as_i64());
        let said = match (payments, cents) {
            (Some(payments), Some(cents)) => line(payments, cents),
            _ => format!("no balance: {balance}"),
        };
        let account = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
        self.found.entry(account).or_default().push(said);
        Ok(())
    }

    fn findings(&mut self, _: &Committed, findings: &mut Findings) -> Result<(), Failure> {
        findings.compare(&topic("balances"), &self.expected, &self.found);
        findings.compare_unordered(&topic("payments-dead"), &self.bad, &self.dead);
        Ok(())
    }
}

fn main() -> ExitCode {
    App::main(JOB, build)
}
