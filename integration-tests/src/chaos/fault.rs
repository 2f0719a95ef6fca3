//! The faults.

use crate::{Result, bail};
use rand::{Rng, RngExt};
use std::{fmt, str::FromStr, time::Duration};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `kill -9` for the job at any moment.
    Kill,
    /// The same, and again while it recovers.
    KillInRecovery,
    /// The job dies at a fail point of a checkpoint.
    KillAtPoint,
    /// The job is frozen for a while and wakes.
    Freeze,
    /// The job is frozen for longer than the transaction timeout and wakes.
    LongFreeze,
    /// A second instance is started over the running one.
    Successor,
    /// The job is frozen, a second instance takes over, the first wakes.
    Zombie,
    /// SIGTERM, and a new start.
    Stop,
    /// `kill -9` for the broker, which comes back after a while.
    BrokerKill,
    /// The broker is frozen for a while.
    BrokerFreeze,
    /// Connections are cut and refused for a while.
    Refuse,
    /// Connections are cut once.
    Cut,
    /// Requests are kept back for a while.
    HoldRequests,
    /// Replies are kept back for a while.
    HoldReplies,
    /// Every request takes half a second longer for a while.
    Delay,
    /// The reply to a commit is lost.
    LoseCommit,
    /// The reply to offsets within a transaction is lost.
    LoseOffsets,
    /// The reply to produced records is lost.
    LoseProduce,
}

impl Kind {
    /// All of them, with the names that `FAULTS` takes.
    pub const ALL: [(Kind, &'static str); 18] = [
        (Kind::Kill, "kill"),
        (Kind::KillInRecovery, "kill-in-recovery"),
        (Kind::KillAtPoint, "kill-at-point"),
        (Kind::Freeze, "freeze"),
        (Kind::LongFreeze, "long-freeze"),
        (Kind::Successor, "successor"),
        (Kind::Zombie, "zombie"),
        (Kind::Stop, "stop"),
        (Kind::BrokerKill, "broker-kill"),
        (Kind::BrokerFreeze, "broker-freeze"),
        (Kind::Refuse, "refuse"),
        (Kind::Cut, "cut"),
        (Kind::HoldRequests, "hold-requests"),
        (Kind::HoldReplies, "hold-replies"),
        (Kind::Delay, "delay"),
        (Kind::LoseCommit, "lose-commit"),
        (Kind::LoseOffsets, "lose-offsets"),
        (Kind::LoseProduce, "lose-produce"),
    ];

    /// `all`, or names with commas.
    pub fn list(text: &str) -> Result<Vec<Kind>> {
        if text == "all" {
            return Ok(Self::ALL.iter().map(|(kind, _)| *kind).collect());
        }
        text.split(',').map(|name| name.trim().parse()).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for Kind {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.iter().find(|(_, name)| *name == text) {
            Some((kind, _)) => Ok(*kind),
            None => {
                let names: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
                bail!("{text:?} is no fault; there are all, {}", names.join(", "))
            }
        }
    }
}

/// The fail points that a checkpoint passes, as in `src/failpoint.rs`.
const POINTS: [&str; 7] =
    ["before-flush", "before-prepare", "after-upload", "after-manifest", "during-commit", "after-commit", "before-confirm"];

/// A fault with what the seed has decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// How long it lasts, where it lasts.
    pub lasts: Duration,
    /// Quiet time before it, so that faults hit every moment of a checkpoint.
    pub calm: Duration,
    /// For [`Kind::KillAtPoint`].
    pub point: &'static str,
}

impl Fault {
    /// The next one; every kind once before any comes again.
    pub(super) fn draw(random: &mut impl Rng, bag: &mut Vec<Kind>, kinds: &[Kind], transaction_timeout: Duration) -> Self {
        if bag.is_empty() {
            bag.extend_from_slice(kinds);
        }
        let kind = bag.swap_remove(random.random_range(0..bag.len()));
        let between = |random: &mut _, low: u64, high: u64| Duration::from_millis(RngExt::random_range(random, low..high));
        let lasts = match kind {
            Kind::LongFreeze => transaction_timeout + between(random, 1_000, 4_000),
            Kind::KillInRecovery => between(random, 0, 1_000),
            Kind::Freeze | Kind::Refuse | Kind::HoldRequests | Kind::HoldReplies | Kind::Delay => between(random, 200, 6_000),
            Kind::BrokerKill | Kind::BrokerFreeze => between(random, 100, 8_000),
            _ => Duration::ZERO,
        };
        let point = POINTS.get(random.random_range(0..POINTS.len())).copied().unwrap_or("after-manifest");
        Self { kind, lasts, calm: between(random, 200, 2_200), point }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::KillAtPoint => write!(f, "{} {}", self.kind, self.point),
            _ if self.lasts.is_zero() => write!(f, "{}", self.kind),
            _ => write!(f, "{} {:.1?}", self.kind, self.lasts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_seed_repeats_its_faults_and_every_kind_comes_before_any_comes_again() {
        let draw = |seed| {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let (mut bag, kinds) = (Vec::new(), Kind::list("all").unwrap());
            (0..18).map(|_| Fault::draw(&mut random, &mut bag, &kinds, Duration::from_secs(10))).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut kinds: Vec<_> = draw(7).into_iter().map(|fault| fault.kind).collect();
        kinds.sort();
        assert_eq!(kinds, Kind::list("all").unwrap());
    }

    #[test]
    fn names_are_read_back_and_an_unknown_one_is_answered_with_all() {
        assert_eq!(Kind::list("kill, broker-kill").unwrap(), [Kind::Kill, Kind::BrokerKill]);
        assert!(Kind::list("kil").unwrap_err().to_string().contains("kill-at-point"));
    }
}
