//! A real Kafka for everyone: demo, tests, chaos and benchmarks.
//!
//! 1. the broker whose address is in the environment variable `KAFKA`, else
//! 2. Docker with the image `apache/kafka:4.1.1`, where a daemon answers and the image is there or can be pulled, else
//! 3. Apache Kafka 4.1.1 from its Maven Central jars, a process of this machine.
//!
//! `BROKER=docker` and `BROKER=process` choose one of the last two, `BROKER=testcontainers` the containers of the library of that name. All of them are Apache Kafka in KRaft mode on free ports, with
//! their data in a place of their own; brokers that were started here can be stopped, killed with -9, paused and started again on
//! the same port with the same data, and none outlives the process that started it.

mod docker;
mod jars;
mod jvm;
pub mod old;
mod properties;
pub mod testcontainers;

use crate::{Context, Result, bail, deadline::wait_until, ensure, ports, proxy::Proxy, topics::Cluster};
use std::{collections::BTreeMap, time::Duration};

/// The version of Apache Kafka that is started.
pub const VERSION: &str = "4.1.1";
/// A broker is up in 2 to 4 s; several other builds may share the machine with it.
const START: Duration = Duration::from_secs(180);

/// What kind of broker to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Brokers in the cluster, each a controller as well. With 3, internal topics are replicated 3 times with 2 in sync.
    pub brokers: u16,
    /// Java heap of each, as in `-Xmx`: `512m`.
    pub heap: String,
    /// Compile as in production. Otherwise only the quick compiler of the JVM is used: a faster start, a slower broker.
    pub optimised: bool,
    /// Port of the first broker; the others, and all if there is none, take free ones.
    pub port: Option<u16>,
    /// Server properties over the defaults, the same for all brokers.
    pub properties: BTreeMap<String, String>,
    /// Put a [`Proxy`] between each broker and its clients.
    pub proxied: bool,
    /// Take the broker that `KAFKA` names, if it does. Tests that break their broker do not.
    pub given: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 1,
            heap: "512m".into(),
            optimised: false,
            port: None,
            properties: BTreeMap::new(),
            proxied: false,
            given: true,
        }
    }
}

impl Options {
    /// A broker that can be killed and paused, because it is nobody else's.
    #[must_use]
    pub fn own() -> Self {
        Self { given: false, ..Self::default() }
    }

    /// A broker as fast as in production, for measurements.
    #[must_use]
    pub fn measured() -> Self {
        Self { optimised: true, heap: "1g".into(), ..Self::default() }
    }

    /// Adds a server property.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.insert(name.into(), value.to_string());
        self
    }
}

/// One broker of a cluster.
trait Node: Send {
    /// `host:port` for clients.
    fn address(&self) -> String;
    /// Starts it, with the data of last time if there was one; does not wait until it serves.
    fn launch(&mut self) -> Result<()>;
    /// An error, with its log, if it has ended by itself.
    fn check(&mut self) -> Result<()>;
    /// Ends it in order.
    fn stop(&mut self) -> Result<()>;
    /// `kill -9`.
    fn kill(&mut self) -> Result<()>;
    /// Freezes it.
    fn pause(&mut self) -> Result<()>;
    /// Ends the freeze.
    fn resume(&mut self) -> Result<()>;
    /// Processor time since its last start.
    fn cpu(&self) -> Result<Duration>;
    /// For messages: what and where it is.
    fn describe(&self) -> String;
}

/// A running Kafka. Dropping it kills the brokers that were started and removes their data.
pub struct Broker {
    bootstrap: String,
    nodes: Vec<Box<dyn Node>>,
    proxies: Vec<Proxy>,
}

impl Broker {
    /// Takes or starts a Kafka and waits until it serves.
    pub fn start(options: &Options) -> Result<Self> {
        if let Some(bootstrap) = given().filter(|_| options.given) {
            let cluster = Cluster::at(&bootstrap)?;
            wait_until(format!("Kafka at {bootstrap}, named by the variable KAFKA"), START, || {
                Ok(cluster.brokers().is_ok_and(|brokers| !brokers.is_empty()))
            })?;
            return Ok(Self { bootstrap, nodes: Vec::new(), proxies: Vec::new() });
        }
        ensure!(options.brokers > 0, "a cluster has at least one broker");
        let mut ports = Vec::new();
        let mut proxies = Vec::new();
        for index in 0..options.brokers {
            let mut own = Ports::free(options.port.filter(|_| index == 0))?;
            if options.proxied {
                let proxy = Proxy::before(&own.address())?;
                own.advertised = proxy.port();
                proxies.push(proxy);
            }
            ports.push(own);
        }
        let nodes = match std::env::var("BROKER").as_deref() {
            Ok("docker") => docker::nodes(options, &ports).context("BROKER=docker")?,
            Ok("process") => jvm::nodes(options, &ports).context("BROKER=process")?,
            Ok("testcontainers") => testcontainers::nodes(options, &ports).context("BROKER=testcontainers")?,
            Ok("") | Err(_) if docker::available() => docker::nodes(options, &ports)?,
            Ok("") | Err(_) => jvm::nodes(options, &ports)?,
            Ok(other) => bail!("BROKER={other}: allowed are docker, testcontainers and process"),
        };
        let bootstrap = nodes.iter().map(|node| node.address()).collect::<Vec<_>>().join(",");
        let mut broker = Self { bootstrap, nodes, proxies };
        for node in &mut broker.nodes {
            node.launch()?;
        }
        for number in 1..=broker.nodes.len() {
            broker.await_serving(number)?;
        }
        Ok(broker)
    }

    /// `host:port` of all brokers, with commas.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How many brokers were started; 0 for a given one.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// What runs where, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.nodes.as_slice() {
            [] => format!("Kafka at {}, as the variable KAFKA says", self.bootstrap),
            nodes => nodes.iter().map(|node| node.describe()).collect::<Vec<_>>().join("; "),
        }
    }

    /// Ends broker `number` (from 1) in order; it may be started again.
    pub fn stop(&mut self, number: usize) -> Result<()> {
        self.node(number)?.stop()
    }

    /// `kill -9` for broker `number`.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.node(number)?.kill()
    }

    /// Freezes broker `number`: connections stay open, nothing answers.
    pub fn pause(&mut self, number: usize) -> Result<()> {
        self.node(number)?.pause()
    }

    /// Ends the freeze of broker `number`.
    pub fn resume(&mut self, number: usize) -> Result<()> {
        self.node(number)?.resume()
    }

    /// The network between broker `number` and its clients, if there is a proxy in it.
    pub fn network(&self, number: usize) -> Result<&Proxy> {
        let proxy = number.checked_sub(1).and_then(|index| self.proxies.get(index));
        proxy.with_context(|| format!("there is no proxy before broker {number}: ask for it in Options::proxied"))
    }

    /// Starts broker `number` again, on the same port with the same data, and waits until it serves.
    pub fn restart(&mut self, number: usize) -> Result<()> {
        self.launch(number)?;
        self.await_serving(number)
    }

    /// Starts broker `number` again and does not wait.
    pub fn launch(&mut self, number: usize) -> Result<()> {
        self.node(number)?.launch()
    }

    /// Waits until broker `number` serves.
    pub fn await_serving(&mut self, number: usize) -> Result<()> {
        let node = self.node(number)?;
        let id = i32::try_from(number)?;
        let cluster = Cluster::at(&node.address())?;
        wait_until(format!("{} serves", node.describe()), START, || {
            node.check()?;
            Ok(cluster.brokers().is_ok_and(|brokers| brokers.contains(&id)))
        })
    }

    /// Processor time that all brokers have used since their last start; none for a given one.
    pub fn cpu(&self) -> Result<Option<Duration>> {
        let times = self.nodes.iter().map(|node| node.cpu()).collect::<Result<Vec<_>>>()?;
        Ok((!times.is_empty()).then(|| times.iter().sum()))
    }

    fn node(&mut self, number: usize) -> Result<&mut Box<dyn Node>> {
        let known = self.nodes.len();
        let node = number.checked_sub(1).and_then(|index| self.nodes.get_mut(index));
        node.with_context(|| format!("broker {number} is not ours: {known} were started"))
    }
}

/// The address in the variable `KAFKA`.
fn given() -> Option<String> {
    std::env::var("KAFKA").ok().filter(|address| !address.is_empty())
}

/// The ports of one broker, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, Default)]
struct Ports {
    /// Where it listens for clients.
    client: u16,
    /// Where clients are sent to: the same, or a proxy before it.
    advertised: u16,
    /// For the other brokers.
    internal: u16,
    /// For the other controllers.
    controller: u16,
}

impl Ports {
    fn free(client: Option<u16>) -> Result<Self> {
        let client = client.map_or_else(ports::free, Ok)?;
        Ok(Self { client, advertised: client, internal: ports::free()?, controller: ports::free()? })
    }

    /// `host:port` for clients.
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.advertised)
    }
}
