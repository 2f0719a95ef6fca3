//! The one retry helper of this room.

use super::explain::{Class, Trouble};
use std::time::Duration;
use tokio::time::Instant;

/// How long one small request (a manifest, a marker, a list) may take, tries and pauses together.
const PATIENCE: Duration = Duration::from_secs(30);
/// And how long each of its tries.
const ONE_TRY: Duration = Duration::from_secs(10);
/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`]. Short, since a checkpoint waits for it. No jitter: one
/// process has few requests under way, and a simulation replays exactly.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A storage that was away for minutes is found again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long something may be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    /// All tries and pauses together end here.
    until: Instant,
    /// One try is given up after this, and the next one begins.
    each: Duration,
}

impl Tries {
    /// As long as they like, one after the other, until `deadline`.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { until: deadline, each: Duration::MAX }
    }

    /// For requests that a storage answers at once: a connection that leads nowhere leaves time for another one.
    pub(crate) fn of_small_requests() -> Self {
        Self { until: Instant::now() + PATIENCE, each: ONE_TRY }
    }
}

/// Runs `operation` until it succeeds, fails for good, or there is no time left; only [`Class::Passing`] is tried again.
/// The trouble that is given back is the last one seen, with the number of tries.
pub(crate) async fn retry<T, F>(tries: Tries, mut operation: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut pause = FIRST_PAUSE;
    let mut last: Option<Trouble> = None;
    for number in 1_u32.. {
        let now = Instant::now();
        let end = now.checked_add(tries.each).map_or(tries.until, |end| end.min(tries.until));
        let trouble = match tokio::time::timeout_at(end, operation()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(trouble)) if trouble.class != Class::Passing => return Err(trouble),
            Ok(Err(trouble)) => trouble,
            Err(_) if end < tries.until => Trouble::silence(format!("no answer in time, try {number}")),
            Err(_) => {
                let before = last.map(|trouble| format!("; the try before said: {trouble}")).unwrap_or_default();
                return Err(Trouble::silence(format!("no answer in time, try {number}{before}")));
            }
        };
        if Instant::now() + pause >= tries.until {
            return Err(trouble.and(format_args!("given up after {number} tries")));
        }
        tracing::debug!(tries = number, %trouble, "checkpoint storage: trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        last = Some(trouble);
    }
    Err(Trouble::new(Class::Passing, "never tried"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn in_a_minute() -> Tries {
        Tries::until(Instant::now() + Duration::from_secs(60))
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
    }

    #[test]
    fn passing_trouble_is_tried_again_until_it_passes() {
        let tries = Cell::new(0);
        let result = run(async {
            retry(in_a_minute(), || async {
                tries.set(tries.get() + 1);
                if tries.get() < 4 { Err(Trouble::new(Class::Passing, "503")) } else { Ok(tries.get()) }
            })
            .await
        });
        assert_eq!(result.unwrap(), 4);
    }

    #[test]
    fn lasting_trouble_is_not_tried_again() {
        let tries = Cell::new(0);
        let result: Result<(), _> = run(async {
            retry(in_a_minute(), || async {
                tries.set(tries.get() + 1);
                Err(Trouble::new(Class::Full, "disk full"))
            })
            .await
        });
        assert_eq!((result.unwrap_err().class, tries.get()), (Class::Full, 1));
    }

    #[test]
    fn it_gives_up_at_the_deadline_and_says_what_the_last_try_said() {
        let (result, took) = run(async {
            let start = Instant::now();
            let result: Result<(), _> = retry(in_a_minute(), || async { Err(Trouble::new(Class::Passing, "503")) }).await;
            (result, start.elapsed())
        });
        let said = result.unwrap_err().to_string();
        assert!(said.contains("503") && said.contains("given up after"), "{said}");
        assert!(took <= Duration::from_secs(60) && took > Duration::from_secs(50), "{took:?}");
    }

    #[test]
    fn an_operation_that_hangs_is_cut_off_at_the_deadline() {
        let result: Result<(), _> = run(async { retry(in_a_minute(), std::future::pending).await });
        assert!(result.unwrap_err().to_string().contains("no answer in time"));
    }

    #[test]
    fn a_small_request_that_hangs_is_made_again_while_there_is_time() {
        let tries = Cell::new(0);
        let result = run(async {
            retry(Tries::of_small_requests(), || async {
                tries.set(tries.get() + 1);
                if tries.get() < 3 { std::future::pending().await } else { Ok(tries.get()) }
            })
            .await
        });
        assert_eq!(result.unwrap(), 3);
    }
}
