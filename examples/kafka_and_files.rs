//! A topic of Kafka and a file that grows, into another topic and into files, all exactly once: payments come from a topic, refunds from a
//! file, the totals of accounts go to a topic, and those below zero also to files.
//!
//! One commit of Kafka holds what of all four belongs together: the totals, the offsets of the payments, and the pointer to the
//! checkpoint, which says where reading stands in the file and which files are to get their names. The variable PAYMENTS_PREFIX puts
//! something before the names of the topics. With a Kafka on localhost:9092:
//!
//!     cargo run --release --example kafka_and_files -- topics create
//!     touch refunds.jsonl
//!     cargo run --release --example kafka_and_files -- run
//!
//! Payments and refunds look like `{"account":"ann","amount":12}`.

use serde::{Deserialize, Serialize};
use sluicegate::{
    connectors::{FileSink, FileSource},
    stream::{App, RawRecord, StateValue, Timestamp, Undecodable},
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
    refunds: u64,
    amount: i64,
}
impl StateValue for Total {}

fn decode(record: &RawRecord<'_>) -> Result<(Timestamp, Payment), Undecodable> {
    let payment = serde_json::from_slice(record.value.unwrap_or_default())
        .map_err(|why| Undecodable { class: "no_payment", message: why.to_string() })?;
    Ok((record.timestamp.unwrap_or_default(), payment))
}

fn main() -> ExitCode {
    App::main("kafka-and-files", |app| {
        let prefix = env::var("PAYMENTS_PREFIX").unwrap_or_default();
        let (payments, refused) = app.source("payments", &format!("{prefix}payments"), || decode);
        refused.map(|dead| dead.error.message).write_lines("refused", FileSink::new("refused"));
        let refunds = app.read("refunds", FileSource::<Payment>::json("refunds.jsonl").follow());

        let paid = payments.map(|Payment { account, amount }| Total { account, payments: 1, refunds: 0, amount });
        let refunded = refunds.map(|Payment { account, amount }| Total { account, payments: 0, refunds: 1, amount: -amount });
        let totals = paid.union(&refunded).key_by(|total| total.account.clone()).reduce("totals", |total, more| {
            total.payments += more.payments;
            total.refunds += more.refunds;
            total.amount += more.amount;
        });
        totals.values().sink_json(&format!("{prefix}totals"), |total| total.account.as_bytes());
        totals.values().filter(|total| total.amount < 0).write_json("overdrawn", FileSink::new("overdrawn").suffix(".jsonl"));
        Ok(())
    })
}
