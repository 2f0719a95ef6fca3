//! Python's fastavro, Java's Avro and Java's Jackson: installed into the cache folder by their own tools, where they can be.

use crate::{
    Result,
    row::{Load, Row},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const FASTAVRO: &str = "fastavro==1.13.1";
/// Jackson comes with it.
const JAVA_AVRO: &str = "1.12.1";

/// Rows of each, or the reason why there are none: its name, and what is missing.
pub fn rows(load: &Load, rounds: usize) -> Result<[std::result::Result<Vec<Row>, String>; 2]> {
    let folder = tempfile::tempdir()?;
    for (format, records) in &load.formats {
        // Each behind its length, 4 bytes, the highest first.
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend_from_slice(&u32::try_from(record.len())?.to_be_bytes());
            bytes.extend_from_slice(record);
        }
        fs::write(folder.path().join(format), bytes)?;
    }
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/order-event.avsc");
    let mut programs = [python(), java()];
    for program in programs.iter_mut().flatten() {
        program.arg(&schema).arg(folder.path()).arg(rounds.to_string());
    }
    let [python, java] = programs;
    let python = match python {
        Ok(program) => Ok(run(program)?),
        Err(why) => Err(format!("fastavro ({why})")),
    };
    let java = match java {
        Ok(program) => Ok(run(program)?),
        Err(why) => Err(format!("Java Avro and Java Jackson ({why})")),
    };
    Ok([python, java])
}

/// One that is there has to run: what it prints are rows.
fn run(mut program: Command) -> Result<Vec<Row>> {
    let output = program.stdin(Stdio::null()).output()?;
    let (said, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{program:?} ended with {}:\n{errors}", output.status).into());
    }
    said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/formats")
}

/// The folder for what is downloaded, as in the Makefile.
fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))).unwrap_or_default().join("sluicegate")
}

/// A Python with fastavro: the one in PATH, or one in the cache folder.
fn python() -> std::result::Result<Command, String> {
    let has_it = |python: &Path| ends_well(Command::new(python).args(["-c", "import fastavro"]));
    let (common, folder) = (PathBuf::from("python3"), cache().join("fastavro"));
    let own = folder.join("bin/python");
    if !has_it(&common) && !has_it(&own) {
        ends_well(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        ends_well(Command::new(&own).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", FASTAVRO]));
    }
    let python = [common, own].into_iter().find(|python| has_it(python));
    let python = python.ok_or_else(|| format!("no Python that has it, and {FASTAVRO} could not be installed"))?;
    let mut program = Command::new(python);
    program.arg(here().join("speed.py"));
    Ok(program)
}

/// Java with its compiler, and the library with all that it needs.
fn java() -> std::result::Result<Command, String> {
    if !ends_well(Command::new("javac").arg("-version")) {
        return Err("no Java with its compiler".to_owned());
    }
    let folder = cache().join("avro").join(JAVA_AVRO);
    let libraries = folder.join("lib");
    let complete = folder.join("complete");
    if !complete.exists() {
        let pom = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>sluicegate</groupId>\n  \
             <artifactId>avro</artifactId>\n  <version>1</version>\n  <dependencies>\n    <dependency><groupId>org.apache.avro</groupId>\
             <artifactId>avro</artifactId><version>{JAVA_AVRO}</version></dependency>\n  </dependencies>\n</project>\n"
        );
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("pom.xml"), pom));
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"]).current_dir(&folder);
        maven.arg(format!("-DoutputDirectory={}", libraries.display()));
        if !ends_well(&mut maven) {
            return Err(format!("Avro {JAVA_AVRO} could not be downloaded with Maven"));
        }
        fs::write(&complete, "").map_err(|error| error.to_string())?;
    }
    let mut program = Command::new("java");
    program.arg("-Xmx2g").arg("-cp").arg(libraries.join("*")).arg(here().join("Speed.java"));
    Ok(program)
}

/// Whether it starts, and ends without an error.
fn ends_well(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
