//! Exact money: hundredths, from the text of a JSON number and back.

use rust_decimal::{Decimal, RoundingStrategy};

/// Largest amount or price that is taken: 999,999,999,999,999.99. It keeps 2^32 of them within what a [`Decimal`] can add.
pub const MAX_MONEY: Decimal = Decimal::from_parts(0x5d89_ffff, 0x0163_4578, 0, false, 2);

/// Hundredths of [`MAX_MONEY`], plus one.
pub(super) const CENTS_LIMIT: i64 = 100_000_000_000_000_000;

/// Digits before the point that [`MAX_MONEY`] has.
const WHOLE_DIGITS: i64 = 15;

/// What the text of a JSON number is as money: every rule that it breaks, and the hundredths if it breaks none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MoneyText {
    /// Below zero; `-0` and `-0.00` are zero.
    pub negative: bool,
    /// Above [`MAX_MONEY`].
    pub too_large: bool,
    /// Not a whole number of hundredths. `1.500` and `15e-1` are exact, `1.005` is not.
    pub inexact: bool,
    /// The value in hundredths; 0 if a rule is broken.
    pub cents: i64,
}

/// Reads a JSON number (grammar checked before) by its digits: value = digits x 10^exponent, without leading or trailing zeros.
pub(super) fn read_money(text: &str) -> MoneyText {
    let (minus, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // An exponent that does not fit is as good as the largest one: only its sign matters then.
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 });
    let exponent = exponent.clamp(i64::MIN / 4, i64::MAX / 4);

    let digits = [whole, fraction].concat();
    let kept = digits.trim_end_matches('0');
    let exponent = exponent - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
    let digits = kept.trim_start_matches('0');
    if digits.is_empty() {
        return MoneyText { negative: false, too_large: false, inexact: false, cents: 0 };
    }
    let too_large = digits.len() as i64 + exponent > WHOLE_DIGITS;
    let inexact = exponent < -2;
    let cents = match u32::try_from(exponent + 2) {
        Ok(shift) if !too_large && !inexact && !minus => {
            digits.parse::<i64>().ok().and_then(|value| value.checked_mul(10_i64.checked_pow(shift)?)).unwrap_or(0)
        }
        _ => 0,
    };
    MoneyText { negative: minus, too_large, inexact, cents }
}

/// Appends `value` with exactly two places, rounded half-even if it has more.
pub fn write_money(out: &mut Vec<u8>, value: Decimal) {
    let mut value = if value.scale() > 2 { round(value) } else { value };
    value.rescale(2);
    let hundredths = value.mantissa();
    if hundredths < 0 {
        out.push(b'-');
    }
    let hundredths = hundredths.unsigned_abs();
    let mut digits = itoa::Buffer::new();
    match u64::try_from(hundredths / 100) {
        Ok(whole) => out.extend_from_slice(digits.format(whole).as_bytes()),
        Err(_) => out.extend_from_slice(digits.format(hundredths / 100).as_bytes()),
    }
    let places = (hundredths % 100) as u8;
    out.extend_from_slice(&[b'.', b'0' + places / 10, b'0' + places % 10]);
}

/// Average of `count` orders that cost `total` together, rounded half-even to two places; zero for no orders.
#[must_use]
pub fn average_order_value(total: Decimal, count: u64) -> Decimal {
    // In whole hundredths: a decimal quotient would be rounded at 28 digits first, and then once more.
    let Some(count) = i128::from(count).checked_abs().filter(|count| *count > 0) else { return Decimal::new(0, 2) };
    let mut total = round(total);
    total.rescale(2);
    let (quotient, rest) = (total.mantissa().div_euclid(count), total.mantissa().rem_euclid(count));
    let up = match (rest * 2).cmp(&count) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => quotient.rem_euclid(2),
        std::cmp::Ordering::Greater => 1,
    };
    Decimal::from_i128_with_scale(quotient + up, 2)
}

fn round(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven)
}

/// Money as a JSON number with two places, exact both ways. For serde_json only: it writes and reads the text of the number.
pub(super) mod json {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
    use serde_json::value::RawValue;

    pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(24);
        super::write_money(&mut text, *value);
        let text = String::from_utf8(text).map_err(ser::Error::custom)?;
        RawValue::from_string(text).map_err(ser::Error::custom)?.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Decimal::from_str_exact(text.get()).map_err(|error| de::Error::custom(format!("{} is not money: {error}", text.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn cents(text: &str) -> Option<i64> {
        let read = read_money(text);
        (!read.negative && !read.too_large && !read.inexact).then_some(read.cents)
    }

    #[test]
    fn what_producers_write_is_read_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("-0.00", 0),
            ("0e99999999999999999999", 0),
            ("50", 5000),
            ("49.9", 4990),
            ("49.99", 4999),
            ("49.9900000", 4999),
            ("5e1", 5000),
            ("5E+1", 5000),
            ("4999e-2", 4999),
            ("0.5e1", 500),
            ("999999999999999.99", CENTS_LIMIT - 1),
        ] {
            assert_eq!(cents(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_whole_number_of_hundredths_or_too_large_is_refused() {
        for text in ["1.005", "0.001", "1e-3", "1e-99999999999999999999"] {
            assert!(read_money(text).inexact, "{text}");
        }
        for text in ["1000000000000000", "1e15", "1e400", "1e99999999999999999999"] {
            assert!(read_money(text).too_large, "{text}");
        }
        assert!(read_money("-0.01").negative);
    }

    #[test]
    fn the_largest_money_is_the_documented_one() {
        assert_eq!(MAX_MONEY, Decimal::from_str("999999999999999.99").unwrap());
        assert_eq!(MAX_MONEY, Decimal::new(CENTS_LIMIT - 1, 2));
    }

    #[test]
    fn money_is_written_with_two_places() {
        for (value, expected) in
            [("0", "0.00"), ("5", "5.00"), ("0.1", "0.10"), ("-0.01", "-0.01"), ("1.005", "1.00"), ("1.015", "1.02")]
        {
            let mut out = Vec::new();
            write_money(&mut out, Decimal::from_str(value).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        }
        let mut out = Vec::new();
        write_money(&mut out, Decimal::from_str("123456789012345678901234.56").unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "123456789012345678901234.56");
    }

    #[test]
    fn averages_are_rounded_half_even() {
        for (total, count, expected) in [
            ("10.00", 3, "3.33"),
            ("0.01", 2, "0.00"),
            ("0.03", 2, "0.02"),
            ("0.05", 2, "0.02"),
            ("20.00", 3, "6.67"),
            ("7.00", 0, "0.00"),
        ] {
            let average = average_order_value(Decimal::from_str(total).unwrap(), count);
            assert_eq!(average.to_string(), expected, "{total} / {count}");
        }
    }
}
