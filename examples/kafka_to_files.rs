//! A topic of Kafka into files, exactly once: for each payment the total of its account so far, as a line of JSON.
//!
//! The files are staged under hidden names, and renamed once Kafka has committed the offsets of the payments in them. Killed at any moment,
//! it goes on where that commit was: each payment is in one line of one file. The variable PAYMENTS_PREFIX puts something before the name
//! of the topic. With a Kafka on localhost:9092:
//!
//!     cargo run --release --example kafka_to_files -- topics create
//!     cargo run --release --example kafka_to_files -- run
//!
//! and payments in the topic `payments`, such as `{"account":"ann","amount":12}`. The lines are in `totals/part-*.jsonl`, what is no payment
//! in `refused/part-*`.

use serde::{Deserialize, Serialize};
use sluicegate::{
    connectors::FileSink,
    stream::{App, RawRecord, StateValue, Timestamp, Undecodable},
};
use std::{env, process::ExitCode};

#[derive(Deserialize)]
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

fn decode(record: &RawRecord<'_>) -> Result<(Timestamp, Total), Undecodable> {
    let payment: Payment = serde_json::from_slice(record.value.unwrap_or_default())
        .map_err(|why| Undecodable { class: "no_payment", message: why.to_string() })?;
    Ok((record.timestamp.unwrap_or_default(), Total { account: payment.account, payments: 1, amount: payment.amount }))
}

fn main() -> ExitCode {
    App::main("kafka-to-files", |app| {
        let topic = format!("{}payments", env::var("PAYMENTS_PREFIX").unwrap_or_default());
        let (payments, refused) = app.source("payments", &topic, || decode);
        let totals = payments.key_by(|payment| payment.account.clone()).reduce("totals", |total, payment| {
            total.payments += payment.payments;
            total.amount += payment.amount;
        });
        totals.values().write_json("totals", FileSink::new("totals").suffix(".jsonl"));
        refused
            .map(|dead| format!("{}-{} at {}: {}", dead.topic, dead.partition, dead.offset, dead.error.message))
            .write_lines("refused", FileSink::new("refused"));
        Ok(())
    })
}
