//! `Cast`: fields or the whole to another primitive type.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Parsed, split_list};
use penstock_api::schema::logical;
use penstock_api::{Error, Flow, Kind, Part, Record, Result, Schema, SchemaAndValue, SchemaRef, Struct, Transform, Value};

use crate::java;
use crate::java::number;
use crate::keys;
use crate::schema_cache::SchemaCache;
use crate::shape::{add_field, no_struct, require_map, settle, with_basics_of};

const PURPOSE: &str = "cast types";
const OUTPUTS: &str = "[INT8, INT16, INT32, INT64, FLOAT32, FLOAT64, BOOLEAN, STRING]";
const INPUTS: &str = "[INT8, INT16, INT32, INT64, FLOAT32, FLOAT64, BOOLEAN, STRING, BYTES]";

/// See the module.
pub(crate) struct Cast {
    part: Part,
    spec: Spec,
    replace_null: bool,
    schemas: SchemaCache<SchemaRef>,
}

enum Spec {
    Whole(Kind),
    Fields(Vec<(String, Kind)>),
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required(
            "spec",
            ConfigType::List,
            "List of fields and the type to cast them to of the form field1:type,field2:type to cast fields of Maps or Structs. A \
             single type to cast the entire value. Valid types are int8, int16, int32, int64, float32, float64, boolean, and string. \
             Note that binary fields can only be cast to string.",
        )
        .check(Check::Custom(|text| Spec::parse(text).map(|_| ()))),
        keys::replace_null_with_default(),
    ])
}

impl Cast {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let spec = Spec::parse(config.string("spec")).map_err(Error::config)?;
        let replace_null = config.boolean(keys::REPLACE_NULL_WITH_DEFAULT);
        Ok(Self { part, spec, replace_null, schemas: SchemaCache::default() })
    }

    fn with_schema(&mut self, schema: &SchemaRef, value: Value) -> Result<SchemaAndValue> {
        let spec = &self.spec;
        let updated = self.schemas.get_or_make(schema, |schema| spec.updated(schema))?.clone();
        let value = match spec {
            Spec::Whole(kind) => cast(Some(schema), value, *kind)?,
            Spec::Fields(_) => {
                let Value::Struct(record) = value else { return Err(no_struct(&value, PURPOSE)) };
                let old = record.schema().clone();
                let mut values = record.into_values();
                for ((field, new), value) in old.fields.iter().zip(&updated.fields).zip(&mut values) {
                    if self.replace_null && value.is_null() {
                        *value = field.schema.default.clone().unwrap_or_default();
                    }
                    if let Some(kind) = spec.kind_of(&field.name) {
                        *value = cast(Some(&field.schema), std::mem::take(value), kind)?;
                    }
                    settle(new, value, false)?;
                }
                Value::Struct(Struct::from_values(updated.clone(), values))
            }
        };
        Ok(SchemaAndValue::new(updated, value))
    }
}

impl Transform for Cast {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let payload = self.part.of_mut(record);
        if payload.decode()?.value.is_null() {
            return Ok(Flow::Keep);
        }
        let data = payload.decode_mut()?;
        if let Some(schema) = data.schema.take() {
            let value = std::mem::take(&mut data.value);
            *data = self.with_schema(&schema, value)?;
            return Ok(Flow::Keep);
        }
        match &self.spec {
            Spec::Whole(kind) => data.value = cast(None, std::mem::take(&mut data.value), *kind)?,
            Spec::Fields(fields) => {
                let map = require_map(&mut data.value, PURPOSE)?;
                for (name, kind) in fields {
                    let old = map.get_mut(name).map(std::mem::take).unwrap_or_default();
                    map.insert(name.as_str(), cast(None, old, *kind)?);
                }
            }
        }
        Ok(Flow::Keep)
    }
}

impl Spec {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut fields: Vec<(String, Kind)> = Vec::new();
        let mut whole = None;
        let mappings = split_list(text);
        if mappings.is_empty() {
            return Err("Must specify at least one field to cast.".into());
        }
        for mapping in &mappings {
            match java::split(mapping, ':')[..] {
                [kind] => whole = Some(parse_kind(kind)?),
                [name, kind] => {
                    let (name, kind) = (name.trim(), parse_kind(kind)?);
                    fields.retain(|(known, _)| known != name);
                    fields.push((name.to_owned(), kind));
                }
                _ => return Err(format!("Invalid rename mapping: {mapping}")),
            }
        }
        match whole {
            Some(_) if mappings.len() > 1 => {
                Err("Cast transformations that specify a type to cast the entire value to may only \
                                                  specify a single cast in their spec"
                    .into())
            }
            Some(kind) => Ok(Spec::Whole(kind)),
            None => Ok(Spec::Fields(fields)),
        }
    }

    fn kind_of(&self, name: &str) -> Option<Kind> {
        match self {
            Spec::Whole(_) => None,
            Spec::Fields(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind),
        }
    }

    fn updated(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        let mut updated = match self {
            Spec::Whole(kind) => with_basics_of(schema, *kind),
            Spec::Fields(_) => with_basics_of(schema, Kind::Struct),
        };
        if matches!(self, Spec::Fields(_)) {
            for field in &schema.fields {
                let inner = match self.kind_of(&field.name) {
                    Some(kind) => SchemaRef::new(Schema {
                        optional: field.schema.optional,
                        default: cast_default(&field.schema, kind)?,
                        ..Schema::new(kind)
                    }),
                    None => field.schema.clone(),
                };
                add_field(&mut updated, &field.name, inner)?;
            }
        }
        updated.optional = schema.optional;
        updated.default = cast_default(schema, updated.kind)?;
        Ok(updated.into())
    }
}

fn cast_default(schema: &Schema, kind: Kind) -> Result<Option<Value>> {
    schema.default.clone().map(|default| cast(Some(schema), default, kind)).transpose()
}

fn parse_kind(text: &str) -> std::result::Result<Kind, String> {
    let text = text.trim();
    Ok(match text.to_ascii_uppercase().as_str() {
        "INT8" => Kind::Int8,
        "INT16" => Kind::Int16,
        "INT32" => Kind::Int32,
        "INT64" => Kind::Int64,
        "FLOAT32" => Kind::Float32,
        "FLOAT64" => Kind::Float64,
        "BOOLEAN" => Kind::Boolean,
        "STRING" => Kind::String,
        known @ ("BYTES" | "ARRAY" | "MAP" | "STRUCT") => {
            return Err(format!("Cast transformation does not support casting to {known}; supported types are {OUTPUTS}"));
        }
        _ => return Err(format!("Invalid type found in casting spec: {text}")),
    })
}

/// Casts a value; null stays null.
fn cast(schema: Option<&Schema>, value: Value, kind: Kind) -> Result<Value> {
    if value.is_null() {
        return Ok(value);
    }
    let has_java_date = matches!(value, Value::Date(_) | Value::Time(_) | Value::Timestamp(_) | Value::Decimal(_));
    let from = match schema {
        Some(schema) => schema.kind,
        None if has_java_date => {
            let what = format!("a value of type class {} which is not supported by Connect's data API", value.java_class());
            return Err(Error::data(format!("Cast transformation was passed {what}")));
        }
        None => value.kind().expect("null was answered above"),
    };
    if !from.is_primitive() {
        let from = from.name();
        return Err(Error::data(format!(
            "Cast transformation does not support casting from {from}; supported types are {INPUTS}"
        )));
    }
    if kind == Kind::String {
        return Ok(Value::string(number::to_text(&value)));
    }
    let value = schema.map_or_else(|| value.clone(), |schema| logical_number(schema, value.clone()));
    let unexpected = || Error::data(format!("Unexpected type in Cast transformation: class {}", value.java_class()));
    let out_of_range = || Error::data(format!("Value ({}) was out of range for requested data type", number::to_text(&value)));
    if let Value::String(text) = &value {
        return from_text(text, kind).ok_or_else(out_of_range);
    }
    from_number(&value, kind).ok_or_else(unexpected)
}

/// Dates and times as the numbers they are kept as.
fn logical_number(schema: &Schema, value: Value) -> Value {
    match (schema.name.as_deref(), value) {
        (Some(logical::DATE), Value::Date(n)) | (Some(logical::TIME), Value::Time(n)) => Value::Int32(n),
        (Some(logical::TIMESTAMP), Value::Timestamp(n)) => Value::Int64(n),
        (_, other) => other,
    }
}

/// `Byte.parseByte` and the like; `None` for a `NumberFormatException`.
fn from_text(text: &str, kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::Int8 => Value::Int8(text.parse().ok()?),
        Kind::Int16 => Value::Int16(text.parse().ok()?),
        Kind::Int32 => Value::Int32(text.parse().ok()?),
        Kind::Int64 => Value::Int64(text.parse().ok()?),
        Kind::Float32 => Value::Float32(number::parse_float(text)?),
        Kind::Float64 => Value::Float64(number::parse_float(text)?),
        _ => Value::Boolean(text.eq_ignore_ascii_case("true")),
    })
}

/// `Number.byteValue` and the like: integers keep their low bits, floats go to the nearest end of int or long first.
fn from_number(value: &Value, kind: Kind) -> Option<Value> {
    let (long, int, double, float) = match value {
        Value::Boolean(b) => (i64::from(*b), i32::from(*b), f64::from(u8::from(*b)), f32::from(u8::from(*b))),
        Value::Float32(x) => (*x as i64, *x as i32, f64::from(*x), *x),
        Value::Float64(x) => (*x as i64, *x as i32, *x, *x as f32),
        Value::Decimal(d) => {
            let (long, double) = (number::decimal_to_long(d), number::decimal_to_double(d));
            (long, long as i32, double, double as f32)
        }
        other => {
            let long = other.as_i64()?;
            (long, long as i32, long as f64, long as f32)
        }
    };
    Some(match kind {
        Kind::Int8 => Value::Int8(int as i8),
        Kind::Int16 => Value::Int16(int as i16),
        Kind::Int32 => Value::Int32(int),
        Kind::Int64 => Value::Int64(long),
        Kind::Float32 => Value::Float32(float),
        Kind::Float64 => Value::Float64(double),
        _ => Value::Boolean(long != 0),
    })
}
