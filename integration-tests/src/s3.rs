//! A server of buckets that speaks S3's protocol, for checkpoints that are kept there.
//!
//! 1. MinIO, where its program is in PATH or in the cache folder, which `S3=minio` compiles it into first (Go, two minutes); else
//! 2. moto, a server for tests in Python, installed into the cache folder (a quarter of a minute). It keeps everything in memory.
//!
//! `S3=moto` takes the second one in any case, `S3=off` none. MinIO is under the AGPL: it is only ever a process beside the tests.
//! A server that was started here is on a free port with a folder of its own, and does not outlive the process that started it.

use crate::{
    Context, Result, bail, cache,
    deadline::wait_until,
    ensure, http,
    leftovers::Folder,
    ports,
    process::{self, Process, Signal},
    variables::variable,
};
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Packages of the version that the tests were written with. Without the services that nobody asks for here it is a third of the size.
const MOTO: [&str; 3] = ["moto[s3]==5.2.5", "flask>=3,<4", "flask-cors"];
const MINIO: &str = "github.com/minio/minio@latest";
/// A download of 40 MB, from a mirror that may be slow.
const INSTALL: Duration = Duration::from_secs(300);
/// 1.2 s and 0.5 s; several builds may share the machine with it.
const START: Duration = Duration::from_secs(180);
const ANSWER: Duration = Duration::from_secs(60);
const COMPILE: Duration = Duration::from_secs(1800);
/// The one bucket.
const BUCKET: &str = "sluicegate-test";
const KEY: &str = "sluicegate";
const SECRET: &str = "sluicegate-secret";

/// Which program it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Program {
    Minio(PathBuf),
    Moto(PathBuf),
}

impl Program {
    /// The program, installed if need be; in plain words, why there is none.
    fn get() -> Result<Result<Self, String>> {
        let minio = || -> Result<_> { Ok(in_path("minio").or(Some(cached_minio()?).filter(|path| path.is_file()))) };
        match variable::<String>("S3")?.as_deref() {
            None => match minio()? {
                Some(path) => Ok(Ok(Self::Minio(path))),
                None => moto(),
            },
            Some("minio") => match minio()? {
                Some(path) => Ok(Ok(Self::Minio(path))),
                None => compile_minio().context("S3=minio").map(|path| Ok(Self::Minio(path))),
            },
            Some("moto") => moto(),
            Some("off") => Ok(Err("S3=off".to_owned())),
            Some(other) => bail!("S3={other}: allowed are minio, moto and off"),
        }
    }
}

/// A running server. Dropping it kills it and removes its data.
pub struct BucketServer {
    program: Program,
    port: u16,
    strict: bool,
    process: Option<Process>,
    folder: Folder,
}

impl BucketServer {
    /// Starts a server with one empty bucket; else, in plain words, why there is none.
    pub fn start() -> Result<Result<Self, String>> {
        Self::start_any(false)
    }

    /// The same, but one that looks at credentials: whatever is done with others than [`BucketServer::variables`] says is refused.
    /// (moto refuses these as well then.)
    pub fn start_strict() -> Result<Result<Self, String>> {
        Self::start_any(true)
    }

    fn start_any(strict: bool) -> Result<Result<Self, String>> {
        let program = match Program::get()? {
            Ok(program) => program,
            Err(why) => return Ok(Err(why)),
        };
        let mut server = Self { program, port: ports::free()?, strict, process: None, folder: Folder::new("buckets")? };
        server.restart()?;
        server.make_bucket()?;
        Ok(Ok(server))
    }

    /// Where the bucket is, for `checkpoint.storage`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}")
    }

    /// The environment variables that say how to get there, and who comes.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address())),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    /// Whether what it has acknowledged is still there after a [`BucketServer::kill`].
    #[must_use]
    pub fn is_durable(&self) -> bool {
        matches!(self.program, Program::Minio(_))
    }

    /// For messages: what and where it is.
    #[must_use]
    pub fn describe(&self) -> String {
        let name = match self.program {
            Program::Minio(_) => "MinIO",
            Program::Moto(_) => "moto",
        };
        format!("{name} at {}", self.address())
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

    /// Kills it, removes the bucket with all that is in it, and starts it again.
    pub fn lose_everything(&mut self) -> Result<()> {
        self.kill()?;
        fs::remove_dir_all(self.data())?;
        self.restart()
    }

    /// Starts it again, on the same port with the same data, and waits until it serves.
    pub fn restart(&mut self) -> Result<()> {
        fs::create_dir_all(self.data())?;
        let mut command = self.command();
        let log = self.folder.path().join("server.log");
        self.process = Some(Process::spawn(self.describe(), &mut command, &log)?);
        let ready = match self.program {
            Program::Minio(_) => "/minio/health/ready",
            Program::Moto(_) => "/moto-api/",
        };
        let waited = wait_until(format!("{} serves", self.describe()), START, || {
            if let Some(exit) = self.process()?.try_exit()? {
                bail!("it ended by itself ({})", exit.status);
            }
            Ok(self.ask("GET", ready).is_ok_and(|status| status == 200))
        });
        waited.with_context(|| self.process.as_ref().map(|process| process.last_lines(30)).unwrap_or_default())
    }

    fn command(&self) -> Command {
        let mut command = match &self.program {
            Program::Minio(path) => {
                let mut command = Command::new(path);
                command.args(["server", "--quiet", "--address", &self.address()]).arg(self.data());
                command.env("MINIO_ROOT_USER", KEY).env("MINIO_ROOT_PASSWORD", SECRET);
                command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
                command
            }
            Program::Moto(path) => {
                let mut command = Command::new(path);
                command.args(["-H", "127.0.0.1", "-p", &self.port.to_string()]);
                if self.strict {
                    // All but the first, by which the bucket is made.
                    command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1");
                }
                command
            }
        };
        // What it wants to keep for its user goes with the folder.
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }

    /// moto takes it from anybody. To MinIO a bucket is a folder in its own, and so nothing has to be signed here.
    fn make_bucket(&self) -> Result<()> {
        match self.program {
            Program::Minio(_) => fs::create_dir(self.data().join(BUCKET))?,
            Program::Moto(_) => {
                let status = self.ask("PUT", &format!("/{BUCKET}"))?;
                ensure!(status == 200, "making a bucket: status {status}");
            }
        }
        Ok(())
    }

    /// The status of an answer.
    fn ask(&self, method: &str, path: &str) -> Result<u16> {
        Ok(http::ask(&self.address(), (method, path), ("text/plain", ""), ANSWER)?.status)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the server of buckets does not run")
    }
}

/// moto from the cache, where it is installed if need be. Several processes may ask at once.
fn moto() -> Result<Result<Program, String>> {
    let base = cache::folder()?.join("moto");
    // Other packages are another folder, and what has changed is installed anew.
    let folder = base.join(MOTO.join("+").replace(['[', ']', '=', '<', '>', ','], "_"));
    let (program, complete) = (folder.join("bin/moto_server"), folder.join("complete"));
    if !complete.exists() {
        let Some(python) = in_path("python3") else {
            return Ok(Err("neither MinIO nor python3 for moto is installed".to_owned()));
        };
        fs::create_dir_all(&base)?;
        let lock = File::create(base.join("lock"))?;
        lock.lock().context("waiting for another process that installs moto")?;
        if !complete.exists()
            && let Err(error) = install_moto(&python, &folder)
        {
            return Ok(Err(format!("moto could not be installed: {error:#}")));
        }
    }
    Ok(Ok(Program::Moto(program)))
}

fn install_moto(python: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    process::output(Command::new(python).args(["-m", "venv"]).arg(folder), INSTALL)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]).args(MOTO);
    process::output(&mut pip, INSTALL)?;
    fs::write(folder.join("complete"), "")?;
    Ok(())
}

fn cached_minio() -> Result<PathBuf> {
    Ok(cache::folder()?.join("minio/minio"))
}

fn compile_minio() -> Result<PathBuf> {
    let program = cached_minio()?;
    let folder = cache::folder()?.join("minio");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("waiting for another process that compiles MinIO")?;
    if !program.is_file() {
        // Into a folder of its own first: a half-written program must never be taken for one.
        let beside = folder.join("new");
        let mut go = Command::new("go");
        go.args(["install", "-ldflags=-s -w", MINIO]).env("CGO_ENABLED", "0").env("GOBIN", &beside);
        process::output(&mut go, COMPILE).context("compiling MinIO with Go")?;
        fs::rename(beside.join("minio"), &program)?;
        fs::remove_dir_all(beside)?;
    }
    Ok(program)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}
