//! The one retry helper of this room.

use super::explain::{Class, Trouble};
use std::time::Duration;
use tokio::time::Instant;

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`]. Short, since a checkpoint waits for it. No jitter: one
/// process has few requests under way, and a simulation replays exactly.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A storage that was away for minutes is found again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs `operation` until it succeeds, fails for good, or `deadline` has come; only [`Class::Passing`] is tried again.
/// The trouble that is given back is the last one seen, with the number of tries.
pub(crate) async fn retry<T, F>(deadline: Instant, mut operation: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut pause = FIRST_PAUSE;
    let mut last: Option<Trouble> = None;
    for tries in 1_u32.. {
        let trouble = match tokio::time::timeout_at(deadline, operation()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(trouble)) if trouble.class != Class::Passing => return Err(trouble),
            Ok(Err(trouble)) => trouble,
            Err(_) => {
                let before = last.map(|trouble| format!("; the try before said: {trouble}")).unwrap_or_default();
                return Err(Trouble::new(Class::Passing, format!("no answer in time, try {tries}{before}")));
            }
        };
        if Instant::now() + pause >= deadline {
            return Err(Trouble::new(Class::Passing, format!("{trouble} (given up after {tries} tries)")));
        }
        tracing::debug!(tries, %trouble, "checkpoint storage: trying again");
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

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
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
        let result: Result<(), _> = run(retry(in_a_minute(), std::future::pending));
        assert!(result.unwrap_err().to_string().contains("no answer in time"));
    }
}
