//! `HeaderFrom`: fields become headers, moved or copied.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Parsed};
use penstock_api::{CompactString, Error, Flow, Kind, Part, Record, Result, SchemaAndValue, SchemaRef, Struct, Transform, Value};

use crate::keys;
use crate::names::Names;
use crate::schema_cache::SchemaCache;
use crate::shape::{require_map, settle, take_struct, with_basics_of};

/// See the module.
pub(crate) struct HeaderFrom {
    part: Part,
    /// Each field with the header it becomes.
    fields: Vec<(String, CompactString)>,
    moved: Option<Names>,
    purpose: &'static str,
    replace_null: bool,
    /// Schemas without the moved fields.
    schemas: SchemaCache<SchemaRef>,
}

pub(crate) fn config() -> ConfigDef {
    let list = |name, doc: &str| {
        ConfigKey::required(name, ConfigType::List, doc)
            .check(Check::Custom(|text| if text.trim().is_empty() { Err("Empty list".into()) } else { Ok(()) }))
    };
    ConfigDef::new([
        list("fields", "Field names in the record whose values are to be copied or moved to headers."),
        list("headers", "Header names, in the same order as the field names listed in the fields configuration property."),
        ConfigKey::required(
            "operation",
            ConfigType::String,
            "Either <code>move</code> if the fields are to be moved to the headers (removed from the key/value), or <code>copy</code> \
             if the fields are to be copied to the headers (retained in the key/value).",
        )
        .check(Check::OneOf(vec!["move".into(), "copy".into()])),
        keys::replace_null_with_default(),
    ])
}

impl HeaderFrom {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let (fields, headers) = (config.list("fields"), config.list("headers"));
        if fields.len() != headers.len() {
            return Err(Error::config("'fields' config must have the same number of elements as 'headers' config."));
        }
        let moves = config.string("operation") == "move";
        Ok(Self {
            part,
            moved: moves.then(|| Names::new(fields.iter().cloned())),
            fields: fields.into_iter().zip(headers.into_iter().map(CompactString::from)).collect(),
            purpose: if moves { "header move" } else { "header copy" },
            replace_null: config.boolean(keys::REPLACE_NULL_WITH_DEFAULT),
            schemas: SchemaCache::default(),
        })
    }

    fn headers_of_struct(&self, record: &Struct) -> Result<Vec<SchemaAndValue>> {
        let header = |name: &String| {
            let (at, field) = record.schema().field(name).ok_or_else(|| {
                Error::data(format!("field {name} of `fields` is not in the schema: the header has nothing to be made from"))
            })?;
            let mut value = record.values()[at].clone();
            if self.replace_null && value.is_null() {
                value = field.schema.default.clone().unwrap_or_default();
            }
            Ok(SchemaAndValue::new(field.schema.clone(), value))
        };
        self.fields.iter().map(|(name, _)| header(name)).collect()
    }

    fn without_moved(&mut self, record: Struct) -> Result<Struct> {
        let Some(moved) = &self.moved else { return Ok(record) };
        let old = record.schema().clone();
        let updated = self.schemas.get_or_make(&old, |schema| {
            let mut updated = with_basics_of(schema, Kind::Struct);
            updated.fields = schema.fields.iter().filter(|f| !moved.contains(&f.name)).cloned().collect();
            Ok(updated.into())
        })?;
        let mut values = Vec::with_capacity(updated.fields.len());
        for (field, mut value) in old.fields.iter().zip(record.into_values()) {
            if !moved.contains(&field.name) {
                settle(field, &mut value, self.replace_null)?;
                values.push(value);
            }
        }
        Ok(Struct::from_values(updated.clone(), values))
    }
}

impl Transform for HeaderFrom {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let data = if self.moved.is_some() {
            self.part.of_mut(record).decode_mut()?
        } else {
            // Copied fields leave the bytes as they are.
            &mut self.part.of_mut(record).decode()?.clone()
        };
        let values = if data.schema.is_some() {
            let inner = take_struct(&mut data.value, self.purpose)?;
            let values = self.headers_of_struct(&inner)?;
            let inner = self.without_moved(inner)?;
            data.schema = Some(inner.schema().clone());
            data.value = Value::Struct(inner);
            values
        } else {
            let map = require_map(&mut data.value, self.purpose)?;
            // All are read before any is removed: a field may be named twice.
            let values: Vec<Value> = self.fields.iter().map(|(name, _)| map.get(name).cloned().unwrap_or_default()).collect();
            if let Some(moved) = &self.moved {
                map.retain(|key, _| key.as_str().is_none_or(|name| !moved.contains(name)));
            }
            values.into_iter().map(SchemaAndValue::schemaless).collect()
        };
        for ((_, name), value) in self.fields.iter().zip(values) {
            record.headers.add(name.clone(), value);
        }
        Ok(Flow::Keep)
    }
}
