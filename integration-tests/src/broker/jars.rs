//! Apache Kafka from its Maven Central jars, once per machine: `sluicegate/kafka/<version>` in the cache folder.
//!
//! Beside the jars lies what saves two of three seconds at each start: the metadata of a formatted, empty log folder, and an
//! archive of the classes that a broker loads.

use super::{Ports, VERSION, properties};
use crate::{Context, Result, cache, deadline::wait_until, ensure, leftovers::Folder, process, process::Process};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The identity of every cluster that is started here.
pub(super) const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";
/// 43 MB, from a mirror that may be slow.
const DOWNLOAD: Duration = Duration::from_secs(600);
/// Written last: without it the folder is made anew.
const COMPLETE: &str = "complete";

/// The prepared folder.
#[derive(Debug, Clone)]
pub(super) struct Jars {
    folder: PathBuf,
    /// Only the JVM that wrote an archive can use it, so its name has the version.
    archive: PathBuf,
}

impl Jars {
    /// The prepared folder; downloads and prepares it if it is not there. Several processes may ask at once.
    pub(super) fn get() -> Result<Self> {
        let base = cache::folder()?.join("kafka");
        let folder = base.join(VERSION);
        let archive = folder.join(format!("classes-{}.jsa", java_version()?));
        let jars = Self { folder, archive };
        if !jars.is_complete() {
            fs::create_dir_all(&base)?;
            let lock = File::create(base.join("lock"))?;
            lock.lock().context("waiting for another process that prepares Kafka")?;
            if !jars.folder.join(COMPLETE).exists() {
                jars.prepare().with_context(|| format!("preparing Kafka {VERSION} in {}", jars.folder.display()))?;
            }
            if !jars.archive.exists() {
                jars.archive_classes().context("archiving the classes of a Kafka broker")?;
            }
        }
        Ok(jars)
    }

    fn is_complete(&self) -> bool {
        self.folder.join(COMPLETE).exists() && self.archive.exists()
    }

    /// `java`, with class path and logging, without a main class.
    pub(super) fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.arg("-cp").arg(self.class_path());
        command.arg(join("-Dlog4j2.configurationFile=", &self.logging()));
        command
    }

    /// The flag that lets the JVM map the archived classes. With `auto` an archive that does not fit is passed over.
    pub(super) fn archive_flags(&self) -> [OsString; 2] {
        [join("-XX:SharedArchiveFile=", &self.archive), "-Xshare:auto".into()]
    }

    /// Writes what `kafka-storage format` writes, for broker `id`, into the empty folder `data`.
    pub(super) fn format(&self, data: &Path, id: u16) -> Result<()> {
        fs::create_dir_all(data)?;
        fs::copy(self.formatted().join("bootstrap.checkpoint"), data.join("bootstrap.checkpoint"))?;
        let meta = fs::read_to_string(self.formatted().join("meta.properties"))?;
        let mine: String = meta
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| match line.split_once('=') {
                Some(("node.id", _)) => format!("node.id={id}\n"),
                // 22 characters of URL-safe base64; any that no other broker has.
                Some(("directory.id", old)) => format!("directory.id={id:04}{}\n", old.get(4..).unwrap_or(old)),
                _ => format!("{line}\n"),
            })
            .collect();
        fs::write(data.join("meta.properties"), mine)?;
        Ok(())
    }

    fn prepare(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        fs::write(self.logging(), LOGGING)?;
        download(&self.folder, &ARTIFACTS)?;
        self.format_once().context("formatting a log folder")?;
        fs::write(self.folder.join(COMPLETE), "")?;
        Ok(())
    }

    /// Formats a folder with Kafka's own tool and keeps what that writes.
    fn format_once(&self) -> Result<()> {
        let work = Folder::new("prepare")?;
        let (data, settings) = one_broker(work.path())?;
        let mut format = self.java();
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&settings);
        process::output(&mut format, Duration::from_secs(120))?;
        fs::create_dir_all(self.formatted())?;
        for name in ["bootstrap.checkpoint", "meta.properties"] {
            fs::copy(data.join(name), self.formatted().join(name))?;
        }
        Ok(())
    }

    /// Runs a broker once and lets the JVM write down the classes that it has loaded.
    fn archive_classes(&self) -> Result<()> {
        let work = Folder::new("prepare")?;
        let (data, settings) = one_broker(work.path())?;
        self.format(&data, 1)?;
        let written = work.path().join("classes.jsa");
        let mut command = self.java();
        command.arg(join("-XX:ArchiveClassesAtExit=", &written)).arg("-XX:TieredStopAtLevel=1").arg("kafka.Kafka").arg(&settings);
        let log = work.path().join("log");
        let mut broker = Process::spawn("the first Kafka broker", &mut command, &log)?;
        let started = wait_until("the first start of a broker", Duration::from_secs(120), || {
            Ok(fs::read_to_string(&log)?.contains("Kafka Server started") || broker.try_exit()?.is_some())
        });
        ensure!(started.is_ok() && broker.try_exit()?.is_none(), broker.last_lines(30));
        broker.terminate(Duration::from_secs(120))?;
        if !written.exists() {
            // A JVM without this feature: brokers start all the same, only later. An empty file is passed over by the JVM.
            fs::write(&written, "")?;
        }
        // Under another name first: a half-written archive must never be taken for one.
        let beside = self.archive.with_extension("new");
        fs::copy(&written, &beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o644))?;
        fs::rename(&beside, &self.archive)?;
        Ok(())
    }

    fn libraries(&self) -> PathBuf {
        self.folder.join(LIBRARIES)
    }

    fn formatted(&self) -> PathBuf {
        self.folder.join("formatted")
    }

    fn logging(&self) -> PathBuf {
        self.folder.join("log4j2.yaml")
    }

    fn class_path(&self) -> OsString {
        self.libraries().join("*").into_os_string()
    }
}

/// What `java -version` calls itself, as a part of a file's name.
fn java_version() -> Result<String> {
    let finished = process::run(Command::new("java").arg("-version"), Duration::from_secs(30))
        .context("no Java; `make setup` installs it")?;
    let version = finished.stderr.split('"').nth(1).context("`java -version` names no version")?;
    Ok(version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect())
}

/// The settings of a single broker that works in `folder`: its data folder and its properties file.
fn one_broker(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let data = folder.join("data");
    let mut settings = properties::common(&super::Options::default());
    settings.extend(local(1, &BTreeMap::from([(1, Ports::free(None)?)]), &data));
    let file = folder.join("server.properties");
    fs::write(&file, properties::file(&settings))?;
    Ok((data, file))
}

/// Listeners, quorum and log folder of broker `id` on this machine. Clients come to the address that `ports` advertises; brokers
/// speak with each other, and with themselves, on a listener of their own, which no fault before the clients' touches.
pub(super) fn local(id: u16, all: &BTreeMap<u16, Ports>, data: &Path) -> BTreeMap<String, String> {
    let ports = all.get(&id).copied().unwrap_or_default();
    let voters = all.iter().map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller)).collect::<Vec<_>>().join(",");
    let listener = |name: &str, port: u16| format!("{name}://127.0.0.1:{port}");
    let inner = [listener("INTERNAL", ports.internal), listener("CONTROLLER", ports.controller)].join(",");
    let advertised = [listener("PLAINTEXT", ports.advertised), listener("INTERNAL", ports.internal)].join(",");
    let settings = [
        ("node.id", id.to_string()),
        ("controller.quorum.voters", voters),
        ("listeners", format!("{},{inner}", listener("PLAINTEXT", ports.client))),
        ("advertised.listeners", advertised),
        ("inter.broker.listener.name", "INTERNAL".to_owned()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
        ("log.dirs", data.display().to_string()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn join(flag: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(flag);
    joined.push(path);
    joined
}

/// Group, artifact and version of what the class path begins with.
pub(super) type Artifact = (&'static str, &'static str, &'static str);

const ARTIFACTS: [Artifact; 3] = [
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.1"),
    ("org.apache.logging.log4j", "log4j-core", "2.25.1"),
];

/// Below the folder of a version.
const LIBRARIES: &str = "lib";

/// Puts `artifacts` and all that they need into `folder/lib`.
pub(super) fn download(folder: &Path, artifacts: &[Artifact]) -> Result<()> {
    let libraries = folder.join(LIBRARIES);
    fs::write(folder.join("pom.xml"), pom(artifacts))?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"]).current_dir(folder);
    maven.arg(join("-DoutputDirectory=", &libraries));
    process::output(&mut maven, DOWNLOAD).context("downloading its jars with Maven; `make setup` installs Maven and Java")?;
    ensure!(fs::read_dir(&libraries)?.count() > 20, "Maven left no jars in {}", libraries.display());
    Ok(())
}

fn pom(artifacts: &[Artifact]) -> String {
    let dependency = |(group, artifact, version): &Artifact| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies: String = artifacts.iter().map(dependency).collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>sluicegate</groupId>\n  \
         <artifactId>kafka</artifactId>\n  <version>1</version>\n  <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}

const LOGGING: &str = r#"Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: "[%d] %p %m (%c)%n"
  Loggers:
    Root:
      level: INFO
      AppenderRef:
        - ref: STDOUT
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_the_version_of_kafka() {
        let pom = pom(&ARTIFACTS);
        assert!(pom.contains("<artifactId>kafka_2.13</artifactId><version>4.1.1</version>"), "{pom}");
    }
}
