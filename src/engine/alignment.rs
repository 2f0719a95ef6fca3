//! Sources wait for each other: one that is ahead of the slowest of its group, by more than it may be, does not read on.
//!
//! ```text
//! source a ──── 12:00:00 ─┐
//! source b ──── 12:00:04 ─┼─► slowest 12:00:00     b may be 5 s ahead: reads on     c may not: waits
//! source c ──── 12:07:30 ─┘
//! ```
//!
//! Each source task writes how far its event time is, and reads what the others write: nobody decides for all, and nothing has to be sent.
//!
//! # Why it cannot block
//!
//! Whoever waits is ahead of another one, so the slowest does not wait. One that cannot get on counts for nobody: one that is idle, and one
//! that has read all there will be. And whoever waits goes on taking barriers, and says where it is.

use super::message::{MIN_WATERMARK, Mark, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicI64, AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

/// Nobody waits for this one.
const AWAY: Timestamp = Timestamp::MAX;

/// How a source is aligned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned {
    /// Sources of the same group wait for each other.
    pub group: String,
    /// How far the source may be ahead of the slowest one.
    pub max_drift: Duration,
}

/// All source tasks of an attempt.
#[derive(Debug, Default)]
pub struct Alignment {
    /// Source tasks that have not begun yet: before, nobody knows who is the slowest.
    to_come: AtomicUsize,
    groups: Mutex<BTreeMap<String, Vec<Arc<AtomicI64>>>>,
}

impl Alignment {
    /// Of so many source tasks; each of them enters once.
    #[must_use]
    pub fn of(tasks: usize) -> Self {
        Self { to_come: AtomicUsize::new(tasks), groups: Mutex::default() }
    }

    /// A source task begins: as a member of a group, or as one that waits for nobody.
    #[must_use]
    pub fn enter(self: &Arc<Self>, aligned: Option<&Aligned>) -> Option<Member> {
        let member = aligned.map(|aligned| {
            let own = Arc::new(AtomicI64::new(MIN_WATERMARK));
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.entry(aligned.group.clone()).or_default().push(Arc::clone(&own));
            let max_drift = i64::try_from(aligned.max_drift.as_millis()).unwrap_or(i64::MAX);
            Member { own, group: aligned.group.clone(), max_drift, all: Vec::new(), of: Arc::clone(self), left: false }
        });
        // More than were announced come only in tests of a single task.
        let _ = self.to_come.fetch_update(Release, Acquire, |left| left.checked_sub(1));
        member
    }

    fn members(&self, group: &str) -> Option<Vec<Arc<AtomicI64>>> {
        if self.to_come.load(Acquire) > 0 {
            return None;
        }
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }
}

/// One source task of a group.
#[derive(Debug)]
pub struct Member {
    own: Arc<AtomicI64>,
    group: String,
    max_drift: i64,
    /// Event time of each member, this one as well; empty until all are there.
    all: Vec<Arc<AtomicI64>>,
    of: Arc<Alignment>,
    left: bool,
}

impl Member {
    /// Event time of this source is at `mark`.
    pub fn report(&self, mark: Mark) {
        if !self.left {
            self.own.store(if mark.idle { AWAY } else { mark.watermark }, Release);
        }
    }

    /// This source has read all there will be.
    pub fn leave(&mut self) {
        self.left = true;
        self.own.store(AWAY, Release);
    }

    /// Whether it is to wait before it reads on.
    pub fn must_wait(&mut self) -> bool {
        if self.all.is_empty() {
            match self.of.members(&self.group) {
                Some(members) => self.all = members,
                None => return true,
            }
        }
        let own = self.own.load(Acquire);
        if own == AWAY {
            return false;
        }
        let slowest = self.all.iter().map(|other| other.load(Acquire)).min().unwrap_or(own);
        own > slowest.saturating_add(self.max_drift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(drifts: &[u64]) -> Vec<Member> {
        let all = Arc::new(Alignment::of(drifts.len()));
        let aligned = |ms: &u64| Aligned { group: "orders".into(), max_drift: Duration::from_millis(*ms) };
        drifts.iter().map(|ms| all.enter(Some(&aligned(ms))).unwrap()).collect()
    }

    fn at(watermark: Timestamp) -> Mark {
        Mark { watermark, idle: false }
    }

    #[test]
    fn whoever_is_further_ahead_than_it_may_be_waits_until_the_slowest_has_come() {
        let [mut slow, mut fast] = group(&[5_000, 5_000]).try_into().unwrap();
        // one of which nothing is known is the slowest
        fast.report(at(1_000));
        assert!(fast.must_wait() && !slow.must_wait());
        slow.report(at(1_000));
        fast.report(at(6_000));
        assert!(!fast.must_wait(), "as far as it may be");
        fast.report(at(6_001));
        assert!(fast.must_wait() && !slow.must_wait());
        slow.report(at(1_001));
        assert!(!fast.must_wait());
    }

    #[test]
    fn nobody_waits_for_one_that_is_idle_or_has_ended() {
        let [mut ended, idle, mut fast] = group(&[0, 0, 0]).try_into().unwrap();
        ended.report(at(10));
        idle.report(at(5));
        fast.report(at(20));
        assert!(fast.must_wait());
        idle.report(Mark { watermark: 5, idle: true });
        assert!(fast.must_wait() && !ended.must_wait());
        ended.leave();
        ended.report(at(10));
        assert!(!fast.must_wait(), "it is the only one now");
        // one that is active again is waited for
        idle.report(at(6));
        assert!(fast.must_wait());
    }

    #[test]
    fn groups_do_not_wait_for_each_other_and_nobody_reads_before_all_are_there() {
        let all = Arc::new(Alignment::of(3));
        let of = |group: &str| Aligned { group: group.into(), max_drift: Duration::ZERO };
        let mut first = all.enter(Some(&of("a"))).unwrap();
        first.report(at(100));
        assert!(all.enter(None).is_none());
        assert!(first.must_wait(), "one has not begun");
        let mut other = all.enter(Some(&of("b"))).unwrap();
        assert!(!first.must_wait() && !other.must_wait());
    }
}
