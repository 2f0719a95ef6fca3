//! One run of the order job on another system: its topics, its folder, its process.

use super::{Program, contest::PARALLELISM};
use crate::{
    Context, Error, Result, arbitrary, bail,
    bench::Victim,
    deadline::wait_until,
    ensure,
    job::{OUTPUTS, PARTITIONS},
    leftovers::Folder,
    process::Process,
    progress::Progress,
    topics::Cluster,
};
use std::{fs, str::FromStr, time::Duration};

/// Start, rebalance, and the end of a dead member's session if it comes to that.
const READY: Duration = Duration::from_secs(120);

/// A system that one would take instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Apache Kafka Streams.
    KafkaStreams,
    /// Apache Flink, with its cluster in the same process.
    Flink,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::KafkaStreams, Self::Flink];

    /// Name and version.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KafkaStreams => "Kafka Streams 4.1.1",
            Self::Flink => "Flink 2.2.1",
        }
    }

    /// Its folder in `benches/peers`, and its name in the variable `PEERS`.
    #[must_use]
    pub const fn module(self) -> &'static str {
        match self {
            Self::KafkaStreams => "kafka-streams",
            Self::Flink => "flink",
        }
    }

    pub(super) const fn main(self) -> &'static str {
        match self {
            Self::KafkaStreams => "sluicegate.peers.streams.Main",
            Self::Flink => "sluicegate.peers.flink.Main",
        }
    }

    pub(super) const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::KafkaStreams => &[],
            // As its own start scripts have it.
            Self::Flink => &[
                "--add-opens=java.base/java.lang=ALL-UNNAMED",
                "--add-opens=java.base/java.time=ALL-UNNAMED",
                "--add-opens=java.base/java.util=ALL-UNNAMED",
            ],
        }
    }

    /// Parts of the names of topics of its own between two stages; what is in them has to be worked off as well.
    const fn between(self) -> &'static [&'static str] {
        match self {
            Self::KafkaStreams => &["purchases-by-key-repartition", "stock-changes-by-key-repartition"],
            Self::Flink => &[],
        }
    }

    /// Tasks that tell when they have nothing left.
    const fn drained_tasks(self) -> usize {
        match self {
            // Orders, and windows.
            Self::KafkaStreams => 2 * PARTITIONS as usize,
            Self::Flink => 1,
        }
    }
}

impl FromStr for Peer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|peer| peer.module() == name);
        known.with_context(|| format!("no peer {name}: there are {}", Self::ALL.map(Self::module).join(", ")))
    }
}

/// One run, with topics and a consumer group that no other has.
pub(super) struct PeerJob {
    program: Program,
    bootstrap: String,
    input: String,
    name: String,
    interval: Duration,
    folder: Folder,
    process: Option<Process>,
}

impl PeerJob {
    /// A run over `input` that commits every `interval`; creates its outputs.
    pub(super) fn new(program: &Program, bootstrap: &str, input: &str, interval: Duration) -> Result<Self> {
        let job = Self {
            program: program.clone(),
            bootstrap: bootstrap.to_owned(),
            input: input.to_owned(),
            name: format!("p{:016x}", arbitrary()),
            interval,
            folder: Folder::new("peer")?,
            process: None,
        };
        let cluster = Cluster::at(bootstrap)?;
        for output in OUTPUTS {
            cluster.create(&job.output(output), PARTITIONS, &[])?;
        }
        Ok(job)
    }

    /// What its outputs' names begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{}.", self.name)
    }

    pub(super) fn output(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    /// Keeps logs and state for somebody to look into.
    pub(super) fn keep(&mut self) -> String {
        self.folder.keep();
        self.folder.path().display().to_string()
    }

    /// The running process; an error, with the end of its log, if it has ended.
    pub(super) fn process(&mut self) -> Result<&mut Process> {
        let process = self.process.as_mut().with_context(|| format!("{} does not run", self.program.peer.name()))?;
        match process.try_exit()? {
            Some(exit) => bail!("it ended by itself ({}); {}", exit.status, process.last_lines(40)),
            None => Ok(process),
        }
    }

    /// The end of its log, for messages.
    pub(super) fn last_lines(&self) -> String {
        self.process.as_ref().map_or_else(String::new, |process| process.last_lines(40))
    }

    /// What it has committed of the input.
    pub(super) fn progress(&self) -> Result<Progress> {
        Progress::in_group(&self.bootstrap, &self.name, &self.input)
    }

    /// What it has committed of its own topics between stages, which it has created by now.
    pub(super) fn between(&self) -> Result<Vec<Progress>> {
        let topics = self.program.peer.between().iter();
        topics.map(|topic| Progress::in_group(&self.bootstrap, &self.name, &format!("{}-{topic}", self.name))).collect()
    }

    /// Whether a transaction is open on any of its outputs: Flink ends them one after the other, after it has committed its offsets.
    pub(super) fn has_open_transaction(&self) -> Result<bool> {
        let cluster = Cluster::at(&self.bootstrap)?;
        for output in OUTPUTS {
            if cluster.has_open_transaction(&self.output(output))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// After all input is committed: makes it write what waits for more, and ends it.
    pub(super) fn drain(&mut self) -> Result<()> {
        fs::write(self.drain_file(), "")?;
        let wanted = self.program.peer.drained_tasks();
        wait_until("all tasks have drained", READY, || {
            self.process()?;
            let names = fs::read_dir(self.folder.path())?.collect::<Result<Vec<_>, _>>()?;
            Ok(names.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("drain.")).count() >= wanted)
        })?;
        self.stop()
    }

    /// Deletes its topics and its group.
    pub(super) fn remove(self) -> Result<()> {
        let Self { process, bootstrap, name, .. } = self;
        drop(process);
        let cluster = Cluster::at(&bootstrap)?;
        for topic in cluster.names()?.iter().filter(|topic| topic.starts_with(&name)) {
            cluster.delete(topic)?;
        }
        // A static member that has not said good-bye keeps its group until its session ends.
        let _ = cluster.delete_group(&name);
        Ok(())
    }

    fn drain_file(&self) -> std::path::PathBuf {
        self.folder.path().join("drain")
    }
}

impl Victim for PeerJob {
    fn start(&mut self) -> Result<()> {
        let mut java = self.program.java();
        let given = [
            ("bootstrap", self.bootstrap.clone()),
            ("application-id", self.name.clone()),
            ("input", self.input.clone()),
            ("output-prefix", self.prefix()),
            ("interval-ms", self.interval.as_millis().to_string()),
            ("threads", PARALLELISM.to_string()),
            ("state-dir", self.folder.path().join("state").display().to_string()),
            ("drain-file", self.drain_file().display().to_string()),
        ];
        java.args(given.map(|(name, value)| format!("{name}={value}")));
        let name = self.program.peer.name();
        self.process = Some(Process::spawn(name, java.current_dir(self.folder.path()), &self.folder.path().join("log"))?);
        Ok(())
    }

    fn await_commits(&mut self, count: u32) -> Result<()> {
        let progress = self.progress()?;
        let mut last = None;
        let mut seen = 0;
        wait_until(format!("{count} commits"), READY, || {
            self.process()?;
            let now = progress.committed().ok().flatten();
            if now > last {
                seen += 1;
                last = now;
            }
            // The first one seen may be of long ago.
            Ok(seen > count)
        })
    }

    fn kill(&mut self) -> Result<()> {
        self.process()?.kill().map(drop)
    }

    fn stop(&mut self) -> Result<()> {
        let process = self.process()?;
        let exit = process.terminate(READY)?;
        // 143: ended by SIGTERM, as a JVM says it.
        ensure!(matches!(exit.code(), Some(0 | 143)), "it ended with {}; {}", exit.status, process.last_lines(40));
        self.process = None;
        Ok(())
    }
}
