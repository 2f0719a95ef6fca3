//! Resolution as the specification has it, by another implementation's word; schemas, types, JSON and documentation agree; hostile bytes.

use super::*;
use crate::format::{
    DecodeError, DecodeRules, ErrorClass, EventType, InventoryLevel, Item, LowStockAlert, OrderEvent, OrderStatus, PurchaseStats,
    Status, average_order_value, encode_order as encode_json,
};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use compact_str::CompactString;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

fn rules() -> DecodeRules {
    DecodeRules::ANY
}

fn event() -> OrderEvent {
    let item =
        |id: &str, cents| Item { product_id: id.into(), product_name: "One".into(), quantity: 2, price: Decimal::new(cents, 2) };
    OrderEvent {
        order_id: "O-1".into(),
        user_id: "U-1".into(),
        event_type: EventType::PaymentCompleted,
        amount: Decimal::new(9_998, 2),
        item_count: 2,
        category: "books".into(),
        items: [item("P-1", 4_999), item("P-2", 0)].into_iter().collect(),
        timestamp: 1_767_225_600_000,
    }
}

fn own() -> Json {
    serde_json::from_str(OwnSchema::OrderEvent.text()).unwrap()
}

/// Our schema, changed.
fn changed(change: impl FnOnce(&mut Vec<Json>)) -> Schema {
    let mut schema = own();
    change(schema["fields"].as_array_mut().unwrap());
    Schema::parse(&schema).unwrap()
}

fn field<'a>(fields: &'a mut [Json], name: &str) -> &'a mut Json {
    fields.iter_mut().find(|field| field["name"] == name).unwrap()
}

fn read(writer: &Schema, bytes: &[u8]) -> Result<OrderEvent, DecodeError> {
    Plan::new(writer, &[]).unwrap().decode(bytes, 0, &rules())
}

/// The event as a value of another implementation, which writes it with `writer`.
fn written(writer: &Schema, change: impl FnOnce(&mut Vec<(String, Value)>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_order(&mut bytes, &event());
    let reader = GenericDatumReader::builder(OwnSchema::OrderEvent.schema()).build().unwrap();
    let Value::Record(mut fields) = reader.read_value(&mut bytes.as_slice()).unwrap() else { panic!("no record") };
    change(&mut fields);
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(writer).build().unwrap();
    writer.write_value_to_vec(Value::Record(fields)).unwrap()
}

fn put(fields: &mut [(String, Value)], name: &str, value: Value) {
    fields.iter_mut().find(|field| field.0 == name).unwrap().1 = value;
}

#[test]
fn every_schema_is_avro_has_documented_fields_and_the_name_that_is_said() {
    for own in OwnSchema::ALL {
        let Schema::Record(record) = own.schema() else { panic!("{own:?} is no record") };
        assert_eq!(record.name.fullname(None), own.record_name());
        assert!(record.doc.as_deref().is_some_and(|doc| !doc.is_empty()), "{own:?}");
        documented(own.schema());
    }
}

fn documented(schema: &Schema) {
    match schema {
        Schema::Record(record) => {
            for field in &record.fields {
                assert!(field.doc.as_deref().is_some_and(|doc| doc.len() > 5), "{}.{}", record.name, field.name);
                documented(&field.schema);
            }
        }
        Schema::Array(array) => documented(&array.items),
        Schema::Union(union) => union.variants().iter().for_each(documented),
        _ => {}
    }
}

/// What another implementation makes of our bytes, as JSON.
fn as_json(own: OwnSchema, bytes: &[u8]) -> Json {
    let reader = GenericDatumReader::builder(own.schema()).build().unwrap();
    let mut rest = bytes;
    let value = reader.read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{own:?}: {} bytes are left", rest.len());
    plain(&value)
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Union(_, value) => plain(value),
        Value::Long(number) | Value::TimestampMillis(number) => json!(number),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Decimal(decimal) => {
            let bytes = Vec::<u8>::try_from(decimal).unwrap();
            let cents = super::decimal::unscaled(&bytes).unwrap();
            let text = Decimal::from_i128_with_scale(cents, 2).to_string();
            serde_json::from_str::<Json>(&text).unwrap()
        }
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Map(values) => values.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        other => panic!("{other:?}"),
    }
}

/// Names of the fields of a JSON object, in order.
fn names(json: &[u8]) -> Vec<String> {
    let Json::Object(object) = serde_json::from_slice(json).unwrap() else { panic!("no object") };
    let text = std::str::from_utf8(json).unwrap();
    let mut names: Vec<String> = object.keys().cloned().collect();
    names.sort_by_key(|name| text.find(&format!("\"{name}\":")).unwrap());
    names
}

fn field_names(schema: &Schema) -> Vec<String> {
    let Schema::Record(record) = schema else { panic!("no record") };
    record.fields.iter().map(|field| field.name.clone()).collect()
}

/// Avro and JSON of the same value say the same, under the same names in the same order, which the documentation has.
fn agree(own: OwnSchema, avro: &[u8], json: &[u8]) {
    assert_eq!(as_json(own, avro), serde_json::from_slice::<Json>(json).unwrap(), "{own:?}");
    assert_eq!(field_names(own.schema()), names(json), "{own:?}");
    let page = include_str!("../../../docs/order-job.md");
    for name in names(json) {
        assert!(page.contains(&format!("\"{name}\":")), "docs/order-job.md does not show {name}");
    }
}

#[test]
fn rust_types_schemas_json_and_documentation_agree() {
    let (mut avro, mut json) = (Vec::new(), Vec::new());
    encode_order(&mut avro, &event());
    encode_json(&mut json, &event());
    agree(OwnSchema::OrderEvent, &avro, &json);

    let value = OrderStatus {
        order_id: "O-1".into(),
        user_id: "U-1".into(),
        status: Status::Paid,
        created_time: None,
        payment_time: Some(1_767_225_600_000),
        shipping_time: None,
        delivery_time: Some(-1),
        cancellation_time: None,
    };
    avro.clear();
    encode_order_status(&mut avro, &value);
    agree(OwnSchema::OrderStatus, &avro, &serde_json::to_vec(&value).unwrap());

    let value = PurchaseStats {
        user_id: "U-1".into(),
        window_start: 1_767_225_600_000,
        window_end: 1_767_229_200_000,
        order_count: 3,
        item_count: 7,
        total_amount: Decimal::new(17_996, 2),
        average_order_value: average_order_value(Decimal::new(17_996, 2), 3),
        category_count: [("books".into(), 1), ("garden".into(), 2)].into(),
    };
    avro.clear();
    encode_purchase_stats(&mut avro, &value);
    agree(OwnSchema::PurchaseStats, &avro, &serde_json::to_vec(&value).unwrap());

    let value = InventoryLevel { product_id: "P-1".into(), order_id: "O-1".into(), change: -2, stock: -9, timestamp: 1 };
    avro.clear();
    encode_inventory_level(&mut avro, &value);
    agree(OwnSchema::InventoryLevel, &avro, &serde_json::to_vec(&value).unwrap());

    let value = LowStockAlert { product_id: "P-1".into(), stock: 9, threshold: 10, timestamp: 1 };
    avro.clear();
    encode_low_stock_alert(&mut avro, &value);
    agree(OwnSchema::LowStockAlert, &avro, &serde_json::to_vec(&value).unwrap());

    let (mut orders, mut one) = (Vec::new(), Vec::new());
    encode_order(&mut orders, &event());
    encode_order(&mut orders, &event());
    encode_json(&mut one, &event());
    avro.clear();
    encode_order_batch(&mut avro, "O-1/CREATED", 2, &orders);
    json.clear();
    crate::format::encode_order_batch(&mut json, "O-1/CREATED", [one.as_slice(), &one].into_iter());
    agree(OwnSchema::OrderBatch, &avro, &json);
}

#[test]
fn enums_have_the_symbols_of_the_types_and_a_default() {
    for (own, name, symbols) in [
        (OwnSchema::OrderEvent, "eventType", EventType::ALL.map(EventType::as_str)),
        (OwnSchema::OrderStatus, "status", EventType::ALL.map(|kind| Status::after(kind).as_str())),
    ] {
        let Schema::Record(record) = own.schema() else { panic!("no record") };
        let field = record.fields.iter().find(|field| field.name == name).unwrap();
        let Schema::Enum(kind) = &field.schema else { panic!("no enum") };
        assert_eq!(kind.symbols, [["UNKNOWN"].as_slice(), &symbols].concat());
        assert_eq!(kind.default.as_deref(), Some("UNKNOWN"));
    }
}

#[test]
fn a_batch_holds_orders_of_our_own_schema() {
    let Schema::Record(batch) = OwnSchema::OrderBatch.schema() else { panic!("no record") };
    let Schema::Array(orders) = &batch.fields[2].schema else { panic!("no array") };
    assert_eq!(orders.items.canonical_form(), OwnSchema::OrderEvent.schema().canonical_form());
    let text: Json = serde_json::from_str(OwnSchema::OrderBatch.text()).unwrap();
    let mut inner = text["fields"][2]["type"]["items"].clone();
    inner["namespace"] = json!("sluicegate.orders");
    assert_eq!(inner, own());
}

#[test]
fn the_documentation_has_the_fingerprint_of_each_schema() {
    let page = include_str!("../../../docs/formats.md");
    for own in OwnSchema::ALL {
        let shown = format!("`{}` | `{:016x}` |", own.record_name(), u64::from_le_bytes(fingerprint(own.schema())));
        assert!(page.contains(&shown), "docs/formats.md lacks {shown}");
    }
}

proptest! {
    #[test]
    fn any_order_reads_back_and_another_implementation_reads_the_same(
        order_id in "(?s).{1,40}", user_id in "(?s).{1,9}", category in "(?s).{0,9}", kind in 0..5_usize,
        cents in 0..100_000_000_000_000_000_i64, item_count in any::<u32>(), timestamp in any::<i64>(),
        items in prop::collection::vec(("(?s).{1,9}", "(?s).{0,30}", 1..=u32::MAX, 0..100_000_000_000_000_000_i64), 0..5),
    ) {
        let items = items.into_iter().map(|(product_id, name, quantity, cents)| {
            Item { product_id: product_id.into(), product_name: name.into(), quantity, price: Decimal::new(cents, 2) }
        }).collect();
        let event = OrderEvent {
            order_id: order_id.into(), user_id: user_id.into(), event_type: EventType::ALL[kind], amount: Decimal::new(cents, 2), item_count,
            category: category.into(), items, timestamp,
        };
        let (mut avro, mut json) = (Vec::new(), Vec::new());
        encode_order(&mut avro, &event);
        encode_json(&mut json, &event);
        prop_assert_eq!(as_json(OwnSchema::OrderEvent, &avro), serde_json::from_slice::<Json>(&json).unwrap());
        prop_assert_eq!(read(OwnSchema::OrderEvent.schema(), &avro), Ok(event));
    }

    #[test]
    fn statistics_of_any_size_are_what_another_implementation_reads(
        user_id in "(?s).{1,9}", cents in any::<i64>(), orders in 1..=i64::MAX.unsigned_abs(),
        category_count in prop::collection::btree_map("(?s).{0,9}".prop_map(CompactString::from), 0..=i64::MAX.unsigned_abs(), 0..4),
    ) {
        let total_amount = Decimal::new(cents, 2);
        let average_order_value = average_order_value(total_amount, orders);
        let value = PurchaseStats {
            user_id: user_id.into(), window_start: 0, window_end: 1, order_count: orders, item_count: orders, total_amount, average_order_value,
            category_count,
        };
        let mut avro = Vec::new();
        encode_purchase_stats(&mut avro, &value);
        prop_assert_eq!(as_json(OwnSchema::PurchaseStats, &avro), serde_json::to_value(&value).unwrap());
    }

    #[test]
    fn no_bytes_make_it_panic_or_keep_more_than_they_are(
        bytes in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let _ = read(OwnSchema::OrderEvent.schema(), &bytes);
        // and with one byte of a good record changed, or the rest cut off
        let mut good = Vec::new();
        encode_order(&mut good, &event());
        let cut = place.index(good.len());
        prop_assert!(read(OwnSchema::OrderEvent.schema(), &good[..cut]).is_err());
        good[cut] = byte;
        let _ = read(OwnSchema::OrderEvent.schema(), &good);
    }
}

#[test]
fn a_field_that_the_writer_added_is_read_over_whatever_it_is() {
    let node = json!({"type": "record", "name": "Node", "fields": [
        {"name": "value", "type": "double"}, {"name": "next", "type": ["null", "Node"]}, {"name": "all", "type": {"type": "map", "values": {"type": "array", "items": "Node"}}}]});
    let writer = changed(|fields| {
        fields.insert(0, json!({"name": "tree", "type": node}));
        fields.push(json!({"name": "again", "type": "Node"}));
        fields.push(json!({"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 3}}));
    });
    let node = |next, all| {
        let all = Value::Map([("x".to_owned(), Value::Array(all))].into());
        Value::Record(vec![("value".into(), Value::Double(1.5)), ("next".into(), next), ("all".into(), all)])
    };
    let leaf = || node(Value::Union(0, Box::new(Value::Null)), vec![]);
    let bytes = written(&writer, |fields| {
        fields.insert(0, ("tree".into(), node(Value::Union(1, Box::new(leaf())), vec![leaf(), leaf()])));
        fields.push(("again".into(), leaf()));
        fields.push(("hash".into(), Value::Fixed(3, vec![1, 2, 3])));
    });
    assert_eq!(read(&writer, &bytes), Ok(event()));
}

#[test]
fn fields_may_come_in_another_order_and_those_with_a_default_may_be_absent() {
    let writer = changed(|fields| {
        fields.retain(|field| field["name"] != "category");
        fields.reverse();
    });
    let bytes = written(&writer, |fields| {
        fields.retain(|field| field.0 != "category");
        fields.reverse();
    });
    assert_eq!(read(&writer, &bytes), Ok(OrderEvent { category: "".into(), ..event() }));
    // and one without a default may not
    let writer = changed(|fields| fields.retain(|field| field["name"] != "userId"));
    assert_eq!(Plan::new(&writer, &[]).unwrap_err(), "the field userId is missing, and has no default");
}

#[test]
fn a_field_is_found_by_an_alias_of_ours() {
    let writer = changed(|fields| field(fields, "userId")["name"] = json!("customerId"));
    let bytes = written(&writer, |fields| fields[1].0 = "customerId".into());
    assert!(Plan::new(&writer, &[]).is_err());
    let ours = changed(|fields| field(fields, "userId")["aliases"] = json!(["customer", "customerId"]));
    let plan = Plan::of(&writer, &[], &ours).unwrap();
    assert_eq!(plan.decode(&bytes, 0, &rules()), Ok(event()));
}

#[test]
fn a_default_of_each_type_takes_its_place() {
    // given a reader with defaults everywhere, and a writer with an id only
    let ours = changed(|fields| {
        field(fields, "userId")["default"] = json!("nobody");
        field(fields, "eventType")["default"] = json!("CREATED");
        field(fields, "amount")["default"] = json!("\u{4}\u{d2}");
        field(fields, "itemCount")["default"] = json!(7);
        field(fields, "items")["default"] = json!([]);
        field(fields, "timestamp")["default"] = json!(42);
    });
    let writer = changed(|fields| fields.retain(|field| field["name"] == "orderId"));
    // when a record of it is read
    let plan = Plan::of(&writer, &[], &ours).unwrap();
    let read = plan.decode(&[6, b'O', b'-', b'1'], 0, &rules()).unwrap();
    // then the rest is what the defaults say
    let expected = OrderEvent {
        user_id: "nobody".into(),
        event_type: EventType::Created,
        amount: Decimal::new(1_234, 2),
        item_count: 7,
        category: "".into(),
        items: [].into_iter().collect(),
        timestamp: 42,
        ..event()
    };
    assert_eq!(read, expected);
    // and a default that no record may have is refused
    let ours = changed(|fields| field(fields, "userId")["default"] = json!(""));
    let writer = changed(|fields| fields.retain(|field| field["name"] != "userId"));
    assert_eq!(Plan::of(&writer, &[], &ours).unwrap_err(), "the default of userId is \"\", which no record may have");
}

#[test]
fn types_are_promoted() {
    let writer = changed(|fields| {
        field(fields, "itemCount")["type"] = json!("int");
        field(fields, "userId")["type"] = json!("bytes");
        field(fields, "timestamp")["type"] = json!("long");
    });
    let bytes = written(&writer, |fields| {
        put(fields, "itemCount", Value::Int(2));
        put(fields, "userId", Value::Bytes(b"U-1".to_vec()));
        put(fields, "timestamp", Value::Long(1_767_225_600_000));
    });
    assert_eq!(read(&writer, &bytes), Ok(event()));
    // and a type that is no promotion is refused
    for (name, schema, why) in [
        ("itemCount", json!("double"), "itemCount is a double; wanted is an int or long"),
        ("orderId", json!("long"), "orderId is a long; wanted is a string"),
        (
            "timestamp",
            json!({"type": "long", "logicalType": "timestamp-micros"}),
            "timestamp is a timestamp-micros; wanted is a timestamp-millis or long",
        ),
        (
            "amount",
            json!({"type": "bytes", "logicalType": "decimal", "precision": 17, "scale": 4}),
            "amount is a decimal of scale 4; wanted is one of scale 2",
        ),
        ("amount", json!("double"), "amount is a double; wanted is a decimal in bytes"),
        ("items", json!({"type": "array", "items": "string"}), "an element of items is a string; wanted is a record"),
        ("eventType", json!("string"), "eventType is a string; wanted is an enum"),
    ] {
        let writer = changed(|fields| field(fields, name)["type"] = schema);
        assert_eq!(Plan::new(&writer, &[]).unwrap_err(), why);
    }
}

#[test]
fn a_union_is_what_its_branch_is() {
    let writer =
        changed(|fields| field(fields, "userId")["type"] = json!(["null", "string", {"type": "array", "items": "long"}]));
    let branch = |number, value| written(&writer, |fields| put(fields, "userId", Value::Union(number, Box::new(value))));
    assert_eq!(read(&writer, &branch(1, Value::String("U-1".into()))), Ok(event()));
    for (number, value, is) in [(0, Value::Null, "null"), (2, Value::Array(vec![Value::Long(7)]), "an array")] {
        let error = read(&writer, &branch(number, value)).unwrap_err();
        assert_eq!(error.to_string(), format!("wrong_type: userId is {is}; wanted is a string"));
    }
    let writer = changed(|fields| field(fields, "userId")["type"] = json!(["null", "long"]));
    assert!(Plan::new(&writer, &[]).is_err());
}

#[test]
fn a_symbol_that_is_younger_than_our_schema_is_its_default() {
    let writer = changed(|fields| {
        let symbols = field(fields, "eventType")["type"]["symbols"].as_array_mut().unwrap();
        symbols.insert(0, json!("RETURNED"));
    });
    let bytes = |number, symbol: &str| written(&writer, |fields| put(fields, "eventType", Value::Enum(number, symbol.into())));
    assert_eq!(read(&writer, &bytes(3, "PAYMENT_COMPLETED")), Ok(event()));
    // ours is UNKNOWN, which is no type of event
    let error = read(&writer, &bytes(0, "RETURNED")).unwrap_err();
    assert!(error.class == ErrorClass::UnknownEventType && error.message.starts_with("eventType is RETURNED;"), "{error}");
    let error = read(&writer, &bytes(1, "UNKNOWN")).unwrap_err();
    assert_eq!(error.class, ErrorClass::UnknownEventType);
    // and with another default, that is taken
    let ours = changed(|fields| field(fields, "eventType")["type"]["default"] = json!("CANCELLED"));
    let read = Plan::of(&writer, &[], &ours).unwrap().decode(&bytes(0, "RETURNED"), 0, &rules());
    assert_eq!(read, Ok(OrderEvent { event_type: EventType::Cancelled, ..event() }));
}

#[test]
fn named_types_are_told_by_their_names() {
    let mut schema = own();
    schema["name"] = json!("Order");
    schema["namespace"] = json!("shop");
    let writer = Schema::parse(&schema).unwrap();
    assert_eq!(
        Plan::new(&writer, &[]).unwrap_err(),
        "the record is of the type shop.Order; wanted is sluicegate.orders.OrderEvent"
    );
    // by an alias, or in another namespace, it is the same
    let mut ours = own();
    ours["aliases"] = json!(["shop.Order"]);
    assert!(Plan::of(&writer, &[], &Schema::parse(&ours).unwrap()).is_ok());
    schema["name"] = json!("OrderEvent");
    assert!(Plan::new(&Schema::parse(&schema).unwrap(), &[]).is_ok());
}

#[test]
fn types_that_other_schemas_define_are_found_there() {
    let mut schema = own();
    let fields = schema["fields"].as_array_mut().unwrap();
    let item = field(fields, "items")["type"]["items"].take();
    field(fields, "items")["type"]["items"] = json!("sluicegate.orders.Item");
    let mut item = item;
    item["namespace"] = json!("sluicegate.orders");
    let (writer, others) = Schema::parse_str_with_list(&schema.to_string(), [item.to_string()]).unwrap();
    let mut bytes = Vec::new();
    encode_order(&mut bytes, &event());
    assert_eq!(Plan::new(&writer, &others).unwrap().decode(&bytes, 0, &rules()), Ok(event()));
}

#[test]
fn each_broken_rule_has_its_class_and_the_first_counts() {
    let with = |change: &dyn Fn(&mut OrderEvent)| {
        let mut event = event();
        change(&mut event);
        let mut bytes = Vec::new();
        encode_order(&mut bytes, &event);
        let rules = DecodeRules::default();
        Plan::new(OwnSchema::OrderEvent.schema(), &[]).unwrap().decode(&bytes, 0, &rules).unwrap_err().to_string()
    };
    for (change, said) in [
        (&(|event: &mut OrderEvent| event.user_id = "".into()) as &dyn Fn(&mut OrderEvent), "empty_id: userId is \"\""),
        (&|event| event.items[1].product_id = "".into(), "empty_id: items[1].productId is \"\""),
        (&|event| event.amount = Decimal::new(-1, 2), "negative_number: amount is -1 hundredths; allowed are 0 and more"),
        (&|event| event.amount = Decimal::new(i64::MAX, 2), "number_out_of_range: amount is 9223372036854775807 hundredths"),
        (&|event| event.items[0].quantity = 0, "quantity_below_one: items[0].quantity is 0; allowed are 1 and more"),
        (&|event| event.timestamp = 0, "timestamp_out_of_range: timestamp is 0; allowed are 946684800000 to"),
        (
            &|event| {
                event.timestamp = 0;
                event.order_id = "".into();
            },
            "empty_id: orderId",
        ),
    ] {
        let found = with(change);
        assert!(found.starts_with(said), "{found}");
    }
}

#[test]
fn bytes_that_are_not_of_the_schema_are_malformed() {
    let mut good = Vec::new();
    encode_order(&mut good, &event());
    let schema = OwnSchema::OrderEvent.schema();
    let class = |bytes: &[u8]| read(schema, bytes).unwrap_err().class;
    assert_eq!(class(&[&good[..], &[0]].concat()), ErrorClass::MalformedAvro);
    assert_eq!(class(&[]), ErrorClass::MalformedAvro);
    let mut text = good.clone();
    text[1] = 0xff;
    assert_eq!(class(&text), ErrorClass::InvalidUtf8);
    let mut symbol = good.clone();
    symbol[8] = 12;
    assert_eq!(read(schema, &symbol).unwrap_err().message, "at byte 9: symbol number 6, of 6");
}

#[test]
fn nothing_in_a_record_can_be_deep_or_many_without_end() {
    // given a list in itself, ten thousand deep, and a tree of empty records that doubles at each level
    let list = json!({"type": "record", "name": "List", "fields": [{"name": "rest", "type": ["null", "List"]}]});
    let writer = changed(|fields| fields.insert(0, json!({"name": "list", "type": list})));
    let deep = [vec![2; 10_000], vec![0]].concat();
    let error = read(&writer, &deep).unwrap_err();
    assert!(error.class == ErrorClass::MalformedAvro && error.message.contains("deeper than 64 levels"), "{error}");
    let mut tree = json!("null");
    for level in 0..40 {
        let name = format!("Level{level}");
        let inner = if level == 0 { json!("null") } else { json!(format!("Level{}", level - 1)) };
        tree =
            json!({"type": "record", "name": name, "fields": [{"name": "left", "type": tree}, {"name": "right", "type": inner}]});
    }
    let writer = changed(|fields| fields.insert(0, json!({"name": "tree", "type": tree})));
    let error = read(&writer, &[]).unwrap_err();
    assert!(error.message.contains("more values than its bytes can hold"), "{error}");
}

#[test]
fn headers_are_those_of_the_specification() {
    let id = Header::of(WriterSchema::Id(0x0102_0304));
    assert_eq!(id.as_bytes(), [0, 1, 2, 3, 4]);
    let (schema, rest) = WriterSchema::of_framed(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!((schema, rest), (WriterSchema::Id(0x0102_0304), [5, 6].as_slice()));
    let own = Header::of(WriterSchema::Fingerprint(fingerprint(OwnSchema::LowStockAlert.schema())));
    assert_eq!(own.as_bytes()[..2], [0xc3, 0x01]);
    let error = WriterSchema::of_framed(b"{\"order").unwrap_err();
    assert_eq!(error.message, "the record begins with 7b 22 6f 72 64 65 72; wanted is 00 and a schema id of 4 bytes");
    assert!(WriterSchema::of_single_object(&[0xc3, 0x01, 0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(WriterSchema::of_framed(&[0, 0, 0, 1]).is_err());
}

/// Few bytes of Avro are many of JSON, and as JSON an event may be in a batch or among the late ones.
#[test]
fn an_event_that_would_be_too_large_as_json_is_refused() {
    let item = Item { product_id: "P".into(), product_name: "\u{1}".into(), quantity: 1, price: Decimal::new(1, 2) };
    let with = |items: usize| OrderEvent { items: std::iter::repeat_n(item.clone(), items).collect(), ..event() };
    for items in [0, 1, 100, 900] {
        let (mut avro, mut json) = (Vec::new(), Vec::new());
        encode_order(&mut avro, &with(items));
        encode_json(&mut json, &with(items));
        let plan = Plan::new(OwnSchema::OrderEvent.schema(), &[]).unwrap();
        let decode = |max_record_bytes| plan.decode(&avro, 0, &DecodeRules { max_record_bytes, ..rules() });
        assert_eq!(decode(json.len()), Ok(with(items)));
        let refused = decode(json.len() - 1).unwrap_err();
        assert_eq!(refused.class, ErrorClass::TooLarge);
        assert!(refused.message.contains(&format!("{} bytes as JSON", json.len())), "{refused}");
    }
}

#[test]
fn texts_that_are_keys_have_a_longest_length() {
    let plan = Plan::new(OwnSchema::OrderEvent.schema(), &[]).unwrap();
    let long: CompactString = "é".repeat(10).into();
    let item = |event: &OrderEvent| event.items[0].clone();
    for (place, event) in [
        ("orderId", OrderEvent { order_id: long.clone(), ..event() }),
        ("userId", OrderEvent { user_id: long.clone(), ..event() }),
        ("category", OrderEvent { category: long.clone(), ..event() }),
        (
            "items[0].productId",
            OrderEvent { items: [Item { product_id: long.clone(), ..item(&event()) }].into_iter().collect(), ..event() },
        ),
    ] {
        let mut avro = Vec::new();
        encode_order(&mut avro, &event);
        assert_eq!(plan.decode(&avro, 0, &DecodeRules { max_id_bytes: 20, ..rules() }), Ok(event));
        let refused = plan.decode(&avro, 0, &DecodeRules { max_id_bytes: 19, ..rules() }).unwrap_err();
        assert_eq!(refused.class, ErrorClass::TooLong);
        assert_eq!(refused.message, format!("{place} has 20 bytes; allowed are at most 19 (source.max_id_bytes)"));
    }
}
