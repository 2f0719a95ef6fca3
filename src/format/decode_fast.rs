//! The reader for what usual producers write: one pass over the bytes, no copies but the strings that are kept.
//!
//! It never refuses a record. Whatever it does not expect (an object in an unknown field, an escape, an exponent, a value that breaks a rule, a syntax
//! error) makes it give up, and the careful reader begins anew. So it need not know every rule of JSON, only to take nothing that is
//! not JSON, and nothing that means something else than it thinks; a property test holds it to what the careful reader says.

use super::money::CENTS_LIMIT;
use super::{DecodeRules, EventType, Item, OrderEvent};
use compact_str::CompactString;
use rust_decimal::Decimal;
use smallvec::SmallVec;

/// The event, or none: let the careful reader look.
pub(super) fn decode(text: &str, rules: &DecodeRules) -> Option<OrderEvent> {
    let mut reader = Reader { text, at: 0 };
    let event = order(&mut reader, rules)?;
    reader.skip_white();
    (reader.at == text.len()).then_some(event)
}

fn order(reader: &mut Reader<'_>, rules: &DecodeRules) -> Option<OrderEvent> {
    let mut order_id = None;
    let mut user_id = None;
    let mut event_type = None;
    let mut amount = None;
    let mut item_count = None;
    let mut category = None;
    let mut items = None;
    let mut timestamp = None;
    reader.token(b'{')?;
    loop {
        // A field that is there twice finds its place taken and gives up.
        match reader.name()? {
            "orderId" => put(&mut order_id, reader.id(rules)?)?,
            "userId" => put(&mut user_id, reader.id(rules)?)?,
            "eventType" => put(&mut event_type, EventType::from_wire(reader.string()?)?)?,
            "amount" => put(&mut amount, reader.money()?)?,
            "itemCount" => put(&mut item_count, u32::try_from(reader.whole()?).ok()?)?,
            "category" => put(&mut category, reader.short(rules)?)?,
            "items" => put(&mut items, read_items(reader, rules)?)?,
            "timestamp" => put(&mut timestamp, i64::try_from(reader.whole()?).ok()?)?,
            _ => reader.skip_simple()?,
        }
        if !reader.more(b'}')? {
            break;
        }
    }
    let timestamp = timestamp.filter(|time| (rules.min_timestamp..=rules.max_timestamp).contains(time))?;
    Some(OrderEvent {
        order_id: order_id?,
        user_id: user_id?,
        event_type: event_type?,
        amount: amount?,
        item_count: item_count?,
        category: category?,
        items: items?,
        timestamp,
    })
}

fn read_items(reader: &mut Reader<'_>, rules: &DecodeRules) -> Option<SmallVec<[Item; 3]>> {
    let mut items = SmallVec::new();
    reader.token(b'[')?;
    if reader.peek()? == b']' {
        reader.at += 1;
        return Some(items);
    }
    loop {
        items.push(item(reader, rules)?);
        if !reader.more(b']')? {
            return Some(items);
        }
    }
}

fn item(reader: &mut Reader<'_>, rules: &DecodeRules) -> Option<Item> {
    let mut product_id = None;
    let mut product_name = None;
    let mut quantity = None;
    let mut price = None;
    reader.token(b'{')?;
    loop {
        match reader.name()? {
            "productId" => put(&mut product_id, reader.id(rules)?)?,
            "productName" => put(&mut product_name, CompactString::from(reader.string()?))?,
            "quantity" => put(&mut quantity, u32::try_from(reader.whole()?).ok().filter(|quantity| *quantity > 0)?)?,
            "price" => put(&mut price, reader.money()?)?,
            _ => reader.skip_simple()?,
        }
        if !reader.more(b'}')? {
            break;
        }
    }
    Some(Item { product_id: product_id?, product_name: product_name?, quantity: quantity?, price: price? })
}

fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space; it stays.
    fn peek(&mut self) -> Option<u8> {
        self.skip_white();
        self.byte()
    }

    fn token(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// After a value: true for a comma, false for the closing bracket.
    fn more(&mut self, close: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte if byte == close => Some(false),
            _ => None,
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let name = self.string()?;
        self.token(b':')?;
        Some(name)
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.token(b'"')?;
        let start = self.at;
        let rest = self.text.as_bytes().get(start..)?;
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        self.at = start + length + 1;
        self.text.get(start..start + length)
    }

    /// A string that is not longer than an identifier may be.
    fn short(&mut self, rules: &DecodeRules) -> Option<CompactString> {
        let text = self.string()?;
        (text.len() <= rules.max_id_bytes).then(|| CompactString::from(text))
    }

    fn id(&mut self, rules: &DecodeRules) -> Option<CompactString> {
        self.short(rules).filter(|id| !id.is_empty())
    }

    /// The digits of a whole number, at most 18 and without a leading zero.
    fn digits(&mut self) -> Option<u64> {
        let start = self.at;
        let mut value = 0_u64;
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            if self.at - start == 18 {
                return None;
            }
            value = value * 10 + u64::from(byte - b'0');
            self.at += 1;
        }
        let length = self.at - start;
        let leading_zero = length > 1 && self.text.as_bytes().get(start) == Some(&b'0');
        (length > 0 && !leading_zero).then_some(value)
    }

    /// The value of an unknown field: a string, a usual number, or a word.
    fn skip_simple(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            first => {
                self.at += usize::from(first == b'-');
                self.digits()?;
                if self.byte() == Some(b'.') {
                    self.at += 1;
                    let places = self.text.as_bytes().get(self.at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    self.at += places;
                    return (places > 0).then_some(());
                }
                Some(())
            }
        }
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        let here = self.text.get(self.at..)?.starts_with(word);
        here.then(|| self.at += word.len())
    }

    /// A whole number of 0 or more. What follows it is looked at by the caller, so `1.5` and `1e3` end in giving up.
    fn whole(&mut self) -> Option<u64> {
        self.skip_white();
        self.digits()
    }

    /// `12`, `12.3` or `12.34`.
    fn money(&mut self) -> Option<Decimal> {
        let whole = self.whole()?;
        let mut cents = 0;
        if self.byte() == Some(b'.') {
            let places = self.text.as_bytes().get(self.at + 1..)?;
            let digit = |index: usize| places.get(index).filter(|byte| byte.is_ascii_digit()).map(|byte| u64::from(byte - b'0'));
            let tenths = digit(0)?;
            match digit(1) {
                Some(hundredths) => {
                    cents = tenths * 10 + hundredths;
                    self.at += 3;
                }
                None => {
                    cents = tenths * 10;
                    self.at += 2;
                }
            }
        }
        let cents = i64::try_from(whole.checked_mul(100)? + cents).ok()?;
        (cents < CENTS_LIMIT).then(|| Decimal::new(cents, 2))
    }
}
