//! `sluicegate stop`

use super::{Code, Given, Stop as Early, checkpoint, progress, savepoint, screen};
use crate::{checkpoint::Reason, config::Settings, protocol::Failure};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

/// Between two looks at whether the job is still there.
const LOOK: Duration = Duration::from_millis(100);
/// For one question.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate stop --savepoint\n  sluicegate stop --savepoint --drain --to /backup/savepoints")]
pub struct StopCommand {
    /// Copy the last checkpoint into a savepoint
    #[arg(long)]
    savepoint: bool,
    /// Move event time to the end first, so that all windows fire and partial batches are written: the input is complete
    #[arg(long)]
    drain: bool,
    #[command(flatten)]
    place: savepoint::Place,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

impl StopCommand {
    pub(super) fn run(&self) -> Result<Code, Early> {
        let (settings, _) = self.given.load()?;
        let Some(address) = &settings.http.listen else {
            return Err(Failure::fatal("http.listen is off: send the process a SIGTERM instead").into());
        };
        if address.ends_with(":0") {
            let why =
                "http.listen has port 0, so that the job cannot be found: give the port that its log names, or send it a SIGTERM";
            return Err(Failure::fatal(why).into());
        }
        let target = if self.drain { "/stop?drain=true" } else { "/stop" };
        let answer = request(address, "POST", target).map_err(|error| {
            Failure::fatal(format!("no job answers at http.listen = {address}: {error}; is it running here?"))
        })?;
        if !answer.starts_with("HTTP/1.1 202") && !answer.starts_with("HTTP/1.0 202") {
            let line = answer.lines().next().unwrap_or("nothing");
            return Err(Failure::fatal(format!(
                "{address} answers {line:?} to POST {target}: is it sluicegate, of this version?"
            ))
            .into());
        }
        wait_for_end(address, &settings)?;
        let storage = checkpoint::open(&settings)?;
        let last = storage.markers()?.pop();
        let last = last.map(|last| storage.read_manifest(last.checkpoint)).transpose()?;
        let Some((manifest, _)) = last.filter(|(manifest, _)| manifest.reason == Reason::Final) else {
            return Err(Failure::fatal(
                "the job has ended, but its last commit was not a final one: its log says why; what is committed stands",
            )
            .into());
        };
        if self.savepoint {
            let made = savepoint::create(&settings, Some(manifest.checkpoint), &self.place)?;
            savepoint::tell(&made, self.json)?;
        } else if self.json {
            screen::json(&serde_json::json!({ "checkpoint": manifest.checkpoint.0, "drained": self.drain }))?;
        } else {
            screen::line(&format!("stopped; checkpoint {} is committed", manifest.checkpoint))?;
        }
        Ok(Code::Done)
    }
}

fn wait_for_end(address: &str, settings: &Settings) -> Result<(), Failure> {
    // A checkpoint that is under way, and the last one.
    let patience = settings.checkpoint.timeout * 2;
    let (since, bar) = (Instant::now(), progress::bar(None, "waiting for the job to end"));
    while !is_gone(address) {
        if since.elapsed() > patience {
            return Err(Failure::fatal(format!(
                "the job has not ended within {patience:?} (twice checkpoint.timeout); it may still"
            )));
        }
        bar.tick();
        std::thread::sleep(LOOK);
    }
    bar.finish_and_clear();
    Ok(())
}

fn is_gone(address: &str) -> bool {
    request(address, "GET", "/livez").is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn request(address: &str, method: &str, target: &str) -> std::io::Result<String> {
    let peer = address.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&peer, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "{method} {target} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
