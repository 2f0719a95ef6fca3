//! A Docker daemon for tests that need one: the one that answers, else one of our own for as long as the test runs.

use crate::{
    Context, Result,
    deadline::wait_until,
    ensure,
    leftovers::Folder,
    process::{self, Process},
};
use std::{process::Command, time::Duration};

const ANSWER: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(20);
const PULL: Duration = Duration::from_secs(180);

/// A daemon that answers.
pub struct Daemon {
    host: Option<String>,
    ours: Option<(Process, Folder)>,
}

impl Daemon {
    /// A daemon that has `image` or can pull it; else, in plain words, why there is none. As root, where the program `dockerd` is
    /// installed and no daemon answers, one is started with a socket of its own, so that nobody else notices, over the images of
    /// this machine.
    pub fn with_image(image: &str) -> Result<Result<Self, String>> {
        if !installed("docker") {
            return Ok(Err("the command `docker` is not installed".to_owned()));
        }
        let mut daemon = Self { host: None, ours: None };
        if !daemon.answers() {
            let user = process::output(Command::new("id").arg("-u"), ANSWER)?;
            if user.trim() != "0" || !installed("dockerd") {
                return Ok(Err("no Docker daemon answers, and only root can start one (with the program `dockerd`)".to_owned()));
            }
            if let Err(error) = daemon.start() {
                return Ok(Err(format!("a Docker daemon was started and did not come up: {error:#}")));
            }
        }
        let has = |arguments: [&str; 3], within| process::output(daemon.docker().args(arguments), within);
        if has(["image", "inspect", image], ANSWER).is_err()
            && let Err(error) = has(["pull", "-q", image], PULL)
        {
            return Ok(Err(format!(
                "the Docker daemon has no image {image} and cannot pull it ({error:#}); docker/kafka-image/build builds one like it"
            )));
        }
        Ok(Ok(daemon))
    }

    /// The variable that leads Docker's clients to it, with its value, unless they find it anyhow.
    #[must_use]
    pub fn variable(&self) -> Option<(&'static str, &str)> {
        self.host.as_deref().map(|host| ("DOCKER_HOST", host))
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.envs(self.variable());
        command
    }

    fn answers(&self) -> bool {
        process::output(self.docker().args(["version", "--format", "{{.Server.Version}}"]), ANSWER).is_ok()
    }

    fn start(&mut self) -> Result<()> {
        let folder = Folder::new("docker")?;
        let host = format!("unix://{}", folder.path().join("docker.sock").display());
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(&host).arg("--pidfile").arg(folder.path().join("pid"));
        command.arg("--exec-root").arg(folder.path().join("exec"));
        let process = Process::spawn("dockerd", &mut command, &folder.path().join("log"))?;
        self.host = Some(host);
        self.ours = Some((process, folder));
        wait_until("the Docker daemon", START, || {
            let (process, _) = self.ours.as_mut().context("it was not started")?;
            ensure!(process.try_exit()?.is_none(), process.last_lines(10));
            Ok(self.answers())
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some((process, _)) = &mut self.ours {
            // In order, so that it ends what it has started; killed if it does not.
            let _ = process.terminate(STOP);
        }
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
