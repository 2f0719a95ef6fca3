//! The table of a campaign.

use super::{Kind, checker::Checked};
use std::{collections::BTreeMap, fmt, time::Duration};

/// What a campaign has shown.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Decides the faults.
    pub seed: u64,
    /// How long faults came.
    pub lasted: Duration,
    /// Per kind of fault the times to recover: from its end (of a kill: from the kill) to the next commit.
    pub recoveries: BTreeMap<Kind, Vec<Duration>>,
    /// Records of the input, all committed and audited.
    pub records: u64,
    /// What the reader beside it has checked.
    pub checked: Checked,
    /// Records that the audit misses in the outputs.
    pub lost: u64,
    /// Records that the audit found too many or wrong.
    pub doubled: u64,
}

impl Report {
    /// Nothing is lost, doubled or out of order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.checked.wrong == 0
    }
}

/// `q` of the sorted `times` were as short as this.
fn quantile(times: &[Duration], q: f64) -> Duration {
    let rank = (times.len() as f64 * q).ceil().max(1.0) as usize;
    times.get(rank - 1).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | times | recovery p50 | p99 | worst |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: |")?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, times: &[Duration]| {
            let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|q| format!("{:.2} s", quantile(times, q).as_secs_f64()));
            writeln!(f, "| {name} | {} | {p50} | {p99} | {worst} |", times.len())
        };
        let mut all = Vec::new();
        for (kind, times) in &self.recoveries {
            let mut times = times.clone();
            times.sort();
            row(f, &kind.to_string(), &times)?;
            all.extend(times);
        }
        all.sort();
        row(f, "**all**", &all)?;
        writeln!(
            f,
            "\nSeed {}, {} s of faults, {} records in, {} output records checked as they became visible. Lost: {}. Doubled or wrong: {}. \
             Out of step for a reader: {}.",
            self.seed,
            self.lasted.as_secs(),
            self.records,
            self.checked.records,
            self.lost,
            self.doubled,
            self.checked.wrong
        )?;
        self.checked.first.iter().try_for_each(|line| writeln!(f, "- {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_per_kind_and_one_for_all() {
        let seconds = Duration::from_secs;
        let recoveries = BTreeMap::from([(Kind::Kill, vec![seconds(3), seconds(1), seconds(2)]), (Kind::Cut, vec![seconds(5)])]);
        let text = Report { seed: 7, records: 10, recoveries, ..Report::default() }.to_string();
        assert!(text.contains("| kill | 3 | 2.00 s | 3.00 s | 3.00 s |"), "{text}");
        assert!(text.contains("| **all** | 4 | 2.00 s | 5.00 s | 5.00 s |"), "{text}");
        assert!(text.contains("Lost: 0. Doubled or wrong: 0."), "{text}");
    }
}
