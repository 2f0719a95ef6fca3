//! What holds for every input, however hostile.

use crate::format::{
    DecodeError, DecodeRules, ErrorClass, OrderEvent,
    avro::{self, OwnSchema, Plan, WriterSchema},
    decode_order, decode_order_carefully, encode_order,
};
use apache_avro::Schema;

/// Most bytes of a message of an error: it becomes a header.
const MESSAGE: usize = 1024;

/// Decodes a record that is to be JSON, with every reader there is. None if it is accepted.
///
/// # Panics
///
/// If a promise is broken: the readers disagree, an accepted event breaks a rule or is another one once it is written and read again, a
/// refusal has no usable message.
pub fn json(bytes: &[u8], rules: &DecodeRules) -> Option<ErrorClass> {
    let decoded = decode_order(bytes, rules);
    assert_eq!(decoded, decode_order_carefully(bytes, rules), "the fast reader and the careful one");
    judge(&decoded, rules);
    if let Ok(event) = &decoded {
        let mut written = Vec::new();
        encode_order(&mut written, event);
        // Escapes may have made it longer.
        let rules = DecodeRules { max_record_bytes: usize::MAX, ..*rules };
        assert_eq!(decode_order(&written, &rules).as_ref(), Ok(event), "written and read again");
    }
    decoded.err().map(|error| error.class)
}

/// Readers of Avro, one for each writer's schema.
pub struct Plans {
    writers: Vec<Plan>,
    own: Plan,
}

impl Plans {
    /// For these writers' schemas.
    ///
    /// # Panics
    ///
    /// If one is no schema, or cannot be resolved with ours.
    pub fn of(writers: &[&str]) -> Self {
        let plan = |schema: &Schema| Plan::new(schema, &[]).unwrap_or_else(|why| panic!("{why}"));
        let parse = |text: &&str| Schema::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
        Self { writers: writers.iter().map(|text| plan(&parse(text))).collect(), own: plan(OwnSchema::OrderEvent.schema()) }
    }

    /// Decodes a record that is to be Avro, written with the schema of this number, without a header. None if it is accepted.
    ///
    /// # Panics
    ///
    /// As [`json`].
    pub fn avro(&self, writer: usize, bytes: &[u8], rules: &DecodeRules) -> Option<ErrorClass> {
        // Any bytes may stand where a header is looked for.
        for split in [WriterSchema::of_framed(bytes), WriterSchema::of_single_object(bytes)] {
            if let Err(error) = split {
                message(&error);
            }
        }
        let decoded = self.writers[writer].decode(bytes, 5, rules);
        judge(&decoded, rules);
        if let Ok(event) = &decoded {
            let mut written = Vec::new();
            encode_order(&mut written, event);
            assert!(written.len() <= rules.max_record_bytes, "as JSON it has {} bytes", written.len());
            written.clear();
            avro::encode_order(&mut written, event);
            assert_eq!(self.own.decode(&written, 5, rules).as_ref(), Ok(event), "written and read again");
        }
        decoded.err().map(|error| error.class)
    }
}

fn judge(decoded: &Result<OrderEvent, DecodeError>, rules: &DecodeRules) {
    match decoded {
        Ok(event) => {
            assert!(!event.order_id.is_empty() && !event.user_id.is_empty(), "an id is empty");
            assert!(event.items.iter().all(|item| item.quantity > 0 && !item.product_id.is_empty()), "{event:?}");
            assert!((rules.min_timestamp..=rules.max_timestamp).contains(&event.timestamp), "{event:?}");
            let keys = [&event.order_id, &event.user_id, &event.category]
                .into_iter()
                .chain(event.items.iter().map(|item| &item.product_id));
            assert!(keys.map(|key| key.len()).max() <= Some(rules.max_id_bytes), "a key is too long");
            assert!(event.amount.scale() == 2 && !event.amount.is_sign_negative(), "{event:?}");
        }
        Err(error) => message(error),
    }
}

fn message(error: &DecodeError) {
    let message = &error.message;
    assert!(!message.is_empty() && message.len() <= MESSAGE, "a message of {} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
}
