//! The memory that all tables of a process share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Bytes that all tables together may use. A table may use what others leave; when all together are over the limit, those
/// above their fair share (limit / tables) give way.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    dirty: AtomicUsize,
    tables: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), dirty: AtomicUsize::new(0), tables: AtomicUsize::new(0) })
    }

    /// Bytes that all tables together may use.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes in use by all tables.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Bytes of entries that are not yet in RocksDB.
    #[must_use]
    pub fn dirty(&self) -> usize {
        self.dirty.load(Relaxed)
    }

    /// What each table may use when all want more.
    fn fair_share(&self) -> usize {
        self.limit / self.tables.load(Relaxed).max(1)
    }
}

/// One table's part in a [`Budget`]. The table counts for itself and publishes now and then.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    used: usize,
    dirty: usize,
}

impl Share {
    pub(super) fn of(budget: Arc<Budget>) -> Self {
        budget.tables.fetch_add(1, Relaxed);
        Self { budget, used: 0, dirty: 0 }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Tells the others what this table uses now.
    pub(super) fn publish(&mut self, used: usize, dirty: usize) {
        replace(&self.budget.used, &mut self.used, used);
        replace(&self.budget.dirty, &mut self.dirty, dirty);
    }

    /// Bytes that this table should evict now.
    pub(super) fn excess(&self) -> usize {
        let over = self.budget.used().saturating_sub(self.budget.limit);
        over.min(self.used.saturating_sub(self.budget.fair_share()))
    }

    /// Whether entries should be written before their barrier: dirty ones fill more than half of the memory, and this table is
    /// one of those that hold more than their share.
    pub(super) fn should_spill(&self) -> bool {
        self.budget.dirty() > self.budget.limit / 2 && self.dirty > self.budget.fair_share() / 2
    }

    /// Whether this table must wait until it can write: all together are at 1.5 times the limit and it is above its share.
    pub(super) fn must_wait(&self) -> bool {
        self.budget.used() > self.budget.limit.saturating_add(self.budget.limit / 2) && self.dirty > self.budget.fair_share() / 2
    }
}

fn replace(total: &AtomicUsize, mine: &mut usize, now: usize) {
    if now >= *mine {
        total.fetch_add(now - *mine, Relaxed);
    } else {
        total.fetch_sub(*mine - now, Relaxed);
    }
    *mine = now;
}

impl Drop for Share {
    fn drop(&mut self) {
        self.publish(0, 0);
        self.budget.tables.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_uses_what_small_ones_leave_and_alone_gives_way() {
        let budget = Budget::new(100);
        let (mut small, mut large) = (Share::of(budget.clone()), Share::of(budget.clone()));
        small.publish(10, 0);
        large.publish(90, 0);
        assert_eq!((small.excess(), large.excess()), (0, 0));
        large.publish(95, 0);
        assert_eq!((small.excess(), large.excess()), (0, 5));
        drop(large);
        assert_eq!(budget.used(), 10);
    }

    #[test]
    fn dirty_entries_over_half_of_the_memory_are_written_early() {
        let budget = Budget::new(100);
        let (mut small, mut large) = (Share::of(budget.clone()), Share::of(budget.clone()));
        small.publish(20, 10);
        large.publish(60, 45);
        assert!(!small.should_spill() && large.should_spill() && !large.must_wait());
        large.publish(140, 130);
        assert!(large.must_wait());
    }
}
