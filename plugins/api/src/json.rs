//! JSON without schemas: text into [`Value`]s, and back by the rules of Connect's `JsonConverter`.
//!
//! Integers become `Int64`, other numbers `Float64` (an integer beyond 64 bits a `Decimal`, where Java wraps around).
//! The last of several equal keys wins, in the place of the first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use smallvec::SmallVec;
use std::fmt;

use crate::error::{Error, Result};
use crate::value::{Map, Value};

/// Parses JSON text.
///
/// # Errors
/// `Data` when it is no JSON, or more than one value.
pub fn parse(text: &[u8]) -> Result<Value> {
    parse_with(text).map_err(|message| Error::data(format!("not valid JSON: {message}")))
}

#[cfg(not(target_family = "wasm"))]
fn parse_with(text: &[u8]) -> Result<Value, String> {
    sonic_rs::from_slice(text).map_err(|e| e.to_string())
}

#[cfg(target_family = "wasm")]
fn parse_with(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|e| e.to_string())
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

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

/// Objects with more fields than this are checked for equal keys by a hash map and not by scan.
const SCAN_FIELDS_MAX: usize = 24;
/// Objects with more fields than this gather on the heap.
const FIELDS_INLINE: usize = 12;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Boolean(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int64(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or_else(|_| Value::Decimal(Box::new(BigDecimal::from(n))), Value::Int64))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float64(x))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(CompactString::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Fields::default();
        while let Some((key, value)) = access.next_entry::<CompactString, Value>()? {
            fields.push(key, value);
        }
        Ok(Value::Map(Map::from_unique(fields.into_unique())))
    }
}

/// The fields of an object while it is read. They gather on the stack, so that the map is allocated once, at its size.
#[derive(Default)]
struct Fields {
    entries: SmallVec<[(Value, Value); FIELDS_INLINE]>,
    /// A bit for each hash seen: no scan for keys that cannot be there.
    seen: u64,
}

impl Fields {
    fn push(&mut self, key: CompactString, value: Value) {
        let bit = 1 << small_hash(key.as_bytes());
        if self.seen & bit != 0
            && self.entries.len() <= SCAN_FIELDS_MAX
            && let Some((_, first)) = self.entries.iter_mut().find(|(k, _)| k.as_str() == Some(&key))
        {
            *first = value;
            return;
        }
        self.seen |= bit;
        self.entries.push((Value::String(key), value));
    }

    fn into_unique(self) -> Vec<(Value, Value)> {
        if self.entries.len() <= SCAN_FIELDS_MAX {
            return self.entries.into_vec();
        }
        let mut unique: indexmap::IndexMap<CompactString, Value> = indexmap::IndexMap::with_capacity(self.entries.len());
        for (key, value) in self.entries {
            let Value::String(key) = key else { unreachable!("JSON keys are strings") };
            unique.insert(key, value);
        }
        unique.into_iter().map(|(k, v)| (Value::String(k), v)).collect()
    }
}

/// Six bits of a key: of its length, and its bytes at both ends, where the names of one object differ most.
fn small_hash(key: &[u8]) -> u32 {
    let (first, last) = (key.first().copied().unwrap_or(0), key.last().copied().unwrap_or(0));
    let middle = key.get(key.len() / 2).copied().unwrap_or(0);
    let mixed = u32::from_le_bytes([first, last, middle, key.len() as u8]);
    mixed.wrapping_mul(0x9E37_79B1) >> 26
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
