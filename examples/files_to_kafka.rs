//! A file that grows into a topic of Kafka, exactly once: for each payment the total of its account so far, as JSON with the account as key.
//!
//! Where reading stands in the file is in the checkpoint, and which checkpoint counts is committed in Kafka with the totals: as the offset
//! of a partition of `totals`. Killed at any moment, it goes on there, and each payment is in one record. The variable PAYMENTS_PREFIX puts
//! something before the name of the topic. With a Kafka on localhost:9092:
//!
//!     cargo run --release --example files_to_kafka -- topics create
//!     echo '{"account":"ann","amount":12}' >> payments.jsonl
//!     cargo run --release --example files_to_kafka -- run

use serde::{Deserialize, Serialize};
use sluicegate::{
    connectors::FileSource,
    stream::{App, StateValue},
};
use std::{env, process::ExitCode};

#[derive(Clone, Deserialize)]
struct Payment {
    account: String,
    amount: i64,
}

/// What an account has come to.
#[derive(Clone, Serialize, Deserialize)]
struct Total {
    account: String,
    payments: u64,
    amount: i64,
}
impl StateValue for Total {}

fn main() -> ExitCode {
    App::main("files-to-kafka", |app| {
        let topic = format!("{}totals", env::var("PAYMENTS_PREFIX").unwrap_or_default());
        app.read("payments", FileSource::<Payment>::json("payments.jsonl").follow())
            .map(|payment| Total { account: payment.account, payments: 1, amount: payment.amount })
            .key_by(|payment| payment.account.clone())
            .reduce("totals", |total, payment| {
                total.payments += payment.payments;
                total.amount += payment.amount;
            })
            .values()
            .sink_json(&topic, |total| total.account.as_bytes());
        Ok(())
    })
}
