//! JSON text into values, guided by their schema, in one pass over the text.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Rules;
use crate::error::{Error, Result};
use crate::map::Map;
use crate::schema::{Field, Kind, SchemaRef, logical};
use crate::value::{Struct, Value};

/// How long a decimal's number may be, in characters or bytes: as in Jackson. Longer ones take their time to be read.
const NUMBER_BYTES_MAX: usize = 1_000;
/// How far a decimal's exponent may lie from zero under exact rules: writing it out takes as many digits.
const EXPONENT_MAX: i64 = 2_000;
/// So much of a member's name is told.
const SHOWN_MAX: usize = 100;
/// A struct of more fields than that is looked through by hashing, when its members are out of order.
const COMPARED_MAX: usize = 64;

/// How many more values may be read. A few bytes of text under a large schema become many: null for each field that is left out, or its
/// default.
#[derive(Debug)]
pub struct Room(Cell<Option<usize>>);

impl Room {
    /// For that many, all levels counted; a long text counts as several.
    #[must_use]
    pub fn of(values: usize) -> Self {
        Self(Cell::new(Some(values)))
    }

    /// For those who trust who wrote the schema.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(Cell::new(None))
    }

    /// Whether something was refused for want of room. Nothing more is read.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.0.get() == Some(0)
    }

    fn take(&self, values: usize) -> Result<(), String> {
        let Some(left) = self.0.get() else { return Ok(()) };
        let rest = left.checked_sub(values).filter(|rest| *rest > 0);
        self.0.set(Some(rest.unwrap_or(0)));
        rest.map(drop).ok_or_else(|| "more values than there is room for".to_owned())
    }
}

/// Reads JSON text under a schema; without one as plain JSON.
///
/// # Errors
/// `Data`, with Java's messages where Java refuses, too. Java reads a number where text stands as 0, and text where a number
/// stands as null; here both are refused.
pub fn read(schema: Option<&SchemaRef>, json: &str, rules: &Rules) -> Result<Value> {
    read_within(schema, json, rules, &Room::unlimited())
}

/// The same in this room.
///
/// # Errors
/// As [`read`], and when there is not enough room.
pub fn read_within(schema: Option<&SchemaRef>, json: &str, rules: &Rules, room: &Room) -> Result<Value> {
    let Some(schema) = schema else { return crate::json::parse(json.as_bytes()) };
    room.take(1).map_err(Error::data)?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Under { schema, rules, room }.deserialize(&mut deserializer).map_err(|e| {
        // serde adds the place in the text; Java's users look for the words before it.
        let message = e.to_string();
        Error::data(message.split(" at line ").next().unwrap_or(&message).to_owned())
    })
}

/// What stands under this schema.
#[derive(Clone, Copy)]
struct Under<'s> {
    schema: &'s SchemaRef,
    rules: &'s Rules,
    room: &'s Room,
}

impl<'de> DeserializeSeed<'de> for Under<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        // Of a decimal all digits count, and of an integer Java's narrowing.
        if self.schema.is_logical(logical::DECIMAL) {
            let raw = <&RawValue as serde::Deserialize>::deserialize(json)?;
            return decimal(self, raw.get()).map_err(D::Error::custom);
        }
        json.deserialize_any(self)
    }
}

impl Under<'_> {
    /// A null in the place of a value.
    fn null(&self) -> Result<Value, String> {
        match &self.schema.default {
            Some(_) if self.rules.is_exact && self.schema.optional => Ok(Value::Null),
            Some(default) if self.rules.replace_null_with_default => self.copy_of(default),
            _ if self.schema.optional => Ok(Value::Null),
            _ => Err(format!("Invalid null value for required {} field", self.schema.kind.name())),
        }
    }

    /// Nothing at all in the place of a value.
    fn missing(&self) -> Result<Value, String> {
        match &self.schema.default {
            Some(default) if self.rules.is_exact => self.copy_of(default),
            _ => self.null(),
        }
    }

    fn copy_of(&self, default: &Value) -> Result<Value, String> {
        if self.room.0.get().is_some() {
            self.room.take(weight(default))?;
        }
        Ok(default.clone())
    }

    fn mismatch(&self, found: &str) -> String {
        let logical = self.schema.name.as_deref().unwrap_or_default();
        match (self.schema.kind, logical) {
            (Kind::Struct, _) => format!("Structs should be encoded as JSON objects, but found {found}"),
            (Kind::Map, _) if self.keys_are_text() => {
                format!("Maps with string fields should be encoded as JSON objects, but found {found}")
            }
            (Kind::Map, _) => format!("Maps with non-string fields should be encoded as JSON array of tuples, but found {found}"),
            (_, logical::DATE) => format!("Invalid type for Date, underlying representation should be integer but was {found}"),
            (_, logical::TIME) => format!("Invalid type for Time, underlying representation should be integer but was {found}"),
            (_, logical::TIMESTAMP) => {
                format!("Invalid type for Timestamp, underlying representation should be integral but was {found}")
            }
            (kind, _) => format!("Invalid type for {}: found {found}", kind.name()),
        }
    }

    fn keys_are_text(&self) -> bool {
        self.schema.key.as_ref().is_some_and(|k| k.kind == Kind::String)
    }

    fn part<'p>(&self, part: Option<&'p SchemaRef>) -> Result<Under<'p>, String>
    where
        Self: 'p,
    {
        let schema = part.ok_or("the schema of an array or a map says nothing about its elements")?;
        Ok(Under { schema, ..*self })
    }

    fn integer(&self, n: i64) -> Result<Value, String> {
        Ok(match (self.schema.kind, self.schema.name.as_deref()) {
            (Kind::Int32, Some(logical::DATE)) => Value::Date(n.try_into().map_err(|_| self.mismatch("NUMBER"))?),
            (Kind::Int32, Some(logical::TIME)) => Value::Time(n.try_into().map_err(|_| self.mismatch("NUMBER"))?),
            (Kind::Int64, Some(logical::TIMESTAMP)) => Value::Timestamp(n),
            // Java narrows without a word; a number that does not fit is refused here.
            (Kind::Int8, _) => Value::Int8(n.try_into().map_err(|_| self.too_large(n))?),
            (Kind::Int16, _) => Value::Int16(n.try_into().map_err(|_| self.too_large(n))?),
            (Kind::Int32, _) => Value::Int32(n.try_into().map_err(|_| self.too_large(n))?),
            (Kind::Int64, _) => Value::Int64(n),
            (Kind::Float32, _) => Value::Float32(n as f32),
            (Kind::Float64, _) => Value::Float64(n as f64),
            _ => return Err(self.mismatch("NUMBER")),
        })
    }

    fn too_large(&self, n: impl fmt::Display) -> String {
        format!("{n} does not fit into {}", self.schema.kind.name())
    }
}

/// How much a value takes of its room.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Map(map) => 1 + map.entries().iter().map(|(key, value)| weight(key) + weight(value)).sum::<usize>(),
        Value::Struct(record) => 1 + record.values().iter().map(weight).sum::<usize>(),
        Value::String(text) => 1 + text.len() / size_of::<Value>(),
        _ => 1,
    }
}

fn decimal(under: Under<'_>, text: &str) -> Result<Value, String> {
    if text == "null" {
        return under.null();
    }
    let long = || format!("a Decimal of more than {NUMBER_BYTES_MAX} digits");
    if let Ok(encoded) = serde_json::from_str::<String>(text) {
        let bytes = BASE64.decode(&encoded).map_err(|_| "Invalid bytes for Decimal field")?;
        if under.rules.is_exact && bytes.len() > NUMBER_BYTES_MAX {
            return Err(long());
        }
        let scale = under.schema.decimal_scale().ok_or("Invalid Decimal schema: scale parameter not found.")?;
        return Ok(Value::Decimal(Box::new(BigDecimal::new(BigInt::from_signed_bytes_be(&bytes), scale.into()))));
    }
    if text.len() > NUMBER_BYTES_MAX && !text.starts_with(['[', '{']) {
        return Err(long());
    }
    match text.parse::<BigDecimal>() {
        Ok(number) if !text.starts_with(['[', '{', 't', 'f']) => {
            let number = if under.rules.is_exact { scaled(number, under.schema)? } else { number };
            Ok(Value::Decimal(Box::new(number)))
        }
        _ => Err("Invalid type for Decimal, underlying representation should be numeric or bytes".into()),
    }
}

/// The number with its schema's scale, if that takes no digits away.
fn scaled(number: BigDecimal, schema: &SchemaRef) -> Result<BigDecimal, String> {
    let scale = schema.decimal_scale().map(i64::from).ok_or("Invalid Decimal schema: scale parameter not found.")?;
    let own = number.fractional_digit_count();
    if own == scale {
        return Ok(number);
    }
    if own.abs() > EXPONENT_MAX {
        return Err("a Decimal with an exponent that far from zero".to_owned());
    }
    let scaled = number.with_scale(scale);
    if scaled == number { Ok(scaled) } else { Err(format!("a Decimal of scale {scale} cannot hold {number}")) }
}

impl<'de> Visitor<'de> for Under<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {}", self.schema.kind.name())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.null().map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<Value, E> {
        if self.schema.kind == Kind::Boolean { Ok(Value::Boolean(b)) } else { Err(E::custom(self.mismatch("BOOLEAN"))) }
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Value, E> {
        self.integer(n).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Value, E> {
        match i64::try_from(n) {
            Ok(n) => self.integer(n).map_err(E::custom),
            Err(_) if matches!(self.schema.kind, Kind::Float32 | Kind::Float64) => self.visit_f64(n as f64),
            Err(_) => Err(E::custom(self.too_large(n))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<Value, E> {
        match self.schema.kind {
            Kind::Float32 if self.rules.is_exact && (x as f32).is_infinite() => Err(E::custom(self.too_large(x))),
            Kind::Float32 => Ok(Value::Float32(x as f32)),
            Kind::Float64 => Ok(Value::Float64(x)),
            Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => Err(E::custom(self.too_large(x))),
            _ => Err(E::custom(self.mismatch("NUMBER"))),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        if self.room.0.get().is_some() {
            self.room.take(text.len() / size_of::<Value>()).map_err(E::custom)?;
        }
        match (self.schema.kind, not_a_number(text).filter(|_| self.rules.is_exact)) {
            (Kind::Float32, Some(x)) => return Ok(Value::Float32(x as f32)),
            (Kind::Float64, Some(x)) => return Ok(Value::Float64(x)),
            _ => {}
        }
        match self.schema.kind {
            Kind::String => Ok(Value::string(text)),
            Kind::Bytes => {
                BASE64.decode(text).map(|b| Value::Bytes(Bytes::from(b))).map_err(|_| E::custom("Invalid bytes field"))
            }
            _ => Err(E::custom(self.mismatch("STRING"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        let custom = A::Error::custom::<String>;
        match self.schema.kind {
            Kind::Array => {
                let mut items = Vec::new();
                while let Some(item) = json.next_element_seed(self.part(self.schema.value.as_ref()).map_err(custom)?)? {
                    items.push(item);
                    self.room.take(1).map_err(custom)?;
                }
                Ok(Value::Array(items))
            }
            Kind::Map if !self.keys_are_text() => {
                let mut entries = Vec::new();
                while let Some(entry) = json.next_element_seed(Entry(&self))? {
                    entries.push(entry);
                    self.room.take(2).map_err(custom)?;
                }
                Ok(Value::Map(Map::from_entries(entries)))
            }
            _ => Err(custom(self.mismatch("ARRAY"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        let custom = A::Error::custom::<String>;
        match self.schema.kind {
            Kind::Struct => self.structure(json),
            Kind::Map if self.keys_are_text() => {
                let mut entries = Vec::new();
                while let Some(key) = json.next_key::<String>()? {
                    let value = json.next_value_seed(self.part(self.schema.value.as_ref()).map_err(custom)?)?;
                    entries.push((Value::string(key), value));
                    self.room.take(2).map_err(custom)?;
                }
                Ok(Value::Map(Map::from_entries(entries)))
            }
            _ => Err(custom(self.mismatch("OBJECT"))),
        }
    }
}

impl Under<'_> {
    fn structure<'de, A: MapAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        let fields = &self.schema.fields;
        self.room.take(fields.len()).map_err(A::Error::custom)?;
        let mut values: Vec<Option<Value>> = vec![None; fields.len()];
        // Mostly the fields stand in the schema's order.
        let (mut expected, places) = (0, RefCell::default());
        while let Some(name) =
            json.next_key_seed(FieldName { fields, expected, places: &places, is_exact: self.rules.is_exact })?
        {
            match name {
                Ok(at) => {
                    values[at] = Some(json.next_value_seed(Under { schema: &fields[at].schema, ..self })?);
                    expected = at + 1;
                }
                Err(unknown) if self.rules.is_exact => {
                    let shown = &unknown[..unknown.floor_char_boundary(SHOWN_MAX)];
                    return Err(A::Error::custom(format!("member {shown} is no field of the schema")));
                }
                Err(_) => {
                    json.next_value::<IgnoredAny>()?;
                }
            }
        }
        let filled = fields.iter().zip(values).map(|(field, value)| match value {
            Some(value) => Ok(value),
            // Their room was taken above.
            None => Under { schema: &field.schema, ..self }
                .missing()
                .map_err(|why| if self.rules.is_exact { format!("field {}: {why}", field.name) } else { why }),
        });
        let values = filled.collect::<Result<Vec<_>, _>>().map_err(A::Error::custom)?;
        Ok(Value::Struct(Struct::from_values(self.schema.clone(), values)))
    }
}

/// A float for which JSON has no number, by Java's word for it.
fn not_a_number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Which field a key names; the key itself if the schema does not have it, and somebody wants to know.
struct FieldName<'f, 'p> {
    fields: &'f [Field],
    expected: usize,
    /// Where the fields of a large struct are, once that was asked.
    places: &'p RefCell<HashMap<&'f str, usize>>,
    is_exact: bool,
}

impl<'de> DeserializeSeed<'de> for FieldName<'_, '_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_, '_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if self.fields.get(self.expected).is_some_and(|f| f.name == key) {
            return Ok(Ok(self.expected));
        }
        let found = if self.fields.len() <= COMPARED_MAX {
            self.fields.iter().position(|f| f.name == key)
        } else {
            let mut places = self.places.borrow_mut();
            if places.is_empty() {
                places.extend(self.fields.iter().enumerate().map(|(at, field)| (field.name.as_str(), at)));
            }
            places.get(key).copied()
        };
        Ok(found.ok_or_else(|| if self.is_exact { key.to_owned() } else { String::new() }))
    }
}

/// One `[key, value]` of a map whose keys are no strings.
struct Entry<'u, 's>(&'u Under<'s>);

impl<'de> DeserializeSeed<'de> for Entry<'_, '_> {
    type Value = (Value, Value);

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(Value, Value), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_, '_> {
    type Value = (Value, Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of a key and a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut json: A) -> Result<(Value, Value), A::Error> {
        let custom = A::Error::custom::<String>;
        let size = || A::Error::custom("Invalid map entry, expected length 2");
        let key = json.next_element_seed(self.0.part(self.0.schema.key.as_ref()).map_err(custom)?)?.ok_or_else(size)?;
        let value = json.next_element_seed(self.0.part(self.0.schema.value.as_ref()).map_err(custom)?)?.ok_or_else(size)?;
        if json.next_element::<IgnoredAny>()?.is_some() {
            return Err(size());
        }
        Ok((key, value))
    }
}
