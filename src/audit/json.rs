//! A small JSON reader of the audit's own, so that a mistake in the reader that the job uses is not made twice.
//!
//! It works on slices of the text: the grammar of the whole is checked once, then objects and arrays are taken apart level by level. Nothing
//! is recursive, so no record can overflow the stack.

use std::fmt;

/// The text is not JSON; at this byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotJson(pub usize);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no JSON at byte {}", self.0)
    }
}

/// The type of a value, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Array,
    Text,
    Number,
    /// `true`, `false`, `null`.
    Word,
}

/// The text of one value: grammar checked, no white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// Checks that `text` is one JSON value, with nothing but white space around it.
    pub(super) fn whole(text: &'a str) -> Result<Self, NotJson> {
        let mut scan = Scan { text: text.as_bytes(), at: 0 };
        scan.white();
        let start = scan.at;
        scan.value()?;
        let end = scan.at;
        scan.white();
        if scan.at < text.len() {
            return Err(NotJson(scan.at));
        }
        text.get(start..end).map(Value).ok_or(NotJson(start))
    }

    pub(super) fn text(self) -> &'a str {
        self.0
    }

    pub(super) fn shape(self) -> Shape {
        match self.0.as_bytes().first() {
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::Array,
            Some(b'"') => Shape::Text,
            Some(b't' | b'f' | b'n') => Shape::Word,
            _ => Shape::Number,
        }
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Most brackets that stand around anything in it.
    pub(super) fn levels(self) -> usize {
        let (mut open, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
        for byte in self.0.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            most = most.max(open);
        }
        most
    }

    /// Names and values of an object, in order, doubles and all; none if it is no object.
    pub(super) fn fields(self) -> Result<Option<Vec<(String, Value<'a>)>>, NotJson> {
        if self.shape() != Shape::Object {
            return Ok(None);
        }
        let mut fields = Vec::with_capacity(8);
        for part in self.parts() {
            let mut scan = Scan { text: part.as_bytes(), at: 0 };
            scan.string()?;
            let name = Value(part.get(..scan.at).ok_or(NotJson(0))?).string()?.ok_or(NotJson(0))?;
            scan.white();
            scan.at += 1;
            scan.white();
            fields.push((name, Value(part.get(scan.at..).ok_or(NotJson(scan.at))?)));
        }
        Ok(Some(fields))
    }

    /// The elements of an array; none if it is no array.
    pub(super) fn elements(self) -> Option<Vec<Value<'a>>> {
        (self.shape() == Shape::Array).then(|| self.parts().into_iter().map(Value).collect())
    }

    /// What a string says; none if it is no string. Half of a surrogate pair says nothing, and is refused.
    pub(super) fn string(self) -> Result<Option<String>, NotJson> {
        if self.shape() != Shape::Text {
            return Ok(None);
        }
        let inner = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default();
        if !inner.contains('\\') {
            return Ok(Some(inner.to_owned()));
        }
        let mut said = String::with_capacity(inner.len());
        let mut units: Vec<u16> = Vec::new();
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            let escaped = if c == '\\' { chars.next().map(|(_, letter)| letter) } else { None };
            if escaped == Some('u') {
                let hex: String = chars.by_ref().take(4).map(|(_, digit)| digit).collect();
                units.push(u16::from_str_radix(&hex, 16).map_err(|_| NotJson(at))?);
                continue;
            }
            pour(&mut units, &mut said).ok_or(NotJson(at))?;
            said.push(match escaped {
                None => c,
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
            });
        }
        pour(&mut units, &mut said).ok_or(NotJson(inner.len()))?;
        Ok(Some(said))
    }

    /// What lies between the commas of the outermost brackets.
    fn parts(self) -> Vec<&'a str> {
        let bytes = self.0.as_bytes();
        let (mut parts, mut depth, mut quoted, mut start, mut at) = (Vec::new(), 0_usize, false, 1, 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            let ends = !quoted && ((*byte == b',' && depth == 1) || depth == 0);
            if ends {
                let part = self.0.get(start..at).unwrap_or_default().trim_matches([' ', '\t', '\n', '\r']);
                // Only an empty object or array has an empty part: the grammar is checked.
                if !part.is_empty() {
                    parts.push(part);
                }
                start = at + 1;
            }
            at += 1;
        }
        parts
    }
}

/// Turns collected UTF-16 units into characters.
fn pour(units: &mut Vec<u16>, said: &mut String) -> Option<()> {
    if !units.is_empty() {
        said.push_str(&String::from_utf16(units).ok()?);
        units.clear();
    }
    Some(())
}

/// Walks over the grammar of RFC 8259.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn white(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Result<(), NotJson> {
        if self.byte() != Some(wanted) {
            return Err(NotJson(self.at));
        }
        self.at += 1;
        Ok(())
    }

    /// One value, however deep. `open` holds the closing bracket of every object and array that the walk is in.
    fn value(&mut self) -> Result<(), NotJson> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.white();
            match self.byte().ok_or(NotJson(self.at))? {
                b'{' => {
                    self.at += 1;
                    self.white();
                    if self.byte() != Some(b'}') {
                        open.push(b'}');
                        self.name()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    self.white();
                    if self.byte() != Some(b']') {
                        open.push(b']');
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => self.string()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            // A value has ended: close brackets, or go on behind a comma.
            loop {
                let Some(close) = open.last().copied() else { return Ok(()) };
                self.white();
                if self.byte() == Some(b',') {
                    self.at += 1;
                    if close == b'}' {
                        self.white();
                        self.name()?;
                    }
                    break;
                }
                self.take(close)?;
                open.pop();
            }
        }
    }

    fn name(&mut self) -> Result<(), NotJson> {
        self.string()?;
        self.white();
        self.take(b':')
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        word.iter().try_for_each(|byte| self.take(*byte))
    }

    fn string(&mut self) -> Result<(), NotJson> {
        self.take(b'"')?;
        loop {
            let byte = self.byte().ok_or(NotJson(self.at))?;
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                0..=0x1f => return Err(NotJson(self.at)),
                b'\\' => {
                    self.at += 1;
                    match self.byte() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            let digits = self.text.get(self.at + 1..self.at + 5).ok_or(NotJson(self.at))?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return Err(NotJson(self.at));
                            }
                            self.at += 5;
                        }
                        _ => return Err(NotJson(self.at)),
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson(start)) } else { Ok(()) }
    }
}

/// The number that a JSON number stands for, in hundredths, and how it breaks the rules of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hundredths {
    pub below_zero: bool,
    /// It has a digit at 10^15 or above.
    pub too_large: bool,
    /// It has a digit below the hundredths.
    pub inexact: bool,
    /// Without what is too large or inexact.
    pub value: i64,
}

impl Hundredths {
    /// Sums up the digits by their place: the digit at index i of `whole.fraction` stands for 10^(length of whole + exponent - 1 - i).
    pub(super) fn of(number: &str) -> Self {
        let minus = number.starts_with('-');
        let unsigned = number.trim_start_matches('-').to_ascii_lowercase();
        let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((&unsigned, "0"));
        let exponent: i128 = match exponent.trim_start_matches('+').parse() {
            Ok(exponent) => i128::clamp(exponent, -1_000_000_000_000, 1_000_000_000_000),
            Err(_) if exponent.starts_with('-') => -1_000_000_000_000,
            Err(_) => 1_000_000_000_000,
        };
        let point = mantissa.find('.').unwrap_or(mantissa.len()) as i128 + exponent;
        let mut read = Self { below_zero: false, too_large: false, inexact: false, value: 0 };
        for (index, digit) in mantissa.bytes().filter(u8::is_ascii_digit).enumerate() {
            if digit == b'0' {
                continue;
            }
            read.below_zero = minus;
            match point - 1 - index as i128 {
                15.. => read.too_large = true,
                place @ -2..15 => read.value += i64::from(digit - b'0') * 10_i64.pow((place + 2) as u32),
                _ => read.inexact = true,
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn objects_and_arrays_come_apart() {
        let value = Value::whole(" {\"a\" : [1, {\"b\":\"]},\\\"\"} ,[]], \"\\u0063\":{} }\n").unwrap();
        let fields = value.fields().unwrap().unwrap();
        let names: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
        assert_eq!(names, [("a", "[1, {\"b\":\"]},\\\"\"} ,[]]"), ("c", "{}")]);
        let elements: Vec<_> = fields[0].1.elements().unwrap().iter().map(|value| value.text()).collect();
        assert_eq!(elements, ["1", "{\"b\":\"]},\\\"\"}", "[]"]);
        assert_eq!(fields[1].1.fields(), Ok(Some(vec![])));
    }

    #[test]
    fn halves_of_pairs_say_nothing() {
        assert_eq!(Value::whole(r#""\ud83d\ude00\u00e9\n""#).unwrap().string(), Ok(Some("😀é\n".to_owned())));
        assert!(Value::whole(r#""\ud83d x""#).unwrap().string().is_err());
        assert!(Value::whole(r#""\ude00""#).unwrap().string().is_err());
    }

    proptest! {
        #[test]
        fn it_takes_what_serde_json_takes(text in r#"[\[\]{}:, "\\0-9eE.+\-abtruefalsn\n]{0,24}"#) {
            let ours = Value::whole(&text).is_ok();
            prop_assert_eq!(ours, serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn strings_say_what_they_say_to_serde_json(text in r#""([a-c\\"/bfnrtu0-9d]|\\u[0-9a-f]{4}|\\ud8[0-9a-f]{2}\\udc[0-9a-f]{2}){0,6}""#) {
            let ours = Value::whole(&text).ok().and_then(|value| value.string().ok().flatten());
            prop_assert_eq!(ours, serde_json::from_str::<String>(&text).ok());
        }

        #[test]
        fn numbers_keep_their_hundredths(cents in 0..100_000_000_000_000_000_i64) {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            prop_assert_eq!(Hundredths::of(&text), Hundredths { below_zero: false, too_large: false, inexact: false, value: cents });
            let text = format!("-{cents}E-2");
            prop_assert_eq!(Hundredths::of(&text), Hundredths { below_zero: cents > 0, too_large: false, inexact: false, value: cents });
        }
    }
}
