//! What the tests share: one broker, a limit for the time of each test, and what they ask of a program that has ended.

use integration_tests::{
    Result,
    broker::{Broker, Options},
    ensure,
    job::Job,
    leftovers::Leftover,
    process::{self, Finished},
    service::Service,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// For a test that runs the program a few times. Far more than it takes: two cores, and other tests beside it.
pub const LIMIT: Duration = Duration::from_secs(600);
/// For a program that is about to end.
pub const END: Duration = Duration::from_secs(120);

/// The address of the broker that is shared by all tests that do it no harm. Started by the first that asks.
pub fn broker() -> Result<String> {
    static BROKER: OnceLock<Mutex<Option<Broker>>> = OnceLock::new();
    let mut broker = BROKER.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if broker.is_none() {
        // How often the broker looks for transactions that are open for too long; 10 s by default, which tests would wait for.
        let options = Options::default().with("transaction.abort.timed.out.transaction.cleanup.interval.ms", 500);
        *broker = Some(Broker::start(&options)?);
    }
    Ok(broker.as_ref().map(|broker| broker.bootstrap().to_owned()).unwrap_or_default())
}

/// A job on the shared broker.
pub fn job() -> Result<Job> {
    Job::for_test(&broker()?)
}

/// Runs `test`, and ends the whole test program if it takes longer than `limit`: a Kafka client can hang in a call, or in its
/// destructor while the test panics, for as long as its broker is away, and a hung test would hide its own message.
pub fn within(limit: Duration, test: impl FnOnce() -> Result<()>) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (done, ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("\n{name} took longer than {limit:?}: the whole run is ended; run it alone with --nocapture");
            std::process::exit(101);
        }
    });
    let result = test();
    drop(done);
    // It has nothing to say but what it has printed.
    let _ = watch.join();
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

/// A second instance on another machine: the same checkpoints, another folder for its working copy.
pub fn second(job: &Job) -> Result<Service> {
    elsewhere(job, "state-of-the-second")
}

/// And a third.
pub fn third(job: &Job) -> Result<Service> {
    elsewhere(job, "state-of-the-third")
}

fn elsewhere(job: &Job, folder: &str) -> Result<Service> {
    let state = job.folder().join(folder).display().to_string();
    job.start_with(["run", "--set", &format!("state.dir={state}")], &[])
}

/// Every point at which the program can be told to die: it lists them when it is told a wrong one.
pub fn crash_points(job: &Job) -> Result<Vec<String>> {
    let mut service = job.start_failing("none-of-them=kill")?;
    ends_with(&mut service, 1, &["none-of-them"])?;
    let log = service.log()?;
    let names = log.split_once("there are ").and_then(|(_, rest)| rest.lines().next());
    let names = names.ok_or_else(|| integration_tests::anyhow!("no list of points in:\n{log}"))?;
    Ok(names.split(',').map(|name| name.trim().to_owned()).collect())
}

/// Runs one test of this program again, in a process of its own with other environment variables.
pub fn again(test: &str, environment: &[(&str, &str)]) -> Result<Finished> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([test, "--exact", "--include-ignored", "--nocapture"]).envs(environment.iter().copied());
    process::run(&mut command, 2 * LIMIT)
}

/// Waits until `service` ends with `code`, having said each of `words`, in any case of letters.
pub fn ends_with(service: &mut Service, code: i32, words: &[&str]) -> Result<()> {
    let exit = service.wait(END)?;
    let log = service.log()?;
    ensure!(exit.code() == Some(code), "ended with {} instead of {code}:\n{log}", exit.status);
    says(&log, words)
}

/// Every file below `folder`, with its content.
pub fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, blake3::Hash>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => all.extend(contents(&path)?),
            false => drop(all.insert(path.clone(), blake3::hash(&fs::read(&path)?))),
        }
    }
    Ok(all)
}

/// The job processes all that its input holds, which is more than `before`, and the audit is clean: nothing is lost and nothing doubled,
/// however much a load has sent until it was ended.
pub fn works_off_all(job: &Job, before: u64) -> Result<()> {
    job.catch_up()?;
    let sent = job.sent()?;
    ensure!(sent > before, "no input came meanwhile: {sent}");
    assert_eq!(job.audit()?.number("/records_in")?, sent);
    Ok(())
}

/// What a start that is refused must leave as it is: the checkpoint storage, what readers see of the outputs, and what is committed.
pub struct Untouched {
    files: BTreeMap<PathBuf, blake3::Hash>,
    statuses: usize,
    committed: u64,
}

impl Untouched {
    /// As it is now.
    pub fn of(job: &Job) -> Result<Self> {
        let mut files = contents(&job.storage())?;
        // Who was started last is noted before anything is looked at, so that one who is fenced by it can say by whom.
        files.retain(|path, _| path.file_name().is_none_or(|name| name != "started.json"));
        let statuses = job.cluster()?.read(&job.output("order-status"))?.len();
        Ok(Self { files, statuses, committed: job.committed_checkpoint()? })
    }

    /// It is as it was.
    pub fn check(&self, job: &Job) -> Result<()> {
        let now = Self::of(job)?;
        let changed = |(path, hash): &(&PathBuf, &blake3::Hash)| self.files.get(*path) != Some(*hash);
        let changed: Vec<&PathBuf> = now.files.iter().filter(changed).map(|(path, _)| path).collect();
        let gone: Vec<&PathBuf> = self.files.keys().filter(|path| !now.files.contains_key(*path)).collect();
        ensure!(changed.is_empty() && gone.is_empty(), "changed or new in the storage: {changed:?}, gone: {gone:?}");
        ensure!(now.statuses == self.statuses, "{} records of order-status instead of {}", now.statuses, self.statuses);
        ensure!(now.committed == self.committed, "checkpoint {} is committed instead of {}", now.committed, self.committed);
        let open = job.cluster()?.has_open_transaction(&job.output("order-status"))?;
        ensure!(!open, "a transaction is left open");
        Ok(())
    }
}

/// That `text` has each of `words`, in any case of letters.
pub fn says(text: &str, words: &[&str]) -> Result<()> {
    let lower = text.to_lowercase();
    for word in words {
        ensure!(lower.contains(&word.to_lowercase()), "{word:?} is not in:\n{text}");
    }
    Ok(())
}

/// A file system in memory.
pub struct Tmpfs {
    place: PathBuf,
    _leftover: Leftover,
}

impl Tmpfs {
    /// None where it is not permitted.
    pub fn mount(place: &Path, size: &str) -> Result<Option<Self>> {
        let leftover = Leftover::mount(place)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "sluicegate-test"]).arg(place);
        let mounted = process::run(&mut command, END)?.status.success();
        Ok(mounted.then(|| Self { place: place.to_owned(), _leftover: leftover }))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process may still have files open in it. Nothing can be done about an error in a drop.
        let _ = process::run(Command::new("umount").arg("-l").arg(&self.place), END);
    }
}
