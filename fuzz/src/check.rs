//! What holds for every input, however hostile.

use crate::format::{DecodeRules, ErrorClass, decode_order, decode_order_carefully, encode_order};

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
    match decoded {
        Ok(event) => {
            assert!(!event.order_id.is_empty() && !event.user_id.is_empty(), "an id is empty");
            assert!(event.items.iter().all(|item| item.quantity > 0 && !item.product_id.is_empty()), "{event:?}");
            assert!((rules.min_timestamp..=rules.max_timestamp).contains(&event.timestamp), "{event:?}");
            assert!(event.amount.scale() == 2 && !event.amount.is_sign_negative(), "{event:?}");
            let mut written = Vec::new();
            encode_order(&mut written, &event);
            // Escapes may have made it longer.
            let rules = DecodeRules { max_record_bytes: usize::MAX, ..*rules };
            assert_eq!(decode_order(&written, &rules).as_ref(), Ok(&event), "written and read again");
            None
        }
        Err(error) => {
            let message = &error.message;
            assert!(!message.is_empty() && message.len() <= MESSAGE, "a message of {} bytes", message.len());
            assert!(!message.contains(char::is_control), "{message:?}");
            Some(error.class)
        }
    }
}
