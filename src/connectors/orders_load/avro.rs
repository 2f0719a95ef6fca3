//! The load in other formats than JSON: the same events, and bad records that only Avro can have.

use super::{Kind, LoadRecord};
use crate::format::{DecodeRules, Encoding, EventType, Item, OrderEvent, decode_order};
use rust_decimal::Decimal;
use smallvec::smallvec;

/// Turns the records of a load into the format that a topic has.
#[derive(Debug)]
pub struct AvroLoad {
    encoding: Encoding,
    /// The last good event: bad records are made of it.
    event: OrderEvent,
    bad: usize,
    value: Vec<u8>,
    /// Bytes of values before and after.
    bytes: (u64, u64),
}

/// Ways to be bad, in turn. Each class that Avro can have (but `too_large`, whose records a broker would not take).
const WAYS: usize = 13;

impl AvroLoad {
    /// For a topic whose values are written as `encoding` says.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        let event = OrderEvent {
            order_id: "O-0".into(),
            user_id: "U-0".into(),
            event_type: EventType::Created,
            amount: Decimal::new(100, 2),
            item_count: 1,
            category: "books".into(),
            items: smallvec![Item {
                product_id: "P-0".into(),
                product_name: "Product 0".into(),
                quantity: 1,
                price: Decimal::new(100, 2)
            }],
            timestamp: 1_767_225_600_000,
        };
        Self { encoding, event, bad: 0, value: Vec::new(), bytes: (0, 0) }
    }

    /// The value of the record, as the topic has it; none for a tombstone.
    pub fn value<'a>(&'a mut self, record: &'a LoadRecord) -> Option<&'a [u8]> {
        let Encoding::Avro(header) = self.encoding else { return record.value() };
        self.value.clear();
        let tombstone = match record.kind() {
            Kind::Dirty(_) => self.spoil(header.as_bytes().len()),
            Kind::Event | Kind::Copy => {
                let event = decode_order(record.value().unwrap_or_default(), &DecodeRules::default());
                // What the load calls an event is one: a test holds it to that.
                if let Ok(event) = event {
                    self.event = event;
                }
                self.encoding.order(&mut self.value, &self.event);
                false
            }
        };
        self.bytes.0 += record.value().map_or(0, <[u8]>::len) as u64;
        self.bytes.1 += self.value.len() as u64;
        (!tombstone).then_some(&self.value)
    }

    /// Bytes of keys and values, when there were `json` with the values as JSON.
    #[must_use]
    pub fn bytes(&self, json: u64) -> u64 {
        json.saturating_sub(self.bytes.0) + self.bytes.1
    }

    /// Writes a bad record; true for a tombstone. `header` bytes stand in front of the Avro.
    fn spoil(&mut self, header: usize) -> bool {
        let way = self.bad % WAYS;
        self.bad += 1;
        let mut event = self.event.clone();
        match way {
            0 => event.order_id = "".into(),
            1 => event.user_id = "".into(),
            2 => event.items.iter_mut().for_each(|item| item.product_id = "".into()),
            3 => event.amount = Decimal::new(-1250, 2),
            4 => event.amount = Decimal::new(i64::MAX, 2),
            5 => event.timestamp = 1_767_225_600,
            6 => event.items.iter_mut().for_each(|item| item.quantity = 0),
            _ => {}
        }
        if way == 6 && event.items.is_empty() {
            event.order_id = "".into();
        }
        self.encoding.order(&mut self.value, &event);
        // In front of the event type stand two texts of less than 64 bytes.
        let event_type = header + 2 + event.order_id.len() + event.user_id.len();
        match way {
            7 => self.value.truncate(self.value.len() / 2),
            8 => self.value.push(0),
            // UNKNOWN, and a symbol that is none.
            9 => self.put(event_type, 0),
            10 => self.put(event_type, 126),
            // Not UTF-8.
            11 => self.put(header + 1, 0xff),
            // A schema that is nowhere, and nothing.
            12 => (0..4).for_each(|place| self.put(header + place - 4, if place == 0 { 0x7f } else { 0xfe })),
            _ => {}
        }
        if way == 12 && self.bad.is_multiple_of(2) {
            self.value.clear();
            return true;
        }
        false
    }

    fn put(&mut self, place: usize, byte: u8) {
        if let Some(old) = self.value.get_mut(place) {
            *old = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::orders_load::{LoadSettings, OrderLoad};
    use crate::format::{
        ErrorClass, Input, OrderReader,
        avro::{OwnSchema, ReaderSchema},
    };
    use std::collections::BTreeSet;

    #[test]
    fn events_are_those_of_the_load_and_bad_records_are_of_every_class() {
        // given a load of which every second record is bad, in single-object encoding
        let load = OrderLoad::new(LoadSettings { events: 400, dirty_permille: 500, ..LoadSettings::default() });
        let mut avro = AvroLoad::new(Encoding::single_object(OwnSchema::OrderEvent));
        let mut reader = OrderReader::new(Input::single_object(&[], &ReaderSchema::own()).unwrap(), DecodeRules::default());
        let mut classes = BTreeSet::new();
        // when it is read
        for record in load {
            let read = reader.read(avro.value(&record).unwrap_or_default());
            // then what is good is the event, and the rest is refused
            match record.kind() {
                Kind::Dirty(_) => _ = classes.insert(read.unwrap_err().class),
                _ => assert_eq!(read, decode_order(record.value().unwrap(), &DecodeRules::default())),
            }
        }
        use ErrorClass::*;
        let expected = [
            Empty,
            InvalidUtf8,
            MalformedAvro,
            UnknownSchema,
            UnknownEventType,
            EmptyId,
            NegativeNumber,
            NumberOutOfRange,
            QuantityBelowOne,
            TimestampOutOfRange,
        ];
        assert_eq!(classes, BTreeSet::from(expected));
    }

    #[test]
    fn json_goes_through_untouched() {
        let load = OrderLoad::new(LoadSettings { events: 50, dirty_permille: 100, ..LoadSettings::default() });
        let mut same = AvroLoad::new(Encoding::Json);
        for record in load {
            assert_eq!(same.value(&record), record.value());
        }
    }
}
