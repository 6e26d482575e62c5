//! Writes Connect values as Avro binary, by the Connect schema whose Avro form [`super::to_avro`] gives.

use bytes::{BufMut, BytesMut};
use penstock_api::bigdecimal::RoundingMode;
use penstock_api::schema::logical;
use penstock_api::{BigDecimal, Error, Kind, Result, Schema, Struct, Value};

use super::mapping::Options;
use super::{names, to_avro};

/// Schemaless values nest no deeper.
const DEPTH_MAX: u32 = 256;

/// Writes a value under its schema; optional schemas as unions whose null stands where [`super::to_avro`] puts it.
pub(super) fn write(schema: &Schema, value: &Value, options: Options, out: &mut BytesMut) -> Result<()> {
    Writer { options }.value(schema, value, out)
}

/// Writes a value without schema as AvroData's record `Anything`.
pub(super) fn write_anything(value: &Value, out: &mut BytesMut) -> Result<()> {
    anything(value, out, 0)
}

struct Writer {
    options: Options,
}

impl Writer {
    fn value(&self, schema: &Schema, value: &Value, out: &mut BytesMut) -> Result<()> {
        if schema.kind == Kind::Struct && schema.is_logical(names::UNION) {
            return self.union(schema, value, out);
        }
        if schema.optional {
            // Null stands first, but behind a type that has a default.
            let null_index = u8::from(schema.default.is_some());
            if value.is_null() {
                long(null_index.into(), out);
                return Ok(());
            }
            long((1 - null_index).into(), out);
        }
        self.required(schema, value, out)
    }

    fn required(&self, schema: &Schema, value: &Value, out: &mut BytesMut) -> Result<()> {
        match (schema.kind, value) {
            (Kind::Boolean, Value::Boolean(b)) => out.put_u8(u8::from(*b)),
            (Kind::Int8, Value::Int8(n)) => long(i64::from(*n), out),
            (Kind::Int16, Value::Int16(n)) => long(i64::from(*n), out),
            (Kind::Int32, Value::Int32(n)) if !is_date_or_time(schema) => long(i64::from(*n), out),
            (Kind::Int32, Value::Date(n)) if schema.is_logical(logical::DATE) => long(i64::from(*n), out),
            (Kind::Int32, Value::Time(n)) if schema.is_logical(logical::TIME) => long(i64::from(*n), out),
            (Kind::Int64, Value::Int64(n)) if !schema.is_logical(logical::TIMESTAMP) => long(*n, out),
            (Kind::Int64, Value::Timestamp(n)) if schema.is_logical(logical::TIMESTAMP) => long(*n, out),
            (Kind::Float32, Value::Float32(x)) => out.put_f32_le(*x),
            (Kind::Float64, Value::Float64(x)) => out.put_f64_le(*x),
            (Kind::String, Value::String(text)) => match schema.parameters.get(names::ENUM).filter(|_| self.options.enhanced) {
                Some(name) => long(symbol_index(schema, name, text)?, out),
                None => sized(text.as_bytes(), out),
            },
            (Kind::Bytes, Value::Decimal(decimal)) if schema.is_logical(logical::DECIMAL) => {
                sized(&unscaled(decimal, schema)?, out);
            }
            (Kind::Bytes, Value::Bytes(bytes)) if !schema.is_logical(logical::DECIMAL) => {
                match to_avro::fixed_size(schema).filter(|_| self.options.enhanced) {
                    Some((name, size)) if bytes.len() != size => {
                        return Err(Error::data(format!("{} bytes for the fixed {name} of {size}", bytes.len())));
                    }
                    Some(_) => out.put_slice(bytes),
                    None => sized(bytes, out),
                }
            }
            (Kind::Array, Value::Array(items)) => {
                let of = schema.value.as_deref().ok_or_else(|| Error::data("an array's schema that does not say of what"))?;
                block(items.len(), out);
                for item in items {
                    self.value(of, item, out)?;
                }
                out.put_u8(0);
            }
            (Kind::Map, Value::Map(map)) => {
                let (Some(key), Some(value)) = (schema.key.as_deref(), schema.value.as_deref()) else {
                    return Err(Error::data("a map's schema that does not say of what"));
                };
                block(map.len(), out);
                for (k, v) in map.entries() {
                    // Avro's own maps and the lists of entries look the same: key, then value.
                    self.value(key, k, out)?;
                    self.value(value, v, out)?;
                }
                out.put_u8(0);
            }
            (Kind::Struct, Value::Struct(of)) => self.fields(schema, of, out)?,
            (_, Value::Null) => return Err(Error::data(format!("null for a required {}", schema.kind.name()))),
            (kind, other) => {
                let name = schema.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
                return Err(Error::data(format!("{} is not valid for a schema of {}{name}", other.java_class(), kind.name())));
            }
        }
        Ok(())
    }

    fn fields(&self, schema: &Schema, of: &Struct, out: &mut BytesMut) -> Result<()> {
        if of.values().len() != schema.fields.len() {
            return Err(Error::data("mismatching struct schema"));
        }
        for (field, value) in schema.fields.iter().zip(of.values()) {
            // As in Java, a missing value is written as the default.
            let value = match (&field.schema.default, value) {
                (Some(default), Value::Null) if !field.schema.optional => default,
                _ => value,
            };
            self.value(&field.schema, value, out)
                .map_err(|e| Error::new(e.kind(), format!("field {}: {}", field.name, e.message())))?;
        }
        Ok(())
    }

    fn union(&self, schema: &Schema, value: &Value, out: &mut BytesMut) -> Result<()> {
        let before = i64::from(schema.optional);
        let set = match value {
            Value::Null => None,
            Value::Struct(of) => of.values().iter().zip(&schema.fields).enumerate().find(|(_, (value, _))| !value.is_null()),
            other => return Err(Error::data(format!("{} is not valid for a union", other.java_class()))),
        };
        match set {
            Some((index, (value, field))) => {
                long(index as i64 + before, out);
                self.required(&field.schema, value, out)
            }
            None if schema.optional => {
                long(0, out);
                Ok(())
            }
            None => Err(Error::data("null for a required union")),
        }
    }
}

fn is_date_or_time(schema: &Schema) -> bool {
    schema.is_logical(logical::DATE) || schema.is_logical(logical::TIME)
}

fn symbol_index(schema: &Schema, name: &str, text: &str) -> Result<i64> {
    let prefix = format!("{}.", names::ENUM);
    let symbols = schema.parameters.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, symbol)| symbol);
    let index = symbols.enumerate().find(|(_, symbol)| *symbol == text).map(|(index, _)| index as i64);
    index.ok_or_else(|| Error::data(format!("{text} is no symbol of enum {name}")))
}

/// A decimal's unscaled number, big-endian. As in Java, the scale must be the schema's.
pub(super) fn unscaled(decimal: &BigDecimal, schema: &Schema) -> Result<Vec<u8>> {
    let scale = i64::from(schema.decimal_scale().ok_or_else(|| Error::data("a decimal's schema without scale"))?);
    let fitted = decimal.with_scale_round(scale, RoundingMode::Down);
    if fitted != *decimal {
        return Err(Error::data(format!("{decimal} has more digits than scale {scale} of its schema")));
    }
    Ok(fitted.into_bigint_and_exponent().0.to_signed_bytes_be())
}

/// The record of nine nullable fields, one of them set.
fn anything(value: &Value, out: &mut BytesMut, depth: u32) -> Result<()> {
    if depth >= DEPTH_MAX {
        return Err(Error::data(format!("values nest deeper than {DEPTH_MAX} levels")));
    }
    let index = match value {
        Value::Null => 9,
        Value::Boolean(_) => 0,
        Value::Bytes(_) => 1,
        Value::Float64(_) => 2,
        Value::Float32(_) => 3,
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) => 4,
        Value::Int64(_) => 5,
        Value::String(_) => 6,
        Value::Array(_) => 7,
        Value::Map(_) => 8,
        other => {
            return Err(Error::data(format!(
                "{} without a schema cannot be written as Avro: give it a schema",
                other.java_class()
            )));
        }
    };
    out.put_bytes(0, index.min(9));
    if index == 9 {
        return Ok(());
    }
    long(1, out);
    match value {
        Value::Boolean(b) => out.put_u8(u8::from(*b)),
        Value::Bytes(bytes) => sized(bytes, out),
        Value::Float64(x) => out.put_f64_le(*x),
        Value::Float32(x) => out.put_f32_le(*x),
        Value::String(text) => sized(text.as_bytes(), out),
        Value::Array(items) => {
            block(items.len(), out);
            items.iter().try_for_each(|item| anything(item, out, depth + 1))?;
            out.put_u8(0);
        }
        Value::Map(map) => {
            block(map.len(), out);
            for (key, value) in map.entries() {
                anything(key, out, depth + 1)?;
                anything(value, out, depth + 1)?;
            }
            out.put_u8(0);
        }
        number => long(number.as_i64().unwrap_or_default(), out),
    }
    out.put_bytes(0, 8 - index);
    Ok(())
}

fn long(n: i64, out: &mut BytesMut) {
    let mut rest = ((n << 1) ^ (n >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn sized(bytes: &[u8], out: &mut BytesMut) {
    long(bytes.len() as i64, out);
    out.put_slice(bytes);
}

/// Begins a list; the empty one has no block but the last.
fn block(count: usize, out: &mut BytesMut) {
    if count > 0 {
        long(count as i64, out);
    }
}
