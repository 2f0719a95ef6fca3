//! Child processes that can be signalled, measured and waited for with a deadline. The one file with unsafe code here: three
//! calls of libc that std has no counterpart for.

use crate::{Context, Result, bail, deadline::wait_for, leftovers::Leftover};
use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

/// Ticks per second in /proc: fixed at 100 by the kernel's interface to programs, whatever its own clock (proc(5), USER_HZ).
const TICKS_PER_SECOND: u64 = 100;
/// A killed process is gone when the system has taken its memory apart and ended what it was writing.
const GONE: Duration = Duration::from_secs(60);

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: asks to end.
    Terminate,
    /// SIGINT: what Ctrl-C sends.
    Interrupt,
    /// SIGKILL: `kill -9`.
    Kill,
    /// SIGSTOP: freezes the process until [`Signal::Continue`].
    Stop,
    /// SIGCONT.
    Continue,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Processor time that it used, its threads and reaped children included.
    pub cpu: Duration,
}

impl Exit {
    /// The exit code; none if a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A running child process with its output in a file. Killed when dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: i32,
    log: PathBuf,
    exit: Option<Exit>,
    leftover: Option<Leftover>,
}

impl Process {
    /// Starts `command` in a process group of its own, so that Ctrl-C on a terminal reaches only us. Standard output and error
    /// are appended to `log`.
    pub fn spawn(name: impl Into<String>, command: &mut Command, log: &Path) -> Result<Self> {
        let name = name.into();
        let output = OpenOptions::new().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        // `Child` is dropped here: that neither kills nor waits, both are done below by pid, with wait4 for its measurements.
        let pid = i32::try_from(child.id())?;
        Ok(Self { name, pid, log: log.to_owned(), exit: None, leftover: Some(Leftover::process(pid)?) })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The file with its output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal; nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_exit()?.is_none() {
            kill(self.pid, signal).with_context(|| format!("{signal:?} to {}", self.name))?;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn try_exit(&mut self) -> Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = reap(self.pid).with_context(|| format!("waiting for {}", self.name))?;
            if self.exit.is_some() {
                self.leftover = None;
            }
        }
        Ok(self.exit)
    }

    /// Waits until it ends; an error after `within`, with the end of its log. It is not ended by that.
    pub fn wait(&mut self, within: Duration) -> Result<Exit> {
        let name = self.name.clone();
        let exit = wait_for(format!("the end of {name}"), within, || self.try_exit());
        exit.with_context(|| self.last_lines(30))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> Result<Exit> {
        self.signal(Signal::Kill)?;
        self.wait(GONE)
    }

    /// Asks it to end, and kills it if it has not within `within`.
    pub fn terminate(&mut self, within: Duration) -> Result<Exit> {
        self.signal(Signal::Terminate)?;
        match self.wait(within) {
            Ok(exit) => Ok(exit),
            Err(_) => self.kill(),
        }
    }

    /// Processor time used so far.
    pub fn cpu(&self) -> Result<Duration> {
        if let Some(exit) = self.exit {
            return Ok(exit.cpu);
        }
        cpu_of(self.pid).with_context(|| format!("processor time of {}", self.name))
    }

    /// Largest resident memory so far, in bytes. Only while it runs: /proc forgets it at the end.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB")).context("no VmHWM in /proc")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }

    /// The last `count` lines of its log, for error messages.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> String {
        let mut text = Vec::new();
        // An unreadable log must not hide the error that it was to explain.
        let _ = File::open(&self.log).and_then(|mut file| file.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n");
        format!("{} (process {}), the end of {}:\n{tail}", self.name, self.pid, self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing more can be done in a drop; the guard still has it on its list if this fails.
        if self.kill().is_err() {
            std::mem::forget(self.leftover.take());
        }
    }
}

/// Runs `command` to its end and gives its standard output; an error, with its standard error, if it fails or takes longer than
/// `within`.
pub fn output(command: &mut Command, within: Duration) -> Result<String> {
    let finished = run(command, within)?;
    if !finished.status.success() {
        let shown = [finished.stderr.trim(), finished.stdout.trim()].join("\n");
        bail!("{} failed ({}): {}", command.get_program().display(), finished.status, shown.trim());
    }
    Ok(finished.stdout)
}

/// What a command that ran to its end has said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `command` to its end, successful or not; an error if it does not start or takes longer than `within`.
pub fn run(command: &mut Command, within: Duration) -> Result<Finished> {
    let shown = format!(
        "{} {}",
        command.get_program().display(),
        command.get_args().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    );
    // Files, not pipes: nobody has to read beside the waiting, and a grandchild that keeps them open holds up nothing.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.process_group(0).stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let child = command.spawn().with_context(|| format!("starting {shown}"))?;
    let pid = i32::try_from(child.id())?;
    let mut process = Process { name: shown, pid, log: PathBuf::new(), exit: None, leftover: Some(Leftover::process(pid)?) };
    let exit = process.wait(within);
    let read = |file: &mut File| -> Result<String> {
        use std::io::Seek;
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (stdout, stderr) = (read(&mut stdout)?, read(&mut stderr)?);
    let exit = exit.with_context(|| format!("its output so far: {stdout}{stderr}"))?;
    Ok(Finished { status: exit.status, stdout, stderr })
}

/// Processor time of any process, from /proc: user and system, all threads, without its children.
pub fn cpu_of(pid: i32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
    let (_, fields) = stat.rsplit_once(") ").context("unexpected form of /proc/PID/stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[allow(unsafe_code)]
fn kill(pid: i32, signal: Signal) -> Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Interrupt => libc::SIGINT,
        Signal::Kill => libc::SIGKILL,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // SAFETY: a plain system call without pointers. `pid` is a child that was not waited for yet, so it cannot be another process.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// Waits for `pid` without blocking.
#[allow(unsafe_code)]
fn reap(pid: i32) -> Result<Option<Exit>> {
    let mut status = 0;
    // SAFETY: `rusage` is a C struct of integers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the types that wait4 wants.
    match unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) } {
        0 => Ok(None),
        waited if waited == pid => {
            let cpu = time(usage.ru_utime) + time(usage.ru_stime);
            Ok(Some(Exit { status: ExitStatus::from_raw(status), cpu }))
        }
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

fn time(value: libc::timeval) -> Duration {
    let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec).unwrap_or(0))
}
