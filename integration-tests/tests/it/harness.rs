//! What the tests share: one broker, a limit for the time of each test, and what they ask of a program that has ended.

use integration_tests::{
    Result,
    broker::{Broker, Options},
    ensure,
    job::Job,
    process::{self, Finished},
    service::Service,
};
use std::{
    process::Command,
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// For a test that runs the program a few times. Far more than it takes: two cores, and other tests beside it.
pub const LIMIT: Duration = Duration::from_secs(240);
/// For a program that is about to end.
pub const END: Duration = Duration::from_secs(60);

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

/// That `text` has each of `words`, in any case of letters.
pub fn says(text: &str, words: &[&str]) -> Result<()> {
    let lower = text.to_lowercase();
    for word in words {
        ensure!(lower.contains(&word.to_lowercase()), "{word:?} is not in:\n{text}");
    }
    Ok(())
}
