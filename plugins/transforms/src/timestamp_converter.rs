//! `TimestampConverter`: timestamps between text, Unix time and Connect's types.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::schema::{INT64, OPTIONAL_INT64, OPTIONAL_STRING, OPTIONAL_TIMESTAMP, STRING, logical};
use penstock_api::{Error, Flow, Kind, Part, Record, Result, Schema, SchemaAndValue, SchemaRef, Struct, Transform, Value};

use crate::java::calendar::DAY_MS;
use crate::java::date_format::DateFormat;
use crate::keys;
use crate::schema_cache::SchemaCache;
use crate::shape::{add_field, no_struct, require_map, settle_all, with_basics_of};

const PURPOSE: &str = "converting timestamp formats";

/// See the module.
pub(crate) struct TimestampConverter {
    part: Part,
    /// Empty for the whole.
    field: String,
    replace_null: bool,
    conversion: Conversion,
    schemas: SchemaCache<SchemaRef>,
}

/// From what is found to the target.
struct Conversion {
    target: Form,
    format: Option<DateFormat>,
    precision: Precision,
}

/// How a timestamp is kept.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Unix,
    Date,
    Time,
    Timestamp,
}

#[derive(Clone, Copy)]
enum Precision {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

pub(crate) fn config() -> ConfigDef {
    let one_of = |values: &[&str]| Check::OneOf(values.iter().map(|&v| v.to_owned()).collect());
    ConfigDef::new([
        ConfigKey::optional(
            "field",
            ConfigType::String,
            "",
            "The field containing the timestamp, or empty if the entire value is a timestamp",
        )
        .importance(Importance::High),
        ConfigKey::required(
            "target.type",
            ConfigType::String,
            "The desired timestamp representation: string, unix, Date, Time, or Timestamp",
        )
        .check(one_of(&["string", "unix", "Date", "Time", "Timestamp"])),
        ConfigKey::optional(
            "format",
            ConfigType::String,
            "",
            "A SimpleDateFormat-compatible format for the timestamp. Used to generate the output when type=string or used to parse the \
             input if the input is a string.",
        ),
        ConfigKey::optional(
            "unix.precision",
            ConfigType::String,
            "milliseconds",
            "The desired Unix precision for the timestamp: seconds, milliseconds, microseconds, or nanoseconds. Used to generate the \
             output when type=unix or used to parse the input if the input is a Long.Note: This SMT will cause precision loss during \
             conversions from, and to, values with sub-millisecond components.",
        )
        .importance(Importance::Low)
        .check(one_of(&["nanoseconds", "microseconds", "milliseconds", "seconds"])),
        keys::replace_null_with_default(),
    ])
}

impl TimestampConverter {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let target = match config.string("target.type") {
            "string" => Form::Text,
            "unix" => Form::Unix,
            "Date" => Form::Date,
            "Time" => Form::Time,
            _ => Form::Timestamp,
        };
        let precision = match config.string("unix.precision") {
            "seconds" => Precision::Seconds,
            "microseconds" => Precision::Micros,
            "nanoseconds" => Precision::Nanos,
            _ => Precision::Millis,
        };
        let pattern = config.string("format");
        if target == Form::Text && pattern.is_empty() {
            let why = "TimestampConverter requires format option to be specified when using string timestamps";
            return Err(Error::config(why));
        }
        let read = |pattern| {
            DateFormat::new(pattern).map_err(|why| {
                let what = "TimestampConverter requires a SimpleDateFormat-compatible pattern for string timestamps";
                Error::config(format!("Invalid value {pattern} for configuration format: {what}: {why}"))
            })
        };
        let format = if pattern.is_empty() { None } else { Some(read(pattern)?) };
        Ok(Self {
            part,
            field: config.string("field").to_owned(),
            replace_null: config.boolean(keys::REPLACE_NULL_WITH_DEFAULT),
            conversion: Conversion { target, format, precision },
            schemas: SchemaCache::default(),
        })
    }

    fn with_schema(&mut self, schema: &SchemaRef, value: Value) -> Result<SchemaAndValue> {
        if self.field.is_empty() {
            let updated = self.conversion.target.schema(schema.optional);
            let value = self.conversion.convert_under(schema, value)?;
            return Ok(SchemaAndValue::new(updated, value));
        }
        if !matches!(value, Value::Struct(_) | Value::Null) {
            return Err(no_struct(&value, PURPOSE));
        }
        let (field, conversion, replace_null) = (&self.field, &self.conversion, self.replace_null);
        let updated = self.schemas.get_or_make(schema, |schema| updated_schema(schema, field, conversion, replace_null))?.clone();
        let value = match value {
            Value::Struct(record) => convert_field(record, field, conversion, replace_null, &updated)?,
            other => other,
        };
        Ok(SchemaAndValue::new(updated, value))
    }
}

impl Transform for TimestampConverter {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let data = self.part.of_mut(record).decode_mut()?;
        if let Some(schema) = data.schema.take() {
            let value = std::mem::take(&mut data.value);
            *data = self.with_schema(&schema, value)?;
        } else if data.value.is_null() || self.field.is_empty() {
            data.value = self.conversion.convert(std::mem::take(&mut data.value))?;
        } else {
            let map = require_map(&mut data.value, PURPOSE)?;
            let old = map.get_mut(&self.field).map(std::mem::take).unwrap_or_default();
            map.insert(self.field.as_str(), self.conversion.convert(old)?);
        }
        Ok(Flow::Keep)
    }
}

fn updated_schema(schema: &SchemaRef, name: &str, conversion: &Conversion, replace_null: bool) -> Result<SchemaRef> {
    let mut updated = with_basics_of(schema, Kind::Struct);
    for field in &schema.fields {
        let is_target = field.name == name;
        let inner = if is_target { conversion.target.schema(field.schema.optional) } else { field.schema.clone() };
        add_field(&mut updated, &field.name, inner)?;
    }
    updated.optional = schema.optional;
    if let Some(Value::Struct(default)) = &schema.default {
        let shared = SchemaRef::new(updated.clone());
        updated.default = Some(convert_field(default.clone(), name, conversion, replace_null, &shared)?);
    }
    Ok(updated.into())
}

fn convert_field(record: Struct, name: &str, conversion: &Conversion, replace_null: bool, updated: &SchemaRef) -> Result<Value> {
    let schema = record.schema().clone();
    let mut values = record.into_values();
    for (field, value) in schema.fields.iter().zip(&mut values) {
        if field.name == name {
            if replace_null && value.is_null() {
                *value = field.schema.default.clone().unwrap_or_default();
            }
            *value = conversion.convert_under(&field.schema, std::mem::take(value))?;
        } else if replace_null && value.is_null() {
            *value = field.schema.default.clone().unwrap_or_default();
        }
    }
    settle_all(updated, &mut values, false)?;
    Ok(Value::Struct(Struct::from_values(updated.clone(), values)))
}

impl Conversion {
    /// Converts what has a schema, which says how it is kept.
    fn convert_under(&self, schema: &Schema, value: Value) -> Result<Value> {
        let form = form_of_schema(schema)?;
        if value.is_null() { Ok(value) } else { self.write(self.read(form, &value)?) }
    }

    /// Converts what has none: its type says how it is kept.
    fn convert(&self, value: Value) -> Result<Value> {
        let form = match &value {
            Value::Null => return Ok(value),
            Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => Form::Timestamp,
            Value::Int64(_) => Form::Unix,
            Value::String(_) => Form::Text,
            other => {
                let class = other.java_class();
                return Err(Error::data(format!("TimestampConverter does not support class {class} objects as timestamps")));
            }
        };
        self.write(self.read(form, &value)?)
    }

    /// Milliseconds since 1970-01-01T00:00Z.
    fn read(&self, form: Form, value: &Value) -> Result<i64> {
        match (form, value) {
            (Form::Text, Value::String(text)) => self.read_text(text),
            (Form::Unix, Value::Int64(n)) => Ok(self.precision.to_millis(*n)),
            (Form::Date | Form::Time | Form::Timestamp, Value::Date(days)) => Ok(i64::from(*days) * DAY_MS),
            (Form::Date | Form::Time | Form::Timestamp, Value::Time(millis)) => Ok(i64::from(*millis)),
            (Form::Date | Form::Time | Form::Timestamp, Value::Timestamp(millis)) => Ok(*millis),
            (form, other) => {
                let found = other.java_class();
                let expected = match form {
                    Form::Text => "string timestamp to be a String",
                    Form::Unix => "Unix timestamp to be a Long",
                    Form::Date => "Date to be a java.util.Date",
                    Form::Time => "Time to be a java.util.Date",
                    Form::Timestamp => "Timestamp to be a java.util.Date",
                };
                Err(Error::data(format!("Expected {expected}, but found class {found}")))
            }
        }
    }

    fn read_text(&self, text: &str) -> Result<i64> {
        let format = self.format.as_ref().ok_or_else(|| {
            Error::data(format!("Could not parse timestamp: value ({text}) is text, and `format` says nothing of how to read it"))
        })?;
        format.parse(text).ok_or_else(|| {
            let pattern = format.pattern();
            Error::data(format!("Could not parse timestamp: value ({text}) does not match pattern ({pattern})"))
        })
    }

    fn write(&self, millis: i64) -> Result<Value> {
        Ok(match self.target {
            Form::Text => {
                let format = self.format.as_ref().expect("a text target was refused without a format");
                Value::string(format.format(millis))
            }
            Form::Unix => Value::Int64(self.precision.from_millis(millis)),
            Form::Date => {
                let days = i32::try_from(millis.div_euclid(DAY_MS));
                Value::Date(days.map_err(|_| Error::data(format!("timestamp {millis} ms lies beyond what a Date can hold")))?)
            }
            Form::Time => Value::Time(millis.rem_euclid(DAY_MS) as i32),
            Form::Timestamp => Value::Timestamp(millis),
        })
    }
}

fn form_of_schema(schema: &Schema) -> Result<Form> {
    Ok(match (schema.name.as_deref(), schema.kind) {
        (Some(logical::TIMESTAMP), _) => Form::Timestamp,
        (Some(logical::DATE), _) => Form::Date,
        (Some(logical::TIME), _) => Form::Time,
        (_, Kind::String) => Form::Text,
        (_, Kind::Int64) => Form::Unix,
        (_, kind) => {
            let kind = kind.name();
            return Err(Error::data(format!("Schema Schema{{{kind}}} does not correspond to a known timestamp type format")));
        }
    })
}

impl Form {
    fn schema(self, optional: bool) -> SchemaRef {
        let logical = |schema: Schema| if optional { schema.optional().into() } else { schema.into() };
        match self {
            Form::Text => {
                if optional {
                    OPTIONAL_STRING.clone()
                } else {
                    STRING.clone()
                }
            }
            Form::Unix => {
                if optional {
                    OPTIONAL_INT64.clone()
                } else {
                    INT64.clone()
                }
            }
            Form::Date => logical(Schema::date()),
            Form::Time => logical(Schema::time()),
            Form::Timestamp if optional => OPTIONAL_TIMESTAMP.clone(),
            Form::Timestamp => logical(Schema::timestamp()),
        }
    }
}

/// As `java.util.concurrent.TimeUnit` converts: towards zero, and at most to the end of the range.
impl Precision {
    fn to_millis(self, n: i64) -> i64 {
        match self {
            Precision::Seconds => n.saturating_mul(1000),
            Precision::Millis => n,
            Precision::Micros => n / 1000,
            Precision::Nanos => n / 1_000_000,
        }
    }

    fn from_millis(self, millis: i64) -> i64 {
        match self {
            Precision::Seconds => millis / 1000,
            Precision::Millis => millis,
            Precision::Micros => millis.saturating_mul(1000),
            Precision::Nanos => millis.saturating_mul(1_000_000),
        }
    }
}
