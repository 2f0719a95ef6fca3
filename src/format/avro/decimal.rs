//! Decimals in bytes: the unscaled number, two's complement, the highest byte first.

/// The number; none if it has more than 128 bits.
pub(super) fn unscaled(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    // Some writers fill up to a width of their own.
    let digits = match bytes.len().checked_sub(16) {
        None | Some(0) => bytes,
        Some(more) => {
            let (front, digits) = bytes.split_at(more);
            let sign = digits.first().map_or(0, |byte| byte & 0x80);
            if front.iter().any(|byte| *byte != fill) || sign != fill & 0x80 {
                return None;
            }
            digits
        }
    };
    let mut whole = [fill; 16];
    let begin = whole.len() - digits.len();
    whole.get_mut(begin..)?.copy_from_slice(digits);
    Some(i128::from_be_bytes(whole))
}

/// Appends the fewest bytes that say `value`, with their length in front.
pub(super) fn write(out: &mut Vec<u8>, value: i128) {
    let bytes = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let spare = |pair: &[u8]| matches!(pair, [first, second] if *first == fill && second & 0x80 == fill & 0x80);
    let begin = bytes.windows(2).take_while(|pair| spare(pair)).count();
    let digits = bytes.get(begin..).unwrap_or_default();
    out.push((digits.len() as u8) << 1);
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fewest_bytes_are_those_of_other_implementations() {
        for (value, bytes) in [
            (0, &[2, 0][..]),
            (127, &[2, 0x7f]),
            (128, &[4, 0, 0x80]),
            (-1, &[2, 0xff]),
            (-128, &[2, 0x80]),
            (-129, &[4, 0xff, 0x7f]),
            (12_997, &[4, 0x32, 0xc5]),
        ] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn leading_bytes_that_only_repeat_the_sign_are_allowed_and_nothing_is_zero() {
        assert_eq!(unscaled(&[]), Some(0));
        assert_eq!(unscaled(&[0; 40]), Some(0));
        assert_eq!(unscaled(&[[0xff; 30].as_slice(), &[0xfe]].concat()), Some(-2));
        assert_eq!(unscaled(&[[0; 1].as_slice(), &[0xff; 16]].concat()), None);
        assert_eq!(unscaled(&[1; 17]), None);
    }

    proptest! {
        #[test]
        fn every_number_reads_back(value in any::<i128>()) {
            let mut out = Vec::new();
            write(&mut out, value);
            prop_assert_eq!(usize::from(out[0]), (out.len() - 1) * 2);
            prop_assert_eq!(unscaled(&out[1..]), Some(value));
        }
    }
}
