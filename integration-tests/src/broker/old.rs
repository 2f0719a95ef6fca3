//! A broker that is too old: Apache Kafka 2.4.1, the last version that does not know "require stable", with its ZooKeeper.

use super::jars::{self, Artifact};
use crate::{Context, Result, cache, deadline::wait_until, ensure, leftovers::Folder, ports, process::Process};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The version of Apache Kafka that is started.
pub const VERSION: &str = "2.4.1";
const ARTIFACTS: [Artifact; 2] = [("org.apache.kafka", "kafka_2.13", VERSION), ("org.slf4j", "slf4j-simple", "1.7.36")];
/// Written last: without it the folder is made anew.
const COMPLETE: &str = "complete";
const START: Duration = Duration::from_secs(180);

/// A running broker of that version, always from its jars. Dropping it kills it and removes its data.
pub struct OldBroker {
    bootstrap: String,
    // In the order in which they are dropped: the broker, then what it needs.
    _broker: Process,
    _zookeeper: Process,
    _folder: Folder,
}

impl OldBroker {
    /// Downloads it if it is not in the cache, starts it and waits until it serves. None if it would have to be downloaded and there
    /// is no Maven.
    pub fn start() -> Result<Option<Self>> {
        let Some(libraries) = libraries()? else { return Ok(None) };
        let folder = Folder::new("old-kafka")?;
        let (zookeeper_port, port) = (ports::free()?, ports::free()?);

        let zookeeper_settings = folder.path().join("zookeeper.properties");
        let data = folder.path().join("zookeeper");
        fs::write(
            &zookeeper_settings,
            format!(
                "dataDir={}\nclientPort={zookeeper_port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
                data.display()
            ),
        )?;
        let main = "org.apache.zookeeper.server.ZooKeeperServerMain";
        let log = folder.path().join("zookeeper.log");
        let zookeeper = Process::spawn("ZooKeeper", java(&libraries, "64m", main).arg(&zookeeper_settings), &log)?;

        let settings = folder.path().join("server.properties");
        let logs = folder.path().join("data");
        fs::write(
            &settings,
            format!(
                "broker.id=1\nzookeeper.connect=127.0.0.1:{zookeeper_port}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\n\
                 offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
                 transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n",
                logs.display()
            ),
        )?;
        let log = folder.path().join("server.log");
        let mut broker = Process::spawn("Kafka 2.4.1", java(&libraries, "256m", "kafka.Kafka").arg(&settings), &log)?;
        // Its client waits for ZooKeeper.
        wait_until("Kafka 2.4.1", START, || {
            ensure!(broker.try_exit()?.is_none(), "it ended by itself; {}", broker.last_lines(40));
            Ok(fs::read_to_string(&log)?.contains("[KafkaServer id=1] started"))
        })?;
        Ok(Some(Self { bootstrap: format!("127.0.0.1:{port}"), _broker: broker, _zookeeper: zookeeper, _folder: folder }))
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

fn java(libraries: &Path, heap: &str, main: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]).arg(format!("-Xmx{heap}"));
    command.arg("-cp").arg(libraries.join("*")).arg(main);
    command
}

/// The folder of the jars; several processes may ask at once.
fn libraries() -> Result<Option<PathBuf>> {
    let folder = cache::folder()?.join("kafka").join(VERSION);
    let complete = folder.join(COMPLETE);
    if !complete.exists() {
        if Command::new("mvn").arg("-v").output().is_err() {
            return Ok(None);
        }
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("waiting for another process that downloads Kafka 2.4.1")?;
        if !complete.exists() {
            jars::download(&folder, &ARTIFACTS).context("Kafka 2.4.1")?;
            fs::write(&complete, "")?;
        }
    }
    Ok(Some(folder.join("lib")))
}
