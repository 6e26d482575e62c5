//! Connect's schemas as JSON: the `schema` half of `JsonConverter`'s envelope, read and written.

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};
use std::collections::HashSet;
use std::sync::Arc;

use super::typed::{self, Room, Rules};
use crate::error::{Error, Result};
use crate::schema::{Field, Kind, Schema, SchemaRef, logical};

/// The largest scale of a decimal that is taken under exact rules, and its negative the smallest: more digits than any database keeps.
const SCALE_MAX: i32 = 1_000;
/// How long names of schemas and fields may be under exact rules, in bytes: they stand in messages about values.
const NAME_BYTES_MAX: usize = 1_024;

/// Reads a schema; JSON null is no schema.
///
/// # Errors
/// `Data`, with Java's messages.
pub fn read(json: &Json, rules: &Rules) -> Result<Option<SchemaRef>> {
    read_within(json, rules, &Room::unlimited())
}

/// The same, with the values of its defaults in this room.
///
/// # Errors
/// As [`read`], and when there is not enough room.
pub fn read_within(json: &Json, rules: &Rules, room: &Room) -> Result<Option<SchemaRef>> {
    if json.is_null() {
        return Ok(None);
    }
    read_schema(json, rules, room).map(|schema| Some(Arc::new(schema)))
}

fn read_schema(json: &Json, rules: &Rules, room: &Room) -> Result<Schema> {
    let kind = match json.get("type").and_then(Json::as_str) {
        None => return Err(Error::data("Schema must contain 'type' field")),
        Some("boolean") => Kind::Boolean,
        Some("int8") => Kind::Int8,
        Some("int16") => Kind::Int16,
        Some("int32") => Kind::Int32,
        Some("int64") => Kind::Int64,
        Some("float") => Kind::Float32,
        Some("double") => Kind::Float64,
        Some("bytes") => Kind::Bytes,
        Some("string") => Kind::String,
        Some("array") => Kind::Array,
        Some("map") => Kind::Map,
        Some("struct") => Kind::Struct,
        Some(other) => return Err(Error::data(format!("Unknown schema type: {other}"))),
    };
    let part = |key: &str, missing: &str| {
        let part = json.get(key).filter(|p| !p.is_null()).ok_or_else(|| Error::data(missing))?;
        read_schema(part, rules, room).map(Arc::new)
    };
    let mut schema = match kind {
        Kind::Array => Schema::array(part("items", "Array schema did not specify the element type")?),
        Kind::Map => Schema::map(
            part("keys", "Map schema did not specify the key type")?,
            part("values", "Map schema did not specify the value type")?,
        ),
        Kind::Struct => Schema { fields: read_fields(json, rules, room)?, ..Schema::new(kind) },
        kind => Schema::new(kind),
    };
    schema.optional = json.get("optional").and_then(Json::as_bool).unwrap_or(false);
    schema.name = json.get("name").and_then(Json::as_str).map(str::to_owned);
    schema.doc = json.get("doc").and_then(Json::as_str).map(str::to_owned);
    schema.version = json.get("version").and_then(Json::as_i64).and_then(|v| i32::try_from(v).ok());
    if let Some(parameters) = json.get("parameters").and_then(Json::as_object) {
        schema.parameters = read_parameters(parameters)?;
    }
    if rules.is_exact {
        check_logical(&schema)?;
        check_names(&schema)?;
    }
    if let Some(default) = json.get("default").filter(|d| !d.is_null()) {
        let text = default.to_string();
        let bare = Arc::new(schema.clone());
        schema.default = Some(typed::read_within(Some(&bare), &text, rules, room)?);
    }
    Ok(schema)
}

/// Whether the schema is over the type that the logical type of its name has in Connect.
fn check_logical(schema: &Schema) -> Result<()> {
    let name = schema.name.as_deref().unwrap_or_default();
    let kind = match name {
        logical::DECIMAL => Kind::Bytes,
        logical::DATE | logical::TIME => Kind::Int32,
        logical::TIMESTAMP => Kind::Int64,
        _ => return Ok(()),
    };
    if schema.kind != kind {
        return Err(Error::data(format!("{name} is a name for type {}, not for {}", type_name(kind), type_name(schema.kind))));
    }
    if name == logical::DECIMAL && !schema.decimal_scale().is_some_and(|scale| (-SCALE_MAX..=SCALE_MAX).contains(&scale)) {
        return Err(Error::data(format!("{name} needs the parameter scale, a text that holds -{SCALE_MAX} to {SCALE_MAX}")));
    }
    Ok(())
}

fn check_names(schema: &Schema) -> Result<()> {
    let mut names = schema.fields.iter().map(|field| &field.name).chain(&schema.name);
    match names.find(|name| name.len() > NAME_BYTES_MAX) {
        Some(long) => Err(Error::data(format!("a name of {} bytes: {NAME_BYTES_MAX} are allowed", long.len()))),
        None => Ok(()),
    }
}

fn read_fields(json: &Json, rules: &Rules, room: &Room) -> Result<Vec<Field>> {
    let fields = json.get("fields").and_then(Json::as_array);
    let fields = fields.ok_or_else(|| Error::data("Struct schema's \"fields\" argument is not an array."))?;
    let field = |field: &Json| {
        let name = field.get("field").and_then(Json::as_str);
        let name = name.ok_or_else(|| Error::data("Struct schema's field name not specified properly"))?;
        Ok(Field { name: name.to_owned(), schema: Arc::new(read_schema(field, rules, room)?) })
    };
    let fields = fields.iter().map(field).collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::with_capacity(fields.len());
    match fields.iter().find(|field| !seen.insert(field.name.as_str())) {
        Some(twin) => Err(Error::data(format!("Cannot create field because of field name duplication {}", twin.name))),
        None => Ok(fields),
    }
}

fn read_parameters(json: &Map<String, Json>) -> Result<IndexMap<String, String>> {
    let pair = |(key, value): (&String, &Json)| {
        let value = value.as_str().ok_or_else(|| Error::data("Schema parameters must have string values."))?;
        Ok((key.clone(), value.to_owned()))
    };
    json.iter().map(pair).collect()
}

/// Writes a schema, keys in Java's order.
///
/// # Errors
/// `Data` when a default has no JSON form.
pub fn write(schema: &Schema, rules: &Rules) -> Result<Json> {
    let mut json = match schema.kind {
        Kind::Array => json!({"type": "array", "items": part(schema.value.as_ref(), rules)?}),
        Kind::Map => {
            json!({"type": "map", "keys": part(schema.key.as_ref(), rules)?, "values": part(schema.value.as_ref(), rules)?})
        }
        Kind::Struct => {
            let field = |field: &Field| {
                let mut json = write(&field.schema, rules)?;
                json["field"] = json!(field.name);
                Ok(json)
            };
            json!({"type": "struct", "fields": schema.fields.iter().map(field).collect::<Result<Vec<_>>>()?})
        }
        kind => json!({"type": type_name(kind)}),
    };
    json["optional"] = json!(schema.optional);
    if let Some(name) = &schema.name {
        json["name"] = json!(name);
    }
    if let Some(version) = schema.version {
        json["version"] = json!(version);
    }
    if let Some(doc) = &schema.doc {
        json["doc"] = json!(doc);
    }
    if !schema.parameters.is_empty() {
        json["parameters"] = schema.parameters.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    }
    if let Some(default) = &schema.default {
        let mut text = Vec::new();
        typed::write(Some(schema), default, rules, &mut text)?;
        json["default"] = serde_json::from_slice(&text).map_err(|e| Error::data("default has no JSON form").with_source(e))?;
    }
    Ok(json)
}

fn part(schema: Option<&SchemaRef>, rules: &Rules) -> Result<Json> {
    write(schema.ok_or_else(|| Error::data("the schema of an array or a map says nothing about its elements"))?, rules)
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Array => "array",
        Kind::Map => "map",
        Kind::Struct => "struct",
    }
}
