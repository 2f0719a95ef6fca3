//! Hostile input, as many as a test has time for. `make fuzz` runs millions of the same kind, see `fuzz/`.

#[path = "../../fuzz/src/check.rs"]
mod check;
#[path = "../../fuzz/src/mutation.rs"]
pub(crate) mod mutation;

use super::{DecodeRules, ErrorClass};
use proptest::prelude::*;
use std::sync::LazyLock;

static PLANS: LazyLock<check::Plans> = LazyLock::new(|| check::Plans::of(&mutation::WRITERS));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn nearly_an_order_is_accepted_or_refused_with_a_reason(numbers in prop::collection::vec(any::<u64>(), 0..120)) {
        let mut numbers = numbers.into_iter();
        let input = mutation::json(&mut |end| numbers.next().unwrap_or(0) % end);
        check::json(&input, &DecodeRules::default());
    }

    #[test]
    fn nearly_avro_is_accepted_or_refused_with_a_reason(numbers in prop::collection::vec(any::<u64>(), 0..200)) {
        let mut numbers = numbers.into_iter();
        let (writer, input) = mutation::avro(&mut |end| numbers.next().unwrap_or(0) % end);
        PLANS.avro(writer, &input, &DecodeRules::default());
    }

    #[test]
    fn any_bytes_are_accepted_or_refused_with_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check::json(&bytes, &DecodeRules::default());
        for writer in 0..mutation::WRITERS.len() {
            PLANS.avro(writer, &bytes, &DecodeRules::default());
        }
    }
}

#[test]
fn ten_megabytes_of_anything_are_refused_with_a_reason() {
    let default = DecodeRules::default();
    let larger = DecodeRules { max_record_bytes: 64 << 20, ..default };
    for (unit, class) in [
        ("[", ErrorClass::MalformedJson),
        ("{\"a\":", ErrorClass::MalformedJson),
        ("\"", ErrorClass::MalformedJson),
        ("\\", ErrorClass::MalformedJson),
        (" ", ErrorClass::MalformedJson),
        ("1", ErrorClass::WrongType),
        ("\0", ErrorClass::MalformedJson),
        ("é", ErrorClass::MalformedJson),
    ] {
        let input = unit.repeat(10_000_000 / unit.len());
        assert_eq!(check::json(input.as_bytes(), &default), Some(ErrorClass::TooLarge), "{unit:?}");
        assert_eq!(check::json(input.as_bytes(), &larger), Some(class), "{unit:?}");
    }
    // Five million items, none of which is one
    let items = format!("{{\"items\":[1{}]}}", ",1".repeat(5_000_000));
    assert_eq!(check::json(items.as_bytes(), &larger), Some(ErrorClass::MissingField));
    assert_eq!(check::json(&[], &larger), Some(ErrorClass::Empty));
}
