//! `SimpleHeaderConverter`: a header's text says what type it is: `12` an integer, `[1,2]` an array, `abc` a string.
//!
//! It differs from Java in text that only begins like a value, such as `1,2`, `14:34` or `[1]x`: Java takes the beginning and drops
//! the rest, here the text stays whole, a string. The same holds for dates that do not exist.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use penstock_api::payload::{Decode, Encoded};
use penstock_api::{
    BigDecimal, Bytes, CompactString, Error, Format, HeaderConverter, Kind, Map, Payload, Result, Schema, SchemaAndValue,
    SchemaRef, Value, java,
};
use std::fmt::Write;
use std::sync::Arc;

/// The converter; what it reads is parsed when somebody looks.
pub(super) struct SimpleHeaderConverter {
    decode: Arc<dyn Decode>,
}

impl SimpleHeaderConverter {
    pub(super) fn new() -> Self {
        Self { decode: Arc::new(Text) }
    }
}

struct Text;

impl Decode for Text {
    fn decode(&self, bytes: &Bytes) -> Result<SchemaAndValue> {
        Ok(parse(&String::from_utf8_lossy(bytes)))
    }
}

impl HeaderConverter for SimpleHeaderConverter {
    fn to_connect(&mut self, _topic: &str, _header: &str, wire: Option<&Bytes>) -> Result<Payload> {
        Ok(wire.map_or_else(Payload::null, |wire| Payload::encoded(wire.clone(), Format::Other(self.decode.clone()))))
    }

    fn from_connect(&mut self, _topic: &str, _header: &str, value: &Payload) -> Result<Option<Bytes>> {
        // Text stands for itself.
        if let Some(Encoded { bytes, format: Format::String }) = value.wire() {
            return Ok(Some(bytes.clone()));
        }
        let view = value.view()?;
        if view.value.is_null() {
            return Ok(None);
        }
        Ok(Some(to_text(&view.value)?.into()))
    }
}

/// How deep arrays and maps may lie in each other; deeper ones are strings.
const DEPTH_MAX: usize = 64;

/// Reads a value out of its text; what is no value is a string.
pub(super) fn parse(text: &str) -> SchemaAndValue {
    if text == "null" {
        return SchemaAndValue::default();
    }
    let mut reader = Reader { rest: text };
    if text.starts_with(['[', '{'])
        && let Some(found) = reader.value(0)
        && reader.rest.is_empty()
    {
        return found;
    }
    literal(text.trim()).unwrap_or_else(|| string(text))
}

fn string(text: &str) -> SchemaAndValue {
    SchemaAndValue::new(Schema::new(Kind::String), Value::string(text))
}

/// A boolean, a number, a date or a time.
fn literal(text: &str) -> Option<SchemaAndValue> {
    match text {
        "true" | "false" => Some(SchemaAndValue::new(Schema::new(Kind::Boolean), Value::Boolean(text == "true"))),
        _ => temporal(text).or_else(|| number(text)),
    }
}

fn temporal(text: &str) -> Option<SchemaAndValue> {
    // Colons may be escaped, as they separate keys from values.
    let text = text.replace("\\:", ":");
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.len() {
        10 => {
            let days = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.to_epoch_days();
            Some(SchemaAndValue::new(Schema::date(), Value::Date(days)))
        }
        13 => {
            let time = NaiveTime::parse_from_str(&text, "%H:%M:%S%.3fZ").ok()?;
            let millis = time.num_seconds_from_midnight() * 1_000 + time.nanosecond() / 1_000_000;
            Some(SchemaAndValue::new(Schema::time(), Value::Time(i32::try_from(millis).ok()?)))
        }
        24 => {
            let instant = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.3fZ").ok()?;
            Some(SchemaAndValue::new(Schema::timestamp(), Value::Timestamp(instant.and_utc().timestamp_millis())))
        }
        _ => None,
    }
}

/// The narrowest type that holds the number: integers exactly, others as a float if that is finite.
fn number(text: &str) -> Option<SchemaAndValue> {
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    if !begins || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let exact: BigDecimal = text.parse().ok()?;
    if let Some(whole) = whole(&exact) {
        let (kind, value) = if let Ok(n) = i8::try_from(whole) {
            (Kind::Int8, Value::Int8(n))
        } else if let Ok(n) = i16::try_from(whole) {
            (Kind::Int16, Value::Int16(n))
        } else if let Ok(n) = i32::try_from(whole) {
            (Kind::Int32, Value::Int32(n))
        } else {
            (Kind::Int64, Value::Int64(whole))
        };
        return Some(SchemaAndValue::new(Schema::new(kind), value));
    }
    let scale = exact.as_bigint_and_exponent().1;
    if scale != 0 {
        if let Some(x) = text.parse::<f32>().ok().filter(|x| x.is_finite()) {
            return Some(SchemaAndValue::new(Schema::new(Kind::Float32), Value::Float32(x)));
        }
        if let Some(x) = text.parse::<f64>().ok().filter(|x| x.is_finite()) {
            return Some(SchemaAndValue::new(Schema::new(Kind::Float64), Value::Float64(x)));
        }
    }
    Some(SchemaAndValue::new(Schema::decimal(i32::try_from(scale).ok()?), Value::Decimal(Box::new(exact))))
}

/// The number as an `i64`, if it is one.
fn whole(exact: &BigDecimal) -> Option<i64> {
    let (digits, scale) = exact.normalized().as_bigint_and_exponent();
    // A longer one does not fit, and must not be written out.
    if !(-18..=0).contains(&scale) {
        return None;
    }
    let power = 10i64.checked_pow(u32::try_from(-scale).ok()?)?;
    i64::try_from(digits).ok()?.checked_mul(power)
}

/// Reads arrays and maps. `None`: this is no such value.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn consume(&mut self, c: char) -> bool {
        match self.rest.trim_start().strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<SchemaAndValue> {
        if depth > DEPTH_MAX {
            return None;
        }
        if self.consume('[') {
            self.array(depth)
        } else if self.consume('{') {
            self.map(depth)
        } else if self.consume('"') {
            self.quoted()
        } else {
            let end = self.rest.find([',', ']', '}', ':']).unwrap_or(self.rest.len());
            // The colons of a time are no separators.
            let end = temporal_end(self.rest).unwrap_or(end);
            let (token, rest) = self.rest.split_at(end);
            self.rest = rest;
            if token.trim() == "null" { Some(SchemaAndValue::default()) } else { literal(token.trim()) }
        }
    }

    fn quoted(&mut self) -> Option<SchemaAndValue> {
        let mut content = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                '"' if !escaped => {
                    self.rest = &self.rest[at + 1..];
                    return Some(temporal(&content).unwrap_or_else(|| string(&content)));
                }
                '\\' if !escaped => escaped = true,
                c => {
                    // Only a quote and a backslash are escaped; before anything else a backslash is itself.
                    if escaped && c != '"' && c != '\\' {
                        content.push('\\');
                    }
                    content.push(c);
                    escaped = false;
                }
            }
        }
        None
    }

    fn array(&mut self, depth: usize) -> Option<SchemaAndValue> {
        let mut items = Items::default();
        while !self.consume(']') {
            items.push(self.value(depth + 1)?);
            if !self.consume(',') && !self.rest.trim_start().starts_with(']') {
                return None;
            }
        }
        let (schema, values) = items.aligned();
        let schema = Schema { value: schema, ..Schema::new(Kind::Array) };
        Some(SchemaAndValue::new(schema, Value::Array(values)))
    }

    fn map(&mut self, depth: usize) -> Option<SchemaAndValue> {
        let (mut keys, mut values) = (Items::default(), Items::default());
        while !self.consume('}') {
            let key = self.value(depth + 1)?;
            if key.value.is_null() || !self.consume(':') {
                return None;
            }
            keys.push(key);
            values.push(self.value(depth + 1)?);
            if !self.consume(',') && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        let ((key_schema, keys), (value_schema, values)) = (keys.aligned(), values.aligned());
        let mut map = Map::with_capacity(keys.len());
        for (key, value) in keys.into_iter().zip(values) {
            map.insert_value(key, value);
        }
        let schema = Schema { key: key_schema, value: value_schema, ..Schema::new(Kind::Map) };
        Some(SchemaAndValue::new(schema, Value::Map(map)))
    }
}

/// Where a time or a timestamp at the beginning of this text ends.
fn temporal_end(text: &str) -> Option<usize> {
    [24, 13].into_iter().find(|len| text.get(..*len).is_some_and(|t| temporal(t).is_some()))
}

/// Elements and the one schema that fits all of them, if there is one.
#[derive(Default)]
struct Items {
    values: Vec<Value>,
    schema: Option<SchemaRef>,
    mixed: bool,
}

impl Items {
    fn push(&mut self, item: SchemaAndValue) {
        self.values.push(item.value);
        let Some(schema) = item.schema else { return };
        match self.schema.take() {
            None => self.schema = Some(schema),
            Some(before) => {
                let wider = wider(&before, &schema);
                self.mixed |= wider.is_none();
                self.schema = wider.or(Some(before));
            }
        }
    }

    fn aligned(self) -> (Option<SchemaRef>, Vec<Value>) {
        match self.schema {
            Some(schema) if !self.mixed => {
                let values = self.values.into_iter().map(|v| widened(v, schema.kind)).collect();
                (Some(schema), values)
            }
            _ => (None, self.values),
        }
    }
}

fn wider(a: &SchemaRef, b: &SchemaRef) -> Option<SchemaRef> {
    if a == b || a.kind == b.kind && !a.kind.is_primitive() {
        return Some(b.clone());
    }
    let rank = |s: &SchemaRef| {
        let kinds = [Kind::Int8, Kind::Int16, Kind::Int32, Kind::Int64, Kind::Float32, Kind::Float64];
        if s.name.is_some() { None } else { kinds.iter().position(|k| *k == s.kind) }
    };
    Some(if rank(a)? >= rank(b)? { a.clone() } else { b.clone() })
}

fn widened(value: Value, kind: Kind) -> Value {
    match (kind, value.as_i64(), value.as_f64()) {
        (Kind::Int16, Some(n), _) => Value::Int16(n as i16),
        (Kind::Int32, Some(n), _) => Value::Int32(n as i32),
        (Kind::Int64, Some(n), _) => Value::Int64(n),
        (Kind::Float32, _, Some(x)) => Value::Float32(x as f32),
        (Kind::Float64, _, Some(x)) => Value::Float64(x),
        _ => value,
    }
}

/// A value as Java's `Values.convertToString` writes it.
///
/// # Errors
/// `Data` for a date beyond the calendar.
pub(super) fn to_text(value: &Value) -> Result<String> {
    let mut out = String::new();
    append(value, false, &mut out).map_err(|_| Error::data("value has no text form"))?;
    Ok(out)
}

fn append(value: &Value, embedded: bool, out: &mut String) -> std::fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Boolean(b) => write!(out, "{b}"),
        Value::Int8(n) => write!(out, "{n}"),
        Value::Int16(n) => write!(out, "{n}"),
        Value::Int32(n) => write!(out, "{n}"),
        Value::Int64(n) => write!(out, "{n}"),
        Value::Float32(x) => out.write_str(&java::float(*x)),
        Value::Float64(x) => out.write_str(&java::double(*x)),
        Value::Decimal(d) => out.write_str(&java::decimal(d)),
        Value::String(text) => append_text(text, embedded, out),
        Value::Bytes(bytes) => append_text(&BASE64.encode(bytes), embedded, out),
        Value::Date(days) => append_instant(i64::from(*days) * DAY_MS, out),
        Value::Time(millis) => append_instant(i64::from(*millis), out),
        Value::Timestamp(millis) => append_instant(*millis, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                append(item, true, out)?;
            }
            out.write_char(']')
        }
        Value::Map(map) => append_entries(map.entries().iter().map(|(k, v)| (k.clone(), v)), out),
        Value::Struct(record) => {
            let fields = record.schema().fields.iter().zip(record.values());
            append_entries(fields.map(|(field, value)| (Value::String(CompactString::new(&field.name)), value)), out)
        }
    }
}

fn append_entries<'v>(entries: impl Iterator<Item = (Value, &'v Value)>, out: &mut String) -> std::fmt::Result {
    out.push('{');
    for (at, (key, value)) in entries.enumerate() {
        if at > 0 {
            out.push(',');
        }
        append(&key, true, out)?;
        out.push(':');
        append(value, true, out)?;
    }
    out.write_char('}')
}

fn append_text(text: &str, embedded: bool, out: &mut String) -> std::fmt::Result {
    if embedded { write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) } else { out.write_str(text) }
}

const DAY_MS: i64 = 86_400_000;

/// Java does not look at the type here but at the number: a day's worth of milliseconds is a time, full days are a date.
fn append_instant(millis: i64, out: &mut String) -> std::fmt::Result {
    let instant = DateTime::from_timestamp_millis(millis).ok_or(std::fmt::Error)?;
    let format = match millis {
        ..DAY_MS => "%H:%M:%S%.3fZ",
        _ if millis % DAY_MS == 0 => "%Y-%m-%d",
        _ => "%Y-%m-%dT%H:%M:%S%.3fZ",
    };
    write!(out, "{}", instant.format(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer is that of Java's SimpleHeaderConverter 4.3.1: the type, and the text it writes back.
    fn check(text: &str, kind: &str, back: &str) {
        let found = parse(text);
        let schema = found.schema.as_ref();
        let name = schema.map_or("null".into(), |s| s.name.clone().unwrap_or_else(|| s.kind.name().to_owned()));
        assert_eq!(name.rsplit('.').next(), Some(kind), "{text}: {found:?}");
        assert_eq!(to_text(&found.value).unwrap(), back, "{text}");
    }

    #[test]
    fn scalars_take_the_narrowest_type() {
        for text in ["true", "false"] {
            check(text, "BOOLEAN", text);
        }
        for (text, kind, back) in [
            ("1", "INT8", "1"),
            ("127", "INT8", "127"),
            ("128", "INT16", "128"),
            ("-129", "INT16", "-129"),
            ("32768", "INT32", "32768"),
            ("2147483648", "INT64", "2147483648"),
            ("9223372036854775807", "INT64", "9223372036854775807"),
            ("9223372036854775808", "Decimal", "9223372036854775808"),
            ("1.5", "FLOAT32", "1.5"),
            ("1e3", "INT16", "1000"),
            ("1e400", "Decimal", "1E+400"),
            ("3.4e39", "FLOAT64", "3.4E39"),
            ("-0.0", "INT8", "0"),
            ("007", "INT8", "7"),
            ("+5", "INT8", "5"),
            ("1 ", "INT8", "1"),
            ("5.", "INT8", "5"),
            ("12345678901234567890.123", "FLOAT32", "1.2345679E19"),
            // The shortest digits, as Java writes them since 19; 17 writes 1.23456792E8.
            ("123456789.123", "FLOAT32", "1.2345679E8"),
            ("1e-50", "FLOAT32", "0.0"),
            ("1E5", "INT32", "100000"),
            ("1e999999999", "Decimal", "1E+999999999"),
        ] {
            check(text, kind, back);
        }
    }

    #[test]
    fn dates_and_times_are_known_by_their_form() {
        check("2019-08-23", "Date", "2019-08-23");
        check("14:34:54.346Z", "Time", "14:34:54.346Z");
        check("14\\:34\\:54.346Z", "Time", "14:34:54.346Z");
        check("2019-08-23T14:34:54.346Z", "Timestamp", "2019-08-23T14:34:54.346Z");
        check("[2019-08-23]", "ARRAY", "[2019-08-23]");
        check("[\"14:34:54.346Z\"]", "ARRAY", "[14:34:54.346Z]");
    }

    #[test]
    fn what_is_no_value_stays_a_string() {
        for text in [
            "",
            "True",
            "true}",
            "1L",
            "0x10",
            "NaN",
            "abc",
            "  abc ",
            "\"quoted\"",
            "\"1\"",
            "[1,",
            "[1,2",
            "[1,,2]",
            "{a:1}",
            "{\"a\":1",
            "{\"a\"}",
            "a:b",
            "a,b",
            "a\\b",
            "nullx",
            "null,",
            "é",
            "\\",
            "\"a",
            "[a]",
            ".5",
            "-",
            "--5",
            "1_000",
            "1f",
            "Infinity",
        ] {
            check(text, "STRING", text);
        }
        // Here Java drops what comes behind the beginning.
        for text in ["1,2", "1:2", "[1]x", "14:34:54.346+0100"] {
            check(text, "STRING", text);
        }
    }

    #[test]
    fn arrays_and_maps_are_read_with_their_elements() {
        for text in [
            "[]",
            "[1,2]",
            "[1,200]",
            "[1,\"a\"]",
            "[\"a\",\"b\"]",
            "[null]",
            "[true,false]",
            "[[1],[2]]",
            "[\" a \"]",
            "[1,true]",
            "[\"a,b\"]",
            "[\"[1]\"]",
        ] {
            check(text, "ARRAY", text);
        }
        for text in ["{}", "{\"a\":1}", "{\"a\":\"b\"}", "{1:2}", "{\"a\":null}", "{\"a\":[1]}", "{\"a\":{\"b\":1}}"] {
            check(text, "MAP", text);
        }
        check("[1, 2 , 3]", "ARRAY", "[1,2,3]");
        check("[1,1.5]", "ARRAY", "[1.0,1.5]");
        check("[1,]", "ARRAY", "[1]");
        let mixed = parse("[1,200]");
        assert_eq!(mixed.value, Value::Array(vec![Value::Int16(1), Value::Int16(200)]));
        assert_eq!(parse("null"), SchemaAndValue::default());
        let deep = "[".repeat(100_000);
        check(&deep, "STRING", &deep);
    }

    #[test]
    fn floats_are_written_as_java_does() {
        for (x, expected) in [
            (1.0, "1.0"),
            (0.001, "0.001"),
            (1e-4, "1.0E-4"),
            (1e7, "1.0E7"),
            (9_999_999.5, "9999999.5"),
            (-123.25, "-123.25"),
            (-0.0, "-0.0"),
            (1.5e300, "1.5E300"),
        ] {
            assert_eq!(to_text(&Value::Float64(x)).unwrap(), expected);
        }
    }
}
