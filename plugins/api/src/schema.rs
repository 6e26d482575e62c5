//! Connect's schema model: what a value may be, under which name and version.

use indexmap::IndexMap;
use std::sync::{Arc, LazyLock};

use crate::value::Value;

/// Schemas are shared: thousands of records point at one.
pub type SchemaRef = Arc<Schema>;

/// Connect's `Schema.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
    Bytes,
    Array,
    Map,
    Struct,
}

impl Kind {
    /// Connect's upper-case name, as in messages: `INT8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Int8 => "INT8",
            Kind::Int16 => "INT16",
            Kind::Int32 => "INT32",
            Kind::Int64 => "INT64",
            Kind::Float32 => "FLOAT32",
            Kind::Float64 => "FLOAT64",
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Bytes => "BYTES",
            Kind::Array => "ARRAY",
            Kind::Map => "MAP",
            Kind::Struct => "STRUCT",
        }
    }

    /// Whether a value of this kind holds no others.
    #[must_use]
    pub fn is_primitive(self) -> bool {
        !matches!(self, Kind::Array | Kind::Map | Kind::Struct)
    }
}

/// Names of Connect's logical types; [`Schema::name`] holds them.
pub mod logical {
    /// Arbitrary-precision number over `Kind::Bytes`; its scale stands in [`DECIMAL_SCALE`].
    pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
    /// Parameter of [`DECIMAL`]: digits after the point.
    pub const DECIMAL_SCALE: &str = "scale";
    /// Days since 1970-01-01 over `Kind::Int32`.
    pub const DATE: &str = "org.apache.kafka.connect.data.Date";
    /// Milliseconds since midnight over `Kind::Int32`.
    pub const TIME: &str = "org.apache.kafka.connect.data.Time";
    /// Milliseconds since 1970-01-01T00:00Z over `Kind::Int64`.
    pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
}

/// A type with its metadata. Fields that do not apply to the kind are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub kind: Kind,
    pub optional: bool,
    pub name: Option<String>,
    pub version: Option<i32>,
    pub doc: Option<String>,
    pub default: Option<Value>,
    /// Free-form parameters, in the order given.
    pub parameters: IndexMap<String, String>,
    /// Of a struct, in order.
    pub fields: Vec<Field>,
    /// Of a map.
    pub key: Option<SchemaRef>,
    /// Of an array's elements or a map's values.
    pub value: Option<SchemaRef>,
}

/// One field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub schema: SchemaRef,
}

impl Schema {
    /// A required schema of that kind without name, version or default.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            optional: false,
            name: None,
            version: None,
            doc: None,
            default: None,
            parameters: IndexMap::new(),
            fields: Vec::new(),
            key: None,
            value: None,
        }
    }

    /// An array of `element`s.
    #[must_use]
    pub fn array(element: impl Into<SchemaRef>) -> Self {
        Self { value: Some(element.into()), ..Self::new(Kind::Array) }
    }

    /// A map from `key` to `value`.
    #[must_use]
    pub fn map(key: impl Into<SchemaRef>, value: impl Into<SchemaRef>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::new(Kind::Map) }
    }

    /// A struct of these fields, in order.
    pub fn record<N: Into<String>, S: Into<SchemaRef>>(fields: impl IntoIterator<Item = (N, S)>) -> Self {
        let fields = fields.into_iter().map(|(name, schema)| Field { name: name.into(), schema: schema.into() }).collect();
        Self { fields, ..Self::new(Kind::Struct) }
    }

    /// Connect's `Decimal` of that scale.
    #[must_use]
    pub fn decimal(scale: i32) -> Self {
        let mut schema = Self::new(Kind::Bytes).named(logical::DECIMAL).versioned(1);
        schema.parameters.insert(logical::DECIMAL_SCALE.into(), scale.to_string());
        schema
    }

    /// Connect's `Date`.
    #[must_use]
    pub fn date() -> Self {
        Self::new(Kind::Int32).named(logical::DATE).versioned(1)
    }

    /// Connect's `Time`.
    #[must_use]
    pub fn time() -> Self {
        Self::new(Kind::Int32).named(logical::TIME).versioned(1)
    }

    /// Connect's `Timestamp`.
    #[must_use]
    pub fn timestamp() -> Self {
        Self::new(Kind::Int64).named(logical::TIMESTAMP).versioned(1)
    }

    /// The same, optional.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The same, with a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same, with a version.
    #[must_use]
    pub fn versioned(mut self, version: i32) -> Self {
        self.version = Some(version);
        self
    }

    /// The field of that name, with its index.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields.iter().enumerate().find(|(_, f)| f.name == name)
    }

    /// Whether the schema is the logical type of that name.
    #[must_use]
    pub fn is_logical(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// The scale of a [`logical::DECIMAL`]; `None` when it is missing or no number.
    #[must_use]
    pub fn decimal_scale(&self) -> Option<i32> {
        self.parameters.get(logical::DECIMAL_SCALE)?.parse().ok()
    }
}

macro_rules! shared {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {$(
        $(#[$doc])*
        pub static $name: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new($schema));
    )*};
}

shared! {
    /// Optional string, what `StringConverter` gives.
    OPTIONAL_STRING = Schema::new(Kind::String).optional();
    /// Optional bytes, what `ByteArrayConverter` gives.
    OPTIONAL_BYTES = Schema::new(Kind::Bytes).optional();
    /// Required string.
    STRING = Schema::new(Kind::String);
    /// Required 32-bit integer.
    INT32 = Schema::new(Kind::Int32);
    /// Required 64-bit integer.
    INT64 = Schema::new(Kind::Int64);
    /// Optional 32-bit integer.
    OPTIONAL_INT32 = Schema::new(Kind::Int32).optional();
    /// Optional 64-bit integer.
    OPTIONAL_INT64 = Schema::new(Kind::Int64).optional();
    /// Optional timestamp.
    OPTIONAL_TIMESTAMP = Schema::timestamp().optional();
}
