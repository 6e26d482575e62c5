//! What a key, a value or a header holds once somebody has looked.

use bigdecimal::BigDecimal;
use bytes::Bytes;
use compact_str::CompactString;

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

/// A map in insertion order. Keys are unique; those of schemaless data are strings.
///
/// Kept as a list: messages have few fields, where a scan beats hashing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map(Vec<(Value, Value)>);

impl Map {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map with room for `capacity` entries.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Takes entries whose keys the caller knows to be unique.
    #[must_use]
    pub fn from_unique(entries: Vec<(Value, Value)>) -> Self {
        Self(entries)
    }

    /// The value under a string key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v)
    }

    /// The value under a string key, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v)
    }

    /// Sets the value under a string key; an existing key keeps its place.
    pub fn insert(&mut self, key: impl Into<CompactString>, value: Value) {
        let key = key.into();
        match self.get_mut(&key) {
            Some(old) => *old = value,
            None => self.0.push((Value::String(key), value)),
        }
    }

    /// Sets the value under any key; an existing key keeps its place.
    pub fn insert_value(&mut self, key: Value, value: Value) {
        match self.0.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Takes the value under a string key out; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(k, _)| k.as_str() == Some(key))?;
        Some(self.0.remove(at).1)
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Value, &Value) -> bool) {
        self.0.retain(|(k, v)| keep(k, v));
    }

    /// The entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[(Value, Value)] {
        &self.0
    }

    /// The entries, in order, taken out.
    #[must_use]
    pub fn into_entries(self) -> Vec<(Value, Value)> {
        self.0
    }

    /// Keys and values to change in place; the caller keeps keys unique.
    pub fn entries_mut(&mut self) -> &mut [(Value, Value)] {
        &mut self.0
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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

    #[test]
    fn a_map_keeps_its_order() {
        let mut map = Map::new();
        map.insert("b", Value::Int32(1));
        map.insert("a", Value::Int32(2));
        map.insert("b", Value::Int32(3));
        assert_eq!(map.get("b"), Some(&Value::Int32(3)));
        assert_eq!(map.remove("b"), Some(Value::Int32(3)));
        assert_eq!(map.len(), 1);
    }
}
