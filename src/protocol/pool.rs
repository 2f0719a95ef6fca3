//! How many producers a job takes in turn, and what their transactional ids are.

use std::time::Duration;

/// Most producers a job uses, however short its interval. Each costs a connection, 10 ms of CPU per use, and a request at
/// every recovery; when all of them are still on their way back, the sink waits for one.
pub const MAX_PRODUCERS: usize = 16;

/// Time until a used producer's id can be used again, at worst: librdkafka retries `CONCURRENT_TRANSACTIONS`, while the
/// broker finishes the id's last transaction, on a fixed timer of 500 ms.
const BACK_AGAIN: Duration = Duration::from_millis(500);

/// Producers needed at this checkpoint interval: those on their way back, the one in prepare or commit, and the one that is
/// written to; at least 3, at most [`MAX_PRODUCERS`].
///
/// ```
/// use sluicegate::protocol::producers_needed;
/// use std::time::Duration;
///
/// assert_eq!(producers_needed(Duration::from_secs(1)), 3);
/// assert_eq!(producers_needed(Duration::from_millis(100)), 7);
/// assert_eq!(producers_needed(Duration::ZERO), 16);
/// ```
#[must_use]
pub fn producers_needed(interval: Duration) -> usize {
    let on_their_way = BACK_AGAIN.as_nanos().div_ceil(interval.as_nanos().max(1));
    usize::try_from(on_their_way).unwrap_or(MAX_PRODUCERS).saturating_add(2).clamp(3, MAX_PRODUCERS)
}

/// The transactional ids of a group: `<group>-0` to `<group>-<producers - 1>`.
///
/// They follow from the group, because the group's offsets are the commit log: whoever could write it must be fenced by
/// whoever reads it.
///
/// # Whose commit counts
///
/// A pool has a weak point. Initialising an id fences whoever holds it: also the successor of an attempt that does not know yet
/// that it was overtaken, and goes on initialising the ids of its pool. Three rules close it; the model finds a second owner
/// when any of them is left out:
///
/// 1. One more id, the owner's, is never used for output. An attempt initialises it first of all, and once only; then it fences
///    the others.
/// 2. A producer is used only after a request with the owner id, sent *after* the producer was initialised, has succeeded.
///    (`docs/decisions/0001-owner-id.md` has the proof.)
/// 3. The **first transaction of an attempt uses the first id**, which every pool of every size has. Until its first commit no
///    manifest names the ids of a larger pool, and a successor could not know that they are to be fenced.
#[must_use]
pub fn transactional_ids(group: &str, producers: usize) -> Vec<String> {
    (0..producers).map(|number| format!("{group}-{number}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_covers_the_way_back_of_500_ms() {
        for (interval_ms, producers) in
            [(10_000, 3), (1000, 3), (500, 3), (499, 4), (250, 4), (200, 5), (50, 12), (36, 16), (1, 16)]
        {
            assert_eq!(producers_needed(Duration::from_millis(interval_ms)), producers, "interval {interval_ms} ms");
        }
        assert_eq!(producers_needed(Duration::MAX), 3);
    }

    #[test]
    fn a_larger_pool_has_all_ids_of_a_smaller_one() {
        assert_eq!(transactional_ids("orders", 3), ["orders-0", "orders-1", "orders-2"]);
        assert!(transactional_ids("orders", 9).starts_with(&transactional_ids("orders", 3)));
    }

    #[test]
    fn no_two_groups_share_an_id() {
        let (one, other) = (transactional_ids("a", 12), transactional_ids("a-1", 12));
        assert!(one.iter().all(|id| !other.contains(id)));
    }
}
