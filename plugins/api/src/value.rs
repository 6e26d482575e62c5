//! What a key, a value or a header holds once somebody has looked.

use bigdecimal::BigDecimal;
use bytes::Bytes;
use compact_str::CompactString;

use crate::map::Map;
use crate::schema::{Kind, SchemaRef, logical};

/// Connect's data, with or without a schema beside it.
///
/// Logical types have variants of their own, as they have Java classes of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Boolean(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    String(CompactString),
    Bytes(Bytes),
    Array(Vec<Value>),
    Map(Map),
    Struct(Struct),
    /// `BigDecimal`.
    Decimal(Box<BigDecimal>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds since midnight.
    Time(i32),
    /// Milliseconds since 1970-01-01T00:00Z.
    Timestamp(i64),
}

impl Value {
    /// A string value.
    pub fn string(text: impl Into<CompactString>) -> Self {
        Value::String(text.into())
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Any integer, widened.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Value::Int8(n) => Some(n.into()),
            Value::Int16(n) => Some(n.into()),
            Value::Int32(n) => Some(n.into()),
            Value::Int64(n) => Some(n),
            _ => None,
        }
    }

    /// Any integer or float, widened.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Float32(x) => Some(x.into()),
            Value::Float64(x) => Some(x),
            _ => self.as_i64().map(|n| n as f64),
        }
    }

    /// The kind Connect's `ConnectSchema.schemaType` infers; `None` for null.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Value::Null => return None,
            Value::Boolean(_) => Kind::Boolean,
            Value::Int8(_) => Kind::Int8,
            Value::Int16(_) => Kind::Int16,
            Value::Int32(_) | Value::Date(_) | Value::Time(_) => Kind::Int32,
            Value::Int64(_) | Value::Timestamp(_) => Kind::Int64,
            Value::Float32(_) => Kind::Float32,
            Value::Float64(_) => Kind::Float64,
            Value::String(_) => Kind::String,
            Value::Bytes(_) | Value::Decimal(_) => Kind::Bytes,
            Value::Array(_) => Kind::Array,
            Value::Map(_) => Kind::Map,
            Value::Struct(_) => Kind::Struct,
        })
    }

    /// The name of the Java class that holds such a value, for messages that Connect users search for.
    #[must_use]
    pub fn java_class(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Boolean(_) => "java.lang.Boolean",
            Value::Int8(_) => "java.lang.Byte",
            Value::Int16(_) => "java.lang.Short",
            Value::Int32(_) => "java.lang.Integer",
            Value::Int64(_) => "java.lang.Long",
            Value::Float32(_) => "java.lang.Float",
            Value::Float64(_) => "java.lang.Double",
            Value::String(_) => "java.lang.String",
            Value::Bytes(_) => "java.nio.ByteBuffer",
            Value::Array(_) => "java.util.ArrayList",
            Value::Map(_) => "java.util.HashMap",
            Value::Struct(_) => "org.apache.kafka.connect.data.Struct",
            Value::Decimal(_) => "java.math.BigDecimal",
            Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => "java.util.Date",
        }
    }

    /// Whether a value of this form may stand under `schema` (one level; null counts as an optional's).
    #[must_use]
    pub fn fits(&self, schema: &crate::schema::Schema) -> bool {
        match self {
            Value::Null => schema.optional || schema.default.is_some(),
            Value::Decimal(_) => schema.is_logical(logical::DECIMAL),
            Value::Date(_) => schema.is_logical(logical::DATE),
            Value::Time(_) => schema.is_logical(logical::TIME),
            Value::Timestamp(_) => schema.is_logical(logical::TIMESTAMP),
            other => other.kind() == Some(schema.kind),
        }
    }
}

/// Values for the fields of a struct schema, by the schema's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    schema: SchemaRef,
    values: Vec<Value>,
}

impl Struct {
    /// A struct whose fields are all null.
    ///
    /// # Panics
    /// When the schema is no struct's.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        assert_eq!(schema.kind, Kind::Struct, "a struct needs a struct schema");
        let values = vec![Value::Null; schema.fields.len()];
        Self { schema, values }
    }

    /// A struct of these values, one for each field in order.
    ///
    /// # Panics
    /// When there are more or fewer values than fields.
    #[must_use]
    pub fn from_values(schema: SchemaRef, values: Vec<Value>) -> Self {
        assert_eq!(schema.fields.len(), values.len(), "one value for each field");
        Self { schema, values }
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The values, by the schema's order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The values, to change; their number is fixed by the schema.
    pub fn values_mut(&mut self) -> &mut [Value] {
        &mut self.values
    }

    /// The values, taken out.
    #[must_use]
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// The value of the field of that name; `None` when the schema has no such field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.schema.field(name).map(|(at, _)| &self.values[at])
    }
}

/// A value and, perhaps, a schema: Connect's `SchemaAndValue`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaAndValue {
    pub schema: Option<SchemaRef>,
    pub value: Value,
}

impl SchemaAndValue {
    /// A value under a schema.
    pub fn new(schema: impl Into<SchemaRef>, value: Value) -> Self {
        Self { schema: Some(schema.into()), value }
    }

    /// A value without a schema.
    #[must_use]
    pub fn schemaless(value: Value) -> Self {
        Self { schema: None, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_small() {
        assert!(size_of::<Value>() <= 40, "{} bytes", size_of::<Value>());
    }
}
