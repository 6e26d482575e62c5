//! From a Connect schema to the Avro schema that AvroData would write.

use penstock_api::schema::logical;
use penstock_api::{Error, Kind, Result, Schema, Struct, Value};
use serde_json::{Map, Value as Json, json};

use super::mapping::Options;
use super::names;

/// AvroData's schema of values that have none.
pub(super) const ANYTHING: &str = r#"{"type":"record","name":"Anything","namespace":"io.confluent.connect.avro","fields":[
{"name":"boolean","type":["null","boolean"],"default":null},
{"name":"bytes","type":["null","bytes"],"default":null},
{"name":"double","type":["null","double"],"default":null},
{"name":"float","type":["null","float"],"default":null},
{"name":"int","type":["null","int"],"default":null},
{"name":"long","type":["null","long"],"default":null},
{"name":"string","type":["null","string"],"default":null},
{"name":"array","type":["null",{"type":"array","items":"Anything"}]},
{"name":"map","type":["null",{"type":"array","items":{"type":"record","name":"MapEntry","fields":[
{"name":"key","type":"Anything"},{"name":"value","type":"Anything"}]}}]}]}"#;

/// The Avro schema of a Connect schema.
///
/// # Errors
/// `Data` when two different schemas bear one name, or a default is not of its schema.
pub(super) fn avro_schema(schema: &Schema, options: Options) -> Result<Json> {
    Writer { options, defined: Vec::new() }.schema(schema)
}

/// The full name of the record or enum a schema becomes; `None` for all else. Subjects may be called by it.
pub(super) fn record_name(schema: &Schema) -> Option<String> {
    (schema.kind == Kind::Struct && !schema.is_logical(names::UNION))
        .then(|| schema.name.clone().unwrap_or_else(|| names::DEFAULT_FULL_NAME.into()))
}

struct Writer<'s> {
    options: Options,
    /// The named types written so far, and what they were written for.
    defined: Vec<(String, &'s Schema)>,
}

impl<'s> Writer<'s> {
    fn schema(&mut self, schema: &'s Schema) -> Result<Json> {
        let base = self.required(schema)?;
        if !schema.optional || base.is_array() {
            return Ok(base);
        }
        // Avro wants a default to be of the first branch.
        Ok(if schema.default.is_some() { json!([base, "null"]) } else { json!(["null", base]) })
    }

    /// The schema as if it were not optional; a union has its null inside all the same.
    fn required(&mut self, schema: &'s Schema) -> Result<Json> {
        if schema.is_logical(names::UNION) && schema.kind == Kind::Struct {
            let mut branches = Vec::new();
            if schema.optional {
                branches.push(json!("null"));
            }
            for field in &schema.fields {
                branches.push(self.required(&field.schema)?);
            }
            return Ok(Json::Array(branches));
        }
        let mut map = match schema.kind {
            Kind::Boolean => simple("boolean"),
            Kind::Int8 | Kind::Int16 | Kind::Int32 => simple("int"),
            Kind::Int64 => simple("long"),
            Kind::Float32 => simple("float"),
            Kind::Float64 => simple("double"),
            Kind::String => match schema.parameters.get(names::ENUM).filter(|_| self.options.enhanced) {
                Some(name) => {
                    if self.is_defined(name, schema)? {
                        return Ok(json!(name));
                    }
                    enumeration(name, schema)
                }
                None => simple("string"),
            },
            Kind::Bytes => match fixed_size(schema).filter(|_| self.options.enhanced) {
                Some((name, size)) => {
                    if self.is_defined(name, schema)? {
                        return Ok(json!(name));
                    }
                    Map::from_iter([("type".into(), json!("fixed")), ("name".into(), json!(name)), ("size".into(), json!(size))])
                }
                None => simple("bytes"),
            },
            Kind::Array => {
                let item = schema.value.as_deref().ok_or_else(|| incomplete("array"))?;
                Map::from_iter([("type".into(), json!("array")), ("items".into(), self.schema(item)?)])
            }
            Kind::Map => self.map(schema)?,
            Kind::Struct => {
                let name = record_name(schema).unwrap_or_default();
                if self.is_defined(&name, schema)? {
                    return Ok(json!(name));
                }
                self.record(&name, schema)?
            }
        };
        self.annotate(&mut map, schema)?;
        logical_type(&mut map, schema);
        for (key, value) in schema.parameters.iter().filter(|(key, _)| key.starts_with(names::AVRO_PROP_PREFIX)) {
            map.insert(key.clone(), json!(value));
        }
        Ok(if map.len() == 1 { map.remove("type").unwrap_or_default() } else { Json::Object(map) })
    }

    /// Whether that name stands for this schema already; it may stand for one only.
    fn is_defined(&mut self, name: &str, schema: &'s Schema) -> Result<bool> {
        match self.defined.iter().find(|(defined, _)| defined == name) {
            None => {
                self.defined.push((name.to_owned(), schema));
                Ok(false)
            }
            Some((_, before)) if same_type(before, schema) => Ok(true),
            Some(_) => Err(Error::data(format!(
                "two different schemas are called {name}, which Avro does not allow; give them names of their own (SetSchemaMetadata, \
                 or the source's settings)"
            ))),
        }
    }

    fn record(&mut self, name: &str, schema: &'s Schema) -> Result<Map<String, Json>> {
        let mut map = Map::from_iter([("type".into(), json!("record"))]);
        put_name(&mut map, name);
        if let Some(doc) = schema.parameters.get(names::RECORD_DOC) {
            map.insert("doc".into(), json!(doc));
        }
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let mut of = Map::from_iter([("name".into(), json!(field.name)), ("type".into(), self.schema(&field.schema)?)]);
            if let Some(doc) = schema.parameters.get(&format!("{}{}", names::FIELD_DOC_PREFIX, field.name)) {
                of.insert("doc".into(), json!(doc));
            }
            if let Some(default) = &field.schema.default {
                of.insert("default".into(), default_json(&field.schema, default)?);
            } else if field.schema.optional {
                of.insert("default".into(), Json::Null);
            }
            fields.push(Json::Object(of));
        }
        map.insert("fields".into(), Json::Array(fields));
        Ok(map)
    }

    fn map(&mut self, schema: &'s Schema) -> Result<Map<String, Json>> {
        let (Some(key), Some(value)) = (schema.key.as_deref(), schema.value.as_deref()) else { return Err(incomplete("map")) };
        if has_text_keys(schema) {
            return Ok(Map::from_iter([("type".into(), json!("map")), ("values".into(), self.schema(value)?)]));
        }
        let name = schema.name.clone().unwrap_or_else(|| format!("{}.{}", names::NAMESPACE, names::MAP_ENTRY));
        if self.is_defined(&name, schema)? {
            return Ok(Map::from_iter([("type".into(), json!("array")), ("items".into(), json!(name))]));
        }
        let mut entry = Map::from_iter([("type".into(), json!("record"))]);
        put_name(&mut entry, &name);
        let fields = json!([{"name": "key", "type": self.schema(key)?}, {"name": "value", "type": self.schema(value)?}]);
        entry.insert("fields".into(), fields);
        if schema.name.is_some() {
            entry.insert(names::CONNECT_INTERNAL_TYPE.into(), json!(names::MAP_ENTRY));
        }
        Ok(Map::from_iter([("type".into(), json!("array")), ("items".into(), Json::Object(entry))]))
    }

    /// What Avro has no words for, as properties.
    fn annotate(&self, map: &mut Map<String, Json>, schema: &Schema) -> Result<()> {
        if !self.options.meta_data {
            return Ok(());
        }
        if let Some(doc) = &schema.doc {
            map.insert(names::CONNECT_DOC.into(), json!(doc));
        }
        if let Some(version) = schema.version {
            map.insert(names::CONNECT_VERSION.into(), json!(version));
        }
        let parameters = schema.parameters.iter().filter(|(key, _)| *key != names::FIELD_DEFAULT);
        let parameters: Map<_, _> = parameters.map(|(key, value)| (key.clone(), json!(value))).collect();
        if !parameters.is_empty() {
            map.insert(names::CONNECT_PARAMETERS.into(), Json::Object(parameters));
        }
        if let (Some(default), false) = (&schema.default, schema.parameters.contains_key(names::FIELD_DEFAULT)) {
            map.insert(names::CONNECT_DEFAULT.into(), default_json(schema, default)?);
        }
        if let Some(name) = &schema.name {
            map.insert(names::CONNECT_NAME.into(), json!(name));
        }
        let kind = match schema.kind {
            Kind::Int8 => "int8",
            Kind::Int16 => "int16",
            _ => return Ok(()),
        };
        map.insert(names::CONNECT_TYPE.into(), json!(kind));
        Ok(())
    }
}

/// Whether a map becomes Avro's map, whose keys are strings.
pub(super) fn has_text_keys(schema: &Schema) -> bool {
    schema.key.as_deref().is_some_and(|key| key.kind == Kind::String && !key.optional)
}

/// The name and size of bytes that were an Avro fixed.
pub(super) fn fixed_size(schema: &Schema) -> Option<(&str, usize)> {
    let size = schema.parameters.get(names::FIXED_SIZE)?.parse().ok()?;
    let name = schema.name.as_deref().filter(|name| *name != logical::DECIMAL)?;
    Some((name, size))
}

/// Avro has one type where Connect has an optional and a required one.
fn same_type(one: &Schema, other: &Schema) -> bool {
    std::ptr::eq(one, other) || {
        let plain = |schema: &Schema| {
            let mut plain = Schema { optional: false, default: None, ..schema.clone() };
            plain.parameters.shift_remove(names::FIELD_DEFAULT);
            plain
        };
        plain(one) == plain(other)
    }
}

fn simple(name: &str) -> Map<String, Json> {
    Map::from_iter([("type".into(), json!(name))])
}

fn incomplete(kind: &str) -> Error {
    Error::data(format!("a schema of a {kind} that does not say of what"))
}

fn put_name(map: &mut Map<String, Json>, full: &str) {
    match full.rsplit_once('.') {
        Some((namespace, name)) => {
            map.insert("name".into(), json!(name));
            map.insert("namespace".into(), json!(namespace));
        }
        None => {
            map.insert("name".into(), json!(full));
            // Else the name would fall into its surroundings' namespace.
            map.insert("namespace".into(), json!(""));
        }
    }
}

fn enumeration(name: &str, schema: &Schema) -> Map<String, Json> {
    let prefix = format!("{}.", names::ENUM);
    let symbols = schema.parameters.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, symbol)| json!(symbol));
    let mut map = Map::from_iter([("type".into(), json!("enum"))]);
    put_name(&mut map, name);
    map.insert("symbols".into(), symbols.collect());
    let simple = name.rsplit('.').next().unwrap_or(name);
    for (property, prefix) in [("doc", names::ENUM_DOC_PREFIX), ("default", names::ENUM_DEFAULT_PREFIX)] {
        if let Some(text) = schema.parameters.get(&format!("{prefix}{simple}")) {
            map.insert(property.into(), json!(text));
        }
    }
    map
}

fn logical_type(map: &mut Map<String, Json>, schema: &Schema) {
    let name = match schema.name.as_deref() {
        Some(logical::DECIMAL) => {
            let scale = schema.decimal_scale().unwrap_or(0);
            let precision = schema.parameters.get(names::DECIMAL_PRECISION).and_then(|p| p.parse().ok());
            map.insert("scale".into(), json!(scale));
            map.insert("precision".into(), json!(precision.unwrap_or(names::DECIMAL_PRECISION_DEFAULT)));
            "decimal"
        }
        Some(logical::DATE) => "date",
        Some(logical::TIME) => "time-millis",
        Some(logical::TIMESTAMP) => "timestamp-millis",
        _ => return,
    };
    map.insert("logicalType".into(), json!(name));
}

/// A default in Avro's JSON form: bytes as characters up to U+00FF.
fn default_json(schema: &Schema, value: &Value) -> Result<Json> {
    let text = |bytes: &[u8]| json!(bytes.iter().map(|b| char::from(*b)).collect::<String>());
    let float = |x: f64| match serde_json::Number::from_f64(x) {
        Some(number) => Json::Number(number),
        None if x.is_nan() => json!("NaN"),
        None => json!(if x > 0.0 { "Infinity" } else { "-Infinity" }),
    };
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(b) => json!(b),
        Value::Int8(n) => json!(n),
        Value::Int16(n) => json!(n),
        Value::Int32(n) | Value::Date(n) | Value::Time(n) => json!(n),
        Value::Int64(n) | Value::Timestamp(n) => json!(n),
        // By its shortest decimal form, not by the nearest double's.
        Value::Float32(x) => float(x.to_string().parse().unwrap_or(f64::from(*x))),
        Value::Float64(x) => float(*x),
        Value::String(s) => json!(s.as_str()),
        Value::Bytes(bytes) => text(bytes),
        Value::Decimal(decimal) => text(&super::writer::unscaled(decimal, schema)?),
        Value::Array(items) => {
            let of = schema.value.as_deref().ok_or_else(|| incomplete("array"))?;
            Json::Array(items.iter().map(|item| default_json(of, item)).collect::<Result<_>>()?)
        }
        Value::Map(entries) => {
            let (Some(key), Some(value)) = (schema.key.as_deref(), schema.value.as_deref()) else {
                return Err(incomplete("map"));
            };
            if has_text_keys(schema) {
                let one = |(k, v): &(Value, Value)| Ok((k.as_str().unwrap_or_default().to_owned(), default_json(value, v)?));
                Json::Object(entries.entries().iter().map(one).collect::<Result<_>>()?)
            } else {
                let one = |(k, v): &(Value, Value)| Ok(json!({"key": default_json(key, k)?, "value": default_json(value, v)?}));
                Json::Array(entries.entries().iter().map(one).collect::<Result<_>>()?)
            }
        }
        Value::Struct(of) if schema.is_logical(names::UNION) => union_default(of)?,
        Value::Struct(of) => {
            let fields = of.schema().fields.iter().zip(of.values());
            let fields = fields.map(|(field, value)| Ok((field.name.clone(), default_json(&field.schema, value)?)));
            Json::Object(fields.collect::<Result<_>>()?)
        }
    })
}

fn union_default(union: &Struct) -> Result<Json> {
    let set = union.schema().fields.iter().zip(union.values()).find(|(_, value)| !value.is_null());
    set.map_or(Ok(Json::Null), |(field, value)| default_json(&field.schema, value))
}
