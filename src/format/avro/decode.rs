//! Runs a plan: from bytes straight into the job's type.

use super::cursor::{Broken, Cursor};
use super::decimal;
use super::plan::{Branch, ItemStep, Items, Money, OrderStep, Plan, Symbol, Symbols, Whole, Wire};
use crate::format::decode::too_long;
use crate::format::encode::order_fits;
use crate::format::findings::Findings;
use crate::format::money::CENTS_LIMIT;
use crate::format::{DecodeError, DecodeRules, ErrorClass, EventType, Item, OrderEvent};
use rust_decimal::Decimal;
use std::fmt;

impl Plan {
    /// Reads the Avro of an order event, in front of which the record has a header of `header` bytes.
    ///
    /// # Errors
    ///
    /// Bytes that are not of the schema; else, of all rules that the event breaks, the first in [`ErrorClass`].
    pub fn decode(&self, avro: &[u8], header: usize, rules: &DecodeRules) -> Result<OrderEvent, DecodeError> {
        let mut run = Run { plan: self, cursor: Cursor::new(avro, header), rules, found: Findings::default() };
        let event = run.order().map_err(refused)?;
        run.lengths(&event);
        match run.found.worst {
            None => order_fits(&event, rules.max_record_bytes).map(|()| event),
            Some(error) => Err(error),
        }
    }
}

fn refused(broken: Broken) -> DecodeError {
    match broken {
        Broken::Text(at) => {
            let message = format!("the byte at position {at} does not belong to UTF-8 text");
            DecodeError { class: ErrorClass::InvalidUtf8, message }
        }
        Broken::At(at, what) => DecodeError { class: ErrorClass::MalformedAvro, message: format!("at byte {at}: {what}") },
    }
}

/// Where a value is, for messages.
#[derive(Clone, Copy)]
struct Place(Option<usize>, &'static str);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(None, name) => f.write_str(name),
            Self(Some(item), name) => write!(f, "items[{item}].{name}"),
        }
    }
}

struct Run<'a> {
    plan: &'a Plan,
    cursor: Cursor<'a>,
    rules: &'a DecodeRules,
    found: Findings,
}

impl<'a> Run<'a> {
    fn order(&mut self) -> Result<OrderEvent, Broken> {
        let plan = self.plan;
        let mut event = plan.template.clone();
        for step in &plan.steps {
            match step {
                OrderStep::OrderId(wire) => event.order_id = self.id(wire, Place(None, "orderId"))?.into(),
                OrderStep::UserId(wire) => event.user_id = self.id(wire, Place(None, "userId"))?.into(),
                OrderStep::EventType(wire) => {
                    if let Some(event_type) = self.event_type(wire)? {
                        event.event_type = event_type;
                    }
                }
                OrderStep::Amount(wire) => event.amount = self.money(wire, Place(None, "amount"))?,
                OrderStep::ItemCount(wire) => event.item_count = self.count(wire, 0, Place(None, "itemCount"))?,
                OrderStep::Category(wire) => event.category = self.text(wire, Place(None, "category"))?.unwrap_or("").into(),
                OrderStep::Items(wire) => {
                    if let Some(items) = self.branch(wire, Place(None, "items"), "an array")? {
                        self.items(items, &mut event)?;
                    }
                }
                OrderStep::Timestamp(wire) => event.timestamp = self.timestamp(wire)?,
                OrderStep::Skip(skip) => plan.skips.run(skip, &mut self.cursor)?,
            }
        }
        self.cursor.end()?;
        Ok(event)
    }

    /// Judged of the whole event, because a default may be too long as well.
    fn lengths(&mut self, event: &OrderEvent) {
        let rules = self.rules;
        let mut judge = |text: &str, place: Place| {
            if text.len() > rules.max_id_bytes {
                self.found.note(ErrorClass::TooLong, || too_long(&place, text.len(), rules));
            }
        };
        judge(&event.order_id, Place(None, "orderId"));
        judge(&event.user_id, Place(None, "userId"));
        judge(&event.category, Place(None, "category"));
        for (number, item) in event.items.iter().enumerate() {
            judge(&item.product_id, Place(Some(number), "productId"));
        }
    }

    fn items(&mut self, items: &'a Items, event: &mut OrderEvent) -> Result<(), Broken> {
        loop {
            let count = self.cursor.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                self.cursor.value()?;
                let item = self.item(items, event.items.len())?;
                event.items.push(item);
            }
        }
    }

    fn item(&mut self, items: &'a Items, number: usize) -> Result<Item, Broken> {
        let plan = self.plan;
        let mut item = items.template.clone();
        let place = |name| Place(Some(number), name);
        for step in &items.steps {
            match step {
                ItemStep::ProductId(wire) => item.product_id = self.id(wire, place("productId"))?.into(),
                ItemStep::ProductName(wire) => {
                    item.product_name = self.text(wire, place("productName"))?.unwrap_or("").into();
                }
                ItemStep::Quantity(wire) => item.quantity = self.count(wire, 1, place("quantity"))?,
                ItemStep::Price(wire) => item.price = self.money(wire, place("price"))?,
                ItemStep::Skip(skip) => plan.skips.run(skip, &mut self.cursor)?,
            }
        }
        Ok(item)
    }

    /// What is on the wire; none if it is a branch of a union that we have no place for, which is then noted.
    #[inline]
    fn branch<T>(&mut self, wire: &'a Wire<T>, place: Place, wanted: &str) -> Result<Option<&'a T>, Broken> {
        let branches = match wire {
            Wire::Plain(plain) => return Ok(Some(plain)),
            Wire::Union(branches) => branches,
        };
        let number = self.cursor.index(branches.len(), "branch")?;
        match branches.get(number) {
            Some(Branch::Usable(usable)) => Ok(Some(usable)),
            Some(Branch::Other { is, skip }) => {
                self.plan.skips.run(skip, &mut self.cursor)?;
                self.found.note(ErrorClass::WrongType, || format!("{place} is {is}; wanted is {wanted}"));
                Ok(None)
            }
            None => self.cursor.broken("no such branch"),
        }
    }

    #[inline]
    fn text(&mut self, wire: &'a Wire<super::plan::Text>, place: Place) -> Result<Option<&'a str>, Broken> {
        match self.branch(wire, place, "a string")? {
            Some(_) => self.cursor.text().map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn id(&mut self, wire: &'a Wire<super::plan::Text>, place: Place) -> Result<&'a str, Broken> {
        let Some(text) = self.text(wire, place)? else { return Ok("") };
        if text.is_empty() {
            self.found.note(ErrorClass::EmptyId, || format!("{place} is \"\"; an identifier has at least one character"));
        }
        Ok(text)
    }

    fn event_type(&mut self, wire: &'a Wire<Symbols>) -> Result<Option<EventType>, Broken> {
        let Some(symbols) = self.branch(wire, Place(None, "eventType"), "an enum")? else { return Ok(None) };
        let number = self.cursor.index(symbols.len(), "symbol")?;
        match symbols.get(number) {
            Some(Symbol::Known(event_type)) => Ok(Some(*event_type)),
            Some(Symbol::Unknown(symbol)) => {
                self.found.note(ErrorClass::UnknownEventType, || {
                    let symbol: String = symbol.chars().take(64).collect();
                    format!("eventType is {symbol}; allowed are CREATED, PAYMENT_COMPLETED, SHIPPED, DELIVERED and CANCELLED")
                });
                Ok(None)
            }
            None => self.cursor.broken("no such symbol"),
        }
    }

    #[inline]
    fn money(&mut self, wire: &'a Wire<Money>, place: Place) -> Result<Decimal, Broken> {
        if self.branch(wire, place, "a decimal")?.is_none() {
            return Ok(Decimal::ZERO);
        }
        let bytes = self.cursor.bytes()?;
        let cents = decimal::unscaled(bytes);
        if let Some(cents) = cents.and_then(|cents| i64::try_from(cents).ok())
            && (0..CENTS_LIMIT).contains(&cents)
        {
            return Ok(Decimal::new(cents, 2));
        }
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let shown = || cents.map_or_else(|| format!("a number of {} bytes", bytes.len()), |cents| format!("{cents} hundredths"));
        if negative {
            self.found.note(ErrorClass::NegativeNumber, || format!("{place} is {}; allowed are 0 and more", shown()));
        } else {
            self.found
                .note(ErrorClass::NumberOutOfRange, || format!("{place} is {}; allowed are at most 999999999999999.99", shown()));
        }
        Ok(Decimal::ZERO)
    }

    #[inline]
    fn whole(&mut self, wire: &'a Wire<Whole>, place: Place) -> Result<Option<i64>, Broken> {
        match self.branch(wire, place, "a whole number")? {
            Some(Whole::Int) => self.cursor.int().map(|number| Some(number.into())),
            Some(Whole::Long) => self.cursor.long().map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn count(&mut self, wire: &'a Wire<Whole>, least: i64, place: Place) -> Result<u32, Broken> {
        let Some(number) = self.whole(wire, place)? else { return Ok(0) };
        if number < least {
            let (class, allowed) = match least {
                0 => (ErrorClass::NegativeNumber, "0 and more"),
                _ => (ErrorClass::QuantityBelowOne, "1 and more"),
            };
            self.found.note(class, || format!("{place} is {number}; allowed are {allowed}"));
            return Ok(0);
        }
        u32::try_from(number).or_else(|_| {
            self.found.note(ErrorClass::NumberOutOfRange, || format!("{place} is {number}; allowed are at most 4294967295"));
            Ok(0)
        })
    }

    fn timestamp(&mut self, wire: &'a Wire<Whole>) -> Result<i64, Broken> {
        let place = Place(None, "timestamp");
        let Some(time) = self.whole(wire, place)? else { return Ok(0) };
        let (min, max) = (self.rules.min_timestamp, self.rules.max_timestamp);
        if !(min..=max).contains(&time) {
            self.found.note(ErrorClass::TimestampOutOfRange, || {
                format!("{place} is {time}; allowed are {min} to {max} (milliseconds since the epoch)")
            });
        }
        Ok(time)
    }
}
