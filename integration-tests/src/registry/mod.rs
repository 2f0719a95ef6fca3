//! A schema registry for everyone: Apicurio Registry, which speaks the protocol of Confluent's at [`Registry::url`].
//!
//! Its program comes from Maven Central once per machine, into the cache folder (a download of 136 MB). A registry that was started here is
//! on a free port with a folder of its own, in which it keeps its schemas: they and their ids are there again after a
//! [`Registry::kill`]. It does not outlive the process that started it.
//!
//! Kafka may run in Docker, so that there need be no Java: then there is no registry, and whoever asks is told why.

mod guard;
mod program;

use crate::{
    Context, Result, bail,
    deadline::wait_until,
    ensure,
    http::{self, Answer},
    leftovers::Folder,
    ports,
    process::{self, Process, Signal},
};
use guard::Guard;
use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The version of Apicurio Registry that is started. Version 3 needs Java 21.
pub const VERSION: &str = "2.6.13.Final";
/// It serves after 3 s; several builds may share the machine with it.
const START: Duration = Duration::from_secs(180);
/// One answer of a registry that is up.
const ANSWER: Duration = Duration::from_secs(60);
const PASSWORD: &str = "sluicegate";

/// What kind of registry to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// HTTPS with a certificate that nobody has signed: see [`Registry::certificate`].
    pub tls: bool,
    /// Name and password that every request has to bring (basic authentication). Not together with `tls`.
    pub user: Option<(String, String)>,
}

/// A running registry. Dropping it kills it and removes its data.
pub struct Registry {
    program: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    guard: Option<Guard>,
    process: Option<Process>,
    folder: Folder,
}

impl Registry {
    /// Starts a registry without schemas; else, in plain words, why there is none.
    pub fn start() -> Result<Result<Self, String>> {
        Self::start_with(&Options::default())
    }

    /// The same with options.
    pub fn start_with(options: &Options) -> Result<Result<Self, String>> {
        ensure!(!(options.tls && options.user.is_some()), "a registry with TLS and with users is not offered here");
        let program = match program::get()? {
            Ok(program) => program,
            Err(why) => return Ok(Err(why)),
        };
        let port = ports::free()?;
        let tls_port = if options.tls { Some(ports::free()?) } else { None };
        let guard = match &options.user {
            Some((name, password)) => Some(Guard::before(&local(port), name, password)?),
            None => None,
        };
        let mut registry = Self { program, port, tls_port, guard, process: None, folder: Folder::new("registry")? };
        if options.tls {
            registry.make_certificate().context("making a certificate with Java's keytool")?;
        }
        registry.restart()?;
        Ok(Ok(registry))
    }

    /// Where clients find what is like Confluent's registry.
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, address) = match (&self.guard, self.tls_port) {
            (Some(guard), _) => ("http", guard.address()),
            (None, Some(port)) => ("https", format!("localhost:{port}")),
            (None, None) => ("http", local(self.port)),
        };
        format!("{scheme}://{address}{API}")
    }

    /// The file (PEM) with the certificate that a client has to trust, if the registry speaks TLS. It is made out to `localhost`.
    #[must_use]
    pub fn certificate(&self) -> Option<PathBuf> {
        self.tls_port.map(|_| self.folder.path().join("certificate.pem"))
    }

    /// For messages: what and where it is.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("Apicurio Registry {VERSION} at {}", self.url())
    }

    /// Registers `schema` (JSON) under `subject` and says which id it has; an error if the registry refuses it.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let body = serde_json::json!({ "schema": schema }).to_string();
        let answer = self.ask("POST", &format!("/subjects/{subject}/versions"), &body)?;
        ensure!(answer.status == 200, "registering {subject}: {answer:?}");
        let body: serde_json::Value = serde_json::from_str(&answer.body)?;
        let id = body.get("id").and_then(serde_json::Value::as_u64).with_context(|| format!("no id in {body}"))?;
        Ok(u32::try_from(id)?)
    }

    /// Sets which changes of its schema `subject` takes: `BACKWARD`, `FULL`, `NONE` and so on.
    pub fn set_compatibility(&self, subject: &str, level: &str) -> Result<()> {
        let body = serde_json::json!({ "compatibility": level }).to_string();
        let answer = self.ask("PUT", &format!("/config/{subject}"), &body)?;
        ensure!(answer.status == 200, "setting the compatibility of {subject} to {level}: {answer:?}");
        Ok(())
    }

    /// Names of all subjects.
    pub fn subjects(&self) -> Result<Vec<String>> {
        let answer = self.ask("GET", "/subjects", "")?;
        ensure!(answer.status == 200, "listing the subjects: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// The answer to any request below [`Registry::url`], whatever it is. Nobody asks for a password here, and nothing is encrypted.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        const CONTENT: &str = "application/vnd.schemaregistry.v1+json";
        http::ask(&local(self.port), (method, &format!("{API}{path}")), (CONTENT, body), ANSWER)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill().map(drop)
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.process()?.signal(Signal::Stop)
    }

    /// Ends the freeze.
    pub fn resume(&mut self) -> Result<()> {
        self.process()?.signal(Signal::Continue)
    }

    /// Starts it again, on the same port with the same schemas, and waits until it serves.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = self.command();
        let log = self.folder.path().join("registry.log");
        self.process = Some(Process::spawn(self.describe(), &mut command, &log)?);
        let waited = wait_until(format!("{} serves", self.describe()), START, || {
            if let Some(exit) = self.process()?.try_exit()? {
                bail!("it ended by itself ({})", exit.status);
            }
            // The port for TLS opens a moment later.
            let encrypted = self.tls_port.is_none_or(|port| TcpStream::connect(local(port)).is_ok());
            Ok(encrypted && self.ask("GET", "/subjects", "").is_ok_and(|answer| answer.status == 200))
        });
        waited.with_context(|| self.process.as_ref().map(|process| process.last_lines(30)).unwrap_or_default())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dquarkus.http.host=127.0.0.1").arg(format!("-Dquarkus.http.port={}", self.port));
        // In memory it would forget its schemas with a kill, and number the next ones from 1 again.
        let data = self.folder.path().join("schemas");
        // Nothing is answered before it is written: a kill comes at any moment.
        command.arg(format!("-Dquarkus.datasource.jdbc.url=jdbc:h2:file:{};WRITE_DELAY=0", data.display()));
        if let Some(port) = self.tls_port {
            command.arg(format!("-Dquarkus.http.ssl-port={port}"));
            command.arg(format!("-Dquarkus.http.ssl.certificate.key-store-file={}", self.key_store().display()));
            command.arg(format!("-Dquarkus.http.ssl.certificate.key-store-password={PASSWORD}"));
        }
        command.arg("-jar").arg(&self.program);
        // What it wants to keep for its user goes with the folder.
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }

    fn make_certificate(&self) -> Result<()> {
        let keytool = |arguments: &[&str], file: Option<&Path>| {
            let mut command = Command::new("keytool");
            command.args(arguments).args(["-alias", "registry", "-storetype", "PKCS12", "-storepass", PASSWORD]);
            command.arg("-keystore").arg(self.key_store());
            if let Some(file) = file {
                command.arg("-file").arg(file);
            }
            process::output(&mut command, START).map(drop)
        };
        let pair = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30", "-dname", "CN=localhost"];
        let names = ["-ext", "san=dns:localhost,ip:127.0.0.1"];
        keytool(&[&pair[..], &names].concat(), None)?;
        keytool(&["-exportcert", "-rfc"], self.certificate().as_deref())
    }

    fn key_store(&self) -> PathBuf {
        self.folder.path().join("key-store.p12")
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the registry does not run")
    }
}

/// Apicurio has several interfaces; this is the one that is like Confluent's.
const API: &str = "/apis/ccompat/v7";

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
