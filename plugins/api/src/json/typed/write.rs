//! Values as JSON text, checked against their schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;

use super::{DecimalFormat, Rules};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::schema::{Kind, Schema};
use crate::value::{Struct, Value};

/// Appends a value as JSON text.
///
/// # Errors
/// `Data` for what has no JSON form, or does not fit its schema.
pub fn write(schema: Option<&Schema>, value: &Value, rules: &Rules, out: &mut Vec<u8>) -> Result<()> {
    let Some(schema) = schema else { return write_plain(value, rules, out) };
    let is_replaced = rules.replace_null_with_default && !(rules.is_exact && schema.optional);
    let default = schema.default.as_ref().filter(|_| is_replaced);
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
        Value::Decimal(number) => write_decimal(number, schema, rules, out),
        Value::Array(items) => write_array(items.iter().map(|item| (schema.value.as_deref(), item)), rules, out),
        Value::Map(map) => write_map(map, schema.key.as_deref(), schema.value.as_deref(), rules, out),
        other => write_plain(other, rules, out),
    }
}

fn write_plain(value: &Value, rules: &Rules, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Array(items) => write_array(items.iter().map(|item| (None, item)), rules, out),
        Value::Map(map) => write_map(map, None, None, rules, out),
        Value::Struct(record) => write_struct(record, rules, out),
        Value::Float32(x) if rules.is_exact && !x.is_finite() => write_not_a_number(f64::from(*x), out),
        Value::Float64(x) if rules.is_exact && !x.is_finite() => write_not_a_number(*x, out),
        scalar => crate::json::write(scalar, out),
    }
}

/// By Java's word for it.
fn write_not_a_number(x: f64, out: &mut Vec<u8>) -> Result<()> {
    let word = if x.is_nan() {
        "NaN"
    } else if x > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    write_text(word, out)
}

fn write_struct(record: &Struct, rules: &Rules, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    for (at, (field, value)) in record.schema().fields.iter().zip(record.values()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(&field.name, out)?;
        out.push(b':');
        write(Some(&field.schema), value, rules, out).map_err(|e| e.context(format!("field {}", field.name)))?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array<'v>(items: impl Iterator<Item = (Option<&'v Schema>, &'v Value)>, rules: &Rules, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'[');
    for (at, (schema, item)) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(schema, item, rules, out)?;
    }
    out.push(b']');
    Ok(())
}

/// An object if all keys are strings, by the schema or, without one, by themselves; else an array of pairs.
fn write_map(map: &Map, key: Option<&Schema>, value: Option<&Schema>, rules: &Rules, out: &mut Vec<u8>) -> Result<()> {
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
            write(value, v, rules, out)?;
        } else {
            write_array([(key, k), (value, v)].into_iter(), rules, out)?;
        }
    }
    out.push(if as_object { b'}' } else { b']' });
    Ok(())
}

fn write_decimal(number: &BigDecimal, schema: &Schema, rules: &Rules, out: &mut Vec<u8>) -> Result<()> {
    let scale = schema.decimal_scale().ok_or_else(|| Error::data("Invalid Decimal schema: scale parameter not found."))?;
    let (unscaled, own_scale) = number.as_bigint_and_exponent();
    if own_scale != i64::from(scale) {
        let message = "Decimal value has mismatching scale for given Decimal value. The provided value's scale was";
        return Err(Error::data(format!("{message} {own_scale}, but the schema's is {scale}")));
    }
    match rules.decimal_format {
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
