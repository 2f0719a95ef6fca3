//! What the tests share: one broker, and a limit for the time of each test.

use integration_tests::{
    Result,
    broker::{Broker, Options},
};
use std::{
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// The address of the broker that is shared by all tests that do it no harm. Started by the first that asks.
pub fn broker() -> Result<String> {
    static BROKER: OnceLock<Mutex<Option<Broker>>> = OnceLock::new();
    let mut broker = BROKER.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if broker.is_none() {
        *broker = Some(Broker::start(&Options::default())?);
    }
    Ok(broker.as_ref().map(|broker| broker.bootstrap().to_owned()).unwrap_or_default())
}

/// Runs `test`, and ends the whole test program if it takes longer than `limit`: a Kafka client can hang in a call, or in its
/// destructor while the test panics, for as long as its broker is away, and a hung test would hide its own message.
pub fn within(limit: Duration, test: impl FnOnce() -> Result<()>) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (done, ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!(
                "\n{name} took longer than {limit:?}: the whole run is ended. Its output so far, if any, is lost; run it alone with --nocapture"
            );
            std::process::exit(101);
        }
    });
    let result = test();
    drop(done);
    let _ = watch.join();
    if let Err(error) = result {
        panic!("{error:?}");
    }
}
