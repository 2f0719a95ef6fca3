//! A Kafka of one's own until Ctrl-C: `cargo run --release -p integration-tests --bin broker -- --port 9092`; or for as long as a command
//! runs, which finds the address in `SLUICEGATE_TEST_BOOTSTRAP`: `broker -- cargo test`.

use clap::Parser;
use integration_tests::{
    Result,
    broker::{Broker, Options},
};
use std::process::{Command, ExitCode};

/// Starts a real Kafka, prints its address, and removes it with all its data at Ctrl-C, or when the command has ended.
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
    /// Runs this with the address in SLUICEGATE_TEST_BOOTSTRAP, and ends as it does.
    #[arg(last = true)]
    command: Vec<String>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("wanted NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let options = Options {
        brokers: arguments.brokers,
        heap: arguments.heap,
        port: arguments.port,
        properties: arguments.property.into_iter().collect(),
        ..Options::own()
    };
    let broker = Broker::start(&Options { optimised: arguments.command.is_empty(), ..options })?;
    if let [program, rest @ ..] = &arguments.command[..] {
        let status = Command::new(program).args(rest).env("SLUICEGATE_TEST_BOOTSTRAP", broker.bootstrap()).status()?;
        return Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from));
    }
    eprintln!("{}; Ctrl-C ends it", broker.describe());
    println!("{}", broker.bootstrap());
    // Ctrl-C ends this process at once; the guard against leftovers does the rest.
    loop {
        std::thread::park();
    }
}
