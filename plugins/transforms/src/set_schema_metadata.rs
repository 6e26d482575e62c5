//! `SetSchemaMetadata`: another name or version for the schema.

use penstock_api::config::{ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{Error, Flow, Part, Record, Result, Schema, SchemaRef, Struct, Transform, Value};

use crate::keys;
use crate::schema_cache::SchemaCache;
use crate::shape::settle_all;

/// See the module.
pub(crate) struct SetSchemaMetadata {
    part: Part,
    name: Option<String>,
    version: Option<i32>,
    replace_null: bool,
    schemas: SchemaCache<SchemaRef>,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::nullable("schema.name", ConfigType::String, "Schema name to set.").importance(Importance::High),
        ConfigKey::nullable("schema.version", ConfigType::Int, "Schema version to set.").importance(Importance::High),
        keys::replace_null_with_default(),
    ])
}

impl SetSchemaMetadata {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let name = config.text("schema.name").map(str::to_owned);
        let version = config.text("schema.version").map(|_| config.number("schema.version"));
        if name.is_none() && version.is_none() {
            return Err(Error::config("Neither schema name nor version configured: give schema.name or schema.version"));
        }
        let replace_null = config.boolean(keys::REPLACE_NULL_WITH_DEFAULT);
        Ok(Self { part, name, version, replace_null, schemas: SchemaCache::default() })
    }
}

impl Transform for SetSchemaMetadata {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let payload = self.part.of_mut(record);
        let seen = payload.decode()?;
        if seen.schema.is_none() && seen.value.is_null() {
            return Ok(Flow::Keep);
        }
        let data = payload.decode_mut()?;
        let Some(schema) = &data.schema else {
            return Err(Error::data("Schema required for [updating schema metadata]"));
        };
        let (name, version) = (&self.name, self.version);
        let updated = self.schemas.get_or_make(schema, |schema| {
            Ok(SchemaRef::new(Schema {
                name: name.clone().or_else(|| schema.name.clone()),
                version: version.or(schema.version),
                ..Schema::clone(schema)
            }))
        })?;
        data.schema = Some(updated.clone());
        data.value = match std::mem::take(&mut data.value) {
            Value::Struct(record) => {
                let mut values = record.into_values();
                settle_all(updated, &mut values, self.replace_null)?;
                Value::Struct(Struct::from_values(updated.clone(), values))
            }
            other => other,
        };
        Ok(Flow::Keep)
    }
}
