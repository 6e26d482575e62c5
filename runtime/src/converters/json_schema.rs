//! Connect's schemas as JSON: the `schema` half of `JsonConverter`'s envelope, read and written.

use indexmap::IndexMap;
use penstock_api::{Error, Field, Kind, Result, Schema, SchemaRef};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

use super::json::JsonOptions;
use super::json_value;

/// Reads a schema; JSON null is no schema.
///
/// # Errors
/// `Data`, with Java's messages.
pub(super) fn read(json: &Json, options: &JsonOptions) -> Result<Option<SchemaRef>> {
    if json.is_null() {
        return Ok(None);
    }
    read_schema(json, options).map(|schema| Some(Arc::new(schema)))
}

fn read_schema(json: &Json, options: &JsonOptions) -> Result<Schema> {
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
        read_schema(part, options).map(Arc::new)
    };
    let mut schema = match kind {
        Kind::Array => Schema::array(part("items", "Array schema did not specify the element type")?),
        Kind::Map => Schema::map(
            part("keys", "Map schema did not specify the key type")?,
            part("values", "Map schema did not specify the value type")?,
        ),
        Kind::Struct => Schema { fields: read_fields(json, options)?, ..Schema::new(kind) },
        kind => Schema::new(kind),
    };
    schema.optional = json.get("optional").and_then(Json::as_bool).unwrap_or(false);
    schema.name = json.get("name").and_then(Json::as_str).map(str::to_owned);
    schema.doc = json.get("doc").and_then(Json::as_str).map(str::to_owned);
    schema.version = json.get("version").and_then(Json::as_i64).and_then(|v| i32::try_from(v).ok());
    if let Some(parameters) = json.get("parameters").and_then(Json::as_object) {
        schema.parameters = read_parameters(parameters)?;
    }
    if let Some(default) = json.get("default").filter(|d| !d.is_null()) {
        let text = default.to_string();
        let bare = Arc::new(schema.clone());
        schema.default = Some(json_value::read(Some(&bare), &text, options)?);
    }
    Ok(schema)
}

fn read_fields(json: &Json, options: &JsonOptions) -> Result<Vec<Field>> {
    let fields = json.get("fields").and_then(Json::as_array);
    let fields = fields.ok_or_else(|| Error::data("Struct schema's \"fields\" argument is not an array."))?;
    let field = |field: &Json| {
        let name = field.get("field").and_then(Json::as_str);
        let name = name.ok_or_else(|| Error::data("Struct schema's field name not specified properly"))?;
        Ok(Field { name: name.to_owned(), schema: Arc::new(read_schema(field, options)?) })
    };
    fields.iter().map(field).collect()
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
pub(super) fn write(schema: &Schema, options: &JsonOptions) -> Result<Json> {
    let mut json = match schema.kind {
        Kind::Array => json!({"type": "array", "items": part(schema.value.as_ref(), options)?}),
        Kind::Map => {
            json!({"type": "map", "keys": part(schema.key.as_ref(), options)?, "values": part(schema.value.as_ref(), options)?})
        }
        Kind::Struct => {
            let field = |field: &Field| {
                let mut json = write(&field.schema, options)?;
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
        json_value::write(Some(schema), default, options, &mut text)?;
        json["default"] = serde_json::from_slice(&text).map_err(|e| Error::data("default has no JSON form").with_source(e))?;
    }
    Ok(json)
}

fn part(schema: Option<&SchemaRef>, options: &JsonOptions) -> Result<Json> {
    write(schema.ok_or_else(|| Error::data("the schema of an array or a map says nothing about its elements"))?, options)
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
