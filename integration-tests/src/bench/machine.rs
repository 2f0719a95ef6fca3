//! What figures are worthless without: the machine.

use crate::broker::{Broker, VERSION};
use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

/// Larger than any cache of a core: 64 MiB.
const WORDS: usize = 8 << 20;
/// About a fifth of a second on a core of 2024.
const STEPS: usize = 8 << 20;

/// Work that is always the same, on one core: arithmetic, and reads at random places of a memory that no cache holds. Virtual machines
/// differ by a half from one minute to the next; beside this, figures of different minutes and machines can be compared.
pub struct Reference(Vec<u64>);

impl Reference {
    /// Fills the memory.
    #[must_use]
    pub fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        Self((0..WORDS).map(|_| step(&mut state)).collect())
    }

    /// How long the work takes now.
    #[must_use]
    pub fn measure(&self) -> Duration {
        let began = Instant::now();
        let (mut state, mut sum) = (1_u64, 0_u64);
        for _ in 0..STEPS {
            let place = (step(&mut state) ^ sum) as usize % WORDS;
            sum = sum.wrapping_add(self.0.get(place).copied().unwrap_or_default()).rotate_left(7);
        }
        black_box(sum);
        began.elapsed()
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self::new()
    }
}

/// Xorshift.
fn step(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Processor, cores, memory and broker, in one sentence.
#[must_use]
pub fn describe(broker: &Broker) -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let memory = memory.map_or_else(String::new, |kilobytes| format!(", {} GiB", (kilobytes + (1 << 19)) >> 20));
    let kafka = match broker.nodes() {
        0 => "a Kafka elsewhere".to_owned(),
        1 => format!("Apache Kafka {VERSION} (one broker, heap 1 GiB) on the same cores"),
        nodes => format!("Apache Kafka {VERSION} ({nodes} brokers) on the same cores"),
    };
    format!("{cores} cores ({processor}){memory}, {kafka}")
}

/// The value of the first line `name : value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}
