//! Brokers as containers that the library Testcontainers runs: it speaks with the Docker daemon itself, needs no command `docker`, and
//! obeys `DOCKER_HOST` and what else it knows of. It lives in a program of its own, [`integration-tests/testcontainers`], one
//! process for each broker.
//!
//! [`integration-tests/testcontainers`]: ../../../testcontainers/Cargo.toml

use super::{Node, Options, Ports, VERSION, docker, jars::CLUSTER_ID, properties};
use crate::{Context, Result, bail, cache, ensure, leftovers::Leftover, process};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

/// About 230 small crates, once per machine.
const BUILD: Duration = Duration::from_secs(900);
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testcontainers/Cargo.toml");

/// Builds what is needed, if it is not there.
pub fn prepare() -> Result<()> {
    program().map(drop)
}

/// The program, built if it is not there. Several processes may ask at once: cargo lets one wait for the other.
fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = PROGRAM.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|why| crate::anyhow!("{why}"))
}

fn build() -> Result<PathBuf> {
    let target = cache::folder()?.join("testcontainers");
    // `cargo test` names itself.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir"]).arg(&target);
    process::output(&mut cargo, BUILD).context("building the program that runs brokers with Testcontainers")?;
    Ok(target.join("release/testcontainers-broker"))
}

/// The brokers of a cluster with these ports, not started yet.
pub(super) fn nodes(options: &Options, ports: &[Ports]) -> Result<Vec<Box<dyn Node>>> {
    let name = format!("sluicegate-{}-{:016x}", std::process::id(), crate::arbitrary());
    let voters = docker::voters(options, &name);
    let mut nodes: Vec<Box<dyn Node>> = Vec::new();
    for (id, &ports) in (1..).zip(ports) {
        let host = format!("{name}-{id}");
        let mut command = Command::new(program()?);
        command.args(["apache/kafka", VERSION, &host, &name, &ports.client.to_string()]);
        command.arg(format!("CLUSTER_ID={CLUSTER_ID}")).arg(format!("KAFKA_HEAP_OPTS=-Xmx{}", options.heap));
        if !options.optimised {
            command.arg("KAFKA_OPTS=-XX:TieredStopAtLevel=1");
        }
        let mut settings = docker::local(id, ports, &host, &voters);
        settings.extend(properties::common(options));
        command.args(settings.iter().map(|(name, value)| format!("{}={value}", docker::variable(name))));
        nodes.push(Box::new(Testcontainer::prepare(id, ports, &host, &mut command)?));
    }
    Ok(nodes)
}

struct Testcontainer {
    id: u16,
    ports: Ports,
    child: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    container: Option<String>,
    /// If the program above is killed, too.
    leftovers: [Option<Leftover>; 2],
}

impl Testcontainer {
    fn prepare(id: u16, ports: Ports, host: &str, command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let words = Some(child.stdin.take().context("no pipe")?);
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let leftovers = [Some(Leftover::process(i32::try_from(child.id())?)?), Some(Leftover::container(host)?)];
        Ok(Self { id, ports, child, words, answers, container: None, leftovers })
    }

    fn tell(&mut self, word: &str) -> Result<String> {
        let words = self.words.as_mut().context("its program has ended")?;
        writeln!(words, "{word}").context("its program has ended")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim_end_matches('\n').split_once(' ') {
            Some(("ok", text)) => Ok(text.replace("\\n", "\n")),
            Some((_, why)) => bail!("Testcontainers, {word}: {why}"),
            None => bail!("Testcontainers, {word}: its program has ended"),
        }
    }
}

impl Node for Testcontainer {
    fn address(&self) -> String {
        self.ports.address()
    }

    fn launch(&mut self) -> Result<()> {
        self.container = Some(self.tell("start")?);
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        if self.tell("running")? == "true" {
            return Ok(());
        }
        let log = self.tell("log")?;
        let lines: Vec<_> = log.lines().collect();
        let end = lines.iter().skip(lines.len().saturating_sub(40)).copied().collect::<Vec<_>>().join("\n");
        bail!("a container of Testcontainers ended by itself; the end of its log:\n{end}")
    }

    fn stop(&mut self) -> Result<()> {
        self.tell("stop").map(drop)
    }

    fn kill(&mut self) -> Result<()> {
        self.tell("kill").map(drop)
    }

    fn pause(&mut self) -> Result<()> {
        self.tell("pause").map(drop)
    }

    fn resume(&mut self) -> Result<()> {
        self.tell("resume").map(drop)
    }

    fn cpu(&self) -> Result<Duration> {
        // The daemon's processes are in a control group with the container's id in its name, if the daemon is on this machine.
        let id = self.container.as_deref().with_context(|| format!("broker {} was never started", self.id))?;
        let mut all = Duration::ZERO;
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end while it is looked at.
            if fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(id)) {
                all += process::cpu_of(pid).unwrap_or_default();
            }
        }
        ensure!(!all.is_zero(), "container {id} has no process on this machine");
        Ok(all)
    }

    fn describe(&self) -> String {
        let container = self.container.as_deref().map_or("not started", |id| id.get(..12).unwrap_or(id));
        format!("Apache Kafka {VERSION} at {} (Testcontainers, container {container}, broker {})", self.address(), self.id)
    }
}

impl Drop for Testcontainer {
    fn drop(&mut self) {
        // The end of its input is the end of the program, and of its container.
        drop(self.words.take());
        if !self.child.wait().is_ok_and(|status| status.success()) {
            // It stays on the guard's list.
            std::mem::forget(self.leftovers.each_mut().map(Option::take));
        }
    }
}
