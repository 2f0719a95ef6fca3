//! Fingerprints of schemas, as the specification defines them.
//!
//! apache-avro has both, too, but its canonical form keeps precision, scale and braces of logical types, which the specification strips: its
//! fingerprints of such schemas are others than those of Java and Python (version 0.22).

use apache_avro::schema::{FixedSchema, InnerDecimalSchema, Name, Schema, UuidSchema};
use std::fmt::Write;

/// Fingerprint of nothing, and the polynomial.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// Fingerprint of a schema as single-object encoding has it: CRC-64-AVRO of its parsing canonical form, the lowest byte first.
#[must_use]
pub fn fingerprint(schema: &Schema) -> [u8; 8] {
    crc_64_avro(canonical_form(schema).as_bytes()).to_le_bytes()
}

fn crc_64_avro(bytes: &[u8]) -> u64 {
    let shift = |rest: u64| (rest >> 1) ^ (EMPTY & (rest & 1).wrapping_neg());
    bytes.iter().fold(EMPTY, |sum, byte| (sum >> 8) ^ (0..8).fold((sum ^ u64::from(*byte)) & 0xff, |rest, _| shift(rest)))
}

/// The parsing canonical form.
fn canonical_form(schema: &Schema) -> String {
    let mut out = String::new();
    write(schema, &mut out);
    out
}

fn write(schema: &Schema, out: &mut String) {
    let primitive = match schema {
        Schema::Null => "null",
        Schema::Boolean => "boolean",
        Schema::Int | Schema::Date | Schema::TimeMillis => "int",
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => "long",
        Schema::Float => "float",
        Schema::Double => "double",
        Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => "bytes",
        Schema::String | Schema::Uuid(UuidSchema::String) => "string",
        Schema::Decimal(decimal) => match &decimal.inner {
            InnerDecimalSchema::Bytes => "bytes",
            InnerDecimalSchema::Fixed(fixed) => return write_fixed(fixed, out),
        },
        Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
            return write_fixed(fixed, out);
        }
        Schema::Array(array) => {
            out.push_str("{\"type\":\"array\",\"items\":");
            write(&array.items, out);
            return out.push('}');
        }
        Schema::Map(map) => {
            out.push_str("{\"type\":\"map\",\"values\":");
            write(&map.types, out);
            return out.push('}');
        }
        Schema::Union(union) => {
            out.push('[');
            list(union.variants(), out, write);
            return out.push(']');
        }
        Schema::Enum(kind) => {
            begin(&kind.name, "enum", out);
            out.push_str(",\"symbols\":[");
            list(&kind.symbols, out, |symbol, out| {
                let _ = write!(out, "\"{symbol}\"");
            });
            return out.push_str("]}");
        }
        Schema::Record(record) => {
            begin(&record.name, "record", out);
            out.push_str(",\"fields\":[");
            list(&record.fields, out, |field, out| {
                let _ = write!(out, "{{\"name\":\"{}\",\"type\":", field.name);
                write(&field.schema, out);
                out.push('}');
            });
            return out.push_str("]}");
        }
        Schema::Ref { name } => {
            let _ = write!(out, "\"{}\"", name.fullname(None));
            return;
        }
    };
    let _ = write!(out, "\"{primitive}\"");
}

fn begin(name: &Name, kind: &str, out: &mut String) {
    let _ = write!(out, "{{\"name\":\"{}\",\"type\":\"{kind}\"", name.fullname(None));
}

fn write_fixed(fixed: &FixedSchema, out: &mut String) {
    begin(&fixed.name, "fixed", out);
    let _ = write!(out, ",\"size\":{}}}", fixed.size);
}

fn list<T>(values: &[T], out: &mut String, each: impl Fn(&T, &mut String)) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_specifications_own_examples() {
        for (schema, expected) in [("\"null\"", 7_195_948_357_588_979_594_u64), ("{\"type\":\"int\"}", 8_247_732_601_305_521_295)]
        {
            let schema = Schema::parse_str(schema).unwrap();
            assert_eq!(u64::from_le_bytes(fingerprint(&schema)), expected, "{schema:?}");
        }
    }

    #[test]
    fn only_what_decides_how_bytes_are_read_is_in_the_canonical_form() {
        let schema = Schema::parse_str(
            r#"{"type":"record","name":"R","namespace":"a.b","doc":"x","aliases":["S"],"fields":[
                {"name":"t","doc":"y","type":{"type":"long","logicalType":"timestamp-millis"},"default":1},
                {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
                {"name":"f","type":["null",{"type":"fixed","name":"c.F","size":4}]},
                {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}},
                {"name":"l","type":{"type":"array","items":{"type":"map","values":"R"}}}]}"#,
        );
        let expected = concat!(
            r#"{"name":"a.b.R","type":"record","fields":[{"name":"t","type":"long"},{"name":"m","type":"bytes"},"#,
            r#"{"name":"f","type":["null",{"name":"c.F","type":"fixed","size":4}]},"#,
            r#"{"name":"e","type":{"name":"a.b.E","type":"enum","symbols":["A","B"]}},"#,
            r#"{"name":"l","type":{"type":"array","items":{"type":"map","values":"a.b.R"}}}]}"#
        );
        assert_eq!(canonical_form(&schema.unwrap()), expected);
    }
}
