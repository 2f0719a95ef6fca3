//! The job's decoder and the audit's rules must say the same of every record; they share no code.

use super::*;
use crate::connectors::orders_load::{Kind, LoadSettings, OrderLoad};
use crate::format::{DecodeRules, decode_order};
use proptest::prelude::*;

const GOOD: &str = r#"{"orderId":"O-000000042","userId":"U-00017","eventType":"PAYMENT_COMPLETED","amount":149.97,"itemCount":3,"category":"books","items":[{"productId":"P-0007","productName":"Product 7","quantity":2,"price":49.99},{"productId":"P-0008","productName":"Product 8","quantity":1,"price":49.99}],"timestamp":1767225600000}"#;

fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let rules = JobRules::default();
    let limits = DecodeRules {
        min_timestamp: rules.min_timestamp,
        max_timestamp: rules.max_timestamp,
        max_record_bytes: rules.max_record_bytes,
        max_id_bytes: rules.max_id_bytes,
    };
    let job = decode_order(bytes, &limits);
    let audit = judge(Some(bytes), &rules);
    let shown = String::from_utf8_lossy(bytes);
    match (&job, &audit) {
        (Ok(job), Ok(audit)) => {
            prop_assert_eq!(&job.order_id, &audit.order, "{}", shown);
            prop_assert_eq!(&job.user_id, &audit.user, "{}", shown);
            prop_assert_eq!(job.event_type.as_str(), audit.kind.as_str(), "{}", shown);
            prop_assert_eq!(job.amount.mantissa(), i128::from(audit.amount), "{}", shown);
            prop_assert_eq!(job.amount.scale(), 2, "{}", shown);
            prop_assert_eq!(job.item_count, audit.pieces, "{}", shown);
            prop_assert_eq!(&job.category, &audit.category, "{}", shown);
            prop_assert_eq!(job.timestamp, audit.time, "{}", shown);
            let items: Vec<_> = job.items.iter().map(|item| (item.product_id.clone(), item.quantity)).collect();
            prop_assert_eq!(&items, &audit.items, "{}", shown);
        }
        (Err(job), Err(audit)) => prop_assert_eq!(job.class.as_str(), *audit, "{}: {}", job.message, shown),
        _ => prop_assert!(false, "the job says {job:?}, the audit {audit:?} of {shown}"),
    }
    Ok(())
}

/// Pieces that are put into good records: what is likely to be read differently by two readers.
fn scrap() -> impl Strategy<Value = Vec<u8>> {
    let fixed = [
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "true",
        "0",
        "-0",
        "-1",
        "00",
        "1.",
        ".5",
        "1e2",
        "1E-3",
        "2.0",
        "0.001",
        "-0.00",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "123456789012345.67",
        "1234567890123456.7",
        "999999999999999.995",
        "4294967295",
        "4294967296",
        "9223372036854775808",
        "-9223372036854775808",
        "946684800000",
        "946684799999",
        "4102444800000",
        "4102444800001",
        "NaN",
        "Infinity",
        "\"\"",
        "\"\\ud83d\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\u{feff}",
        " ",
        "\n",
        "\t",
        "\u{1}",
        "é",
        "\"orderId\":\"x\",",
        "\"items\":[],",
        "\"x\":{\"y\":[1,{}]},",
        "\"x\":-1.5,",
        "\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],",
        "\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],",
        "\"x\":{\"y\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[\\\\\"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},",
        "\"x\":nul,",
        "\"x\":true,",
        "\"x\":-,",
        "\"x\":01,",
        "\"x\":1.,",
        "\"x\":\"y\",",
        "\"x\":1e5,",
        "\"quantity\":1,",
        "\"CREATED\"",
        "CREATED",
        "created",
        "\\u0043",
        "\"\\ud800\":1,",
        "{}",
        "[]",
        "[{}]",
        "[null]",
        "\"price\"",
        "\"p\\u0072ice\"",
    ];
    prop_oneof![
        8 => prop::sample::select(fixed.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn job_and_audit_agree_on_spoiled_records(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, prop::option::of(scrap())), 1..4),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, removed, inserted) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted.unwrap_or_default());
        }
        agree(&bytes)?;
    }

    #[test]
    fn job_and_audit_agree_when_whole_values_are_replaced(
        edits in prop::collection::vec((0..16_usize, scrap()), 1..4),
    ) {
        // Between quotes, colons, commas and brackets lie the values: replace some of them whole.
        let mut bytes = GOOD.as_bytes().to_vec();
        for (which, scrap) in edits {
            let starts: Vec<usize> = (1..bytes.len()).filter(|at| bytes[at - 1] == b':').collect();
            let Some(start) = starts.get(which % starts.len().max(1)).copied() else { continue };
            let end = (start..bytes.len()).find(|at| matches!(bytes[*at], b',' | b'}' | b']')).unwrap_or(bytes.len());
            bytes.splice(start..end, scrap);
        }
        agree(&bytes)?;
    }

    #[test]
    fn job_and_audit_agree_on_fields_in_any_order_and_number(
        order in prop::collection::vec(0..9_usize, 6..12), white in prop::sample::select(vec!["", " ", "\n\t"]),
    ) {
        let fields = [
            "\"orderId\":\"O-1\"", "\"userId\":\"U-1\"", "\"eventType\":\"SHIPPED\"", "\"amount\":5e1", "\"itemCount\":0", "\"category\":\"\"", "\"items\":[]",
            "\"timestamp\":1767225600000", "\"extra\":{\"orderId\":[]}",
        ];
        let fields: Vec<String> = order.iter().map(|index| fields[*index].replace(':', &format!("{white}:{white}"))).collect();
        agree(format!("{white}{{{white}{}{white}}}{white}", fields.join(&format!("{white},{white}"))).as_bytes())?;
    }

    #[test]
    fn job_and_audit_agree_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        agree(&bytes)?;
    }
}

#[test]
fn job_and_audit_agree_on_the_dirty_load() {
    for record in OrderLoad::new(LoadSettings { events: 5_000, dirty_permille: 300, ..LoadSettings::default() }) {
        let judged = judge(record.value(), &JobRules::default());
        match record.kind() {
            Kind::Dirty(class) => assert_eq!(judged, Err(class.as_str())),
            Kind::Event | Kind::Copy => assert!(judged.is_ok()),
        }
        agree(record.value().unwrap_or_default()).unwrap();
    }
}

#[test]
fn good_is_good() {
    assert!(judge(Some(GOOD.as_bytes()), &JobRules::default()).is_ok());
    assert_eq!(judge(None, &JobRules::default()), Err("empty"));
}

#[test]
fn lengths_are_those_of_the_text_that_is_meant() {
    // An identifier of as many bytes as are allowed, and of one more; by letters of several bytes, and by escapes of fewer.
    for (unit, written) in [("x", "x"), ("é", "é"), ("😀", "\\ud83d\\ude00"), ("\n", "\\n")] {
        for field in ["O-000000042", "U-00017", "books", "P-0008"] {
            let fits = 1024 / unit.len();
            let with = |count: usize| GOOD.replace(field, &written.repeat(count));
            agree(with(fits).as_bytes()).unwrap();
            assert!(judge(Some(with(fits).as_bytes()), &JobRules::default()).is_ok(), "{field}");
            agree(with(fits + 1).as_bytes()).unwrap();
            assert_eq!(judge(Some(with(fits + 1).as_bytes()), &JobRules::default()), Err("too_long"), "{field}");
        }
    }
    // The name of a product is in no key.
    let name = GOOD.replace("Product 8", &"x".repeat(100_000));
    agree(name.as_bytes()).unwrap();
    assert!(judge(Some(name.as_bytes()), &JobRules::default()).is_ok());
}
