//! What a transform finds in a key or value, in the words of Connect's `Requirements`, `Struct` and `SchemaBuilder`.

use penstock_api::{Error, Field, Kind, Map, Result, Schema, SchemaRef, Struct, Value};

/// The object of schemaless data.
pub(crate) fn require_map<'v>(value: &'v mut Value, purpose: &str) -> Result<&'v mut Map> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(no_map(other, purpose)),
    }
}

pub(crate) fn no_map(value: &Value, purpose: &str) -> Error {
    let found = value.java_class();
    Error::data(format!("Only Map objects supported in absence of schema for [{purpose}], found: {found}"))
}

/// The struct of data with a schema, to change.
pub(crate) fn require_struct<'v>(value: &'v mut Value, purpose: &str) -> Result<&'v mut Struct> {
    match value {
        Value::Struct(record) => Ok(record),
        other => Err(no_struct(other, purpose)),
    }
}

/// The struct of data with a schema, taken out; null is left behind.
pub(crate) fn take_struct(value: &mut Value, purpose: &str) -> Result<Struct> {
    match std::mem::take(value) {
        Value::Struct(record) => Ok(record),
        other => Err(no_struct(&other, purpose)),
    }
}

pub(crate) fn no_struct(value: &Value, purpose: &str) -> Error {
    Error::data(format!("Only Struct objects supported for [{purpose}], found: {}", value.java_class()))
}

/// What `Struct.put(name, Struct.get(field))` makes of a field's value: null becomes the default when asked for, and may not stand in a
/// required field.
pub(crate) fn settle(field: &Field, value: &mut Value, replace_null: bool) -> Result<()> {
    if !value.is_null() {
        return Ok(());
    }
    if replace_null && let Some(default) = &field.schema.default {
        *value = default.clone();
        return Ok(());
    }
    if field.schema.optional {
        return Ok(());
    }
    let (name, kind) = (&field.name, field.schema.kind.name());
    Err(Error::data(format!("Invalid value: null used for required field: \"{name}\", schema type: {kind}")))
}

/// [`settle`] for each value of a struct, in the schema's order.
pub(crate) fn settle_all(schema: &Schema, values: &mut [Value], replace_null: bool) -> Result<()> {
    schema.fields.iter().zip(values).try_for_each(|(field, value)| settle(field, value, replace_null))
}

/// What `ConnectSchema.validateValue` says of a value that another field's schema made room for; one level deep.
pub(crate) fn require_fit(field: &Field, value: &Value) -> Result<()> {
    let schema = &field.schema;
    if value.is_null() || value.fits(schema) {
        return Ok(());
    }
    let name = schema.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let (kind, class) = (schema.kind.name(), value.java_class());
    let at = format!("for field: \"{}\"", field.name);
    Err(Error::data(format!("Invalid Java object for schema{name} with type {kind}: class {class} {at}")))
}

/// A schema of that kind with the name, version, doc and parameters of `source`: `SchemaUtil.copySchemaBasics`. Optional and
/// default stay behind, as in Java.
pub(crate) fn with_basics_of(source: &Schema, kind: Kind) -> Schema {
    Schema {
        name: source.name.clone(),
        version: source.version,
        doc: source.doc.clone(),
        parameters: source.parameters.clone(),
        ..Schema::new(kind)
    }
}

/// Appends a field; a name that is there already is an error.
pub(crate) fn add_field(schema: &mut Schema, name: &str, field: SchemaRef) -> Result<()> {
    if schema.field(name).is_some() {
        return Err(Error::data(format!("Cannot create field because of field name duplication {name}")));
    }
    schema.fields.push(Field { name: name.to_owned(), schema: field });
    Ok(())
}
