//! One configuration of the program: a job with a name, topics, folders and a consumer group of its own, and the commands that a
//! user runs on it.

use crate::{
    Context, Result, anyhow, arbitrary, bail, ensure,
    leftovers::Folder,
    ports,
    process::{self, Finished},
    s3::BucketServer,
    service::Service,
    topics::Cluster,
    variables::variable,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// For a command on a load as tests have it.
pub const COMMAND: Duration = Duration::from_secs(150);
/// The file that ships with the program; what a job here sets goes over it.
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/orders.toml");
/// Names a protection that every job here runs without, to see a test fail: `SLUICEGATE_SWITCHED_OFF` for the program.
pub const SWITCHED_OFF: &str = "TEST_SWITCHED_OFF";
/// Settings of every job here, `key=value` with commas, for the same purpose.
pub const ALSO_SET: &str = "TEST_ALSO_SET";
/// Partitions of each topic, as in the standard load.
pub const PARTITIONS: i32 = 4;
/// The names of the seven outputs, without the prefix.
pub const OUTPUTS: [&str; 7] =
    ["order-status", "purchase-stats", "late-orders", "inventory-levels", "low-stock-alerts", "order-batches", "dead-letters"];

/// The program under test: the variable `SLUICEGATE_BIN`, else beside this program in cargo's target folder.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SLUICEGATE_BIN").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let ours = std::env::current_exe()?;
    // target/release/demo, and target/release/deps/it-0123456789abcdef
    let beside = ours.ancestors().skip(1).take(2).map(|folder| folder.join("sluicegate"));
    let found = beside.into_iter().find(|path| path.is_file());
    found
        .with_context(|| format!("no program `sluicegate` beside {}: `make build`, or name it in SLUICEGATE_BIN", ours.display()))
}

/// The program of an example, which cargo puts beside the program under test.
pub fn example(name: &str) -> Result<PathBuf> {
    let path = program()?.with_file_name("examples").join(name);
    ensure!(path.is_file(), "no example at {}: cargo build --release --package sluicegate --example {name}", path.display());
    Ok(path)
}

/// What `sluicegate generate orders` sends.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Events.
    pub events: u64,
    /// Events per second; none: as fast as it goes.
    pub rate: Option<u64>,
    /// Same seed, same events.
    pub seed: u64,
    /// Bad records in a thousand.
    pub dirty: u32,
    /// Number of the first order; a second load on the same topic needs another one, else its orders are copies.
    pub first_order: u64,
    /// New orders per day of event time; none: as the standard load has it.
    pub orders_per_day: Option<u64>,
}

impl Load {
    /// So many clean events, as fast as it goes.
    #[must_use]
    pub fn of(events: u64) -> Self {
        Self { events, rate: None, seed: 42, dirty: 0, first_order: 1, orders_per_day: None }
    }

    /// The same at a rate.
    #[must_use]
    pub fn at(self, per_second: u64) -> Self {
        Self { rate: Some(per_second), ..self }
    }

    /// The same with another seed and other orders: what comes after a first load.
    #[must_use]
    pub fn more(self) -> Self {
        Self { seed: self.seed + 1, first_order: self.first_order + self.events, ..self }
    }

    /// The same with so many bad records in a thousand.
    #[must_use]
    pub fn dirty(self, permille: u32) -> Self {
        Self { dirty: permille, ..self }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["generate".to_owned(), "orders".into()];
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        add("--events", self.events.to_string());
        add("--seed", self.seed.to_string());
        add("--dirty", self.dirty.to_string());
        add("--first-order", self.first_order.to_string());
        if let Some(rate) = self.rate {
            add("--rate", rate.to_string());
        }
        if let Some(orders) = self.orders_per_day {
            add("--orders-per-day", orders.to_string());
        }
        arguments
    }
}

/// A job. Its folders are removed when it is dropped.
pub struct Job {
    name: String,
    bootstrap: String,
    settings: BTreeMap<String, String>,
    /// Variables of the services that the program talks to.
    environment: BTreeMap<String, String>,
    /// A protection that the program runs without.
    switched_off: Option<String>,
    folder: Folder,
}

impl Job {
    /// A job with a name that no other has, on the given Kafka, with the settings of the shipped file.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let name = format!("t{:016x}", arbitrary());
        let folder = Folder::new("job")?;
        let mut job = Self {
            name: name.clone(),
            bootstrap: bootstrap.to_owned(),
            settings: BTreeMap::new(),
            environment: BTreeMap::new(),
            switched_off: None,
            folder,
        };
        job.set("job.name", &name).set("kafka.bootstrap_servers", bootstrap);
        job.set("source.topic", format!("{name}.orders")).set("topics.prefix", format!("{name}."));
        job.set("checkpoint.storage", job.folder.path().join("checkpoints").display());
        job.set("state.dir", job.folder.path().join("state").display());
        job.switched_off = variable(SWITCHED_OFF)?;
        for pair in variable::<String>(ALSO_SET)?.iter().flat_map(|pairs| pairs.split(',')) {
            let (key, value) = pair.split_once('=').with_context(|| format!("{ALSO_SET}: {pair:?} is not key=value"))?;
            job.set(key, value);
        }
        Ok(job)
    }

    /// The same, with times that suit tests: a checkpoint five times a second, restarts at once.
    pub fn for_test(bootstrap: &str) -> Result<Self> {
        let mut job = Self::new(bootstrap)?;
        job.set("checkpoint.interval", "200ms").set("restart.delay", "100ms");
        job.set("job.parallelism", 2).set("state.memory", "64MiB");
        Ok(job)
    }

    /// Changes a setting for all commands that follow.
    pub fn set(&mut self, key: &str, value: impl ToString) -> &mut Self {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    /// Back to the value of the shipped file.
    pub fn unset(&mut self, key: &str) -> &mut Self {
        self.settings.remove(key);
        self
    }

    /// Back to the shipped patience for all commands that follow. A test whose subject needs short times has them for that alone: what
    /// comes after it must not fail because other tests use the machine, too.
    pub fn be_patient(&mut self) -> &mut Self {
        self.unset("checkpoint.timeout")
            .unset("kafka.transaction_timeout")
            .unset("kafka.connect_timeout")
            .unset("restart.attempts")
    }

    /// Sets an environment variable for all commands that follow.
    pub fn set_variable(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    /// Keeps its checkpoints in the bucket of `server`.
    pub fn keep_in(&mut self, server: &BucketServer) -> &mut Self {
        for (name, value) in server.variables() {
            self.set_variable(name, value);
        }
        self.set("checkpoint.storage", format!("{}/checkpoints", server.url()))
    }

    /// Has its input and all outputs in `format`: `json`, `avro` or `avro-single-object`.
    pub fn speak(&mut self, format: &str) -> &mut Self {
        self.set("format.orders", format);
        for output in OUTPUTS.iter().filter(|output| **output != "dead-letters") {
            self.set(&format!("format.{}", output.replace('-', "_")), format);
        }
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The consumer group that its offsets are committed under.
    #[must_use]
    pub fn group(&self) -> String {
        format!("sluicegate-{}", self.name)
    }

    /// Its input topic.
    #[must_use]
    pub fn input(&self) -> String {
        self.settings.get("source.topic").cloned().unwrap_or_default()
    }

    /// The full name of one of [`OUTPUTS`].
    #[must_use]
    pub fn output(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// Where its checkpoints are.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.settings.get("checkpoint.storage").map(PathBuf::from).unwrap_or_default()
    }

    /// Where its working copy of the state is.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.settings.get("state.dir").map(PathBuf::from).unwrap_or_default()
    }

    /// Its folder, with logs, state and checkpoints.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder for somebody to look into.
    pub fn keep(&mut self) -> &Path {
        self.folder.keep();
        self.folder.path()
    }

    /// `host:port` of its Kafka.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Its Kafka.
    pub fn cluster(&self) -> Result<Cluster> {
        Cluster::at(&self.bootstrap)
    }

    /// `sluicegate ARGUMENTS --config orders.toml --set ...`, in the job's folder.
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Command> {
        let mut command = Command::new(program()?);
        command.args(arguments).arg("--config").arg(CONFIGURATION);
        Ok(self.complete(command, |_| true))
    }

    /// `PROGRAM ARGUMENTS --set ...`: a program that a user has written. What it reads and writes stands in its code, so that it does not
    /// take those settings.
    pub fn own_command(&self, program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Command> {
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(self.complete(command, |key| key != "source.topic" && !key.starts_with("topics.") && !key.starts_with("orders.")))
    }

    fn complete(&self, mut command: Command, takes: impl Fn(&str) -> bool) -> Command {
        command.current_dir(self.folder.path());
        for (key, value) in self.settings.iter().filter(|(key, _)| takes(key)) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        // What a developer has set for himself must not change what is tested.
        let his = |name: &[u8]| [&b"SLUICEGATE_"[..], b"AWS_", b"GOOGLE_", b"AZURE_"].iter().any(|own| name.starts_with(own));
        for (name, _) in std::env::vars_os().filter(|(name, _)| his(name.as_encoded_bytes())) {
            command.env_remove(name);
        }
        command.envs(&self.environment);
        command
    }

    /// Runs a command to its end, successful or not.
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Finished> {
        self.run_within(arguments, COMMAND)
    }

    /// The same with a deadline.
    pub fn run_within(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, within: Duration) -> Result<Finished> {
        process::run(&mut self.command(arguments)?, within)
    }

    /// Runs a command that must end with 0 within `within`, and gives its standard output.
    pub fn succeed(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, within: Duration) -> Result<String> {
        process::output(&mut self.command(arguments)?, within)
    }

    /// `topics create`, with [`PARTITIONS`] each.
    pub fn create_topics(&self) -> Result<()> {
        self.succeed(["topics", "create", "--partitions", &PARTITIONS.to_string()], COMMAND).map(drop)
    }

    /// Topics and a load in the input.
    pub fn with_events(self, load: Load) -> Result<Self> {
        self.create_topics()?;
        self.generate(load)?;
        Ok(self)
    }

    /// Sends the load and waits until it is sent.
    pub fn generate(&self, load: Load) -> Result<()> {
        let within = COMMAND + Duration::from_secs(load.rate.map_or(0, |rate| load.events / rate.max(1)));
        self.succeed(load.arguments(), within).map(drop)
    }

    /// Starts to send the load.
    pub fn start_generating(&self, load: Load) -> Result<process::Process> {
        process::Process::spawn("sluicegate generate", &mut self.command(load.arguments())?, &self.folder().join("generate.log"))
    }

    /// Starts the job.
    pub fn start(&self) -> Result<Service> {
        self.start_with(["run"], &[])
    }

    /// Starts the job with a fail point armed: `name=kill`, `name=kill@2` (the second time), `name=sleep:5s`, `name=error`.
    pub fn start_failing(&self, point: &str) -> Result<Service> {
        self.start_with(["run"], &[("SLUICEGATE_FAILPOINTS", point)])
    }

    /// Starts a command that serves HTTP, with environment variables.
    pub fn start_with(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: &[(&str, &str)],
    ) -> Result<Service> {
        self.serve(self.command(arguments)?, environment)
    }

    /// Starts a command of this job that serves HTTP, with environment variables.
    pub fn serve(&self, mut command: Command, environment: &[(&str, &str)]) -> Result<Service> {
        let http = format!("127.0.0.1:{}", ports::free()?);
        command.arg("--set").arg(format!("http.listen={http}")).envs(environment.iter().copied());
        if let Some(protection) = &self.switched_off {
            command.env("SLUICEGATE_SWITCHED_OFF", protection);
        }
        Service::start(&mut command, http, &self.folder().join(format!("run-{:016x}.log", arbitrary())))
    }

    /// `run --until-caught-up`, which must end with 0.
    pub fn catch_up(&self) -> Result<()> {
        self.catch_up_within(COMMAND)
    }

    /// The same with a deadline.
    pub fn catch_up_within(&self, within: Duration) -> Result<()> {
        let mut service = self.start_with(["run", "--until-caught-up"], &[])?;
        let exit = service.wait(within)?;
        ensure!(exit.code() == Some(0), "run --until-caught-up ended with {}; {}", exit.status, service.last_lines(60));
        Ok(())
    }

    /// Records in the input, all partitions together.
    pub fn sent(&self) -> Result<u64> {
        Ok(u64::try_from(self.cluster()?.ends(&self.input())?.into_iter().sum::<i64>())?)
    }

    /// Records of the input that are committed as processed, all partitions together.
    pub fn committed(&self) -> Result<i64> {
        Ok(self.cluster()?.committed(&self.group(), &self.input())?.values().map(|(offset, _)| offset).sum())
    }

    /// The checkpoint that Kafka names; an error if the partitions do not agree, or name none.
    pub fn committed_checkpoint(&self) -> Result<u64> {
        let committed = self.cluster()?.committed(&self.group(), &self.input())?;
        let named: BTreeSet<&str> = committed.values().map(|(_, metadata)| metadata.as_str()).collect();
        ensure!(named.len() == 1, "the committed offsets name {named:?}");
        let number = named.first().and_then(|metadata| metadata.split(':').nth(2)).and_then(|number| number.parse().ok());
        number.with_context(|| format!("no checkpoint in {named:?}"))
    }

    /// The file of a checkpoint's manifest.
    #[must_use]
    pub fn manifest(&self, checkpoint: u64) -> PathBuf {
        self.storage().join(&self.name).join(format!("manifests/{checkpoint:020}.json"))
    }

    /// `audit --json`, which must find no difference.
    pub fn audit(&self) -> Result<Audit> {
        let (exit, audit) = self.audit_any(COMMAND)?;
        if exit != Some(0) {
            let table = self.run(["audit"]).map(|finished| finished.stdout).unwrap_or_default();
            bail!("the audit ended with {exit:?}:\n{table}");
        }
        Ok(audit)
    }

    /// `audit --json`, whatever it finds, with its exit code; an error if it could not judge.
    pub fn audit_any(&self, within: Duration) -> Result<(Option<i32>, Audit)> {
        let finished = self.run_within(["audit", "--json"], within)?;
        Ok((finished.status.code(), Audit::of(&finished)?))
    }
}

/// What `audit --json` has printed.
#[derive(Debug, Clone)]
pub struct Audit(serde_json::Value);

impl Audit {
    /// Of an `audit --json` that has ended; an error if it could not judge.
    pub fn of(finished: &Finished) -> Result<Self> {
        let Finished { status, stdout, stderr } = finished;
        ensure!(matches!(status.code(), Some(0 | 5)), "the audit ended with {status}: {stderr}");
        let json = serde_json::from_str(stdout);
        json.map(Self).map_err(|error| anyhow!("audit --json printed no JSON ({error}): {stdout}"))
    }

    /// A number in it, by JSON pointer: `/accepted`.
    pub fn number(&self, pointer: &str) -> Result<u64> {
        let value = self.0.pointer(pointer).and_then(serde_json::Value::as_u64);
        value.with_context(|| format!("no number at {pointer} in {}", self.0))
    }

    /// The first of the differences that it names, in one sentence; none if there is no difference.
    #[must_use]
    pub fn first_difference(&self) -> Option<String> {
        let outputs = self.0["outputs"].as_array().into_iter().flatten();
        let mut named = outputs.filter_map(|output| Some((output["topic"].as_str()?, output["differences"].get(0)?)));
        let (topic, difference) = named.next()?;
        let text = |name: &str| difference[name].as_str().unwrap_or_default().to_owned();
        Some(format!("{topic}, {}: expected {}, found {}", text("key"), text("expected"), text("found")))
    }
}
