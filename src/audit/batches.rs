//! Whether batches that have fewer events than they should were closed because the next event had no room in them.
//!
//! Which event was the next one is written nowhere: it begins another batch, or waits. So this counts. Of the batches that only an event of so many bytes or
//! more can have closed there are at most as many as there are such events at the beginning of a batch, or waiting.

use std::collections::BTreeMap;

/// Sizes are told apart by so many bytes; what lies between is taken in favour of the job.
const STEP: usize = 1024;

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    short: u64,
    begins: u64,
}

/// Counts by size, in steps.
#[derive(Debug, Default)]
pub(super) struct Sizes(BTreeMap<usize, Count>);

impl Sizes {
    /// A batch of fewer events, in which the next one had no room if it has more than `need` bytes.
    pub(super) fn short(&mut self, need: usize) {
        self.0.entry(need / STEP).or_default().short += 1;
    }

    /// An event of so many bytes that begins a batch, or waits for one.
    pub(super) fn begins(&mut self, bytes: usize) {
        // The comma in front of it counts as well.
        self.0.entry((bytes + 1).div_ceil(STEP)).or_default().begins += 1;
    }

    /// The smallest size for which there are more batches than events: how many batches, the bytes, how many events. None if there is none.
    pub(super) fn unexplained(&self) -> Option<(u64, usize, u64)> {
        let mut sum = Count::default();
        let mut found = None;
        for (step, count) in self.0.iter().rev() {
            sum.short += count.short;
            sum.begins += count.begins;
            if sum.short > sum.begins {
                found = Some((sum.short, step * STEP, sum.begins));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(short: &[usize], begins: &[usize]) -> Option<(u64, usize, u64)> {
        let mut sizes = Sizes::default();
        short.iter().for_each(|need| sizes.short(*need));
        begins.iter().for_each(|bytes| sizes.begins(*bytes));
        sizes.unexplained()
    }

    #[test]
    fn each_batch_that_was_closed_early_needs_an_event_of_its_own() {
        assert_eq!(sizes(&[], &[300, 300]), None);
        assert_eq!(sizes(&[500_000], &[600_000, 300]), None);
        assert_eq!(sizes(&[500_000, 100_000], &[600_000, 200_000]), None);
        // Two batches, and one event that is large enough for either
        assert_eq!(sizes(&[500_000, 100_000], &[600_000, 300]), Some((2, 99_328, 1)));
        // None at all
        assert_eq!(sizes(&[500_000], &[300, 400_000]), Some((1, 499_712, 0)));
    }

    #[test]
    fn bytes_within_a_step_are_taken_in_favour_of_the_job() {
        assert_eq!(sizes(&[1_500], &[1_400]), None);
        assert!(sizes(&[3_100], &[1_400]).is_some());
    }
}
