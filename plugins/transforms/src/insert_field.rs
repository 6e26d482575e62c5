//! `InsertField`: topic, partition, offset, timestamp or a fixed text as new fields.

use penstock_api::config::{ConfigDef, ConfigKey, ConfigType, Parsed};
use penstock_api::schema::{
    INT32, INT64, OPTIONAL_INT32, OPTIONAL_INT64, OPTIONAL_STRING, OPTIONAL_TIMESTAMP, STRING, Schema, SchemaRef,
};
use penstock_api::{CompactString, Error, Flow, Kind, Part, Payload, Record, Result, SchemaAndValue, Transform, Value};
use std::sync::LazyLock;

use crate::keys;
use crate::schema_cache::SchemaCache;
use crate::shape::{add_field, require_map, settle_all, take_struct, with_basics_of};

const PURPOSE: &str = "field insertion";

/// See the module.
pub(crate) struct InsertField {
    part: Part,
    fields: Vec<Insertion>,
    replace_null: bool,
    schemas: SchemaCache<SchemaRef>,
}

struct Insertion {
    name: CompactString,
    required: bool,
    what: What,
}

enum What {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Static(CompactString),
}

/// What a record says of itself, apart from the half that is changed.
struct Facts<'r> {
    topic: &'r str,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
}

pub(crate) fn config() -> ConfigDef {
    let suffixes =
        "Suffix with <code>!</code> to make this a required field, or <code>?</code> to keep it optional (the default).";
    let field = |name: &str, doc: &str| ConfigKey::nullable(name, ConfigType::String, format!("{doc}{suffixes}"));
    ConfigDef::new([
        field("topic.field", "Field name for Kafka topic. "),
        field("partition.field", "Field name for Kafka partition. "),
        field("offset.field", "Field name for Kafka offset - only applicable to sink connectors.<br/>"),
        field("timestamp.field", "Field name for record timestamp. "),
        field("static.field", "Field name for static data field. "),
        ConfigKey::nullable("static.value", ConfigType::String, "Static field value, if field name configured."),
        keys::replace_null_with_default(),
    ])
}

impl InsertField {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let mut fields = Vec::new();
        for (key, what) in [
            ("topic.field", What::Topic),
            ("partition.field", What::Partition),
            ("offset.field", What::Offset),
            ("timestamp.field", What::Timestamp),
        ] {
            fields.extend(config.text(key).map(|spec| Insertion::parse(spec, what)));
        }
        if let Some(spec) = config.text("static.field") {
            let value = config.text("static.value").ok_or_else(|| {
                let why = "No value specified for static field";
                Error::config(format!("Invalid value null for configuration static.value: {why}: {spec}"))
            })?;
            fields.push(Insertion::parse(spec, What::Static(value.into())));
        }
        if fields.is_empty() {
            let keys = "topic.field, partition.field, offset.field, timestamp.field or static.field";
            return Err(Error::config(format!("No field insertion configured: give at least one of {keys}")));
        }
        let replace_null = config.boolean(keys::REPLACE_NULL_WITH_DEFAULT);
        Ok(Self { part, fields, replace_null, schemas: SchemaCache::default() })
    }

    fn with_schema(&mut self, data: &mut SchemaAndValue, facts: &Facts<'_>) -> Result<()> {
        let record = take_struct(&mut data.value, PURPOSE)?;
        let fields = &self.fields;
        let updated = self.schemas.get_or_make(record.schema(), |schema| updated_schema(schema, fields))?.clone();
        let schema = record.schema().clone();
        let mut values = record.into_values();
        settle_all(&schema, &mut values, self.replace_null)?;
        values.reserve_exact(self.fields.len());
        for field in &self.fields {
            values.push(match field.what.value(facts)? {
                Value::Int64(millis) if matches!(field.what, What::Timestamp) => Value::Timestamp(millis),
                value => value,
            });
        }
        data.value = Value::Struct(penstock_api::Struct::from_values(updated.clone(), values));
        data.schema = Some(updated);
        Ok(())
    }
}

impl Transform for InsertField {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let Record { topic, partition, offset, timestamp, key, value, .. } = record;
        let facts = Facts { topic, partition: *partition, offset: *offset, timestamp: *timestamp };
        let payload: &mut Payload = if self.part == Part::Key { key } else { value };
        if payload.decode()?.value.is_null() {
            return Ok(Flow::Keep);
        }
        let data = payload.decode_mut()?;
        if data.schema.is_some() {
            self.with_schema(data, &facts)?;
            return Ok(Flow::Keep);
        }
        let map = require_map(&mut data.value, PURPOSE)?;
        for field in &self.fields {
            let value = field.what.value(&facts)?;
            // Java's partitions and timestamps that are not known are left out; the others always are.
            if !value.is_null() {
                map.insert(field.name.clone(), value);
            }
        }
        Ok(Flow::Keep)
    }
}

impl Insertion {
    fn parse(spec: &str, what: What) -> Self {
        match spec.strip_suffix('!') {
            Some(name) => Self { name: name.into(), required: true, what },
            None => Self { name: spec.strip_suffix('?').unwrap_or(spec).into(), required: false, what },
        }
    }
}

impl What {
    /// Null when the record does not know.
    fn value(&self, facts: &Facts<'_>) -> Result<Value> {
        Ok(match self {
            What::Topic => Value::string(facts.topic),
            What::Partition => facts.partition.map_or(Value::Null, Value::Int32),
            What::Timestamp => facts.timestamp.map_or(Value::Null, Value::Int64),
            What::Static(text) => Value::String(text.clone()),
            What::Offset => facts.offset.map(Value::Int64).ok_or_else(|| {
                let found = "org.apache.kafka.connect.source.SourceRecord";
                Error::data(format!("Only SinkRecord supported for [{PURPOSE}], found: {found}"))
            })?,
        })
    }

    fn schema(&self, required: bool) -> SchemaRef {
        static TIMESTAMP: LazyLock<SchemaRef> = LazyLock::new(|| Schema::timestamp().into());
        let schema: &LazyLock<SchemaRef> = match (self, required) {
            (What::Topic | What::Static(_), true) => &STRING,
            (What::Topic | What::Static(_), false) => &OPTIONAL_STRING,
            (What::Partition, true) => &INT32,
            (What::Partition, false) => &OPTIONAL_INT32,
            (What::Offset, true) => &INT64,
            (What::Offset, false) => &OPTIONAL_INT64,
            (What::Timestamp, true) => &TIMESTAMP,
            (What::Timestamp, false) => &OPTIONAL_TIMESTAMP,
        };
        SchemaRef::clone(schema)
    }
}

fn updated_schema(schema: &SchemaRef, fields: &[Insertion]) -> Result<SchemaRef> {
    let mut updated = with_basics_of(schema, Kind::Struct);
    updated.fields.clone_from(&schema.fields);
    for field in fields {
        add_field(&mut updated, &field.name, field.what.schema(field.required))?;
    }
    Ok(updated.into())
}
