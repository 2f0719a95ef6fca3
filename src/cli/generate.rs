//! `sluicegate generate`

use super::{Code, Given, Stop, formats, pace::Pace, progress, screen, topics};
use crate::{
    connectors::orders_load::{AvroLoad, LoadSettings, LoadSummary, OrderLoad},
    format::avro::OwnSchema,
    kafka::{Output, Producer},
    observe::logging,
    protocol::Failure,
};
use indicatif::{HumanBytes, HumanCount};
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// Send a load to the input topic.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Generate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Send the standard load of the order job.
    ///
    /// Orders that live through their steps, some events twice, some out of order. The same options make the same records, byte for byte.
    Orders(Orders),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate generate orders --events 300000 --rate 5000 --dirty 20")]
struct Orders {
    /// Records in all: events, copies and bad ones
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    /// Records per second, exactly; 0 means as fast as the broker takes them
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = rate)]
    rate: f64,
    /// Two loads with different seeds have only their shape in common
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Records in a thousand that cannot be processed
    #[arg(long, value_name = "PERMILLE", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    dirty: u32,
    /// Number of the first order; a second load on the same topic needs another one, else its orders are duplicates
    #[arg(long, value_name = "N", default_value_t = 1)]
    first_order: u64,
    /// New orders per day of event time: how many days the load seems to last, whatever the rate at which it is sent
    #[arg(long, value_name = "N", default_value_t = LoadSettings::default().orders_per_day, value_parser = clap::value_parser!(u64).range(1..))]
    orders_per_day: u64,
    #[command(flatten)]
    given: Given,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("allowed is a number of records per second from 0".to_owned()),
    }
}

impl Generate {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        match &self.command {
            Command::Orders(orders) => orders.run(),
        }
    }
}

/// So long may the broker take for the last records.
const FLUSH: Duration = Duration::from_secs(120);
/// The bar is moved once in so many records.
const SHOW_EVERY: u64 = 256;

impl Orders {
    fn run(&self) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        logging::quiet(&settings.log)?;
        let topic = settings.source.topic.clone();
        let runtime = formats::runtime()?;
        let cancel = AtomicBool::new(false);
        let encoding = formats::Connecting::new(&settings, runtime.handle(), &cancel)?.encoding(
            settings.format.orders,
            &topic,
            OwnSchema::OrderEvent,
        )?;
        topics::connect(&settings)?.require(std::slice::from_ref(&topic))?;
        let mut producer = Producer::open(&settings.kafka.connection, Arc::new(AtomicBool::new(false)))?;
        let mut load = OrderLoad::new(LoadSettings {
            events: self.events,
            seed: self.seed,
            dirty_permille: self.dirty,
            first_order: self.first_order,
            orders_per_day: self.orders_per_day,
            ..LoadSettings::default()
        });
        let bar = progress::bar(Some(self.events), format!("sending to {topic}"));
        let pace = Pace::start(self.rate);
        let mut sent = 0;
        let mut avro = AvroLoad::new(encoding);
        let mut summary = load.drive(|record| {
            if let Some(wait) = pace.wait(sent, Instant::now()) {
                std::thread::sleep(wait);
            }
            let output = Output {
                topic: &topic,
                key: Some(record.key()),
                value: avro.value(record),
                headers: &[],
                partition: None,
                timestamp_ms: None,
            };
            producer.send(&output)?;
            sent += 1;
            if sent % SHOW_EVERY == 0 {
                bar.set_position(sent);
            }
            Ok::<(), Failure>(())
        })?;
        producer.flush(FLUSH)?;
        summary.bytes = avro.bytes(summary.bytes);
        bar.finish_and_clear();
        screen::line(&report(&summary, &topic, pace.elapsed()))?;
        Ok(Code::Done)
    }
}

/// `1,000 records to orders (20 copies, 3 bad, of 260 orders; 310.4 KiB) in 2.0 s: 500/s`
fn report(summary: &LoadSummary, topic: &str, took: Duration) -> String {
    let LoadSummary { records, dirty, copies, bytes, orders } = *summary;
    let [records_shown, dirty, copies, orders] = [records, dirty, copies, orders].map(HumanCount);
    let seconds = took.as_secs_f64();
    let rate = HumanCount((records as f64 / seconds.max(0.001)).round() as u64);
    let bytes = HumanBytes(bytes);
    format!(
        "{records_shown} records to {topic} ({copies} copies, {dirty} bad, of {orders} orders; {bytes}) in {seconds:.1} s: {rate}/s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_what_was_sent() {
        let summary = LoadSummary { records: 1_000, dirty: 3, copies: 20, bytes: 317_850, orders: 260 };
        assert_eq!(
            report(&summary, "orders", Duration::from_secs(2)),
            "1,000 records to orders (20 copies, 3 bad, of 260 orders; 310.40 KiB) in 2.0 s: 500/s"
        );
    }

    #[test]
    fn a_rate_is_a_number_from_zero() {
        assert_eq!((rate("0"), rate("2.5"), rate("1e6")), (Ok(0.0), Ok(2.5), Ok(1e6)));
        for text in ["-1", "fast", "inf", "nan"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
