//! One bucket of users: every window of every user, fired once with exact sums, or open at the committed watermark.

use super::facts::{Place, UserFact};
use super::outputs::Stats;
use super::report::Report;
use super::spill::Bucket;
use super::{Committed, JobRules, Topic};
use crate::comparison::DifferenceKind;
use crate::protocol::Failure;
use compact_str::CompactString;
use std::collections::BTreeMap;

#[derive(Default)]
struct Window {
    orders: i64,
    pieces: i64,
    total: i128,
    categories: BTreeMap<CompactString, i64>,
    found: Vec<(Place, Stats)>,
}

pub(super) fn judge(
    bucket: Bucket<(CompactString, UserFact)>,
    committed: &Committed,
    rules: &JobRules,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut windows: BTreeMap<(CompactString, i64), Window> = BTreeMap::new();
    bucket.read(|(user, fact)| {
        match fact {
            UserFact::Created { window, amount, pieces, category } => {
                let window = windows.entry((user, window)).or_default();
                window.orders += 1;
                window.pieces += i64::from(pieces);
                window.total += i128::from(amount);
                *window.categories.entry(category).or_default() += 1;
            }
            UserFact::Stats(place, stats) => windows.entry((user, stats.start)).or_default().found.push((place, stats)),
        }
        Ok(())
    })?;
    for ((user, start), window) in windows {
        let end = start + rules.window;
        let fired = committed.watermark >= end - 1;
        let key = format!("{user} window {start}");
        if !fired {
            report.open += u64::try_from(window.orders).unwrap_or(0);
            for (place, stats) in &window.found {
                let expected = format!("nothing: open at the committed watermark {}", committed.watermark);
                let difference = || (key.clone(), expected, format!("{stats} at {place}"));
                report.output(Topic::PurchaseStats).note(DifferenceKind::Extra, difference);
            }
        } else {
            judge_fired(&key, start, window, rules, report);
        }
    }
    Ok(())
}

fn judge_fired(key: &str, start: i64, mut window: Window, rules: &JobRules, report: &mut Report) {
    window.found.sort_by_key(|(place, _)| *place);
    let output = report.output(Topic::PurchaseStats);
    if window.orders == 0 {
        for (place, stats) in &window.found {
            let difference = || (key.to_owned(), "nothing: no accepted order in it".to_owned(), format!("{stats} at {place}"));
            output.note(DifferenceKind::Extra, difference);
        }
        return;
    }
    let (categories, omitted) = left_of(window.categories, rules.max_record_bytes);
    let expected = Stats {
        start,
        end: start + rules.window,
        orders: window.orders,
        pieces: window.pieces,
        total: window.total,
        average: half_even(window.total, i128::from(window.orders)),
        categories,
        omitted,
    };
    output.expected += 1;
    let Some(((place, last), earlier)) = window.found.split_last() else {
        output.note(DifferenceKind::Missing, || (key.to_owned(), expected.to_string(), "nothing".to_owned()));
        return;
    };
    if *last != expected {
        output.note(DifferenceKind::Wrong, || (key.to_owned(), expected.to_string(), format!("{last} at {place}")));
    }
    // With allowed lateness, each late event replaces the result; the one before it must have counted fewer.
    let mut next = last.orders;
    for (place, stats) in earlier.iter().rev() {
        if rules.allowed_lateness > 0 && stats.orders < next && stats.orders > 0 {
            output.expected += 1;
        } else {
            output.note(DifferenceKind::Extra, || (key.to_owned(), "one record".to_owned(), format!("{stats} at {place}")));
        }
        next = stats.orders;
    }
}

/// The categories that a record has room for, and the number of the others. Each takes 24 bytes and six for each of its name; the ones with
/// the most orders come first, and among equal ones those that are first by name, until one has no room.
fn left_of(all: BTreeMap<CompactString, i64>, room: usize) -> (BTreeMap<CompactString, i64>, u64) {
    let mut ranked: Vec<(i64, CompactString)> = all.into_iter().map(|(name, orders)| (-orders, name)).collect();
    ranked.sort();
    let mut taken = 0_usize;
    let count = ranked.len();
    let kept: BTreeMap<_, _> = ranked
        .into_iter()
        .map_while(|(orders, name)| {
            taken = taken.saturating_add(24 + name.len() * 6);
            (taken <= room).then_some((name, -orders))
        })
        .collect();
    let omitted = count - kept.len();
    (kept, omitted as u64)
}

/// `total` / `count`, rounded to the nearest whole number, halves to the even one.
fn half_even(total: i128, count: i128) -> i128 {
    let (down, rest) = (total / count, total % count);
    if rest * 2 > count || (rest * 2 == count && down % 2 == 1) { down + 1 } else { down }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_hundredth() {
        for (total, count, average) in
            [(5, 2, 2), (7, 2, 4), (1, 2, 0), (3, 2, 2), (1000, 3, 333), (2000, 3, 667), (9, 4, 2), (11, 4, 3)]
        {
            assert_eq!(half_even(total, count), average, "{total} / {count}");
        }
    }
}
