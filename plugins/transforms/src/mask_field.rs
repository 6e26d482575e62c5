//! `MaskField`: fields become their type's empty value, or a given one.

use penstock_api::BigDecimal;
use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{CompactString, Error, Flow, Map, Part, Record, Result, Transform, Value};

use crate::java::number;
use crate::keys;
use crate::names::Names;
use crate::shape::{require_map, require_struct, settle_all};

const PURPOSE: &str = "mask fields";

/// See the module.
pub(crate) struct MaskField {
    part: Part,
    fields: Names,
    replacement: Option<Replacement>,
    replace_null: bool,
}

/// A custom value with all its readings, made once.
struct Replacement {
    text: CompactString,
    /// `None` when the text is no number.
    decimal: Option<BigDecimal>,
    long: i64,
    double: f64,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        keys::names("fields", "Names of fields to mask."),
        ConfigKey::nullable(
            "replacement",
            ConfigType::String,
            "Custom value replacement, that will be applied to all 'fields' values (numeric or non-empty string values only).",
        )
        .importance(Importance::Low)
        .check(Check::NonEmpty),
        keys::replace_null_with_default(),
    ])
}

impl MaskField {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        Ok(Self {
            part,
            fields: Names::new(config.list("fields")),
            replacement: config.text("replacement").map(Replacement::new),
            replace_null: config.boolean(keys::REPLACE_NULL_WITH_DEFAULT),
        })
    }

    fn mask(&self, value: &mut Value) -> Result<()> {
        if !value.is_null() {
            *value = match &self.replacement {
                None => empty_like(value)?,
                Some(replacement) => replacement.like(value)?,
            };
        }
        Ok(())
    }
}

impl Transform for MaskField {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let data = self.part.of_mut(record).decode_mut()?;
        if data.schema.is_none() {
            let map = require_map(&mut data.value, PURPOSE)?;
            for name in self.fields.iter() {
                match map.get_mut(name) {
                    Some(value) => self.mask(value)?,
                    // As in Java, a field that is missing is there afterwards.
                    None => map.insert(name, Value::Null),
                }
            }
            return Ok(Flow::Keep);
        }
        let record = require_struct(&mut data.value, PURPOSE)?;
        let schema = record.schema().clone();
        settle_all(&schema, record.values_mut(), self.replace_null)?;
        for (field, value) in schema.fields.iter().zip(record.values_mut()) {
            if self.fields.contains(&field.name) {
                self.mask(value)?;
            }
        }
        Ok(Flow::Keep)
    }
}

fn empty_like(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Boolean(_) => Value::Boolean(false),
        Value::Int8(_) => Value::Int8(0),
        Value::Int16(_) => Value::Int16(0),
        Value::Int32(_) => Value::Int32(0),
        Value::Int64(_) => Value::Int64(0),
        Value::Float32(_) => Value::Float32(0.0),
        Value::Float64(_) => Value::Float64(0.0),
        Value::String(_) => Value::String(CompactString::const_new("")),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Map(_) => Value::Map(Map::new()),
        Value::Decimal(_) => Value::Decimal(Box::default()),
        Value::Date(_) => Value::Date(0),
        Value::Time(_) => Value::Time(0),
        Value::Timestamp(_) => Value::Timestamp(0),
        Value::Null | Value::Bytes(_) | Value::Struct(_) => {
            return Err(Error::data(format!("Cannot mask value of type: class {}", value.java_class())));
        }
    })
}

impl Replacement {
    fn new(text: &str) -> Self {
        let decimal = number::parse_decimal(text);
        let long = decimal.as_ref().map_or(0, number::decimal_to_long);
        let double = decimal.as_ref().map_or(0.0, number::decimal_to_double);
        Self { text: text.into(), decimal, long, double }
    }

    fn like(&self, value: &Value) -> Result<Value> {
        let is_number = self.decimal.is_some();
        Ok(match value {
            Value::String(_) => Value::String(self.text.clone()),
            Value::Int8(_) if is_number => Value::Int8(self.long as i8),
            Value::Int16(_) if is_number => Value::Int16(self.long as i16),
            Value::Int32(_) if is_number => Value::Int32(self.long as i32),
            Value::Int64(_) if is_number => Value::Int64(self.long),
            Value::Float32(_) if is_number => Value::Float32(self.double as f32),
            Value::Float64(_) if is_number => Value::Float64(self.double),
            Value::Decimal(_) if let Some(decimal) = &self.decimal => Value::Decimal(Box::new(decimal.clone())),
            Value::Int8(_) | Value::Int16(_) | Value::Int32(_) | Value::Int64(_) | Value::Float32(_) | Value::Float64(_) => {
                return Err(Error::data(format!("Unable to convert {} (class java.lang.String) to a number", self.text)));
            }
            Value::Decimal(_) => {
                return Err(Error::data(format!("Unable to convert {} (class java.lang.String) to number", self.text)));
            }
            other => {
                let class = other.java_class();
                return Err(Error::data(format!("Cannot mask value of type class {class} with custom replacement.")));
            }
        })
    }
}
