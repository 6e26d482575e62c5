//! JSON without schemas: text into [`Value`]s, and back by the rules of Connect's `JsonConverter`. With schemas: [`typed`] values, and the
//! [`schema`] itself.
//!
//! Integers become `Int64`, other numbers `Float64` (an integer beyond 64 bits a `Decimal`, where Java wraps around).
//! The last of several equal keys wins, in the place of the first.

pub(crate) mod object;
mod read;
mod scan;
pub mod schema;
pub mod typed;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use bytes::Bytes;
use serde::ser::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::map::Map;
use crate::value::Value;
use object::{JsonObject, Part};

/// Parses JSON text.
///
/// # Errors
/// `Data` when it is no JSON, or more than one value.
pub fn parse(text: &[u8]) -> Result<Value> {
    read::read(text).map_err(|message| Error::data(format!("not valid JSON: {message}")))
}

/// Checks a message as Java's `JsonConverter` does, without reading it, and answers its value as plain JSON; `None` when there is
/// nothing but white space, which is null.
///
/// # Errors
/// `Data` with what is wrong, and at which byte.
pub fn check(message: &Bytes) -> Result<Option<Bytes>> {
    scan::check(message).map_err(Error::data)
}

/// [`check`], and the value beside the text: an object's fields are read when somebody asks for them.
///
/// # Errors
/// As [`check`].
pub fn open(message: &Bytes) -> Result<Option<(Bytes, Value)>> {
    let Some(plain) = scan::outline(message).map_err(Error::data)? else { return Ok(None) };
    let value = match plain.fields {
        Some(fields) => Value::Map(Map::from_json(JsonObject::new(plain.text.clone(), fields))),
        None => parse(&plain.text)?,
    };
    Ok(Some((plain.text, value)))
}

/// Appends the value as JSON text: bytes as base64, decimals as numbers, dates and times as their numbers. Fields that nobody has read
/// are written as they came.
///
/// # Errors
/// `Data` for NaN and infinities as Java's converter writes no valid JSON for them, and for map keys that are no strings.
pub fn write(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    append(value, out).map_err(|e| {
        out.truncate(start);
        Error::data(format!("value has no JSON form: {e}"))
    })
}

fn append(value: &Value, out: &mut Vec<u8>) -> serde_json::Result<()> {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                comma(at, out);
                append(item, out)?;
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.push(b'{');
            match map.as_json() {
                Some(object) => append_object(object, out)?,
                None => {
                    for (at, (key, value)) in map.entries().iter().enumerate() {
                        let key = key.as_str().ok_or_else(|| serde::ser::Error::custom("a map key is no string"))?;
                        append_field(at, key, value, out)?;
                    }
                }
            }
            out.push(b'}');
        }
        Value::Struct(record) => {
            out.push(b'{');
            for (at, (field, value)) in record.schema().fields.iter().zip(record.values()).enumerate() {
                append_field(at, &field.name, value, out)?;
            }
            out.push(b'}');
        }
        leaf => serde_json::to_writer(out, &Leaf(leaf))?,
    }
    Ok(())
}

fn append_object(object: &JsonObject, out: &mut Vec<u8>) -> serde_json::Result<()> {
    for (at, part) in object.parts().enumerate() {
        match part {
            Part::Text { key, value } => {
                comma(at, out);
                out.push(b'"');
                out.extend_from_slice(key);
                out.extend_from_slice(b"\":");
                out.extend_from_slice(value);
            }
            Part::Own(key, value) => append_field(at, key, value, out)?,
        }
    }
    Ok(())
}

fn append_field(at: usize, key: &str, value: &Value, out: &mut Vec<u8>) -> serde_json::Result<()> {
    comma(at, out);
    serde_json::to_writer(&mut *out, key)?;
    out.push(b':');
    append(value, out)
}

fn comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

/// Serialises what holds no other values, by `JsonConverter`'s rules without schemas.
struct Leaf<'v>(&'v Value);

impl Serialize for Leaf<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => s.serialize_unit(),
            Value::Boolean(b) => s.serialize_bool(*b),
            Value::Int8(n) => s.serialize_i8(*n),
            Value::Int16(n) => s.serialize_i16(*n),
            Value::Int32(n) | Value::Date(n) | Value::Time(n) => s.serialize_i32(*n),
            Value::Int64(n) | Value::Timestamp(n) => s.serialize_i64(*n),
            Value::Float32(x) if x.is_finite() => s.serialize_f32(*x),
            Value::Float64(x) if x.is_finite() => s.serialize_f64(*x),
            Value::Float32(x) => Err(serde::ser::Error::custom(format!("{x} is no JSON number"))),
            Value::Float64(x) => Err(serde::ser::Error::custom(format!("{x} is no JSON number"))),
            Value::String(text) => s.serialize_str(text),
            Value::Bytes(bytes) => s.serialize_str(&BASE64.encode(bytes)),
            Value::Decimal(d) => decimal_number(d).serialize(s),
            Value::Array(_) | Value::Map(_) | Value::Struct(_) => unreachable!("`append` goes into these"),
        }
    }
}

/// All digits of a decimal, as a JSON number.
fn decimal_number(d: &BigDecimal) -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string(d.to_plain_string()).expect("plain decimal digits are a JSON number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut out = Vec::new();
        write(&parse(text.as_bytes()).unwrap(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn text_survives_a_round_trip() {
        check(r#"{"a":1,"b":[true,null,-2.5],"c":{"d":"x\ny"}}"#, r#"{"a":1,"b":[true,null,-2.5],"c":{"d":"x\ny"}}"#);
        check(r#" "text" "#, r#""text""#);
        check("18446744073709551615", "18446744073709551615");
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        check(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
        let many: String = (0..40).map(|i| format!("\"k{}\":{i},", i % 30)).collect();
        let Value::Map(map) = parse(format!("{{{}}}", &many[..many.len() - 1]).as_bytes()).unwrap() else { panic!() };
        assert_eq!((map.len(), map.get("k3")), (30, Some(&Value::Int64(33))));
        assert_eq!((map.entries()[3].0.as_str(), map.entries()[29].0.as_str()), (Some("k3"), Some("k29")));
    }

    /// Comparing each key with each other took a minute for what a megabyte holds.
    #[test]
    fn an_object_of_very_many_keys_is_read_as_quickly_as_others() {
        let many: String = (0..150_000).map(|i| format!("\"k{}\":{i},", i % 100_000)).collect();
        let text = Bytes::from(format!("{{{}}}", &many[..many.len() - 1]));
        let (_, opened) = open(&text).unwrap().unwrap();
        let Value::Map(map) = &opened else { panic!("an object") };
        assert_eq!((map.len(), &map.entries()[7].1), (100_000, &Value::Int64(100_007)));
        assert_eq!(map.entries()[99_999], (Value::string("k99999"), Value::Int64(99_999)));
        assert_eq!(parse(&text).unwrap(), opened);
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "{", "{}x", "nul", r#"{"a":}"#, "\u{feff}{}", "[1,]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn an_opened_object_is_written_as_it_came_but_for_what_was_changed() {
        let text = Bytes::from_static(br#" {"a": 1.50, "b" :[1, 2],"c":"\u00e4"} rest"#);
        let (plain, mut value) = open(&text).unwrap().unwrap();
        assert_eq!(plain, br#"{"a": 1.50, "b" :[1, 2],"c":"\u00e4"}"#[..]);
        let Value::Map(map) = &mut value else { panic!("an object") };
        map.insert("n\"", Value::string("x\ny"));
        map.discard("b");
        let mut out = Vec::new();
        write(&value, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":1.50,"c":"\u00e4","n\"":"x\ny"}"#);
        assert!(open(&Bytes::from_static(b" ")).unwrap().is_none());
        assert_eq!(open(&Bytes::from_static(b"[1]")).unwrap().unwrap().1, Value::Array(vec![Value::Int64(1)]));
    }
}
