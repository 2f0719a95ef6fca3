//! A bucket of one's own, of a server that speaks S3's protocol, until Ctrl-C; or for as long as a command runs, which finds the bucket
//! in `SLUICEGATE_TEST_BUCKET` and all the rest in the variables of the service: `bucket -- cargo test`.

use clap::Parser;
use integration_tests::{Result, bail, s3::BucketServer};
use std::process::{Command, ExitCode};

/// Starts a server with a bucket, prints what to set to get there, and removes it with all its data at Ctrl-C, or when the command has
/// ended. Where no server can be had, a command runs without one.
#[derive(Parser)]
struct Arguments {
    /// Runs this with the bucket in SLUICEGATE_TEST_BUCKET, and ends as it does.
    #[arg(last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bucket: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let server = BucketServer::start()?;
    if let [program, rest @ ..] = &arguments.command[..] {
        let mut command = Command::new(program);
        command.args(rest);
        match &server {
            Ok(server) => {
                eprintln!("bucket: {}", server.describe());
                command.envs(server.variables()).env("SLUICEGATE_TEST_BUCKET", server.url());
            }
            Err(why) => eprintln!("bucket: NO SERVER, so tests of checkpoints in buckets are skipped: {why}"),
        }
        let status = command.status()?;
        return Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from));
    }
    let server = match server {
        Ok(server) => server,
        Err(why) => bail!("{why}"),
    };
    for (name, value) in server.variables() {
        println!("export {name}={value}");
    }
    println!("export SLUICEGATE__CHECKPOINT__STORAGE={}/checkpoints", server.url());
    eprintln!("{}; Ctrl-C ends it", server.describe());
    // Ctrl-C ends this process at once; the guard against leftovers does the rest.
    loop {
        std::thread::park();
    }
}
