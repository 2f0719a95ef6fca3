//! Against what other implementations wrote, and against the job's reader, with which this one shares no code.

use super::*;
use crate::audit::{JobRules, rules};
use crate::format::{
    DecodeRules, Input, OrderReader,
    avro::{OwnSchema, Plan, ReaderSchema, fingerprint},
    encode_order,
    hostile_tests::mutation,
};
use apache_avro::Schema;
use proptest::prelude::*;
use serde_json::{Value as AnyJson, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

const VALUES: &str = include_str!("../../../tests/fixtures/avro/values.jsonl");
const WRITTEN: [(&str, &str); 2] = [
    ("fastavro", include_str!("../../../tests/fixtures/avro/fastavro.jsonl")),
    ("Java", include_str!("../../../tests/fixtures/avro/java.jsonl")),
];
const VERSION_2: &str = include_str!("../../../tests/fixtures/avro/order-event-2.avsc");

/// The schemas of the golden files and of [`mutation::WRITERS`], by name.
struct Known(BTreeMap<SchemaName, Schema>);

impl super::super::Schemas for Known {
    fn schema(&self, name: SchemaName) -> Result<Option<WriterSchema>, Failure> {
        Ok(self.0.get(&name).map(|schema| WriterSchema { schema: schema.clone(), others: Vec::new() }))
    }
}

fn formats(schemas: impl IntoIterator<Item = (SchemaName, Schema)>, reader: Option<Schema>) -> Formats {
    Formats { topics: BTreeMap::new(), schemas: Arc::new(Known(schemas.into_iter().collect())), reader }
}

fn schema(name: &str) -> Schema {
    let own = OwnSchema::ALL.into_iter().find(|own| {
        let words = own.record_name().rsplit('.').next().unwrap_or_default();
        let dashed: String =
            words.chars().flat_map(|c| [c.is_uppercase().then_some('-'), Some(c.to_ascii_lowercase())]).flatten().collect();
        dashed.trim_start_matches('-') == name
    });
    own.map_or_else(|| Schema::parse_str(VERSION_2).unwrap(), |own| own.schema().clone())
}

fn lines(text: &str) -> Vec<AnyJson> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(line: &'a AnyJson, name: &str) -> &'a str {
    line[name].as_str().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A golden value as the documentation has it: money as numbers, no fields that nobody knows, and what version 2 left out.
fn documented(name: &str, value: &AnyJson) -> AnyJson {
    let mut value = value.clone();
    fn money(value: &mut AnyJson) {
        match value {
            AnyJson::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        AnyJson::String(text)
                            if ["amount", "price", "totalAmount", "averageOrderValue"].contains(&name.as_str()) =>
                        {
                            *value = serde_json::from_str(text).unwrap();
                        }
                        value => money(value),
                    }
                }
            }
            AnyJson::Array(values) => values.iter_mut().for_each(money),
            _ => {}
        }
    }
    money(&mut value);
    if name.starts_with("order-event") {
        let fields = value.as_object_mut().unwrap();
        fields.retain(|name, _| wanted::ORDER.contains(&name.as_str()));
        fields.entry("category").or_insert(json!(""));
    }
    value
}

/// What this reader makes of the lines of a golden file.
fn read_golden(golden: &str) -> Vec<(String, Result<String, String>)> {
    let all = lines(golden);
    let named = all.iter().flat_map(|line| {
        let schema = schema(text(line, "schema"));
        let id = u32::try_from(line["id"].as_u64().unwrap()).unwrap();
        [(SchemaName::Id(id), schema.clone()), (SchemaName::Fingerprint(fingerprint(&schema)), schema)]
    });
    let formats = formats(named, None);
    let mut reader = Reader::new(&formats);
    let mut read = |line: &AnyJson| {
        let (name, record) = (text(line, "schema"), bytes(text(line, "hex")));
        let format = if text(line, "framing") == "confluent" { Format::Avro } else { Format::AvroSingleObject };
        let read = match name.starts_with("order-event") {
            true => reader.order(format, &record).unwrap().map_err(str::to_owned),
            false => reader.output(format, &record).unwrap(),
        };
        (name.to_owned(), read)
    };
    all.iter().map(&mut read).collect()
}

#[test]
fn what_others_wrote_is_read_as_they_meant_it() {
    let values = lines(VALUES);
    for (who, golden) in WRITTEN {
        let read = read_golden(golden);
        assert_eq!(read.len(), values.len() * 2, "{who}");
        for ((name, read), value) in read.iter().zip(values.iter().flat_map(|value| [value, value])) {
            assert_eq!(name, text(value, "schema"), "{who}");
            let read = read.as_ref().unwrap();
            assert_eq!(serde_json::from_str::<AnyJson>(read).unwrap(), documented(name, &value["value"]), "{who}: {read}");
        }
    }
}

#[test]
fn a_golden_record_of_which_one_byte_is_missing_or_too_many_is_none() {
    let own = OwnSchema::OrderEvent.schema();
    let formats = formats([(SchemaName::Id(1), own.clone())], None);
    let mut reader = Reader::new(&formats);
    let golden = lines(WRITTEN[0].1);
    let framed = golden.iter().filter(|line| text(line, "schema") == "order-event" && text(line, "framing") == "confluent");
    let mut seen = 0;
    for record in framed.map(|line| bytes(text(line, "hex"))) {
        assert!(reader.order(Format::Avro, &record).unwrap().is_ok());
        for cut in 0..record.len() {
            let class = reader.order(Format::Avro, &record[..cut]).unwrap().unwrap_err();
            assert!(["malformed_avro", "invalid_utf8"].contains(&class), "{cut}: {class}");
        }
        let more = [record.as_slice(), &[0]].concat();
        assert_eq!(reader.order(Format::Avro, &more).unwrap(), Err("malformed_avro"));
        let another = [&[0, 0, 0, 0, 2], &record[5..]].concat();
        assert_eq!(reader.order(Format::Avro, &another).unwrap(), Err("unknown_schema"));
        let wrong = [&[1], &record[1..]].concat();
        assert_eq!(reader.order(Format::Avro, &wrong).unwrap(), Err("malformed_avro"));
        seen += 1;
    }
    assert!(seen > 3, "{seen}");
}

/// The job's reader and this one of the same record: the same event, or the same class.
fn agree(plan: &Plan, reader: &mut Reader<'_>, record: &[u8]) -> Result<(), TestCaseError> {
    let job = plan.decode(&record[5..], 5, &DecodeRules::default());
    let judged = match reader.order(Format::Avro, record).unwrap() {
        Err(class) => Err(class),
        Ok(json) => match rules::judge_text(&json, &JobRules::default()) {
            Ok(_) if json.len() > JobRules::default().max_record_bytes => Err("too_large"),
            judged => judged.map(|_| json),
        },
    };
    match (&job, &judged) {
        (Ok(job), Ok(audit)) => {
            let mut json = Vec::new();
            encode_order(&mut json, job);
            prop_assert_eq!(audit.as_bytes(), json);
        }
        // The library that the audit reads with drops what a tenth byte has beyond 64 bits, and then judges what is left.
        (Err(job), _) if job.message.contains("more than 64 bits") => {}
        // Whichever comes first in the bytes: what stands behind it is read by neither, or by one of them only.
        (Err(job), Err("malformed_avro" | "invalid_utf8")) => {
            prop_assert!(
                ["malformed_avro", "invalid_utf8"].contains(&job.class.as_str()),
                "{:?}: {:?} {:02x?}",
                job,
                judged,
                record
            );
        }
        (Err(job), Err(audit)) => prop_assert_eq!(job.class.as_str(), *audit, "{:?} {:02x?}", job, record),
        _ => prop_assert!(false, "the job says {job:?}, the audit {judged:?} of {record:02x?}"),
    }
    Ok(())
}

/// But the last: what is read over there is made to be counted, which only the job does.
static WRITERS: LazyLock<Vec<Schema>> =
    LazyLock::new(|| mutation::WRITERS[..2].iter().map(|text| Schema::parse_str(text).unwrap()).collect());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn of_nearly_any_avro_it_says_what_the_job_says(numbers in prop::collection::vec(any::<u64>(), 0..200)) {
        let mut numbers = numbers.into_iter();
        let (writer, avro) = mutation::avro(&mut |end| numbers.next().unwrap_or(0) % end);
        let Some(schema) = WRITERS.get(writer) else { return Ok(()) };
        let formats = formats([(SchemaName::Id(1), schema.clone())], None);
        let record = [&[0, 0, 0, 0, 1], avro.as_slice()].concat();
        agree(&Plan::new(schema, &[]).unwrap(), &mut Reader::new(&formats), &record)?;
    }
}

#[test]
fn a_schema_that_the_documentation_refuses_is_refused_and_one_that_it_allows_is_read() {
    let own = || serde_json::from_str::<AnyJson>(OwnSchema::OrderEvent.text()).unwrap();
    let judged = |schema: &AnyJson, reader: Option<&AnyJson>| {
        let schema = Schema::parse(schema).unwrap();
        let job = match reader {
            None => Plan::new(&schema, &[]).is_ok(),
            Some(reader) => Plan::read_as(&schema, &[], &ReaderSchema::parse(&reader.to_string()).unwrap()).is_ok(),
        };
        let reader = reader.map(|reader| Schema::parse(reader).unwrap());
        let audit = Everything::of(reader.as_ref()).can_read(&WriterSchema { schema, others: vec![] });
        assert_eq!(job, audit, "the job and the audit");
        audit
    };
    fn field<'a>(schema: &'a mut AnyJson, name: &str) -> &'a mut AnyJson {
        schema["fields"].as_array_mut().unwrap().iter_mut().find(|field| field["name"] == name).unwrap()
    }
    let changed = |change: &dyn Fn(&mut AnyJson)| {
        let mut schema = own();
        change(&mut schema);
        schema
    };
    let without = |name: &str| changed(&|schema| schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != name));
    assert!(judged(&own(), None));
    assert!(judged(&without("category"), None));
    assert!(!judged(&without("userId"), None));
    assert!(!judged(&changed(&|schema| schema["name"] = json!("ShopOrder")), None));
    assert!(judged(&changed(&|schema| schema["namespace"] = json!("shop")), None));
    assert!(!judged(&changed(&|schema| field(schema, "amount")["type"] = json!("double")), None));
    assert!(judged(&changed(&|schema| field(schema, "itemCount")["type"] = json!("int")), None));
    assert!(judged(&changed(&|schema| field(schema, "userId")["type"] = json!(["null", "string"])), None));
    assert!(!judged(&changed(&|schema| field(schema, "userId")["type"] = json!(["null", "int"])), None));
    // With a schema of the reader's own: by an alias, and by a default
    let renamed = changed(&|schema| field(schema, "userId")["name"] = json!("customerId"));
    let alias = changed(&|schema| field(schema, "userId")["aliases"] = json!(["customerId"]));
    let default = changed(&|schema| field(schema, "userId")["default"] = json!("nobody"));
    assert!(!judged(&renamed, None));
    assert!(judged(&renamed, Some(&alias)));
    assert!(judged(&renamed, Some(&default)));
    assert!(!judged(&without("userId"), Some(&alias)));
    assert!(judged(&without("userId"), Some(&default)));
    // Both names at once
    let both = changed(&|schema| {
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.push(json!({"name": "customerId", "type": "string"}));
    });
    assert!(judged(&both, None));
    assert!(!judged(&both, Some(&alias)));
}

#[test]
fn aliases_and_defaults_of_a_readers_schema_mean_what_they_mean_to_the_job() {
    let mut reader: AnyJson = serde_json::from_str(OwnSchema::OrderEvent.text()).unwrap();
    let fields = reader["fields"].as_array_mut().unwrap();
    fields[1]["aliases"] = json!(["customer"]);
    fields[2]["type"]["default"] = json!("CANCELLED");
    fields[3]["default"] = json!("\u{1}\u{0}");
    fields[4]["default"] = json!(7);
    fields[6]["type"]["items"]["fields"][0]["aliases"] = json!(["sku"]);
    let mut writer = reader.clone();
    let written = writer["fields"].as_array_mut().unwrap();
    written[1]["name"] = json!("customer");
    written[1]["aliases"] = json!([]);
    written[2]["type"]["symbols"] = json!(["UNKNOWN", "CREATED", "RETURNED"]);
    written[2]["type"]["default"] = json!("UNKNOWN");
    written[6]["type"]["items"]["fields"][0] = json!({"name": "sku", "type": "string"});
    written.retain(|field| field["name"] != "amount" && field["name"] != "itemCount");
    let (writer, reader_schema) = (Schema::parse(&writer).unwrap(), ReaderSchema::parse(&reader.to_string()).unwrap());
    let formats = formats([(SchemaName::Id(1), writer.clone())], Some(Schema::parse(&reader).unwrap()));
    let plan = Plan::read_as(&writer, &[], &reader_schema).unwrap();
    // orderId, customer, eventType, category, one item, timestamp
    for (symbol, kind) in [(1, "CREATED"), (2, "CANCELLED")] {
        let avro =
            [&b"\x06O-1\x04U9"[..], &[symbol << 1], b"\x02b\x02\x04P7\x00\x04\x02\x09\x00", b"\x80\xa0\xd5\xed\xee\x66"].concat();
        let record = [&[0, 0, 0, 0, 1], avro.as_slice()].concat();
        let mut audit = Reader::new(&formats);
        agree(&plan, &mut audit, &record).unwrap();
        let json: AnyJson = serde_json::from_str(&audit.order(Format::Avro, &record).unwrap().unwrap()).unwrap();
        assert_eq!((text(&json, "userId"), text(&json, "eventType"), json["itemCount"].as_u64()), ("U9", kind, Some(7)));
        assert_eq!((json["amount"].as_f64(), text(&json["items"][0], "productId")), (Some(2.56), "P7"));
    }
    // A symbol that stands for none of ours is what the default says; UNKNOWN itself is known, and no event type
    let avro = [&b"\x06O-1\x04U9\x00"[..], b"\x02b\x00", b"\x80\xa0\xd5\xed\xee\x66"].concat();
    let record = [&[0, 0, 0, 0, 1], avro.as_slice()].concat();
    agree(&plan, &mut Reader::new(&formats), &record).unwrap();
    // And the whole reader of the job agrees with its plan
    let input = Input::single_object(&[("the writer".to_owned(), writer.clone())], &reader_schema).unwrap();
    let single = [&[0xc3, 0x01], fingerprint(&writer).as_slice(), &avro].concat();
    let refused = OrderReader::new(input, DecodeRules::default()).read(&single).unwrap_err();
    assert_eq!(refused.class.as_str(), "unknown_event_type");
}
