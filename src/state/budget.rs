//! The memory that all tables of a process share.

use super::{MemoryReport, Settings};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Bytes that all tables together may use. A table may use what others leave; when all together are over the limit, those
/// above their fair share (limit / tables) give way.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    filter_limit: usize,
    filters: AtomicUsize,
    learning: Mutex<()>,
    used: AtomicUsize,
    dirty: AtomicUsize,
    tables: AtomicUsize,
}

impl Budget {
    /// The tables' part of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Arc<Self> {
        let split = settings.split();
        Self::with_filters(split.tables, split.filters)
    }

    /// A budget of `limit` bytes for entries, and an eighth of it for filters of what was evicted.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Self::with_filters(limit, limit / 8)
    }

    pub(super) fn with_filters(limit: usize, filter_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            filter_limit,
            filters: AtomicUsize::new(0),
            learning: Mutex::new(()),
            used: AtomicUsize::new(0),
            dirty: AtomicUsize::new(0),
            tables: AtomicUsize::new(0),
        })
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

    /// Bytes of filters that remember which keys were evicted.
    #[must_use]
    pub fn filters(&self) -> usize {
        self.filters.load(Relaxed)
    }

    pub(super) fn filter_limit(&self) -> usize {
        self.filter_limit
    }

    /// Held by the one who reads the keys of restored state.
    pub(super) fn learning(&self) -> &Mutex<()> {
        &self.learning
    }

    /// Adds what the tables use to what RocksDB uses.
    #[must_use]
    pub fn report(&self, store: MemoryReport) -> MemoryReport {
        MemoryReport { tables: self.used(), dirty: self.dirty(), filters: self.filters(), ..store }
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
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(super) fn of(budget: Arc<Budget>) -> Self {
        budget.tables.fetch_add(1, Relaxed);
        Self { budget, used: 0, dirty: 0 }
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

    /// How far all tables together are over their memory, if this one is above its share.
    pub(super) fn pressure(&self) -> Pressure {
        let (used, limit) = (self.budget.used(), self.budget.limit);
        if self.used <= self.budget.fair_share() || used <= limit.saturating_add(limit / 4) {
            Pressure::None
        } else if used <= limit.saturating_mul(2) {
            Pressure::Some
        } else {
            Pressure::Full
        }
    }
}

/// What a table does when eviction does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Nothing.
    None,
    /// Over 1.25 times the limit: give the writer a little time with each batch, so that nobody stands still for long.
    Some,
    /// Over twice the limit: stand still until something can be evicted.
    Full,
}

/// What one table's filter takes from a [`Budget`].
#[derive(Debug)]
pub(super) struct FilterShare {
    budget: Arc<Budget>,
    taken: usize,
}

impl FilterShare {
    pub(super) fn of(budget: Arc<Budget>) -> Self {
        Self { budget, taken: 0 }
    }

    /// Takes `bytes`, if they are left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let limit = self.budget.filter_limit;
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit);
        let took = self.budget.filters.fetch_update(Relaxed, Relaxed, fits).is_ok();
        self.taken += if took { bytes } else { 0 };
        took
    }
}

impl Drop for FilterShare {
    fn drop(&mut self) {
        self.budget.filters.fetch_sub(self.taken, Relaxed);
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
        assert!(!small.should_spill() && large.should_spill());
        assert_eq!(large.pressure(), Pressure::None);
        large.publish(140, 130);
        assert_eq!((small.pressure(), large.pressure()), (Pressure::None, Pressure::Some));
        large.publish(190, 130);
        assert_eq!((small.pressure(), large.pressure()), (Pressure::None, Pressure::Full));
    }
}
