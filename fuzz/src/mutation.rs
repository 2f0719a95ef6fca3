//! Records that are nearly right. All that is random comes from `draw`, which gives a number below the one that it gets: so the same numbers
//! make the same bytes, and numbers of a property test can be made smaller by it.

/// Gives a number from 0 to the given one, that one excluded.
pub type Draw<'a> = &'a mut dyn FnMut(u64) -> u64;

/// Values that two readers may read differently, or one not at all.
const VALUES: [&str; 62] = [
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[{}]",
    "[null]",
    "[[]]",
    "\"\"",
    "\" \"",
    "0",
    "-0",
    "-1",
    "00",
    "01",
    "1.",
    ".5",
    "+1",
    "-",
    "1e2",
    "1E-3",
    "1e+2",
    "1e",
    "2.0",
    "5e-1",
    "0.001",
    "-0.00",
    "1.005",
    "49.990",
    "1e999",
    "-1e999",
    "1e-999",
    "1e99999999999999999999",
    "1e-99999999999999999999",
    "999999999999999.99",
    "999999999999999.995",
    "1000000000000000",
    "123456789012345678901234567890",
    "4294967295",
    "4294967296",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "946684800000",
    "946684799999",
    "4102444800000",
    "4102444800001",
    "NaN",
    "Infinity",
    "-Infinity",
    "\"1\"",
    "\"NaN\"",
    "\"CREATED\"",
    "\"created\"",
    "\"\\ud83d\"",
    "\"\\ud83d\\ude00\"",
    "\"\\u0000\"",
    "\"\\x\"",
];

/// Pieces of text, put in anywhere.
const PIECES: [&[u8]; 36] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\t",
    b"\r",
    b"\0",
    b"\x01",
    b"\x7f",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xef\xbb\xbf",
    b"\\u",
    b"\\u00",
    b"\\ud800",
    b"\\udc00",
    b"\xe2\x80\xa8",
    b"e",
    b"E",
    b".",
    b"-",
    b"/*",
    b"//",
    b"\"orderId\":\"x\",",
    b"\"items\":[],",
    b"\"p\\u0072ice\":1,",
];

const ORDER: [(&str, &str); 7] = [
    ("orderId", "\"O-000000042\""),
    ("userId", "\"U-00017\""),
    ("eventType", "\"PAYMENT_COMPLETED\""),
    ("amount", "149.97"),
    ("itemCount", "3"),
    ("category", "\"books\""),
    ("timestamp", "1767225600000"),
];

const ITEM: [(&str, &str); 4] =
    [("productId", "\"P-0007\""), ("productName", "\"Product 7\""), ("quantity", "2"), ("price", "49.99")];

/// Levels around the limits of readers; the last ones are rare.
const LEVELS: [usize; 12] = [1, 2, 29, 30, 31, 32, 33, 64, 127, 128, 1_000, 200_000];

/// Lengths around the limits of what is kept in place; the last ones are rare.
const LENGTHS: [usize; 9] = [0, 1, 11, 12, 23, 24, 25, 1_000, 100_000];

/// One in so many inputs is blown up to megabytes.
const HUGE: u64 = 20_000;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An order event as JSON, spoiled in any number of ways, or not at all.
pub fn json(draw: Draw<'_>) -> Vec<u8> {
    let mut fields: Fields = ORDER.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    let at = below(draw, fields.len() + 1);
    fields.insert(at, (b"items".to_vec(), items(draw)));
    for _ in 0..draw(3) {
        spoil(&mut fields, draw);
    }
    let mut bytes = object(&fields, draw);
    if draw(2) == 1 {
        for _ in 0..=draw(3) {
            spoil_bytes(&mut bytes, draw);
        }
    }
    if draw(HUGE) == HUGE - 1 {
        blow_up(&mut bytes, draw);
    }
    bytes
}

fn items(draw: Draw<'_>) -> Vec<u8> {
    let mut text = b"[".to_vec();
    for index in 0..draw(5) {
        if index > 0 {
            text.push(b',');
        }
        let mut fields: Fields = ITEM.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        if draw(8) == 7 {
            spoil(&mut fields, draw);
        }
        text.extend(object(&fields, draw));
    }
    text.push(b']');
    text
}

fn object(fields: &Fields, draw: Draw<'_>) -> Vec<u8> {
    let white: &[u8] = if draw(8) == 7 { b" \n\t\r" } else { b"" };
    let mut text = Vec::with_capacity(512);
    for (index, (name, value)) in fields.iter().enumerate() {
        text.push(if index == 0 { b'{' } else { b',' });
        for part in [white, b"\"", name, b"\"", white, b":", white, value, white] {
            text.extend_from_slice(part);
        }
    }
    if fields.is_empty() {
        text.push(b'{');
    }
    text.push(b'}');
    text
}

/// Changes names, values, order or number of fields.
fn spoil(fields: &mut Fields, draw: Draw<'_>) {
    let at = below(draw, fields.len().max(1));
    let Some((name, value)) = fields.get(at).cloned() else { return };
    match draw(9) {
        0 | 1 => set(fields, at, (name, pick(&VALUES, draw).as_bytes().to_vec())),
        2 => drop(fields.remove(at)),
        3 => fields.push((name, value)),
        4 => set(fields, at, (escaped(&name), value)),
        5 => set(fields, at, (name, text(draw))),
        6 => fields.insert(at, (b"unknown".to_vec(), pick(&VALUES, draw).as_bytes().to_vec())),
        7 => fields.insert(at, (b"unknown".to_vec(), nested(draw))),
        _ => {
            let other = below(draw, fields.len());
            fields.swap(at, other);
        }
    }
}

fn set(fields: &mut Fields, at: usize, field: (Vec<u8>, Vec<u8>)) {
    if let Some(place) = fields.get_mut(at) {
        *place = field;
    }
}

/// The same name, its first letter written as an escape.
fn escaped(name: &[u8]) -> Vec<u8> {
    let first = name.first().copied().unwrap_or(b'x');
    [format!("\\u{first:04x}").as_bytes(), name.get(1..).unwrap_or_default()].concat()
}

/// A string of some length, of simple letters, of letters of several bytes, or of escapes.
fn text(draw: Draw<'_>) -> Vec<u8> {
    let unit = *pick(&["x", "é", "😀", "\\n", "\\u0041", "\\ud83d\\ude00", "\u{7f}"], draw);
    let length = *rarely_the_last(&LENGTHS, draw);
    format!("\"{}\"", unit.repeat(length / unit.len() + usize::from(length > 0))).into_bytes()
}

fn nested(draw: Draw<'_>) -> Vec<u8> {
    let levels = *rarely_the_last(&LEVELS, draw);
    let (open, close) = *pick(&[("[", "]"), ("{\"a\":", "}"), ("[{\"[\":", "}]")], draw);
    let closing = if draw(8) == 7 { levels.saturating_sub(1) } else { levels };
    [open.repeat(levels), pick(&VALUES, draw).to_string(), close.repeat(closing)].concat().into_bytes()
}

/// Changes bytes without a thought for what they mean.
fn spoil_bytes(bytes: &mut Vec<u8>, draw: Draw<'_>) {
    let at = below(draw, bytes.len() + 1);
    match draw(7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.splice(at..at, pick(&PIECES, draw).iter().copied())),
        2 => {
            let bit = 1 << draw(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
        3 => {
            let end = (at + below(draw, 24)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            let end = (at + below(draw, 64)).min(bytes.len());
            let chunk = bytes.get(at..end).unwrap_or_default().to_vec();
            let to = below(draw, bytes.len() + 1);
            bytes.splice(to..to, chunk);
        }
        5 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = draw(256).to_le_bytes()[0];
            }
        }
        _ => drop(bytes.splice(at..at, pick(&VALUES, draw).bytes())),
    }
}

/// Repeats a piece of it until it has up to ten megabytes.
fn blow_up(bytes: &mut Vec<u8>, draw: Draw<'_>) {
    let at = below(draw, bytes.len() + 1);
    let end = (at + 1 + below(draw, 40)).min(bytes.len());
    let chunk = bytes.get(at..end).unwrap_or_default().to_vec();
    let size = 1_250_000 << draw(4);
    if !chunk.is_empty() {
        bytes.splice(at..at, chunk.repeat(size / chunk.len()));
    }
}

/// The schemas that [`avro`] writes with: version 1 and 2 of the order event, and one whose other fields are made to be blown up.
pub const WRITERS: [&str; 3] = [
    include_str!("../../schemas/order-event.avsc"),
    include_str!("../../tests/fixtures/avro/order-event-2.avsc"),
    include_str!("bombs.avsc"),
];

/// Numbers for lengths, counts, branches and values: as such, and longer than they need be.
const NUMBERS: [i64; 16] =
    [0, 1, -1, 2, -2, 63, 64, 127, 65_536, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 60, i64::MAX, i64::MIN];

/// An order event as Avro without a header, spoiled in any number of ways, or not at all; and which of [`WRITERS`] it is written with.
pub fn avro(draw: Draw<'_>) -> (usize, Vec<u8>) {
    let writer = below(draw, WRITERS.len());
    let second = writer == 1;
    let mut out = Vec::with_capacity(512);
    avro_text(&mut out, "O-000000042", draw);
    avro_text(&mut out, "U-00017", draw);
    if second {
        avro_text(&mut out, "web", draw);
    }
    let kind = 1 + draw(5);
    number(&mut out, kind.cast_signed(), draw);
    avro_money(&mut out, 14_997, draw);
    number(&mut out, 3, draw);
    if second {
        if draw(2) == 0 {
            number(&mut out, 0, draw);
        } else {
            number(&mut out, 1, draw);
            avro_text(&mut out, "SPRING", draw);
            out.extend(f64::from_bits(draw(u64::MAX)).to_le_bytes());
        }
    } else {
        avro_text(&mut out, "books", draw);
    }
    avro_items(&mut out, draw);
    number(&mut out, 1_767_225_600_000, draw);
    if writer == 2 {
        avro_bombs(&mut out, draw);
    }
    if draw(3) == 2 {
        for _ in 0..=draw(3) {
            spoil_bytes(&mut out, draw);
        }
    }
    if draw(HUGE) == HUGE - 1 {
        blow_up(&mut out, draw);
    }
    (writer, out)
}

/// A variable-length number, now and then another one than `good`.
fn number(out: &mut Vec<u8>, good: i64, draw: Draw<'_>) {
    let value = if draw(60) == 59 { *pick(&NUMBERS, draw) } else { good };
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    if draw(200) == 199 {
        // Longer than it need be, up to longer than allowed.
        out.push(rest as u8 | 0x80);
        out.extend(std::iter::repeat_n(0x80, below(draw, 12)));
        rest = 0;
    }
    out.push(rest as u8);
}

fn avro_text(out: &mut Vec<u8>, good: &str, draw: Draw<'_>) {
    let text = if draw(30) == 29 { text(draw) } else { good.as_bytes().to_vec() };
    number(out, text.len() as i64, draw);
    out.extend(text);
}

fn avro_money(out: &mut Vec<u8>, good: i128, draw: Draw<'_>) {
    let cents = if draw(30) == 29 { i128::from(*pick(&NUMBERS, draw)) << draw(60) } else { good };
    let digits = cents.to_be_bytes();
    let first = if draw(30) == 29 { below(draw, 17) } else { 13 };
    let digits = digits.get(first..).unwrap_or_default();
    number(out, digits.len() as i64, draw);
    out.extend_from_slice(digits);
}

/// Items in blocks, of which each may say how many bytes it has.
fn avro_items(out: &mut Vec<u8>, draw: Draw<'_>) {
    for _ in 0..draw(3) {
        let count = 1 + draw(3);
        let mut block = Vec::new();
        for _ in 0..count {
            avro_text(&mut block, "P-0007", draw);
            avro_text(&mut block, "Product 7", draw);
            number(&mut block, 2, draw);
            avro_money(&mut block, 4_999, draw);
        }
        block_of(out, count, &block, draw);
    }
    number(out, 0, draw);
}

fn block_of(out: &mut Vec<u8>, count: u64, block: &[u8], draw: Draw<'_>) {
    if draw(3) == 2 {
        number(out, -count.cast_signed(), draw);
        number(out, block.len() as i64, draw);
    } else {
        number(out, count.cast_signed(), draw);
    }
    out.extend_from_slice(block);
}

/// Values that take few bytes and say that they are many, or deep, or long.
fn avro_bombs(out: &mut Vec<u8>, draw: Draw<'_>) {
    // An array of nulls, which take no bytes
    let nulls = *pick(&[1, 100, 65_000, 70_000, 1 << 40, i64::MAX], draw);
    if draw(2) == 0 {
        number(out, nulls, draw);
    } else {
        number(out, -nulls, draw);
        number(out, 0, draw);
    }
    number(out, 0, draw);
    // A list as records in each other
    for _ in 0..*rarely_the_last(&LEVELS, draw) {
        number(out, 1, draw);
    }
    number(out, 0, draw);
    // A map of bytes
    for _ in 0..draw(3) {
        let mut block = Vec::new();
        avro_text(&mut block, "k", draw);
        avro_text(&mut block, "v", draw);
        block_of(out, 1, &block, draw);
    }
    number(out, 0, draw);
    // An array of arrays of empty records
    number(out, *pick(&[0, 1, 2, 1 << 30], draw), draw);
    for _ in 0..draw(4) {
        number(out, *pick(&[0, 1, 1 << 30], draw), draw);
    }
    number(out, 0, draw);
}

fn below(draw: Draw<'_>, end: usize) -> usize {
    usize::try_from(draw(end as u64)).unwrap_or(0)
}

fn pick<'a, T>(all: &'a [T], draw: Draw<'_>) -> &'a T {
    &all[below(draw, all.len())]
}

fn rarely_the_last<'a, T>(all: &'a [T], draw: Draw<'_>) -> &'a T {
    let last = all.len() - 1;
    if draw(1_000) == 999 { &all[last] } else { &all[below(draw, last)] }
}
