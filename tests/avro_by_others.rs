//! What Python's fastavro and Java's Avro write is read here, and what is written here they read: see `tests/fixtures/avro/README.md`.

use apache_avro::Schema;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sluicegate::format::{
    DecodeRules, ErrorClass, OrderEvent, PurchaseStats,
    avro::{self, Header, OwnSchema, Plan, WriterSchema, fingerprint},
    decode_order,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const VALUES: &str = include_str!("fixtures/avro/values.jsonl");
const WRITTEN: [(&str, &str); 2] =
    [("fastavro", include_str!("fixtures/avro/fastavro.jsonl")), ("Java", include_str!("fixtures/avro/java.jsonl"))];
const VERSION_2: &str = include_str!("fixtures/avro/order-event-2.avsc");
const FRAMINGS: [&str; 2] = ["confluent", "single-object"];

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The schema that a line was written with.
fn schema(name: &str) -> Schema {
    let own = match name {
        "order-event" => OwnSchema::OrderEvent,
        "order-status" => OwnSchema::OrderStatus,
        "purchase-stats" => OwnSchema::PurchaseStats,
        "inventory-level" => OwnSchema::InventoryLevel,
        "low-stock-alert" => OwnSchema::LowStockAlert,
        "order-batch" => OwnSchema::OrderBatch,
        "order-event-2" => return Schema::parse_str(VERSION_2).unwrap(),
        other => panic!("no schema {other}"),
    };
    own.schema().clone()
}

/// The event that a value is, by way of our JSON reader: with money as numbers, and what version 2 left out.
fn event(value: &Value) -> OrderEvent {
    let mut value = value.clone();
    let fields = value.as_object_mut().unwrap();
    fields.entry("category").or_insert(json!(""));
    let mut json = value.to_string();
    for name in ["amount", "price"] {
        let begin = format!("\"{name}\":\"");
        while let Some(at) = json.find(&begin) {
            let end = at + begin.len() + json[at + begin.len()..].find('"').unwrap();
            json.replace_range(end..=end, "");
            json.replace_range(at + begin.len() - 1..at + begin.len(), "");
        }
    }
    decode_order(json.as_bytes(), &DecodeRules::default()).unwrap()
}

/// A value of an output as we write it, without a header.
fn written(name: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let money = |field: &str| text(value, field).parse::<Decimal>().unwrap();
    match name {
        "order-event" => avro::encode_order(&mut out, &event(value)),
        "order-status" => avro::encode_order_status(&mut out, &serde_json::from_value(value.clone()).unwrap()),
        "purchase-stats" => {
            let number = |field: &str| value[field].as_i64().unwrap();
            let stats = PurchaseStats {
                user_id: text(value, "userId").into(),
                window_start: number("windowStart"),
                window_end: number("windowEnd"),
                order_count: number("orderCount").unsigned_abs(),
                item_count: number("itemCount").unsigned_abs(),
                total_amount: money("totalAmount"),
                average_order_value: money("averageOrderValue"),
                category_count: serde_json::from_value(value["categoryCount"].clone()).unwrap(),
            };
            avro::encode_purchase_stats(&mut out, &stats);
        }
        "inventory-level" => avro::encode_inventory_level(&mut out, &serde_json::from_value(value.clone()).unwrap()),
        "low-stock-alert" => avro::encode_low_stock_alert(&mut out, &serde_json::from_value(value.clone()).unwrap()),
        "order-batch" => {
            let mut orders = Vec::new();
            let events = value["orders"].as_array().unwrap();
            events.iter().for_each(|value| avro::encode_order(&mut orders, &event(value)));
            avro::encode_order_batch(&mut out, text(value, "batchId"), events.len(), &orders);
        }
        other => panic!("{other} is not written here"),
    }
    out
}

/// The same lines as the others write, but those of version 2, which nobody writes here.
fn ours() -> (Vec<Value>, Vec<Value>) {
    let ids = lines(WRITTEN[0].1);
    let id = |name: &str| ids.iter().find(|line| text(line, "schema") == name).and_then(|line| line["id"].as_u64()).unwrap();
    let (mut values, mut ours) = (Vec::new(), Vec::new());
    for line in lines(VALUES).into_iter().filter(|line| text(line, "schema") != "order-event-2") {
        let name = text(&line, "schema").to_owned();
        let body = written(&name, &line["value"]);
        for framing in FRAMINGS {
            let header = match framing {
                "confluent" => Header::of(WriterSchema::Id(u32::try_from(id(&name)).unwrap())),
                _ => Header::of(WriterSchema::Fingerprint(fingerprint(&schema(&name)))),
            };
            let record = [header.as_bytes(), &body].concat();
            ours.push(json!({ "schema": name, "framing": framing, "id": id(&name), "hex": hex(&record) }));
            values.push(line.clone());
        }
    }
    (values, ours)
}

#[test]
fn events_of_both_versions_are_read_whoever_wrote_them() {
    for (who, golden) in WRITTEN {
        let (mut read, mut refused) = (0, 0);
        for (line, value) in lines(golden).iter().zip(lines(VALUES).iter().flat_map(|line| [line.clone(), line.clone()])) {
            let name = text(line, "schema");
            assert_eq!(name, text(&value, "schema"), "{who}");
            if !name.starts_with("order-event") {
                continue;
            }
            let (record, schema) = (bytes(text(line, "hex")), schema(name));
            let (named, body) = match text(line, "framing") {
                "confluent" => WriterSchema::of_framed(&record).unwrap(),
                _ => WriterSchema::of_single_object(&record).unwrap(),
            };
            match named {
                WriterSchema::Id(id) => assert_eq!(Some(u64::from(id)), line["id"].as_u64(), "{who}"),
                WriterSchema::Fingerprint(found) => assert_eq!(found, fingerprint(&schema), "{who}: {name}"),
            }
            let decoded = Plan::new(&schema, &[]).unwrap().decode(body, record.len() - body.len(), &DecodeRules::default());
            if value["value"]["eventType"] == "RETURNED" {
                // A symbol that is younger than our schema has our default, and that is no event type
                assert_eq!(decoded.unwrap_err().class, ErrorClass::UnknownEventType, "{who}");
                refused += 1;
            } else {
                assert_eq!(decoded, Ok(event(&value["value"])), "{who}: {name}");
                read += 1;
            }
        }
        assert_eq!((read, refused), (20, 2), "{who}");
    }
}

#[test]
fn what_we_write_is_what_they_write_byte_for_byte() {
    let (_, ours) = ours();
    for (who, golden) in WRITTEN {
        let theirs: Vec<Value> = lines(golden).into_iter().filter(|line| text(line, "schema") != "order-event-2").collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{who}");
        }
    }
}

#[test]
fn fastavro_reads_what_we_write() {
    let Some(python) = python() else { return };
    let mut command = Command::new(python);
    command.arg(fixtures().join("golden.py")).arg("read");
    they_read(&mut command);
}

#[test]
fn java_reads_what_we_write() {
    // The registry that other tests start brings Java's Avro along.
    let libraries = cache().join("registry/2.6.13.Final/lib");
    if !libraries.is_dir() {
        eprintln!("skipped: no Java Avro in {}; the tests with a schema registry put it there", libraries.display());
        return;
    }
    let mut command = Command::new("java");
    command.arg("-cp").arg(libraries.join("*")).arg(fixtures().join("Golden.java")).arg(env!("CARGO_MANIFEST_DIR")).arg("read");
    if !command_starts(Command::new("javac").arg("-version")) {
        eprintln!("skipped: no Java with its compiler, which a program in one file wants");
        return;
    }
    they_read(&mut command);
}

/// Gives them our lines; what they answer is compared with the values that we wrote.
fn they_read(command: &mut Command) {
    let (values, ours) = ours();
    let lines_of_ours: String = ours.iter().map(|line| format!("{line}\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("ours.jsonl");
    fs::write(&input, lines_of_ours).unwrap();
    let output = command.stdin(fs::File::open(&input).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = lines(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(answers.len(), values.len());
    for (answer, value) in answers.iter().zip(&values) {
        assert_eq!(answer, value);
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/avro")
}

/// The folder for what is downloaded, as in the Makefile.
fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))).unwrap_or_default().join("sluicegate")
}

/// A Python with fastavro: the one in PATH, or one in the cache folder, where it is installed if it can be.
fn python() -> Option<PathBuf> {
    let has_it = |python: &Path| command_starts(Command::new(python).args(["-c", "import fastavro"]));
    let (common, folder) = (PathBuf::from("python3"), cache().join("fastavro"));
    let own = folder.join("bin/python");
    if has_it(&common) {
        return Some(common);
    }
    if !has_it(&own) {
        command_starts(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let mut pip = Command::new(&own);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "fastavro==1.13.1"]);
        command_starts(&mut pip);
    }
    if !has_it(&own) {
        eprintln!("skipped: no Python with fastavro, and it could not be installed into {}", folder.display());
        return None;
    }
    Some(own)
}

/// Whether it runs and ends well.
fn command_starts(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
