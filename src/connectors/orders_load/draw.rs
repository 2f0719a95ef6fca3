//! Random draws whose results depend on the seed alone: ChaCha8 for the bits, whole-number arithmetic for everything else.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[derive(Debug)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// Stream `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().zip(seed.to_le_bytes()) {
            *place = byte;
        }
        let mut bits = ChaCha8Rng::from_seed(bytes);
        bits.set_stream(stream);
        Self(bits)
    }

    /// A number below `bound` (0 for 0), each as likely up to one in four billion.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        scale(self.0.next_u32(), bound)
    }

    /// True in `permille` of a thousand cases.
    pub(super) fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < permille
    }

    /// A number below `bound`, small ones far more often: the cube of an even draw. A tenth of all draws fall on a thousandth of the numbers.
    pub(super) fn skewed_below(&mut self, bound: u32) -> u32 {
        let even = self.0.next_u32();
        scale(scale(scale(even, even), even), bound)
    }
}

/// `bound` x `fraction` / 2^32.
fn scale(fraction: u32, bound: u32) -> u32 {
    ((u64::from(fraction) * u64::from(bound)) >> 32) as u32
}
