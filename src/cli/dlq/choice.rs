//! Which dead letters are meant.

use super::letter::Letter;
use crate::format::ErrorClass;
use clap::builder::PossibleValuesParser;
use std::time::{SystemTime, UNIX_EPOCH};

/// The filters that `list` and `replay` have in common.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Choice {
    /// Only those of this class of error; may be given many times
    #[arg(long, value_name = "CLASS", value_parser = PossibleValuesParser::new(ErrorClass::ALL.map(ErrorClass::as_str)), hide_possible_values = true)]
    class: Vec<String>,
    /// Only those that were written since then: a time (2026-01-31T12:00:00Z) or so long ago (90min)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
}

impl Choice {
    /// Whether `letter` is meant.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let recent = self.since.is_none_or(|since| letter.timestamp.is_some_and(|written| written >= since));
        recent && (self.class.is_empty() || self.class.contains(&letter.reason.class))
    }
}

/// Milliseconds since 1970 of a point in time, or of a duration back from now.
fn since(text: &str) -> Result<i64, String> {
    let point = match humantime::parse_duration(text) {
        Ok(back) => SystemTime::now().checked_sub(back).ok_or("that is longer ago than time goes back")?,
        Err(_) => humantime::parse_rfc3339(text).map_err(|_| {
            "wanted is a time as in RFC 3339, in UTC (2026-01-31T12:00:00Z), or a duration back from now (90min, 2h 30m, 7d)"
                .to_owned()
        })?,
    };
    let since = point.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Ok(i64::try_from(since).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};

    #[test]
    fn since_is_a_time_or_a_duration_back() {
        assert_eq!(since("2026-01-01T00:00:00.5Z"), Ok(1_767_225_600_500));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let hour_ago = since("1h").unwrap();
        assert!((now - 3_600_000..now - 3_590_000).contains(&hour_ago), "{hour_ago} at {now}");
        for wrong in ["yesterday", "", "-1h", "2026-13-01T00:00:00Z", "2026-01-01"] {
            let said = since(wrong).unwrap_err();
            assert!(said.contains("RFC 3339") && said.contains("90min"), "{wrong}: {said}");
        }
    }

    #[test]
    fn each_filter_leaves_out_what_it_should_and_all_must_agree() {
        let letter = letter();
        let written = letter.timestamp.unwrap();
        let takes = |class: &[&str], since: Option<i64>| {
            Choice { class: class.iter().map(|class| (*class).to_owned()).collect(), since }.takes(&letter)
        };
        assert!(takes(&[], None) && takes(&["inexact_money"], Some(written)) && takes(&["empty", "inexact_money"], None));
        assert!(!takes(&["empty"], None) && !takes(&["inexact_money"], Some(written + 1)) && !takes(&["empty"], Some(0)));
        // a letter without a time is not known to be recent
        let timeless = Letter { timestamp: None, ..letter.clone() };
        assert!(!Choice { since: Some(0), ..Choice::default() }.takes(&timeless));
    }
}
