//! `ValueToKey`: a new key of some of the value's fields.

use penstock_api::config::{ConfigDef, Parsed};
use penstock_api::{
    Error, Flow, Map, Part, Payload, Record, Result, Schema, SchemaAndValue, SchemaRef, Struct, Transform, Value,
};

use crate::keys;
use crate::names::Names;
use crate::schema_cache::SchemaCache;
use crate::shape::{no_map, no_struct, settle};

const PURPOSE: &str = "copying fields from value to key";

/// See the module.
pub(crate) struct ValueToKey {
    fields: Names,
    replace_null: bool,
    plans: SchemaCache<Plan>,
}

/// The key's schema, and where in the value its fields lie.
struct Plan {
    schema: SchemaRef,
    sources: Vec<usize>,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        keys::names("fields", "Field names on the record value to extract as the record key."),
        keys::replace_null_with_default(),
    ])
}

impl ValueToKey {
    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let fields = Names::new(config.list("fields"));
        Ok(Self { fields, replace_null: config.boolean(keys::REPLACE_NULL_WITH_DEFAULT), plans: SchemaCache::default() })
    }

    fn key_of(&mut self, value: &SchemaAndValue) -> Result<SchemaAndValue> {
        match (&value.schema, &value.value) {
            (None, Value::Map(map)) => {
                let mut key = Map::new();
                for name in self.fields.iter() {
                    key.insert(name, map.get(name).cloned().unwrap_or_default());
                }
                Ok(SchemaAndValue::schemaless(Value::Map(key)))
            }
            (None, other) => Err(no_map(other, PURPOSE)),
            (Some(_), Value::Struct(record)) => self.key_of_struct(record),
            (Some(_), other) => Err(no_struct(other, PURPOSE)),
        }
    }

    fn key_of_struct(&mut self, record: &Struct) -> Result<SchemaAndValue> {
        let plan = self.plans.get_or_make(record.schema(), |schema| Plan::new(schema, &self.fields))?;
        let mut values = Vec::with_capacity(plan.sources.len());
        for (field, &source) in plan.schema.fields.iter().zip(&plan.sources) {
            let mut value = record.values()[source].clone();
            settle(field, &mut value, self.replace_null)?;
            values.push(value);
        }
        Ok(SchemaAndValue::new(plan.schema.clone(), Value::Struct(Struct::from_values(plan.schema.clone(), values))))
    }
}

impl Transform for ValueToKey {
    fn looks_at(&self) -> Option<Part> {
        Some(Part::Value)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        // Only read: the value's bytes still stand for it.
        let key = self.key_of(record.value.decode()?)?;
        record.key = Payload::decoded(key);
        Ok(Flow::Keep)
    }
}

impl Plan {
    fn new(schema: &SchemaRef, fields: &Names) -> Result<Self> {
        let mut key = Vec::new();
        let mut sources = Vec::new();
        for name in fields.iter() {
            let (at, field) = schema.field(name).ok_or_else(|| Error::data(format!("Field does not exist: {name}")))?;
            key.push((name, field.schema.clone()));
            sources.push(at);
        }
        Ok(Self { schema: Schema::record(key).into(), sources })
    }
}
