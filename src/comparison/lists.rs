//! Two lists, and what is different.

use super::{DifferenceKind, OutputReport};
use std::fmt::Display;

/// What is in `expected` and not in `found`, and the other way round, each as often as it is too much.
pub(crate) fn multisets<T: Ord + Clone>(expected: &[T], found: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut expected, mut found) = (expected.to_vec(), found.to_vec());
    expected.sort();
    found.sort();
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    let (mut expected, mut found) = (expected.into_iter().peekable(), found.into_iter().peekable());
    loop {
        match (expected.peek(), found.peek()) {
            (None, None) => return (missing, extra),
            (Some(left), Some(right)) if left == right => {
                expected.next();
                found.next();
            }
            (Some(left), right) if right.is_none_or(|right| left < right) => missing.extend(expected.next()),
            _ => extra.extend(found.next()),
        }
    }
}

/// How many elements are in the wrong place, missing or too many: 0 for equal lists.
pub(crate) fn distance<T: Ord + Clone>(expected: &[T], found: &[T], ordered: bool) -> usize {
    if expected == found {
        return 0;
    }
    let (missing, extra) = multisets(expected, found);
    let differing = missing.len().max(extra.len());
    if differing > 0 || !ordered {
        return differing;
    }
    expected.iter().zip(found).filter(|(left, right)| left != right).count()
}

/// Writes the differences of two lists about `key` into the report: one of each side together are one wrong record, what is left over is missing
/// or extra. In an ordered list, the same elements in another order are wrong.
pub(crate) fn lists<T: Ord + Clone + Display, N>(
    report: &mut OutputReport<N>,
    key: &dyn Display,
    expected: &[T],
    found: &[T],
    ordered: bool,
) {
    if expected == found {
        return;
    }
    let (missing, extra) = multisets(expected, found);
    if missing.is_empty() && extra.is_empty() {
        if ordered {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate().filter(|(_, (left, right))| left != right) {
                let place = format!("{key}, record {} of it (order)", index + 1);
                report.note(DifferenceKind::Wrong, || (place, expected.to_string(), found.to_string()));
            }
        }
        return;
    }
    for index in 0..missing.len().max(extra.len()) {
        match (missing.get(index), extra.get(index)) {
            (Some(expected), Some(found)) => {
                report.note(DifferenceKind::Wrong, || (key.to_string(), expected.to_string(), found.to_string()));
            }
            (Some(expected), None) => {
                report.note(DifferenceKind::Missing, || (key.to_string(), expected.to_string(), "nothing".to_owned()));
            }
            (None, Some(found)) => {
                report.note(DifferenceKind::Extra, || (key.to_string(), "no more".to_owned(), found.to_string()));
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multisets_count_copies() {
        assert_eq!(multisets(&[1, 2, 2, 3], &[2, 3, 3, 4]), (vec![1, 2], vec![3, 4]));
        assert_eq!(multisets::<i32>(&[], &[]), (vec![], vec![]));
        assert_eq!(multisets(&[1, 2], &[2, 1]), (vec![], vec![]));
    }

    #[test]
    fn distance_is_zero_only_for_what_is_equal() {
        assert_eq!(distance(&[1, 2], &[1, 2], true), 0);
        assert_eq!(distance(&[1, 2], &[2, 1], false), 0);
        assert_eq!(distance(&[1, 2], &[2, 1], true), 2);
        assert_eq!(distance(&[1, 2], &[1], true), 1);
        assert_eq!(distance(&[1], &[1, 1], false), 1);
    }
}
