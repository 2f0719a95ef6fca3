//! One bucket of positions of the input: every bad record once in `dead-letters`, with its bytes and its class.

use super::facts::{BadFact, Digest, Place};
use super::report::Report;
use super::spill::Bucket;
use super::{Committed, Topic};
use crate::comparison::DifferenceKind;
use crate::protocol::Failure;
use compact_str::CompactString;
use std::collections::BTreeMap;

#[derive(Default)]
struct Case {
    bad: Option<(CompactString, Digest)>,
    letters: Vec<(Place, CompactString, Digest)>,
}

pub(super) fn judge(bucket: Bucket<(Place, BadFact)>, committed: &Committed, report: &mut Report) -> Result<(), Failure> {
    let mut cases: BTreeMap<Place, Case> = BTreeMap::new();
    bucket.read(|(place, fact)| {
        let case = cases.entry(place).or_default();
        match fact {
            BadFact::Bad(class, bytes) => case.bad = Some((class, bytes)),
            BadFact::Letter(at, class, bytes) => case.letters.push((at, class, bytes)),
        }
        Ok(())
    })?;
    let output = report.output(Topic::DeadLetters);
    for (place, case) in cases {
        let key = || format!("{} {place}", committed.input_topic);
        let mut letters = case.letters.iter();
        if let Some((class, bytes)) = &case.bad {
            output.expected += 1;
            match letters.next() {
                None => output.note(DifferenceKind::Missing, || (key(), class.to_string(), "nothing".to_owned())),
                Some((at, found, _)) if found != class => {
                    output.note(DifferenceKind::Wrong, || (key(), class.to_string(), format!("{found} at {at}")));
                }
                Some((at, _, found)) if found != bytes => {
                    output.note(DifferenceKind::Wrong, || {
                        (key(), "key, value, headers and timestamp of the record".to_owned(), format!("others at {at}"))
                    });
                }
                Some(_) => {}
            }
        }
        let expected = if case.bad.is_some() { "one letter" } else { "none: the record is good, or not in the committed input" };
        for (at, class, _) in letters {
            output.note(DifferenceKind::Extra, || (key(), expected.to_owned(), format!("{class} at {at}")));
        }
    }
    Ok(())
}
