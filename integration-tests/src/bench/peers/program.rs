//! The peers' programs: Java, built by Maven into the cache folder.

use super::Peer;
use crate::{Context, Result, cache, process};
use std::{ffi::OsString, path::Path, process::Command, time::Duration};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/peers");
/// Flink has 140 MB, from a mirror that may be slow.
const BUILD: Duration = Duration::from_secs(900);

/// A peer's program, ready to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it runs on.
    pub peer: Peer,
    class_path: OsString,
}

impl Program {
    /// Compiles it, and downloads what it needs the first time.
    pub fn build(peer: Peer) -> Result<Self> {
        let (cache, module) = (cache::folder()?, peer.module());
        let built = cache.join("peers");
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "--also-make", "--projects", module, "--file"]).arg(Path::new(SOURCES).join("pom.xml"));
        maven.arg(property("maven.repo.local", &cache.join("maven"))).arg(property("peers.build", &built)).arg("package");
        let why = || format!("{}: building {SOURCES}/{module} with Maven; `make setup` installs Maven and Java", peer.name());
        process::output(&mut maven, BUILD).with_context(why)?;
        let folder = built.join(module);
        let mut class_path = folder.join(format!("{module}-1.jar")).into_os_string();
        class_path.push(":");
        class_path.push(folder.join("lib/*"));
        Ok(Self { peer, class_path })
    }

    /// `java` with a heap of 2 GiB, without arguments for the program.
    #[must_use]
    pub fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx2g", "-XX:+UseG1GC"]).args(self.peer.flags()).arg("-cp").arg(&self.class_path).arg(self.peer.main());
        java
    }
}

fn property(name: &str, value: &Path) -> OsString {
    let mut property = OsString::from(format!("-D{name}="));
    property.push(value);
    property
}
