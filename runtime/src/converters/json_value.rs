//! Values as JSON by `JsonConverter`'s rules, guided by their schema, in one pass over the text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_api::bigdecimal::num_bigint::BigInt;
use penstock_api::schema::logical;
use penstock_api::{BigDecimal, Bytes, Error, Field, Kind, Map, Result, Schema, SchemaRef, Struct, Value};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

use super::json::{DecimalFormat, JsonOptions};

/// Reads JSON text under a schema; without one as plain JSON.
///
/// # Errors
/// `Data`, with Java's messages where Java refuses, too. Java reads a number where text stands as 0, and text where a number
/// stands as null; here both are refused.
pub(super) fn read(schema: Option<&SchemaRef>, json: &str, options: &JsonOptions) -> Result<Value> {
    let Some(schema) = schema else { return penstock_api::json::parse(json.as_bytes()) };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Under { schema, options }.deserialize(&mut deserializer).map_err(|e| {
        // serde adds the place in the text; Java's users look for the words before it.
        let message = e.to_string();
        Error::data(message.split(" at line ").next().unwrap_or(&message).to_owned())
    })
}

/// What stands under this schema.
struct Under<'s> {
    schema: &'s SchemaRef,
    options: &'s JsonOptions,
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
    /// A null, or nothing at all, in the place of a value.
    fn null(&self) -> Result<Value, String> {
        match &self.schema.default {
            Some(default) if self.options.replace_null_with_default => Ok(default.clone()),
            _ if self.schema.optional => Ok(Value::Null),
            _ => Err(format!("Invalid null value for required {} field", self.schema.kind.name())),
        }
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
        Ok(Under { schema, options: self.options })
    }

    fn integer(&self, n: i64) -> Result<Value, String> {
        Ok(match (self.schema.kind, self.schema.name.as_deref()) {
            (Kind::Int32, Some(logical::DATE)) => Value::Date(n as i32),
            (Kind::Int32, Some(logical::TIME)) => Value::Time(n as i32),
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

fn decimal(under: Under<'_>, text: &str) -> Result<Value, String> {
    if text == "null" {
        return under.null();
    }
    if let Ok(encoded) = serde_json::from_str::<String>(text) {
        let bytes = BASE64.decode(&encoded).map_err(|_| "Invalid bytes for Decimal field")?;
        let scale = under.schema.decimal_scale().ok_or("Invalid Decimal schema: scale parameter not found.")?;
        return Ok(Value::Decimal(Box::new(BigDecimal::new(BigInt::from_signed_bytes_be(&bytes), scale.into()))));
    }
    match text.parse::<BigDecimal>() {
        Ok(number) if !text.starts_with(['[', '{', 't', 'f']) => Ok(Value::Decimal(Box::new(number))),
        _ => Err("Invalid type for Decimal, underlying representation should be numeric or bytes".into()),
    }
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
            Kind::Float32 => Ok(Value::Float32(x as f32)),
            Kind::Float64 => Ok(Value::Float64(x)),
            Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => Err(E::custom(self.too_large(x))),
            _ => Err(E::custom(self.mismatch("NUMBER"))),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
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
                }
                Ok(Value::Array(items))
            }
            Kind::Map if !self.keys_are_text() => {
                let mut map = Map::new();
                while let Some((key, value)) = json.next_element_seed(Entry(&self))? {
                    map.insert_value(key, value);
                }
                Ok(Value::Map(map))
            }
            _ => Err(custom(self.mismatch("ARRAY"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        let custom = A::Error::custom::<String>;
        match self.schema.kind {
            Kind::Struct => self.structure(json),
            Kind::Map if self.keys_are_text() => {
                let mut map = Map::new();
                while let Some(key) = json.next_key::<String>()? {
                    let value = json.next_value_seed(self.part(self.schema.value.as_ref()).map_err(custom)?)?;
                    map.insert(key, value);
                }
                Ok(Value::Map(map))
            }
            _ => Err(custom(self.mismatch("OBJECT"))),
        }
    }
}

impl Under<'_> {
    fn structure<'de, A: MapAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        let fields = &self.schema.fields;
        let mut values: Vec<Option<Value>> = vec![None; fields.len()];
        // Mostly the fields stand in the schema's order.
        let mut expected = 0;
        while let Some(at) = json.next_key_seed(FieldName { fields, expected })? {
            match at {
                Some(at) => {
                    values[at] = Some(json.next_value_seed(Under { schema: &fields[at].schema, options: self.options })?);
                    expected = at + 1;
                }
                None => {
                    json.next_value::<IgnoredAny>()?;
                }
            }
        }
        let filled = fields.iter().zip(values).map(|(field, value)| match value {
            Some(value) => Ok(value),
            None => Under { schema: &field.schema, options: self.options }.null(),
        });
        let values = filled.collect::<Result<Vec<_>, _>>().map_err(A::Error::custom)?;
        Ok(Value::Struct(Struct::from_values(self.schema.clone(), values)))
    }
}

/// Which field a key names; `None` for one that the schema does not have.
struct FieldName<'f> {
    fields: &'f [Field],
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for FieldName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        if self.fields.get(self.expected).is_some_and(|f| f.name == key) {
            return Ok(Some(self.expected));
        }
        Ok(self.fields.iter().position(|f| f.name == key))
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

/// Appends a value as JSON text.
///
/// # Errors
/// `Data` for what has no JSON form, or does not fit its schema.
pub(super) fn write(schema: Option<&Schema>, value: &Value, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    let Some(schema) = schema else { return write_plain(value, options, out) };
    let default = schema.default.as_ref().filter(|_| options.replace_null_with_default);
    let value = match (value, default) {
        (Value::Null, Some(default)) => default,
        (Value::Null, None) if schema.optional => {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        (Value::Null, None) => {
            return Err(Error::data("Conversion error: null value for field that is required and has no default value"));
        }
        (value, _) => value,
    };
    if !value.fits(schema) {
        let expected = schema.name.as_deref().unwrap_or(schema.kind.name());
        return Err(Error::data(format!("Invalid type for {expected}: {}", value.java_class())));
    }
    match value {
        Value::Decimal(number) => write_decimal(number, schema, options, out),
        Value::Array(items) => write_array(items.iter().map(|item| (schema.value.as_deref(), item)), options, out),
        Value::Map(map) => write_map(map, schema.key.as_deref(), schema.value.as_deref(), options, out),
        other => write_plain(other, options, out),
    }
}

fn write_plain(value: &Value, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Array(items) => write_array(items.iter().map(|item| (None, item)), options, out),
        Value::Map(map) => write_map(map, None, None, options, out),
        Value::Struct(record) => write_struct(record, options, out),
        scalar => penstock_api::json::write(scalar, out),
    }
}

fn write_struct(record: &Struct, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    for (at, (field, value)) in record.schema().fields.iter().zip(record.values()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(&field.name, out)?;
        out.push(b':');
        write(Some(&field.schema), value, options, out).map_err(|e| e.context(format!("field {}", field.name)))?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array<'v>(
    items: impl Iterator<Item = (Option<&'v Schema>, &'v Value)>,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(b'[');
    for (at, (schema, item)) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(schema, item, options, out)?;
    }
    out.push(b']');
    Ok(())
}

/// An object if all keys are strings, by the schema or, without one, by themselves; else an array of pairs.
fn write_map(map: &Map, key: Option<&Schema>, value: Option<&Schema>, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    let as_object = match key {
        Some(key) => key.kind == Kind::String,
        None => map.entries().iter().all(|(k, _)| matches!(k, Value::String(_))),
    };
    out.push(if as_object { b'{' } else { b'[' });
    for (at, (k, v)) in map.entries().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if as_object {
            write_text(k.as_str().ok_or_else(|| Error::data("a map key is no string"))?, out)?;
            out.push(b':');
            write(value, v, options, out)?;
        } else {
            write_array([(key, k), (value, v)].into_iter(), options, out)?;
        }
    }
    out.push(if as_object { b'}' } else { b']' });
    Ok(())
}

fn write_decimal(number: &BigDecimal, schema: &Schema, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    let scale = schema.decimal_scale().ok_or_else(|| Error::data("Invalid Decimal schema: scale parameter not found."))?;
    let (unscaled, own_scale) = number.as_bigint_and_exponent();
    if own_scale != i64::from(scale) {
        let message = "Decimal value has mismatching scale for given Decimal value. The provided value's scale was";
        return Err(Error::data(format!("{message} {own_scale}, but the schema's is {scale}")));
    }
    match options.decimal_format {
        DecimalFormat::Numeric => out.extend_from_slice(number.to_plain_string().as_bytes()),
        DecimalFormat::Base64 => {
            out.push(b'"');
            out.extend_from_slice(BASE64.encode(unscaled.to_signed_bytes_be()).as_bytes());
            out.push(b'"');
        }
    }
    Ok(())
}

fn write_text(text: &str, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, text).map_err(|e| Error::data("text has no JSON form").with_source(e))
}
