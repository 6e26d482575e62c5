//! `Flatten`: nested fields come up to the top, their names joined.

use penstock_api::config::{ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{
    CompactString, Error, Flow, Kind, Map, Part, Record, Result, Schema, SchemaAndValue, SchemaRef, Struct, Transform, Value,
};

use crate::schema_cache::SchemaCache;
use crate::shape::{add_field, require_map, settle, take_struct, with_basics_of};

const PURPOSE: &str = "flattening";

/// See the module.
pub(crate) struct Flatten {
    part: Part,
    delimiter: String,
    schemas: SchemaCache<SchemaRef>,
}

pub(crate) fn config() -> ConfigDef {
    let doc = "Delimiter to insert between field names from the input record when generating field names for the output record";
    ConfigDef::new([ConfigKey::optional("delimiter", ConfigType::String, ".", doc).importance(Importance::Medium)])
}

impl Flatten {
    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        Ok(Self { part, delimiter: config.string("delimiter").to_owned(), schemas: SchemaCache::default() })
    }

    fn with_schema(&mut self, data: &mut SchemaAndValue) -> Result<()> {
        let record = take_struct(&mut data.value, PURPOSE)?;
        let delimiter = &self.delimiter;
        let updated = self.schemas.get_or_make(record.schema(), |schema| {
            let mut flat = with_basics_of(schema, Kind::Struct);
            flatten_schema(schema, "", delimiter, schema.optional, schema.default.as_ref(), &mut flat)?;
            Ok(flat.into())
        })?;
        let mut values = Vec::with_capacity(updated.fields.len());
        flatten_struct(record, &mut values);
        for (field, value) in updated.fields.iter().zip(&mut values) {
            settle(field, value, false)?;
        }
        data.schema = Some(updated.clone());
        data.value = Value::Struct(Struct::from_values(updated.clone(), values));
        Ok(())
    }

    fn flatten_map(&self, map: Map, prefix: &str, out: &mut Map) -> Result<()> {
        for (key, value) in map.into_entries() {
            let name = join(prefix, key.as_str().unwrap_or_default(), &self.delimiter);
            match value {
                Value::Map(inner) => self.flatten_map(inner, &name, out)?,
                Value::Struct(_) => {
                    let class = value.java_class();
                    let what = format!("class {class} for record without schemas (for field {name}).");
                    return Err(Error::data(format!("Flatten transformation does not support {what}")));
                }
                Value::Decimal(_) | Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => {
                    let class = value.java_class();
                    let what = format!("a value of type class {class} which is not supported by Connect's data API");
                    return Err(Error::data(format!("Flatten transformation was passed {what}")));
                }
                other => out.insert(CompactString::from(name), other),
            }
        }
        Ok(())
    }
}

impl Transform for Flatten {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let payload = self.part.of_mut(record);
        if payload.decode()?.value.is_null() {
            return Ok(Flow::Keep);
        }
        let data = payload.decode_mut()?;
        if data.schema.is_some() {
            self.with_schema(data)?;
            return Ok(Flow::Keep);
        }
        let map = std::mem::take(require_map(&mut data.value, PURPOSE)?);
        let mut flat = Map::with_capacity(map.len() * 2);
        self.flatten_map(map, "", &mut flat)?;
        data.value = Value::Map(flat);
        Ok(Flow::Keep)
    }
}

fn join(prefix: &str, name: &str, delimiter: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}{delimiter}{name}") }
}

/// Appends the fields of `schema` to `flat`. A field is optional when it or anything around it is; its default is its own, or its part
/// of the default around it.
fn flatten_schema(
    schema: &Schema,
    prefix: &str,
    delimiter: &str,
    optional: bool,
    default: Option<&Value>,
    flat: &mut Schema,
) -> Result<()> {
    for field in &schema.fields {
        let name = join(prefix, &field.name, delimiter);
        let inner = &field.schema;
        let is_optional = optional || inner.optional;
        let outer_default = match default {
            Some(Value::Struct(outer)) => outer.get(&field.name).filter(|value| !value.is_null()),
            _ => None,
        };
        let default = inner.default.as_ref().or(outer_default);
        match inner.kind {
            Kind::Struct => flatten_schema(inner, &name, delimiter, is_optional, default, flat)?,
            Kind::Map => {
                let what = format!("{} for record with schemas (for field {name}).", inner.kind.name());
                return Err(Error::data(format!("Flatten transformation does not support {what}")));
            }
            kind => {
                let mut leaf = with_basics_of(inner, kind);
                leaf.value.clone_from(&inner.value);
                leaf.optional = is_optional;
                leaf.default = default.cloned();
                add_field(flat, &name, leaf.into())?;
            }
        }
    }
    Ok(())
}

/// Appends the values of all leaves, in the order of the flat schema.
fn flatten_struct(record: Struct, out: &mut Vec<Value>) {
    let schema = record.schema().clone();
    for (field, value) in schema.fields.iter().zip(record.into_values()) {
        match value {
            Value::Struct(inner) => flatten_struct(inner, out),
            Value::Null if field.schema.kind == Kind::Struct => push_nulls(&field.schema, out),
            Value::Null => out.push(field.schema.default.clone().unwrap_or_default()),
            other => out.push(other),
        }
    }
}

/// A struct that is null leaves its leaves unset.
fn push_nulls(schema: &Schema, out: &mut Vec<Value>) {
    for field in &schema.fields {
        match field.schema.kind {
            Kind::Struct => push_nulls(&field.schema, out),
            _ => out.push(Value::Null),
        }
    }
}
