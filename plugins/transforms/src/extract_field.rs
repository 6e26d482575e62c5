//! `ExtractField`: one field, perhaps a nested one, takes the place of the whole.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{
    Error, FieldPath, Flow, Kind, Part, Record, Result, Schema, SchemaAndValue, SchemaRef, Struct, Transform, Value,
};

use crate::keys;
use crate::shape::{no_map, no_struct};

const PURPOSE: &str = "field extraction";
const NESTED: &str = "nested field access";

/// See the module.
pub(crate) struct ExtractField {
    part: Part,
    path: FieldPath,
    replace_null: bool,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required("field", ConfigType::String, "Field name to extract.").importance(Importance::Medium),
        keys::replace_null_with_default(),
        ConfigKey::optional(
            "field.syntax.version",
            ConfigType::String,
            "V1",
            "Defines the version of the syntax to access fields. If set to <code>V1</code>, then the field paths are limited to access \
             the elements at the root level of the struct or map. If set to <code>V2</code>, the syntax will support accessing nested \
             elements. To access nested elements, dotted notation is used. If dots are already included in the field name, then \
             backtick pairs can be used to wrap field names containing dots. E.g. to access the subfield <code>baz</code> from a field \
             named \"foo.bar\" in a struct/map the following format can be used to access its elements: \"<code>foo.bar</code>.baz\".",
        )
        .importance(Importance::High)
        .check(Check::OneOfIgnoreCase(vec!["V1".into(), "V2".into()])),
    ])
}

impl ExtractField {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let field = config.string("field");
        let is_v2 = config.string("field.syntax.version").eq_ignore_ascii_case("V2");
        let path = if is_v2 { FieldPath::v2(field)? } else { FieldPath::v1(field) };
        Ok(Self { part, path, replace_null: config.boolean(keys::REPLACE_NULL_WITH_DEFAULT) })
    }

    fn from_struct(&self, schema: &SchemaRef, value: Value) -> Result<SchemaAndValue> {
        if !matches!(value, Value::Struct(_) | Value::Null) {
            return Err(no_struct(&value, PURPOSE));
        }
        let field = field_at(schema, &self.path)?;
        let (last, outer) = self.path.steps().split_last().expect("a path has steps");
        let mut value = value;
        for step in outer {
            value = match value {
                Value::Struct(record) => field_of(record, step, true),
                Value::Null => break,
                other => return Err(no_struct(&other, NESTED)),
            };
        }
        let value = match value {
            Value::Struct(record) => field_of(record, last, self.replace_null),
            Value::Null => Value::Null,
            other => return Err(no_struct(&other, NESTED)),
        };
        Ok(SchemaAndValue { schema: Some(field), value })
    }

    fn from_map(&self, value: Value) -> Result<SchemaAndValue> {
        let mut value = value;
        for (depth, step) in self.path.steps().iter().enumerate() {
            value = match value {
                Value::Map(mut map) => map.get_mut(step).map(std::mem::take).unwrap_or_default(),
                Value::Null => break,
                other => return Err(no_map(&other, if depth == 0 { PURPOSE } else { NESTED })),
            };
        }
        Ok(SchemaAndValue::schemaless(value))
    }
}

impl Transform for ExtractField {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let data = self.part.of_mut(record).decode_mut()?;
        let SchemaAndValue { schema, value } = std::mem::take(data);
        *data = match &schema {
            Some(schema) => self.from_struct(schema, value)?,
            None => self.from_map(value)?,
        };
        Ok(Flow::Keep)
    }
}

fn field_at(schema: &SchemaRef, path: &FieldPath) -> Result<SchemaRef> {
    path.steps().iter().try_fold(schema.clone(), |schema, step| {
        if schema.kind != Kind::Struct {
            return Err(Error::data("Cannot look up fields on non-struct type"));
        }
        let found = schema.field(step).map(|(_, field)| field.schema.clone());
        found.ok_or_else(|| Error::data(format!("Unknown field: {}", path.as_str())))
    })
}

/// The field's value, or null when the struct has none of that name.
fn field_of(record: Struct, name: &str, replace_null: bool) -> Value {
    let Some(at) = record.schema().field(name).map(|(at, _)| at) else { return Value::Null };
    let schema: &Schema = &record.schema().fields[at].schema;
    match (&record.values()[at], &schema.default) {
        (Value::Null, Some(default)) if replace_null => default.clone(),
        _ => record.into_values().swap_remove(at),
    }
}
