//! Brokers as Docker containers of the official image, or of one that keeps its contract (`docker/kafka-image`).

use super::{Node, Options, Ports, VERSION, jars::CLUSTER_ID, properties};
use crate::{Context, Result, bail, cache, leftovers::Leftover, process, process::output};
use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// For everything but pulling the image.
const CALL: Duration = Duration::from_secs(60);
const PULL: Duration = Duration::from_secs(180);
/// Between brokers and controllers, inside the network of the containers.
const INTERNAL_PORT: u16 = 19_092;
const CONTROLLER_PORT: u16 = 19_093;

fn image() -> String {
    format!("apache/kafka:{VERSION}")
}

fn docker<const N: usize>(arguments: [&str; N], within: Duration) -> Result<String> {
    output(Command::new("docker").args(arguments), within)
}

/// Whether a daemon answers and has the image, or can pull it. Asked once.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        docker(["version", "--format", "{{.Server.Version}}"], Duration::from_secs(10)).is_ok()
            && (docker(["image", "inspect", &image()], CALL).is_ok() || pull())
    })
}

/// A machine without a way to the registry is not asked again each time: a refusal counts for a day.
fn pull() -> bool {
    let Ok(refused) = cache::folder().map(|folder| folder.join("kafka-image-refused")) else { return false };
    let age = fs::metadata(&refused).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
    if age.is_some_and(|age| age < Duration::from_secs(24 * 3600)) {
        return false;
    }
    let pulled = docker(["pull", "-q", &image()], PULL);
    if let Err(error) = &pulled {
        // Without the note the next start only asks again.
        let _ =
            fs::create_dir_all(refused.parent().unwrap_or(&refused)).and_then(|()| fs::write(&refused, format!("{error:#}\n")));
    }
    pulled.is_ok()
}

/// The brokers of a cluster with these ports, not started yet.
pub(super) fn nodes(options: &Options, ports: &[Ports]) -> Result<Vec<Box<dyn Node>>> {
    let name = format!("sluicegate-{}-{:016x}", std::process::id(), crate::arbitrary());
    let network = Arc::new(Network::create(&name)?);
    let voters = voters(options, &name);
    let mut nodes: Vec<Box<dyn Node>> = Vec::new();
    for (id, &ports) in (1..).zip(ports) {
        let host = format!("{name}-{id}");
        let mut settings = local(id, ports, &host, &voters);
        settings.extend(properties::common(options));
        let create = create(&host, &name, ports, settings, options);
        nodes.push(Box::new(Container {
            id,
            ports,
            name: host,
            create: Some(create),
            leftover: None,
            network: Arc::clone(&network),
        }));
    }
    Ok(nodes)
}

/// The controllers of a cluster whose containers are called `name-1` and so on.
pub(super) fn voters(options: &Options, name: &str) -> String {
    (1..=options.brokers).map(|id| format!("{id}@{name}-{id}:{CONTROLLER_PORT}")).collect::<Vec<_>>().join(",")
}

/// The image's environment variable for a server property: `_` for `.`.
pub(super) fn variable(property: &str) -> String {
    format!("KAFKA_{}", property.to_uppercase().replace('.', "_"))
}

/// Listeners, quorum and log folder of broker `id` in a container called `host`.
pub(super) fn local(id: u16, ports: Ports, host: &str, voters: &str) -> BTreeMap<String, String> {
    let client = ports.client;
    let settings = [
        ("node.id", id.to_string()),
        ("controller.quorum.voters", voters.to_owned()),
        ("listeners", format!("PLAINTEXT://:{client},INTERNAL://:{INTERNAL_PORT},CONTROLLER://:{CONTROLLER_PORT}")),
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{},INTERNAL://{host}:{INTERNAL_PORT}", ports.advertised)),
        ("inter.broker.listener.name", "INTERNAL".to_owned()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
        ("log.dirs", "/var/lib/kafka/data".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `docker create`, with the properties as the image's environment variables.
fn create(host: &str, network: &str, ports: Ports, settings: BTreeMap<String, String>, options: &Options) -> Command {
    let mut command = Command::new("docker");
    command.args(["create", "--label", "sluicegate.test=1", "--name", host, "--hostname", host, "--network", network]);
    command.args(["--publish", &format!("127.0.0.1:{port}:{port}", port = ports.client)]);
    command.args(["--env", &format!("CLUSTER_ID={CLUSTER_ID}"), "--env", &format!("KAFKA_HEAP_OPTS=-Xmx{}", options.heap)]);
    if !options.optimised {
        command.args(["--env", "KAFKA_OPTS=-XX:TieredStopAtLevel=1"]);
    }
    for (name, value) in settings {
        command.args(["--env", &format!("{}={value}", variable(&name))]);
    }
    command.arg(image());
    command
}

struct Network {
    name: String,
    #[allow(dead_code)]
    leftover: Leftover,
}

impl Network {
    fn create(name: &str) -> Result<Self> {
        let leftover = Leftover::network(name)?;
        docker(["network", "create", name], CALL)?;
        Ok(Self { name: name.to_owned(), leftover })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Its containers are gone; nothing can be done about an error in a drop.
        let _ = docker(["network", "rm", &self.name], CALL);
    }
}

struct Container {
    id: u16,
    ports: Ports,
    name: String,
    /// Taken by the first start.
    create: Option<Command>,
    leftover: Option<Leftover>,
    #[allow(dead_code)]
    network: Arc<Network>,
}

impl Container {
    fn inspect(&self, format: &str) -> Result<String> {
        Ok(docker(["inspect", "--format", format, &self.name], CALL)?.trim().to_owned())
    }
}

impl Node for Container {
    fn address(&self) -> String {
        self.ports.address()
    }

    fn launch(&mut self) -> Result<()> {
        if let Some(mut create) = self.create.take() {
            self.leftover = Some(Leftover::container(&self.name)?);
            output(&mut create, CALL)?;
        }
        docker(["start", &self.name], CALL).map(drop)
    }

    fn check(&mut self) -> Result<()> {
        if self.inspect("{{.State.Running}}")? == "true" {
            return Ok(());
        }
        let logs = process::run(Command::new("docker").args(["logs", "--tail", "40", &self.name]), CALL)?;
        bail!("container {} ended by itself; the end of its log:\n{}{}", self.name, logs.stdout, logs.stderr)
    }

    fn stop(&mut self) -> Result<()> {
        docker(["stop", "--time", "30", &self.name], CALL).map(drop)
    }

    fn kill(&mut self) -> Result<()> {
        docker(["kill", "--signal", "KILL", &self.name], CALL).map(drop)
    }

    fn pause(&mut self) -> Result<()> {
        docker(["pause", &self.name], CALL).map(drop)
    }

    fn resume(&mut self) -> Result<()> {
        docker(["unpause", &self.name], CALL).map(drop)
    }

    fn cpu(&self) -> Result<Duration> {
        let pid = self.inspect("{{.State.Pid}}")?;
        process::cpu_of(pid.parse().with_context(|| format!("pid {pid:?} of {}", self.name))?)
    }

    fn describe(&self) -> String {
        format!("Apache Kafka {VERSION} at {} (container {}, broker {})", self.address(), self.name, self.id)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // `v`: the image declares volumes. An error leaves it to the guard.
        if self.leftover.is_some() && docker(["rm", "-fv", &self.name], CALL).is_err() {
            std::mem::forget(self.leftover.take());
        }
    }
}
