//! The program of the registry, once per machine: `sluicegate/registry/<version>` in the cache folder.

use super::VERSION;
use crate::{Context, Result, cache, ensure, process};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// 136 MB, from a mirror that may be slow.
const DOWNLOAD: Duration = Duration::from_secs(900);
const UNPACK: Duration = Duration::from_secs(120);
/// Written last: without it the folder is made anew.
const COMPLETE: &str = "complete";
/// The plugin that fetches one file; its version is named because Maven would look for the newest at each call.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy";

/// The jar to start, downloaded if need be; in plain words, why there is none. Several processes may ask at once.
pub(super) fn get() -> Result<Result<PathBuf, String>> {
    let base = cache::folder()?.join("registry");
    let folder = base.join(VERSION);
    let jar = folder.join(format!("apicurio-registry-app-{VERSION}-runner.jar"));
    if process::run(Command::new("java").arg("-version"), UNPACK).is_err() {
        return Ok(Err("there is no Java for it; `make setup` installs one where there is no Docker either".to_owned()));
    }
    if !folder.join(COMPLETE).exists() {
        fs::create_dir_all(&base)?;
        let lock = File::create(base.join("lock"))?;
        lock.lock().context("waiting for another process that downloads the registry")?;
        if !folder.join(COMPLETE).exists()
            && let Err(error) = download(&folder, &jar)
        {
            return Ok(Err(format!("Apicurio Registry {VERSION} could not be downloaded with Maven: {error:#}")));
        }
    }
    Ok(Ok(jar))
}

fn download(folder: &Path, jar: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", COPY]).current_dir(folder);
    maven.arg(format!("-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"));
    maven.arg(format!("-DoutputDirectory={}", folder.display()));
    process::output(&mut maven, DOWNLOAD)?;
    let archive = folder.join(format!("apicurio-registry-app-{VERSION}-all.tar.gz"));
    process::output(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(folder), UNPACK)?;
    ensure!(jar.is_file(), "there is no {} in the archive", jar.display());
    fs::remove_file(archive)?;
    fs::write(folder.join(COMPLETE), "")?;
    Ok(())
}
