//! One Kafka broker in a container that Testcontainers runs. The broker harness of the integration tests starts one such program for each
//! broker, tells it on standard input what to do, one word per line, and reads an answer, one line each:
//!
//! ```text
//! start | stop | kill | pause | resume | running | log        ok TEXT | error TEXT       (a line end within TEXT is written \n)
//! ```
//!
//! When standard input ends, in whatever way the harness has ended, the container is removed.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    process::ExitCode,
    time::Duration,
};
use testcontainers::{
    Container, ContainerRequest, GenericImage, ImageExt, TestcontainersError,
    core::{IntoContainerPort, WaitFor},
    runners::SyncRunner,
};

/// Pulling the image, where that is possible, is a part of the first start.
const START: Duration = Duration::from_secs(180);
/// A broker needs a few seconds to write its last snapshot.
const STOP_SECONDS: i32 = 30;

const USAGE: &str = "testcontainers-broker IMAGE TAG CONTAINER-NAME NETWORK PORT [NAME=VALUE]...";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testcontainers-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut broker = Broker { request: Some(request()?), container: None };
    for word in io::stdin().lock().lines() {
        let (kind, text) = match broker.obey(word?.trim()) {
            Ok(text) => ("ok", text),
            Err(error) => ("error", error.to_string()),
        };
        let text = text.replace('\n', "\\n");
        let mut out = io::stdout().lock();
        writeln!(out, "{kind} {text}")?;
        out.flush()?;
    }
    Ok(())
}

/// What the command line asks for.
fn request() -> Result<ContainerRequest<GenericImage>, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, tag, name, network, port, variables @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    let port: u16 = port.parse()?;
    let mut request = GenericImage::new(image, tag)
        .with_wait_for(WaitFor::Nothing)
        .with_container_name(name)
        .with_hostname(name)
        .with_network(network)
        .with_label("sluicegate.test", "1")
        .with_mapped_port(port, port.tcp())
        .with_startup_timeout(START);
    for variable in variables {
        let (name, value) = variable.split_once('=').ok_or(USAGE)?;
        request = request.with_env_var(name, value);
    }
    Ok(request)
}

struct Broker {
    /// Taken by the first start.
    request: Option<ContainerRequest<GenericImage>>,
    /// Removed, with its network, when it is dropped.
    container: Option<Container<GenericImage>>,
}

impl Broker {
    fn obey(&mut self, word: &str) -> Result<String, TestcontainersError> {
        if word == "start"
            && let Some(request) = self.request.take()
        {
            let container = request.start()?;
            let id = container.id().to_owned();
            self.container = Some(container);
            return Ok(id);
        }
        let Some(container) = &self.container else { return Err(TestcontainersError::other("it was never started")) };
        match word {
            "start" => container.start()?,
            "stop" => container.stop_with_timeout(Some(STOP_SECONDS))?,
            // Without patience the daemon kills at once.
            "kill" => container.stop_with_timeout(Some(0))?,
            "pause" => now(container.pause())?,
            "resume" => now(container.unpause())?,
            "running" => return Ok(container.is_running()?.to_string()),
            "log" => {
                let log = [container.stdout_to_vec()?, container.stderr_to_vec()?].concat();
                return Ok(String::from_utf8_lossy(&log).into_owned());
            }
            other => return Err(TestcontainersError::other(format!("unknown word {other:?}"))),
        }
        Ok(container.id().to_owned())
    }
}

/// Pausing is asynchronous in name only: it waits inside, and is ready when it is first asked.
fn now<T>(future: impl Future<Output = Result<T, TestcontainersError>>) -> Result<T, TestcontainersError> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => Err(TestcontainersError::other("Testcontainers did not wait for the daemon's answer")),
    }
}
