//! JSON without schemas: text into [`Value`]s, and back by the rules of Connect's `JsonConverter`.
//!
//! Integers become `Int64`, other numbers `Float64` (an integer beyond 64 bits a `Decimal`, where Java wraps around).
//! The last of several equal keys wins, in the place of the first.

mod read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::error::{Error, Result};
use crate::value::Value;

/// Parses JSON text.
///
/// # Errors
/// `Data` when it is no JSON, or more than one value.
pub fn parse(text: &[u8]) -> Result<Value> {
    read::read(text).map_err(|message| Error::data(format!("not valid JSON: {message}")))
}

/// Appends the value as JSON text: bytes as base64, decimals as numbers, dates and times as their numbers.
///
/// # Errors
/// `Data` for NaN and infinities as Java's converter writes no valid JSON for them, and for map keys that are no strings.
pub fn write(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    serde_json::to_writer(&mut *out, &Plain(value)).map_err(|e| {
        out.truncate(start);
        Error::data(format!("value has no JSON form: {e}"))
    })
}

/// Serialises by `JsonConverter`'s rules without schemas.
struct Plain<'v>(&'v Value);

impl Serialize for Plain<'_> {
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
            Value::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Plain(item))?;
                }
                seq.end()
            }
            Value::Map(map) => {
                let mut out = s.serialize_map(Some(map.len()))?;
                for (key, value) in map.entries() {
                    let key = key.as_str().ok_or_else(|| serde::ser::Error::custom("a map key is no string"))?;
                    out.serialize_entry(key, &Plain(value))?;
                }
                out.end()
            }
            Value::Struct(record) => {
                let mut out = s.serialize_map(Some(record.values().len()))?;
                for (field, value) in record.schema().fields.iter().zip(record.values()) {
                    out.serialize_entry(&field.name, &Plain(value))?;
                }
                out.end()
            }
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
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "{", "{}x", "nul", r#"{"a":}"#, "\u{feff}{}", "[1,]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
