//! Random numbers that follow from a seed, the same on every machine and in every version.

/// `SplitMix64` (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of the `number`-th record of a seed.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed);
        // The first output hides what seeds and numbers that follow each other have in common.
        Self(random.next() ^ Self(number).next())
    }

    /// Any number.
    #[allow(clippy::should_implement_trait)] // it has no end, so that Option would be noise
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` - 1 (0 if `end` is 0).
    pub fn below(&mut self, end: u64) -> u64 {
        // The upper half of the product: a bias of at most end / 2^64.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// One of `all`, none only if there are none.
    pub fn choose<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.below(all.len() as u64)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_for_the_same_seed_and_number_only() {
        let three = |seed, number| {
            let mut random = Random::new(seed, number);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(three(7, 1), three(7, 1));
        assert_ne!(three(7, 1), three(7, 2));
        assert_ne!(three(7, 1), three(8, 1));
        // The first outputs for the seed 0, as the reference implementation has them.
        let mut reference = Random(0);
        assert_eq!([reference.next(), reference.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn below_reaches_every_number_of_its_range_about_equally() {
        let mut counts = [0_u32; 5];
        (0..10_000).for_each(|number| counts[Random::new(1, number).below(5) as usize] += 1);
        assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
        assert_eq!(Random::new(1, 1).below(0), 0);
    }
}
