use super::*;
use crate::format::{DecodeRules, decode_order};
use std::collections::{BTreeMap, HashMap, HashSet};

fn load(settings: LoadSettings) -> Vec<LoadRecord> {
    OrderLoad::new(settings).collect()
}

fn hash(records: impl Iterator<Item = LoadRecord>) -> String {
    let mut hasher = blake3::Hasher::new();
    for record in records {
        hasher.update(&(record.key().len() as u32).to_le_bytes());
        hasher.update(record.key());
        hasher.update(&record.value().map_or(-1, |value| value.len() as i64).to_le_bytes());
        hasher.update(record.value().unwrap_or_default());
    }
    hasher.finalize().to_hex().to_string()
}

#[test]
fn the_load_is_the_same_in_every_version() {
    let clean = LoadSettings { events: 10_000, ..LoadSettings::default() };
    assert_eq!(hash(OrderLoad::new(clean.clone())), "d228f17da26979ca591ff54b06f1f3e72d8e38ff0f6f6bb71dd220253940ae70");
    let dirty = LoadSettings { dirty_permille: 20, ..clean };
    assert_eq!(hash(OrderLoad::new(dirty)), "0ab0f36b10528493a4747ff4e60ebd84702301ec5bac2f17fa28f967d832d4c2");
}

#[test]
fn a_longer_load_begins_with_the_shorter_one() {
    let short = load(LoadSettings { events: 1_000, ..LoadSettings::default() });
    let long = load(LoadSettings { events: 2_000, ..LoadSettings::default() });
    assert_eq!(short[..], long[..1_000]);
    assert_eq!(short.len(), 1_000);
}

#[test]
fn a_slower_pace_makes_the_same_orders_last_longer() {
    // given eight orders a day
    let settings = LoadSettings { events: 400, duplicate_permille: 0, ..LoadSettings::default() };
    let slow = LoadSettings { orders_per_day: 8, ..settings.clone() };
    let begun = |settings: LoadSettings| -> Vec<(String, i64)> {
        let created = OrderLoad::new(settings)
            .filter_map(|record| decode_order(record.value()?, &DecodeRules::default()).ok())
            .filter(|event| event.event_type == EventType::Created);
        let mut begun: Vec<_> = created.map(|event| (event.order_id.to_string(), event.timestamp)).collect();
        begun.sort();
        begun
    };
    // then one begins every three hours, and they are those of the faster load
    let (fast, slow) = (begun(settings.clone()), begun(slow));
    for (index, ((id, at), fast)) in slow.iter().zip(&fast).enumerate() {
        assert_eq!((id, *at), (&fast.0, settings.start_timestamp + index as i64 * 3 * 3_600_000));
    }
    assert!(slow.len() > 100);
}

#[test]
fn seeds_differ() {
    let one = load(LoadSettings { events: 100, seed: 1, ..LoadSettings::default() });
    let two = load(LoadSettings { events: 100, seed: 2, ..LoadSettings::default() });
    assert_ne!(one, two);
}

#[test]
fn its_shape_is_the_standard_load() {
    // given 200,000 events
    let settings = LoadSettings { events: 200_000, ..LoadSettings::default() };
    let mut seen = HashSet::new();
    let (mut copies, mut newest, mut disorder, mut bytes) = (0, 0, 0, 0);
    let mut sums_fit = true;
    let mut steps: BTreeMap<String, Vec<(EventType, i64)>> = BTreeMap::new();
    // when each is decoded
    for record in OrderLoad::new(settings) {
        let event = decode_order(record.value().unwrap(), &DecodeRules::default()).unwrap();
        assert_eq!(record.key(), event.order_id.as_bytes());
        assert_eq!(record.event_time(), event.timestamp);
        bytes += record.value().unwrap().len();
        let first = seen.insert((event.order_id.clone(), event.event_type));
        assert_eq!(record.kind(), if first { Kind::Event } else { Kind::Copy });
        if first {
            steps.entry(event.order_id.to_string()).or_default().push((event.event_type, event.timestamp));
            newest = newest.max(event.timestamp);
            disorder = disorder.max(newest - event.timestamp);
        } else {
            copies += 1;
        }
        let amount: rust_decimal::Decimal =
            event.items.iter().map(|item| item.price * rust_decimal::Decimal::from(item.quantity)).sum();
        sums_fit &= amount == event.amount && event.items.iter().map(|item| item.quantity).sum::<u32>() == event.item_count;
    }
    // then mix, order and sizes are as documented
    assert!(sums_fit);
    // (orders that the end of the load cut off do not count)
    let whole: Vec<_> = steps
        .values()
        .filter(|steps| steps.iter().any(|step| step.0 == EventType::Created && step.1 < newest - 123_000))
        .collect();
    for (event, share) in [
        (EventType::PaymentCompleted, 0.92),
        (EventType::Shipped, 0.85),
        (EventType::Delivered, 0.80),
        (EventType::Cancelled, 0.08),
    ] {
        let found = whole.iter().filter(|steps| steps.iter().any(|step| step.0 == event)).count() as f64 / whole.len() as f64;
        assert!((found - share).abs() < 0.01, "{event}: {found}");
    }
    let orders = steps.len();
    assert!((52_000..58_000).contains(&orders), "{orders}");
    // (of those planned for the last ten minutes, some come after the end)
    assert!((3_000..4_200).contains(&copies), "{copies}");
    assert!((2_500..=3_000).contains(&disorder), "{disorder}");
    let mean = bytes / 200_000;
    assert!((300..450).contains(&mean), "{mean} bytes");
    // and a few orders arrive out of their lifecycle's order
    let turned = steps.values().filter(|steps| !steps.is_sorted()).count();
    assert!((100..2_000).contains(&turned), "{turned} of {}", steps.len());
    for steps in steps.values_mut() {
        steps.sort_by_key(|step| step.1);
        for pair in steps.windows(2) {
            assert!((1_000..=40_000).contains(&(pair[1].1 - pair[0].1)), "{steps:?}");
        }
    }
}

#[test]
fn bad_records_are_bad_in_the_way_they_say_and_take_nothing_away() {
    // given a load with 50 bad records in a thousand
    let clean = LoadSettings { events: 20_000, ..LoadSettings::default() };
    let records = load(LoadSettings { dirty_permille: 50, ..clean.clone() });
    // when each is decoded
    let mut classes: HashMap<ErrorClass, u64> = HashMap::new();
    for record in &records {
        let decoded = decode_order(record.value().unwrap_or_default(), &DecodeRules::default());
        match record.kind() {
            Kind::Dirty(class) => {
                *classes.entry(class).or_default() += 1;
                assert_eq!(decoded.map_err(|error| error.class), Err(class), "{}", String::from_utf8_lossy(&record.value));
            }
            Kind::Event | Kind::Copy => {
                decoded.unwrap();
            }
        }
    }
    // then every class that this load has is there, at about the rate asked for
    let missing: Vec<_> = ErrorClass::ALL.iter().filter(|class| !classes.contains_key(class)).collect();
    use ErrorClass::{IncompatibleSchema, MalformedAvro, TooDeep, TooLarge, TooLong, UnknownSchema};
    assert_eq!(missing, [&TooLarge, &TooDeep, &MalformedAvro, &UnknownSchema, &IncompatibleSchema, &TooLong]);
    let dirty: u64 = classes.values().sum();
    assert!((900..1_100).contains(&dirty), "{dirty}");
    let tombstones = records.iter().filter(|record| record.value().is_none()).count();
    assert!(tombstones > 10, "{tombstones}");
    // and what is left is the clean load
    let left: Vec<_> = records.into_iter().filter(|record| !matches!(record.kind(), Kind::Dirty(_))).collect();
    assert_eq!(left[..], load(clean)[..left.len()]);
}

#[test]
fn the_closure_can_stop_the_load_and_go_on_later() {
    let mut load = OrderLoad::new(LoadSettings { events: 10, ..LoadSettings::default() });
    let mut taken = 0;
    let stopped = load.drive(|_| {
        taken += 1;
        if taken == 4 { Err("full") } else { Ok(()) }
    });
    assert_eq!(stopped, Err("full"));
    assert_eq!(load.drive(|_| Ok::<(), ()>(())).unwrap().records, 6);
}
