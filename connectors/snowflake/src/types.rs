//! Column types: how Snowflake names them, which type a new field gets, and how COPY reads each from Parquet.

use penstock_api::schema::{Kind, Schema, logical};
use penstock_api::value::Value;

/// A column's type, as far as loading it goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Number {
        precision: u8,
        scale: u8,
    },
    Float,
    Boolean,
    Text {
        chars_max: usize,
    },
    Binary {
        bytes_max: usize,
    },
    Date,
    Time,
    TimestampNtz,
    TimestampLtz,
    TimestampTz,
    Variant,
    Array,
    Object,
    /// `GEOGRAPHY`, `VECTOR` and whatever comes: text, and Snowflake says whether it fits.
    Other(String),
}

/// What a whole number gets.
pub const INTEGER: ColumnType = ColumnType::Number { precision: 38, scale: 0 };
/// What text gets: Snowflake's default length.
pub const TEXT: ColumnType = ColumnType::Text { chars_max: 16_777_216 };
/// What bytes get: Snowflake's default length.
pub const BINARY: ColumnType = ColumnType::Binary { bytes_max: 8_388_608 };

impl ColumnType {
    /// Reads a type as `DESCRIBE TABLE` shows it: `NUMBER(38,0)`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let upper = text.trim().to_uppercase();
        let (name, arguments) = upper.split_once('(').map_or((upper.as_str(), ""), |(n, a)| (n.trim(), a.trim_end_matches(')')));
        let mut numbers = arguments.split(',').map(|n| n.trim().parse::<usize>().ok());
        let mut argument = |default: usize| numbers.next().flatten().unwrap_or(default);
        match name {
            "NUMBER" | "DECIMAL" | "NUMERIC" | "INT" | "INTEGER" | "BIGINT" | "SMALLINT" | "TINYINT" | "BYTEINT" | "FIXED" => {
                let precision = u8::try_from(argument(38)).unwrap_or(38);
                Self::Number { precision, scale: u8::try_from(argument(0)).unwrap_or(0) }
            }
            "FLOAT" | "FLOAT4" | "FLOAT8" | "DOUBLE" | "DOUBLE PRECISION" | "REAL" => Self::Float,
            "BOOLEAN" => Self::Boolean,
            "VARCHAR" | "TEXT" | "STRING" | "CHAR" | "CHARACTER" => Self::Text { chars_max: argument(16_777_216) },
            "BINARY" | "VARBINARY" => Self::Binary { bytes_max: argument(8_388_608) },
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "TIMESTAMP_NTZ" | "DATETIME" | "TIMESTAMP" => Self::TimestampNtz,
            "TIMESTAMP_LTZ" => Self::TimestampLtz,
            "TIMESTAMP_TZ" => Self::TimestampTz,
            "VARIANT" => Self::Variant,
            "ARRAY" => Self::Array,
            "OBJECT" => Self::Object,
            _ => Self::Other(upper),
        }
    }

    /// The type in `ALTER TABLE ADD COLUMN`.
    #[must_use]
    pub fn ddl(&self) -> String {
        match self {
            Self::Number { precision, scale } => format!("NUMBER({precision},{scale})"),
            Self::Float => "DOUBLE".into(),
            Self::Boolean => "BOOLEAN".into(),
            Self::Text { .. } => "VARCHAR".into(),
            Self::Binary { .. } => "BINARY".into(),
            Self::Date => "DATE".into(),
            Self::Time => "TIME(6)".into(),
            Self::TimestampNtz => "TIMESTAMP_NTZ(6)".into(),
            Self::TimestampLtz => "TIMESTAMP_LTZ(6)".into(),
            Self::TimestampTz => "TIMESTAMP_TZ(6)".into(),
            Self::Variant => "VARIANT".into(),
            Self::Array => "ARRAY".into(),
            Self::Object => "OBJECT".into(),
            Self::Other(name) => name.clone(),
        }
    }

    /// How COPY's SELECT reads the column out of a Parquet file, where it is named `field`.
    ///
    /// Nothing here depends on session or account parameters such as `TIMESTAMP_INPUT_FORMAT`. JSON may repeat keys
    /// (`'d'`): the last one wins, as for Java's converter.
    #[must_use]
    pub fn read_expression(&self, field: &str) -> String {
        match self {
            Self::Number { precision, scale } => format!("$1:{field}::NUMBER({precision},{scale})"),
            Self::Float => format!("$1:{field}::DOUBLE"),
            Self::Boolean => format!("$1:{field}::BOOLEAN"),
            Self::Text { .. } | Self::Other(_) => format!("$1:{field}::VARCHAR"),
            Self::Binary { .. } => format!("TO_BINARY($1:{field}::VARCHAR, 'HEX')"),
            Self::Date => format!("$1:{field}::DATE"),
            Self::Time => format!("$1:{field}::VARCHAR::TIME"),
            Self::TimestampNtz => format!("TO_TIMESTAMP_NTZ($1:{field}::NUMBER(38,0), 6)"),
            Self::TimestampLtz => format!("TO_TIMESTAMP_LTZ($1:{field}::NUMBER(38,0), 6)"),
            Self::TimestampTz => format!("TO_TIMESTAMP_TZ($1:{field}::NUMBER(38,0), 6)"),
            Self::Variant => format!("PARSE_JSON($1:{field}::VARCHAR, 'd')"),
            Self::Array => format!("PARSE_JSON($1:{field}::VARCHAR, 'd')::ARRAY"),
            Self::Object => format!("PARSE_JSON($1:{field}::VARCHAR, 'd')::OBJECT"),
        }
    }

    /// Whether cells made for this type can be loaded into a column of the other: all but lengths must agree, and a VARIANT holds any JSON.
    #[must_use]
    pub fn loads_into(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text { .. }, Self::Text { .. }) | (Self::Binary { .. }, Self::Binary { .. }) => true,
            (Self::Array | Self::Object, Self::Variant) => true,
            _ => self == other,
        }
    }

    /// Whether cells are JSON text.
    #[must_use]
    pub fn is_semi_structured(&self) -> bool {
        matches!(self, Self::Variant | Self::Array | Self::Object)
    }
}

/// The column type of a field with a schema: the official connector's table.
#[must_use]
pub fn for_schema(schema: &Schema) -> ColumnType {
    match schema.kind {
        Kind::Int32 if schema.is_logical(logical::DATE) => ColumnType::Date,
        Kind::Int32 if schema.is_logical(logical::TIME) => ColumnType::Time,
        Kind::Int64 if schema.is_logical(logical::TIMESTAMP) => ColumnType::TimestampNtz,
        Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => INTEGER,
        Kind::Float32 | Kind::Float64 => ColumnType::Float,
        Kind::Boolean => ColumnType::Boolean,
        Kind::Bytes if schema.is_logical(logical::DECIMAL) => TEXT,
        Kind::String => TEXT,
        Kind::Bytes => BINARY,
        Kind::Array => ColumnType::Array,
        Kind::Map | Kind::Struct => ColumnType::Variant,
    }
}

/// The column type of a field without a schema; `None` for null, which says nothing: the column waits for a value.
#[must_use]
pub fn for_value(value: &Value) -> Option<ColumnType> {
    Some(match value {
        Value::Null => return None,
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => INTEGER,
        // Only integers beyond 64 bits come as decimals without a schema.
        Value::Decimal(n) if n.is_integer() => INTEGER,
        Value::Float32(_) | Value::Float64(_) => ColumnType::Float,
        Value::Boolean(_) => ColumnType::Boolean,
        Value::String(_) | Value::Decimal(_) => TEXT,
        Value::Bytes(_) => BINARY,
        Value::Array(_) => ColumnType::Array,
        Value::Map(_) | Value::Struct(_) => ColumnType::Variant,
        Value::Date(_) => ColumnType::Date,
        Value::Time(_) => ColumnType::Time,
        Value::Timestamp(_) => ColumnType::TimestampNtz,
    })
}

/// The column type of a field that is JSON text; `None` for null.
#[must_use]
pub fn for_json(raw: &str) -> Option<ColumnType> {
    Some(match raw.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => ColumnType::Boolean,
        b'"' => TEXT,
        b'[' => ColumnType::Array,
        b'{' => ColumnType::Variant,
        _ if raw.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) => ColumnType::Float,
        _ => INTEGER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_described() {
        let check = |text: &str, expected: ColumnType| assert_eq!(ColumnType::parse(text), expected, "{text}");
        check("NUMBER(12,2)", ColumnType::Number { precision: 12, scale: 2 });
        check("number(38, 0)", INTEGER);
        check("VARCHAR(16777216)", TEXT);
        check("VARCHAR(3)", ColumnType::Text { chars_max: 3 });
        check("TIMESTAMP_NTZ(9)", ColumnType::TimestampNtz);
        check("GEOGRAPHY", ColumnType::Other("GEOGRAPHY".into()));
    }

    #[test]
    fn what_is_created_is_described_alike() {
        for ty in [INTEGER, ColumnType::Float, ColumnType::Boolean, TEXT, BINARY, ColumnType::Date, ColumnType::Time] {
            assert_eq!(ColumnType::parse(&ty.ddl()), ty);
        }
    }

    #[test]
    fn json_decides_by_its_first_value() {
        assert_eq!(for_json("12"), Some(INTEGER));
        assert_eq!(for_json("-1.5e3"), Some(ColumnType::Float));
        assert_eq!(for_json("null"), None);
        assert_eq!(for_json(r#"{"a":1}"#), Some(ColumnType::Variant));
    }
}
