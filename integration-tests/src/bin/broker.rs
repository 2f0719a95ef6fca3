//! A Kafka of one's own until Ctrl-C: `cargo run --release -p integration-tests --bin broker -- --port 9092`.

use clap::Parser;
use integration_tests::{
    Result,
    broker::{Broker, Options},
};
use std::process::ExitCode;

/// Starts a real Kafka, prints its address, and removes it with all its data at Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// Port for clients; without it a free one is taken.
    #[arg(long)]
    port: Option<u16>,
    /// Brokers in the cluster.
    #[arg(long, default_value_t = 1)]
    brokers: u16,
    /// Java heap of each broker.
    #[arg(long, default_value = "1g")]
    heap: String,
    /// A server property, over the defaults; may be given many times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("wanted NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let options = Options {
        brokers: arguments.brokers,
        heap: arguments.heap,
        port: arguments.port,
        properties: arguments.property.into_iter().collect(),
        ..Options::own()
    };
    let broker = Broker::start(&Options { optimised: true, ..options })?;
    eprintln!("{}; Ctrl-C ends it", broker.describe());
    println!("{}", broker.bootstrap());
    // Ctrl-C ends this process at once; the guard against leftovers does the rest.
    loop {
        std::thread::park();
    }
}
